"""Where one stage ends and the next begins: neighbours of one place and one size belong together.

The model is cut at the top of its scopes first, where a person names the stages; a stage that holds most of the
model is cut again; blocks of equal cost are drawn once, part by part; what is light joins its neighbour; what is
too much is merged.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from analyzer.render import fields, scopes
from analyzer.render.places import Place
from analyzer.render.scopes import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_ROWS = 25
ENOUGH_ROWS = 16
"""With more rows than this, pools have none of their own."""

MOST_OF_MACS, MOST_OF_PARAMETERS = 0.55, 0.75
"""A stage that holds more than this share of the model is looked into, if there is room."""

EQUAL_BLOCKS, MOST_PARTS = 3, 8
"""So many blocks of equal cost in a row are shown together, by their parts if these are few."""

Run = list[Place]
Key = tuple[Scope, int | None]


def draw(places: Run, seen: fields.Axes) -> list[Run]:
    """The model as at most MOST_ROWS runs, in execution order.

    Splits by place and size; then again, a level deeper, whatever holds most of the model, while there is room.
    """
    if not places:
        return []
    macs, parameters = _weigh(places)
    rows = [(run, 1) for run in _merge_light(_split(places, 0), seen)]
    index = 0
    while index < len(rows):
        run, depth = rows[index]
        held_macs, held_parameters = _weigh(run)
        parts = [run]
        if held_macs > MOST_OF_MACS * macs or held_parameters > MOST_OF_PARAMETERS * parameters:
            parts = _merge_light(_split(run, depth), seen)
        if len(rows) - 1 + len(parts) > MOST_ROWS:
            parts = [run]
        if len(parts) > 1 or (parts[0] is not run and depth < max(len(place.scope) for place in run)):
            rows[index : index + 1] = [(part, depth + 1) for part in parts]
        else:
            index += 1
    return _limit(_merge_light(_transpose([run for run, _ in rows], seen), seen))


def title(run: Run, everything: Run) -> str:
    """The scopes of the heavy nodes, as short as they stay apart; without any, what is done there."""
    telling = [place.scope for place in run if place.scope and place.heavy]
    told = telling or [place.scope for place in run if place.scope]
    if not told:
        ops = list(dict.fromkeys(place.node.op_type for place in run))
        return ops[0] if len(ops) == 1 else f"{ops[0]}..{ops[-1]}"
    first, number = Counter(scope[0] for scope in told).most_common(1)[0]
    if number >= 0.7 * len(told):  # strays from elsewhere do not name the stage
        told = [scope for scope in told if scope[0] == first]
    common = scopes.shared(told)
    mine = {place.index for place in run}
    others = [place.scope for place in everything if place.index not in mine and place.heavy]
    for length in range(1, len(common) + 1):
        if not any(scope[:length] == common[:length] for scope in others):
            return scopes.spell(common[:length])
    return scopes.spell_range(told, inside=len(mine) <= max(mine) - min(mine))


def _weigh(run: Run) -> tuple[int, int]:
    """Macs and parameters, as far as they are known."""
    return sum(place.node.macs or 0 for place in run), sum(place.node.parameters or 0 for place in run)


def _transpose(runs: list[Run], seen: fields.Axes) -> list[Run]:
    """Blocks of one cost and size that are most of the model become one row per part: attention, mlp."""
    drawn: list[Run] = []
    most = MOST_OF_MACS * sum(_weigh(run)[0] for run in runs)
    for _, group in groupby(runs, _cost):
        blocks = list(group)
        held = sum(_weigh(run)[0] for run in blocks)
        drawn += _parts(blocks, seen) if len(blocks) >= EQUAL_BLOCKS and held >= most else blocks
    return drawn


def _cost(run: Run) -> tuple[int | None, int, int]:
    """What equal blocks have in common. Parameters count where nothing is known to multiply: stray constants differ."""
    macs, parameters = _weigh(run)
    return _end(run), macs, 0 if macs else parameters


def _parts(blocks: list[Run], seen: fields.Axes) -> list[Run]:
    """The same part of every block, in the order of the first. A node of no part goes with what it follows."""
    places = [place for block in blocks for place in block]
    prefix = scopes.shared([place.scope for place in places if place.scope and place.heavy])
    depth = len(prefix) + 1
    parts: dict[Scope, Run] = {}
    for block in blocks:
        told = [
            place.scope[depth : depth + 1] if place.scope[: len(prefix)] == prefix else () for place in block
        ]
        part: Scope = next(filter(None, told), ())
        for place, own in zip(block, told, strict=True):
            part = own or part
            parts.setdefault(part, []).append(place)
    rows = _merge_light(list(parts.values()), seen)
    return rows if len(rows) <= MOST_PARTS else [places]


def _split(run: Run, depth: int) -> list[Run]:
    """Neighbours with the same part of scope, and the same positions at the end of their blocks."""
    keyed: list[tuple[Key, Run]] = []
    for block in _runs(run, lambda place: _block(place.scope, depth)):
        part = block[0].scope[depth : depth + 1]
        pieces = [block] if part else _runs(block, lambda place: place.positions)
        keyed += [((part, piece[-1].positions), piece) for piece in pieces]
    return _heal(keyed)


def _block(scope: Scope, depth: int) -> Scope:
    """What is never cut by size: a numbered member of a container ("features.5"), else the whole ("inception_4e")."""
    return scope[: depth + 2] if scopes.numbered(scope[depth + 1 :]) else scope[: depth + 1]


def _heal(keyed: list[tuple[Key, Run]]) -> list[Run]:
    """Joins what has the same key, and what lies between two of the same key: branches of one block alternate.

    A nameless piece (a pool between stages) may come back any number of times.
    """
    last = {key: index for index, (key, _) in enumerate(keyed)}
    healed: list[tuple[Key, Run]] = []
    index = 0
    while index < len(keyed):
        end = cursor = index
        while cursor <= end:
            key = keyed[cursor][0]
            end = max(end, last[key] if key[0] else cursor)
            cursor += 1
        span = [place for _, block in keyed[index : end + 1] for place in block]
        key = keyed[end][0]
        if healed and healed[-1][0] == key:
            healed[-1][1].extend(span)
        else:
            healed.append((key, span))
        index = end + 1
    return [run for _, run in healed]


def _merge_light(runs: list[Run], seen: fields.Axes) -> list[Run]:
    """Joins a light run to the neighbour of its size. One that changes the field (a pool) may stand alone."""
    merged = _join(
        runs, lambda run, before: before is not None and _view(run, seen) not in ("", _view(before, seen))
    )
    return merged if len(merged) <= ENOUGH_ROWS else _join(merged, lambda run, before: False)


def _join(runs: list[Run], stands: Callable[[Run, Run | None], bool]) -> list[Run]:
    """Joins what is light to the next run of its size, to the one before of its size, or, unless it stands, to any."""
    joined: list[Run] = []
    carried: Run = []
    for index, run in enumerate(runs):
        run, carried = carried + run, []
        before = joined[-1] if joined else None
        following = runs[index + 1] if index + 1 < len(runs) else None
        if any(place.heavy for place in run):
            joined.append(run)
        elif following is not None and _end(following) == _end(run):
            carried = run
        elif before is not None and _end(before) == _end(run):
            joined[-1] = before + run
        elif stands(run, before):
            joined.append(run)
        elif following is not None:
            carried = run
        elif before is not None:
            joined[-1] = before + run
        else:
            joined.append(run)
    return joined


def _view(run: Run, seen: fields.Axes) -> str:
    """The receptive field at a run's end; empty where there is none to speak of."""
    rows = next((seen[name] for name in run[-1].node.outputs if name in seen), [])
    return fields.show(rows) if rows else ""


def _limit(runs: list[Run]) -> list[Run]:
    """Merges neighbours until the rows fit: the closest scopes first, then the same size, then the cheapest."""
    runs = list(runs)
    while len(runs) > MOST_ROWS:
        at = min(range(len(runs) - 1), key=lambda index: _distance(runs[index], runs[index + 1]))
        runs[at : at + 2] = [runs[at] + runs[at + 1]]
    return runs


def _distance(run: Run, following: Run) -> tuple[int, bool, int]:
    common = scopes.shared([place.scope for place in (*run, *following) if place.scope])
    return -len(common), _end(run) != _end(following), _weigh(run + following)[0]


def _end(run: Run) -> int | None:
    return run[-1].positions


def _runs(run: Iterable[Place], key: Callable[[Place], object]) -> list[Run]:
    return [list(places) for _, places in groupby(run, key)]
