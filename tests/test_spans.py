"""Receptive-field arithmetic against sets: every tap of every op is followed back by brute force.

A chain is a list of ops, first to last. The set that a position sees is found from the definitions below alone, on
a canvas without borders; a Reach must give its lowest and highest row, or nothing where the set is empty.
"""

import random
from collections.abc import Callable
from functools import cache

import pytest

from analyzer.spans import POINT, SAME, Affine, Reach, aligned, crop, join, spread, window

Taps = Callable[[int], set[int]]
Op = tuple[str, Affine, Taps]
Chain = tuple[Op, ...]

POSITIONS = range(-25, 60)


def sliding(kernel: int, stride: int, dilation: int, pad: int) -> Op:
    taps = [dilation * t - pad for t in range(kernel)]
    name = f"window k{kernel} s{stride} d{dilation} p{pad}"
    return name, window(kernel, stride, dilation, pad), lambda i: {stride * i + tap for tap in taps}


def spreading(kernel: int, stride: int, dilation: int, pad: int) -> Op:
    """Row x adds to position stride*x - pad + dilation*t, so a position reads the rows that add to it."""
    reach = (dilation * kernel + pad) // stride + 2

    def taps(i: int) -> set[int]:
        near = range(i // stride - reach, i // stride + reach + 1)
        return {x for x in near if any(stride * x - pad + dilation * t == i for t in range(kernel))}

    return f"spread k{kernel} s{stride} d{dilation} p{pad}", spread(kernel, stride, dilation, pad), taps


def cropping(start: int, step: int) -> Op:
    return f"crop {start} step {step}", crop(start, step), lambda i: {start + step * i}


def stretching(factor: int) -> Op:
    """Nearest neighbour upsampling: each row `factor` times."""
    return f"stretch {factor}", Affine(factor, 1, (0,) * factor, (0,) * factor), lambda i: {i // factor}


def repeating(extent: int) -> Op:
    """Position i reads row i modulo `extent`: a map that never advances."""
    rows = tuple(range(extent))
    return f"repeat {extent}", Affine(extent, 0, rows, rows), lambda i: {i % extent}


def some_op(rng: random.Random) -> Op:
    kind = rng.choices((sliding, spreading, cropping, stretching), (5, 3, 1, 1))[0]
    if kind is cropping:
        return cropping(rng.randint(-4, 4), rng.randint(1, 3))
    if kind is stretching:
        return stretching(rng.randint(2, 3))
    kernel, stride, dilation = rng.randint(1, 4), rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2, 3))
    return (sliding if kind is sliding else spreading)(kernel, stride, dilation, rng.randint(0, 4))


def some_chain(seed: int) -> Chain:
    rng = random.Random(seed)
    return tuple(some_op(rng) for _ in range(rng.randint(1, 5)))


def through(reach: Reach, affine: Affine) -> Reach:
    made = reach.through(affine)
    assert made is not None
    return made


def reached(chain: Chain) -> Reach:
    reach = POINT
    for _, affine, _ in chain:
        reach = through(reach, affine)
    return reach


def seen(chain: Chain) -> Callable[[int], frozenset[int]]:
    """The rows that a position sees, tap by tap."""
    if not chain:
        return lambda position: frozenset((position,))
    before, taps = seen(chain[:-1]), chain[-1][2]
    return cache(lambda position: frozenset(row for tap in taps(position) for row in before(tap)))


def hull(rows: frozenset[int]) -> tuple[int | None, int | None]:
    return (min(rows), max(rows)) if rows else (None, None)


def names(chain: Chain) -> str:
    return ", then ".join(name for name, _, _ in chain)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize("op", [sliding, spreading])
def test_taps_are_a_run_with_even_steps(
    op: Callable[..., Op], kernel: int, stride: int, dilation: int
) -> None:
    """One op by itself: an Affine names every row that is read and no other."""
    for pad in range(4):
        name, affine, taps = op(kernel, stride, dilation, pad)
        for position in POSITIONS:
            turn, phase = divmod(position, affine.period)
            low, high = affine.lows[phase], affine.highs[phase]
            rows = set() if low is None or high is None else set(range(low, high + 1, affine.step))
            assert {row + turn * affine.advance for row in rows} == taps(position), name


@pytest.mark.parametrize("seed", range(400))
def test_a_chain_sees_the_hull_of_its_taps(seed: int) -> None:
    """Windows, transposed windows, crops and stretches in any order: exact in every phase, empty ones included."""
    chain = some_chain(seed)
    reach, rows = reached(chain), seen(chain)
    for position in POSITIONS:
        assert reach.rows(position) == hull(rows(position)), f"position {position} of {names(chain)}"


