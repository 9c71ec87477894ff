"""Rows of some axes picked by number, the other axes as they lie. Not a family: no op is named here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analyzer.spans import Exact, Places, Read, Route, Rows


def by_rows(routes: Sequence[Route | Read], places: Mapping[int, Places]) -> Exact:
    """`routes`, but for axes of which the rows at these places are read, each on its own."""
    return tuple(Rows(axis, places[axis]) if axis in places else route for axis, route in enumerate(routes))
