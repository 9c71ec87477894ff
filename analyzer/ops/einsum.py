"""Sums of products over named axes.

macs: those of the cheapest order of pairwise products; every order is tried for up to six operands, beyond
that the cheapest next pair is taken. elementwise: an axis that one operand alone has and the result lacks is
summed away beforehand, one step for each element of that operand. Autograd keeps both sides of every product.
"""

from __future__ import annotations

import math
from collections import Counter

import msgspec

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Kept, refuse, rule
from analyzer.spans import WHOLE, Route

TRIED_OPERANDS = 6
"""Most operands of which every order is tried."""
Labels = tuple[str, ...]


class _Factor(msgspec.Struct, frozen=True):
    """One side of a product: its axes with their extents, what it took to make, and the elements of products
    on the way.
    """

    extents: dict[str, int]
    macs: int = 0
    between: tuple[int, ...] = ()
    product: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.extents.values())

    def times(self, other: _Factor, needed: frozenset[str]) -> _Factor:
        """The product of both, axes that nobody needs any more summed."""
        extents = dict(self.extents)
        for label, extent in other.extents.items():
            extents[label] = extent if extents.get(label, 1) == 1 else extents[label]
        macs = self.macs + other.macs + math.prod(extents.values())
        between = self.between + other.between + tuple(side.count for side in (self, other) if side.product)
        kept = {label: extent for label, extent in extents.items() if label in needed}
        return _Factor(kept, macs, between, product=True)


@rule("Einsum", since=12)
def einsum(*operands: Size, equation: str) -> Facts:
    """Each letter is an axis; those that "..." stands for are told apart by their place from the right."""
    terms, result = _parse(equation, operands)
    extents = _extents(terms, operands)
    y = Size(tuple(extents[label] for label in result), operands[0].dtype)
    uses = Counter(label for term in terms for label in set(term))
    factors, steps, sums = [], 0, list[Size]()
    for x, term in zip(operands, terms, strict=True):
        axes = dict(zip(term, x.shape, strict=True))
        alone = {label for label in axes if uses[label] == 1 and label not in result}
        steps += math.prod(axes.values()) if alone else 0
        sums.append(Size(tuple(axes[label] for label in term if label not in alone), x.dtype) if alone else x)
        factors.append(_Factor({label: extent for label, extent in axes.items() if label not in alone}))
    best = _cheapest(factors, frozenset(result))
    saved: tuple[Size | Kept, ...] = ()
    order = None
    if len(operands) == 2:
        left, right = (
            [label for label in term if label in factors[place].extents] for place, term in enumerate(terms)
        )
        saved, order = _kept(sums, (left, right), result)
    elif operands[1:]:
        saved = (*sums, *(Size((count,), y.dtype) for count in best.between))
    spans = tuple(
        tuple(Route(result.index(label)) if label in result else WHOLE for label in term) for term in terms
    )
    return Facts(y, macs=best.macs, elementwise=steps, spans=spans, saved=saved, order=order)


def _kept(
    sides: list[Size], terms: tuple[list[str], list[str]], result: Labels
) -> tuple[tuple[Size | Kept, ...], tuple[int, ...] | None]:
    """Both sides as batches of matrices [both's axes, own axes, summed axes], and the order in which the product is
    laid out.
    """
    wide = [
        {label for label, dim in zip(term, x.shape, strict=True) if dim > 1}
        for term, x in zip(terms, sides, strict=True)
    ]
    both = [label for label in result if label in wide[0] & wide[1]]
    summed = sorted((wide[0] & wide[1]) - set(result))
    left, right = sides
    if not summed and not (set(terms[0]) & set(terms[1])) - set(result):  # a product element by element
        return (Kept(left, right), Kept(right, left)), None
    own = [[label for label in result if label in side and label not in both] for side in wide]
    rest = [label for label in result if label not in wide[0] | wide[1]]
    kept = []
    for place, (x, other) in enumerate(((left, right), (right, left))):
        groups = (both, own[0], summed) if place == 0 else (both, summed, own[1])
        extent = dict(zip(terms[place], x.shape, strict=True))
        labels = [label for group in groups for label in group]
        labels += [label for label in terms[place] if label not in labels]  # axes of 1
        order = tuple(terms[place].index(label) for label in labels)
        shape = tuple(x.shape[axis] for axis in order)
        flat = tuple(math.prod(extent[label] for label in group) for group in groups)
        kept.append(Kept(x, other, order, (shape, flat)))
    laid = tuple(result.index(label) for label in (*rest, *both, *own[0], *own[1]))
    return tuple(kept), None if laid == tuple(sorted(laid)) else laid


