"""Selection by what the data is: the largest, those that are not zero, those wanted, each only once, the best boxes.

elementwise: one compare per element looked at; of boxes, one per score: how many overlaps are compared, only the data
tell.

Where the data decides how many are left, the size is an upper bound and says so; where the data is known, it is exact.
"""

from __future__ import annotations

import numpy as np

from analyzer.graph import INT64, VALUE_LIMIT, Size, Value
from analyzer.ops.rule import Facts, Setting, axis_of, refuse, rule
from analyzer.spans import DATA, NOTHING, Picks, Read, Route, Rows, crop, straight


@rule("TopK", until=9)
def top_k_by_attribute(x: Size, *, axis: int = -1, k: int) -> Facts:
    """The k largest along an axis, in falling order, and where they lay."""
    return _top(x, axis, k, exact=True, largest=True, in_order=True)


@rule("TopK", since=10)
def top_k(x: Size, k: Setting, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Facts:
    """The k largest or smallest along an axis, and where they lay; at most all of them."""
    if k.count != 1:
        raise refuse("RANK", f"K has shape {k.shape}, one number is needed")
    length = x.shape[axis_of(axis, len(x.shape))]
    exact = k.value is not None and k.value_exact
    wanted = length if k.value is None else k.ints()[0]
    return _top(x, axis, wanted if exact else min(wanted, length), exact, bool(largest), bool(sorted))


def _top(x: Size, axis: int, k: int, exact: bool, largest: bool, in_order: bool) -> Facts:
    axis = axis_of(axis, len(x.shape))
    if not 0 <= k <= x.shape[axis]:
        raise refuse("TOP_K", f"{k} of {x.shape[axis]} elements along axis {axis} cannot be taken")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    first = places = None
    if x.value is not None and x.value_exact and exact and in_order and _comparable(x.value):
        places = np.take(_order(x.value, axis, largest), range(k), axis=axis)
        first = np.take_along_axis(x.value, places, axis)
    y, where = Size(shape, x.dtype, first, exact), Size(shape, INT64, places, exact)
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[axis] = DATA
    return Facts((y, where), elementwise=x.count, spans=(tuple(routes), NOTHING), saved=(where,))


def _comparable(x: Value) -> bool:
    """Whether nothing in it is not a number, of which runtimes make different things."""
    return bool((x == x).all())  # what is not a number does not equal itself


def _order(x: Value, axis: int, largest: bool) -> Value:
    """Places in falling or rising order of what is there; of equals the first comes first."""
    if not largest:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.asarray(x.shape[axis] - 1 - np.flip(backwards, axis))


@rule("NonZero", since=9)
def non_zero(x: Size) -> Facts:
    """[rank, n]: the places that are not zero, a scalar having one axis."""
    rank = max(len(x.shape), 1)
    if x.value is not None and x.value_exact and x.value.dtype.kind != "O":
        places = np.array(np.nonzero(np.atleast_1d(x.value)), np.int64).reshape(rank, -1)
        y = Size(places.shape, INT64, places if places.size <= VALUE_LIMIT else None)
    else:
        y = Size((rank, x.count), INT64, exact=False)
    return Facts(y, elementwise=x.count, spans=(DATA,) * len(x.shape))


@rule("Compress", since=9)
def compress(x: Size, condition: Setting, *, axis: int | None = None) -> Facts:
    """The rows of an axis, or of all elements in a row, whose condition is true; none beyond a short condition."""
    rank = len(x.shape)
    axis = None if axis is None else axis_of(axis, rank)
    length = x.count if axis is None else x.shape[axis]
    rows = None
    if condition.value is not None and condition.value_exact:
        rows = np.flatnonzero(condition.value.reshape(-1)[:length])
    taken = min(condition.count, length) if rows is None else len(rows)
    shape = (taken,) if axis is None else (*x.shape[:axis], taken, *x.shape[axis + 1 :])
    value = None if x.value is None or rows is None else np.take(x.value, rows, axis=axis)
    y = Size(shape, x.dtype, value, exact=rows is not None)
    if axis is None:
        places = None if rows is None else {0: lambda: Picks(np.asarray(rows))}
        return Facts(y, spans=((DATA,) * rank, (DATA,)), exact=places, saved=(condition,))
    routes: list[Route | Read] = list(straight(rank))
    routes[axis] = DATA if rows is None else _rows(rows.tolist(), axis)
    picked = None
    if rows is not None:
        picked = (*routes[:axis], Rows(axis, rows), *routes[axis + 1 :])
    return Facts(
        y,
        spans=(tuple(routes), (DATA,)),
        exact=None if picked is None else {0: lambda: picked},
        saved=(condition,),
    )


def _rows(rows: list[int], axis: int) -> Route | Read:
    """What is read of an axis of which these rows are taken: a run, or some of all."""
    if rows and rows == list(range(rows[0], rows[0] + len(rows))):
        return Route(axis, crop(rows[0]))
    return Read("global", axis)


@rule("Unique", since=11)
def unique(x: Size, *, axis: int | None = None, sorted: int = 1) -> Facts:
    """Each element, or each slice of an axis, once; where it lay first, which one each is, how often it is there."""
    axis = None if axis is None else axis_of(axis, len(x.shape))
    length = x.count if axis is None else x.shape[axis]
    spans = (DATA,) * len(x.shape)
    if x.value is not None and x.value_exact and x.count and _comparable(x.value):
        found = _distinct(x.value, axis, bool(sorted))
        sizes = (Size(each.shape, INT64 if index else x.dtype, each) for index, each in enumerate(found))
        return Facts(tuple(sizes), elementwise=x.count, spans=spans)
    shape = (length,) if axis is None else x.shape
    first, counts = (Size((length,), INT64, exact=False) for _ in range(2))
    outputs = (Size(shape, x.dtype, exact=False), first, Size((length,), INT64), counts)
    return Facts(outputs, elementwise=x.count, spans=spans)


def _distinct(x: Value, axis: int | None, in_order: bool) -> tuple[Value, Value, Value, Value]:
    """The distinct parts, rising or as they come, where each lay first, which one each part is, how many of each."""
    kept, first, which, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    which = which.reshape(-1)
    if not in_order:
        order = np.argsort(first)
        kept, first, counts = np.take(kept, order, axis=axis or 0), first[order], counts[order]
        which = np.argsort(order)[which]
    return kept, first, which, counts


@rule("NonMaxSuppression", since=10)
def non_max_suppression(
    boxes: Size,
    scores: Size,
    max_output_boxes_per_class: Setting | None = None,
    iou_threshold: Setting | None = None,
    score_threshold: Setting | None = None,
    *,
    center_point_box: int = 0,
) -> Facts:
    """boxes [N, boxes, 4], scores [N, classes, boxes] -> [n, 3]: batch, class and box of those that stay."""
    if len(boxes.shape) != 3 or len(scores.shape) != 3 or boxes.shape[2] != 4:
        raise refuse(
            "RANK",
            f"boxes {boxes.shape} are not [N, boxes, 4] or scores {scores.shape} not [N, classes, boxes]",
        )
    if (boxes.shape[0], boxes.shape[1]) != (scores.shape[0], scores.shape[2]):
        raise refuse("BOXES_SHAPE", f"boxes {boxes.shape} and scores {scores.shape} differ in batch or boxes")
    batch, classes, each = scores.shape
    if max_output_boxes_per_class is None:  # none unless asked for
        each = 0
    elif max_output_boxes_per_class.value is not None:
        each = min(each, max(max_output_boxes_per_class.ints()[0], 0))
    y = Size((batch * classes * each, 3), INT64, exact=not batch * classes * each)
    return Facts(y, elementwise=scores.count, spans=((DATA,) * 3, (DATA,) * 3, (DATA,)))
