from __future__ import annotations

import itertools
import math
import random

import pytest

from analyzer.errors import BadModel
from analyzer.ops.rule import Facts
from tests.ops.graphs import facts, predicted, run, runs
from tests.ops.seen import Probe

ROWS = [  # (equation, shapes, macs, elementwise)
    ("ij,jk->ik", "2,3 3,4", 2 * 3 * 4, 0),
    ("bij,bjk->bik", "5,2,3 5,3,4", 5 * 2 * 3 * 4, 0),
    ("bhid,bhjd->bhij", "2,3,4,5 2,3,6,5", 2 * 3 * 4 * 6 * 5, 0),
    ("bhwc,hkc->bhwk", "2,6,7,8 6,9,8", 2 * 6 * 7 * 9 * 8, 0),
    ("ij,jk", "2,3 3,4", 2 * 3 * 4, 0),
    ("...ij,...jk->...ik", "5,1,2,3 5,6,3,4", 5 * 6 * 2 * 3 * 4, 0),
    ("...ij,...jk", "5,1,2,3 5,6,3,4", 5 * 6 * 2 * 3 * 4, 0),
    ("i...,ij->...j", "2,5,7 2,3", 5 * 7 * 2 * 3, 0),
    ("i,j->ij", "2 3", 2 * 3, 0),
    ("ij,ij->ij", "1,3 2,3", 2 * 3, 0),
    # one operand: nothing is multiplied; a sum takes a step for each element
    ("ij->ji", "2,3", 0, 0),
    ("ba", "2,3", 0, 0),
    ("...ii->...i", "2,3,3", 0, 0),
    ("ij->i", "2,3", 0, 2 * 3),
    ("ii", "3,3", 0, 3),
    ("ij->", "2,3", 0, 2 * 3),
    # (ab) first: 16*64*16 and the product with c 16*16*2, or (bc) first: 64*16*2, then 16*64*2
    ("ij,jk,kl->il", "16,64 64,16 16,2", 64 * 16 * 2 + 16 * 64 * 2, 0),
    # j belongs to the first operand alone and is not asked for: 12 steps, and then a product of 5
    ("ij,k->k", "3,4 5", 5, 12),
    (" i j , j k -> i k ", "2,3 3,4", 2 * 3 * 4, 0),
]

SPANS = [  # (equation, shapes, operand, axes that go to an axis of the result)
    ("bij,bjk->bik", "2,3,4 2,4,5", 0, (0, 1)),
    ("bij,bjk->bik", "2,3,4 2,4,5", 1, (0, 2)),
    ("...ij,jk->k...i", "2,3,4,5 5,6", 0, (0, 1, 2)),
    ("ij->ji", "2,3", 0, (0, 1)),
]

REFUSED = [
    ("EQUATION", "ij,jk->ik", "2,3"),
    ("EQUATION", "ij->ik", "2,3"),
    ("EQUATION", "ij->ii", "2,2"),
    ("EQUATION", "ijk->i", "2,3"),
    ("EQUATION", "1j->j", "2,3"),
    ("EQUATION", "...ij->ij", "5,2,3"),
    ("SHAPES_DO_NOT_BROADCAST", "ij,jk->ik", "2,3 4,5"),
]


def graph(equation: str, shapes: str) -> str:
    operands = [f"float[{part}] x{place}" for place, part in enumerate(shapes.split())]
    names = ", ".join(f"x{place}" for place in range(len(operands)))
    return f'({", ".join(operands)}) => (y) {{ y = Einsum<equation="{equation}">({names}) }}'


@pytest.mark.parametrize(("equation", "shapes", "macs", "elementwise"), ROWS)
def test_a_sum_of_products_is_the_runtimes(equation: str, shapes: str, macs: int, elementwise: int) -> None:
    """Its size is onnxruntime's; its macs are the extents of all axes multiplied, pair by pair."""
    assert predicted(graph(equation, shapes)) == run(graph(equation, shapes))
    said = facts(graph(equation, shapes))
    assert (said.macs, said.elementwise) == (macs, elementwise)