def _parse(equation: str, operands: tuple[Size, ...]) -> tuple[list[Labels], Labels]:
    """The axes of every operand and of the result. Raises BadModel where they do not go together."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise _refused(equation, f"names {len(parts)} operands, there are {len(operands)}")
    terms = [_labels(equation, part, len(x.shape)) for part, x in zip(parts, operands, strict=True)]
    seen = Counter(label for term in terms for label in term)
    dots = sorted((label for label in seen if not label.isalpha()), key=int, reverse=True)
    if arrow:
        before, found, after = right.partition("...")
        if dots and not found:
            raise _refused(equation, "leaves out the axes of its '...'")
        result = (*before, *dots, *after)
    else:
        result = (*dots, *sorted(label for label in seen if label.isalpha() and seen[label] == 1))
    if len(set(result)) != len(result) or not set(result) <= set(seen):
        raise _refused(equation, f"makes axes {', '.join(result)} that no operand has, or one of them twice")
    return terms, result


def _labels(equation: str, part: str, rank: int) -> Labels:
    """The axes of one operand, those under "..." numbered from the right."""
    before, dots, after = part.partition("...")
    hidden = rank - len(before) - len(after)
    if (not (before + after).isalpha() and before + after) or hidden < 0 or (hidden and not dots):
        raise _refused(equation, f"does not fit an operand of rank {rank}: {part!r}")
    return (*before, *(str(place) for place in reversed(range(hidden))), *after)


def _extents(terms: list[Labels], operands: tuple[Size, ...]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for label, dim in zip(term, x.shape, strict=True):
            if extents.get(label, 1) not in (1, dim) and dim != 1:
                raise refuse(
                    "SHAPES_DO_NOT_BROADCAST",
                    f"axis {label} is {extents[label]} in one place and {dim} in another",
                )
            extents[label] = dim if extents.get(label, 1) == 1 else extents[label]
    return extents


def _cheapest(factors: list[_Factor], result: frozenset[str]) -> _Factor:
    """All factors multiplied, in the order of least macs as far as orders are tried."""
    if len(factors) > TRIED_OPERANDS:
        return _greedy(factors, result)
    everything = (1 << len(factors)) - 1
    best = {1 << place: factor for place, factor in enumerate(factors)}
    for chosen in range(1, everything + 1):
        if chosen in best:
            continue
        rest = (factor.extents for place, factor in enumerate(factors) if not chosen >> place & 1)
        needed = result.union(*rest)
        part = chosen & (chosen - 1)
        options = []
        while part:
            options.append(best[part].times(best[chosen ^ part], needed))
            part = (part - 1) & chosen & (chosen - 1)
        best[chosen] = min(options, key=lambda factor: factor.macs)
    return best[everything]


def _greedy(factors: list[_Factor], result: frozenset[str]) -> _Factor:
    """The cheapest next pair, again and again."""
    while len(factors) > 1:
        options = []
        for one in range(len(factors)):
            for other in range(one):
                rest = [factor for place, factor in enumerate(factors) if place not in (one, other)]
                made = factors[other].times(factors[one], result.union(*(factor.extents for factor in rest)))
                options.append((made.macs - factors[one].macs - factors[other].macs, [*rest, made]))
        factors = min(options, key=lambda option: option[0])[1]
    return factors[0]


def _refused(equation: str, why: str) -> Exception:
    return refuse("EQUATION", f"equation {equation!r} {why}", attribute="equation")