@pytest.mark.parametrize("seed", range(400))
def test_branches_join_to_the_hull_of_both(seed: int) -> None:
    """Two chains that meet see the hull of their union; where strides differ no field exists. Ops may follow."""
    left, right, after = some_chain(seed), some_chain(seed + 10_000), some_chain(seed + 20_000)[:2]
    a, b = reached(left), reached(right)
    met = join(a, b)
    if a.advance * b.period != b.advance * a.period:
        assert met is None
        # Give the branches one stride: stretch and decimate each by the other's.
        left += (stretching(a.advance * b.period), cropping(0, a.period * b.advance))
        a = reached(left)
        met = join(a, b)
    assert met is not None
    for _, affine, _ in after:
        met = through(met, affine)
    left_rows, right_rows = seen(left), seen(right)

    def below(position: int, ops: Chain) -> frozenset[int]:
        if not ops:
            return left_rows(position) | right_rows(position)
        return frozenset(row for tap in ops[-1][2](position) for row in below(tap, ops[:-1]))

    for position in range(-8, 20):
        assert met.rows(position) == hull(below(position, after)), f"{names(left)} meets {names(right)}"


@pytest.mark.parametrize("seed", range(100))
def test_branches_are_aligned_where_all_centres_agree(seed: int) -> None:
    """Positions where one branch sees only padding have no centre to compare."""
    rng = random.Random(seed)
    kernel, dilation = rng.randint(1, 4), rng.randint(1, 3)
    off = rng.choice((0, 0, 1))
    left: Chain = (sliding(3, 2, 1, 1), sliding(2 * kernel - 1, 1, dilation, dilation * (kernel - 1)))
    right: Chain = (sliding(1, 2, 1, 0), spreading(3, 2, 1, 1), sliding(3, 2, 1, 1 + off))
    rows = [(hull(seen(left)(i)), hull(seen(right)(i))) for i in POSITIONS]
    centres = [(sum(x), sum(y)) for x, y in rows if x[0] is not None and y[0] is not None]  # type: ignore[arg-type]
    assert aligned(reached(left), reached(right)) == all(x == y for x, y in centres)
    assert aligned(reached(left), reached(right)) == (off == 0)


@pytest.mark.parametrize("extent", [1, 2, 3, 4])
def test_a_map_that_never_advances_has_stride_zero(extent: int) -> None:
    """Position i reads row i modulo `extent`, and what comes after it turns on the same rows."""
    for after in (sliding(3, 2, 1, 1), spreading(2, 2, 1, 0), cropping(-1, 3)):
        chain: Chain = (sliding(2, 3, 1, 0), repeating(extent), after)
        reach, rows = reached(chain), seen(chain)
        assert reach.stride_text == "0"
        assert [reach.rows(i) for i in POSITIONS] == [hull(rows(i)) for i in POSITIONS]


@pytest.mark.parametrize(
    ("chain", "size", "stride", "padding"),
    [
        # The recurrence of the literature: size grows by (kernel - 1) x the stride so far.
        ((sliding(7, 2, 1, 3), sliding(3, 2, 1, 1), sliding(3, 1, 1, 1)), 7 + 2 * 2 + 2 * 4, 4, 3 + 2 + 4),
        ((sliding(3, 1, 1, 1), sliding(3, 1, 2, 2), sliding(3, 1, 4, 4)), 1 + 2 + 4 + 8, 1, 1 + 2 + 4),
        ((sliding(2, 2, 1, 0),) * 5, 32, 32, 0),
    ],
    ids=["stem", "dilated", "pools"],
)
def test_without_phases_a_reach_is_size_stride_and_padding(
    chain: Chain, size: int, stride: int, padding: int
) -> None:
    """Without upsampling there is one phase, and both paths are the whole field."""
    reach = reached(chain)
    assert (reach.period, reach.advance, reach.largest, -(reach.lows[0] or 0)) == (1, stride, size, padding)
    assert reach.path_min == reach.path_max == reach.smallest == size


def test_sparse_transposed_windows_leave_positions_that_see_nothing() -> None:
    """A kernel of 2 spread by a stride of 3 leaves each third position empty; a window over it sees through the gap."""
    sparse = through(POINT, spread(2, 3))
    assert [sparse.rows(i) for i in range(4)] == [(0, 0), (0, 0), (None, None), (1, 1)]
    assert (sparse.smallest, sparse.largest, sparse.stride_text) == (0, 1, "1/3")
    assert through(sparse, window(2)).rows(2) == (1, 1)
    assert through(sparse, window(2, dilation=3)).rows(2) == (None, None)


def test_a_dilated_window_over_phases_sees_only_the_phases_that_it_meets() -> None:
    """A dilation of 2 over a stretch by 2 reads rows one apart, as if there were no stretch."""
    reach = through(through(POINT, stretching(2)[1]), window(3, dilation=2))
    assert [reach.rows(i) for i in range(4)] == [(0, 2), (0, 2), (1, 3), (1, 3)]


def test_equal_branches_join_to_themselves() -> None:
    """A residual block whose branches agree costs nothing."""
    assert join(POINT, POINT) is POINT
    assert POINT.through(SAME) is POINT


def test_too_many_phases_are_refused() -> None:
    """Thirty transposed windows of stride 2 would have 2^30 phases: nothing is said rather than all of them."""
    reach: Reach | None = POINT
    for _ in range(30):
        reach = reach and reach.through(spread(2, 2))
    assert reach is None