@pytest.mark.parametrize(("equation", "shapes", "place", "axes"), SPANS)
def test_a_named_axis_keeps_its_place(equation: str, shapes: str, place: int, axes: tuple[int, ...]) -> None:
    """Each row of an operand set alone shows in the positions that its axis's route says."""
    probe = Probe(graph(equation, shapes))
    for axis in axes:
        probe.check(f"x{place}", axis)


def dearest_and_cheapest(
    terms: list[frozenset[str]], result: frozenset[str], extents: dict[str, int]
) -> tuple[int, int]:
    """By walking every order of pairs."""
    if len(terms) == 1:
        return 0, 0
    found = []
    for one, other in itertools.combinations(range(len(terms)), 2):
        rest = [term for place, term in enumerate(terms) if place not in (one, other)]
        both = terms[one] | terms[other]
        step = math.prod(extents[label] for label in both)
        worst, best = dearest_and_cheapest([*rest, both & result.union(*rest)], result, extents)
        found.append((worst + step, best + step))
    return max(worst for worst, _ in found), min(best for _, best in found)


def chance(seed: int, count: int) -> tuple[str, str, int, int]:
    """An equation of `count` operands, its shapes, and what its dearest and cheapest order take."""
    rng = random.Random(seed)
    extents = {label: rng.randint(2, 9) for label in "abcdef"}
    terms = ["".join(rng.sample("abcdef", rng.randint(1, 3))) for _ in range(count)]
    uses = {label: sum(label in term for term in terms) for label in extents}
    result = "".join(
        label for label in sorted(extents) if uses[label] == 1 or (uses[label] and rng.random() < 0.3)
    )
    shapes = " ".join(",".join(str(extents[label]) for label in term) for term in terms)
    orders = dearest_and_cheapest([frozenset(term) for term in terms], frozenset(result), extents)
    return f"{','.join(terms)}->{result}", shapes, *orders


@pytest.mark.parametrize("seed", range(12))
def test_the_cheapest_order_is_found(seed: int) -> None:
    """Up to six operands no order of pairs takes less."""
    equation, shapes, _, best = chance(seed, 3 + seed % 3)
    assert facts(graph(equation, shapes)).macs == best


@pytest.mark.parametrize("seed", range(3))
def test_beyond_six_operands_an_order_is_taken_that_is_not_the_worst(seed: int) -> None:
    """The cheapest next pair, again and again: not less than the best order, not more than the worst."""
    terms, count = ["ab", "bc", "cd", "de", "ef", "fg", "ga"], 7
    rng = random.Random(seed)
    extents = {label: rng.randint(2, 9) for label in "abcdefg"}
    shapes = " ".join(f"{extents[term[0]]},{extents[term[1]]}" for term in terms)
    macs = facts(graph(f"{','.join(terms)}->", shapes)).macs
    naive = math.prod(extents.values()) * (count - 1)
    least = min(
        math.prod(extents[label] for label in set(one + other)) for one, other in itertools.pairwise(terms)
    )
    assert macs is not None
    assert least * 3 <= macs < naive


def kept(said: Facts) -> int:
    return sum(size.bytes or 0 for size in said.saved)


def test_both_sides_of_every_product_are_kept() -> None:
    """torch 2.15 keeps 308 bytes of ij,jk,kl->il: the operands' 48, 80 and 120, and the first product's 60."""
    assert kept(facts(graph("ij,jk,kl->il", "3,4 4,5 5,6"))) == 48 + 80 + 120 + 60
    assert kept(facts(graph("ij->i", "3,4"))) == 0


@pytest.mark.parametrize(("reason", "equation", "shapes"), REFUSED)
def test_an_equation_that_does_not_fit_is_refused(reason: str, equation: str, shapes: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    with pytest.raises(BadModel) as caught:
        facts(graph(equation, shapes))
    assert caught.value.reason == reason
    assert not runs(graph(equation, shapes))
