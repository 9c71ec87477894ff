"""Sequences of tensors and optional values. Nothing is computed; what is carried is each element's size,
where their number is known.

An optional that holds something is that thing; an empty one has no size.
"""

from __future__ import annotations

import numpy as np

from analyzer.graph import BOOL, DTYPES, FLOAT32, INT64, Known, Sequence, Size, Tensor, Unknown
from analyzer.ops.rule import Anything, Facts, Setting, axis_of, refuse, rule
from analyzer.spans import NOTHING

ITEMS_LIMIT = 4096


def _items(sequence: Known) -> tuple[Size, ...] | None:
    if not isinstance(sequence, Sequence):
        raise refuse("NOT_A_SEQUENCE", "the first operand must be a sequence")
    return sequence.items


def _place(position: Size | None, length: int, default: int) -> int | None:
    """A position in a sequence of `length`, from the end where negative; None where the data decides it."""
    if position is None:
        return default
    if position.value is None:
        return None
    place = int(position.value.reshape(-1)[0])
    if not -length <= place <= length:
        raise refuse("POSITION_OUT_OF_RANGE", f"position {place} does not exist in a sequence of {length}")
    return place + length if place < 0 else place


@rule("SequenceConstruct", since=11)
def sequence_construct(*items: Size) -> Facts:
    """A sequence of the operands."""
    return Facts(Sequence(tuple(Size(x.shape, x.dtype, x.value, x.exact) for x in items)))


@rule("SequenceEmpty", since=11)
def sequence_empty(*, dtype: int = 1) -> Facts:
    """A sequence of nothing."""
    return Facts(Sequence((), Size((), DTYPES.get(dtype, FLOAT32))))


@rule("SequenceInsert", since=11)
def sequence_insert(sequence: Size, item: Size, position: Setting | None = None) -> Facts:
    """The sequence with one more element."""
    items = _items(sequence)
    if items is None:
        return Facts(Sequence(None))
    place = _place(position, len(items), len(items))
    if place is None or len(items) >= ITEMS_LIMIT:
        return Facts(Sequence(None))
    return Facts(
        Sequence((*items[:place], Size(item.shape, item.dtype, item.value, item.exact), *items[place:]))
    )


@rule("SequenceErase", since=11)
def sequence_erase(sequence: Size, position: Setting | None = None) -> Facts:
    """The sequence with one element less."""
    items = _items(sequence)
    place = None if items is None else _place(position, len(items), len(items) - 1)
    if items is None or place is None:
        return Facts(Sequence(None))
    return Facts(Sequence((*items[:place], *items[place + 1 :])))


@rule("SequenceAt", since=11)
def sequence_at(sequence: Size, position: Setting) -> Facts:
    """One element; where the position is not known, what all of them are like."""
    items = _items(sequence)
    if items is None:
        return Facts(None)
    place = _place(position, len(items), 0)
    if place is None:
        alike = items and all(x.shape == items[0].shape for x in items)
        return Facts(Size(items[0].shape, items[0].dtype) if alike else None)
    if place >= len(items):
        raise refuse(
            "POSITION_OUT_OF_RANGE", f"position {place} does not exist in a sequence of {len(items)}"
        )
    item = items[place]
    return Facts(Size(item.shape, item.dtype, item.value, item.exact))


@rule("SequenceLength", since=11)
def sequence_length(sequence: Size) -> Facts:
    """The number of elements."""
    items = _items(sequence)
    return Facts(Size((), INT64, None if items is None else np.array(len(items), np.int64)), spans=NOTHING)


@rule("SplitToSequence", since=11)
def split_to_sequence(x: Size, split: Setting | None = None, *, axis: int = 0, keepdims: int = 1) -> Facts:
    """Rows of `axis` apart, one by one or in runs of `split`."""
    axis = axis_of(axis, len(x.shape))
    length = x.shape[axis]
    if split is not None and split.value is None:
        return Facts(Sequence(None))
    each = 1 if split is None else split.ints()[0] if not split.shape else 0
    if each < 0 or (split is not None and not split.shape and each < 1):
        raise refuse("SPLIT", f"split {each} is not positive")
    if each and -(-length // each) > ITEMS_LIMIT:
        return Facts(Sequence(None))
    lengths = (
        tuple(min(each, length - start) for start in range(0, length, each))
        if split is None or not split.shape
        else split.ints()
    )
    if sum(lengths) != length or min(lengths, default=0) < 0:
        raise refuse("SPLIT", f"parts {lengths[:8]} do not make up axis {axis} of {x.shape}")
    if split is None and not keepdims:
        return Facts(Sequence(tuple(Size((*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype) for _ in lengths)))
    return Facts(Sequence(tuple(Size((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in lengths)))


@rule("ConcatFromSequence", since=11)
def concat_from_sequence(sequence: Size, *, axis: int, new_axis: int = 0) -> Facts:
    """Elements end to end along `axis`, or stacked along a new one."""
    items = _items(sequence)
    if not items:
        return Facts(None)
    first = next((x.shape for x in items if x.count), items[0].shape)
    place = axis_of(axis, len(first) + (1 if new_axis else 0))
    if not all(_joins(x, first, None if new_axis else place) for x in items):
        drawn = ", ".join(str(x.shape) for x in items[:8])
        raise refuse("CONCAT", f"elements of shapes {drawn} do not join along axis {place}", attribute="axis")
    if new_axis:
        return Facts(Size((*first[:place], len(items), *first[place:]), items[0].dtype))
    total = sum(x.shape[place] for x in items)
    return Facts(Size((*first[:place], total, *first[place + 1 :]), items[0].dtype))


def _joins(x: Size, first: tuple[int, ...], place: int | None) -> bool:
    """Whether an element is like the `first` one except along `place`; of one without numbers no more is asked than
    that it has that axis.
    """
    if not x.count:
        return len(x.shape) >= len(first)
    return len(x.shape) == len(first) and all(
        dim == other or axis == place for axis, (dim, other) in enumerate(zip(x.shape, first, strict=True))
    )


@rule("Optional", since=15)
def optional(x: Size | None = None, *, type: Tensor | None = None) -> Facts:
    """Something, or nothing of a declared type."""
    return Facts(None) if x is None else Facts(_again(x))


@rule("OptionalGetElement", since=15)
def optional_get_element(x: Size) -> Facts:
    """What an optional holds."""
    return Facts(_again(x))


@rule("OptionalHasElement", since=15)
def optional_has_element(x: Anything | None = None) -> Facts:
    """Whether an optional holds something: of one that comes from outside nobody knows."""
    told = None if isinstance(x, Unknown) else np.array(x is not None)
    return Facts(Size((), BOOL, told), spans=NOTHING)


def _again(x: Known) -> Known:
    return Size(x.shape, x.dtype, x.value, x.exact) if isinstance(x, Size) else Sequence(x.items, x.element)
