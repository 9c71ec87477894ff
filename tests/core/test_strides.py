"""Strides against numpy's: its arrays are strided too, and its reshapes copy where ours must."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from analyzer.spans import moved
from analyzer.strides import (
    Strides,
    blended,
    channels_last,
    expanded,
    last,
    routed,
    rowmajor,
    told,
    turned,
    viewed,
)

Array = np.ndarray[Any, Any]
SHAPES = some.lists(some.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4).map(tuple)


def steps(array: Array) -> Strides:
    """Strides in elements."""
    return tuple(step // array.itemsize for step in array.strides)


@some.composite
def layouts(draw: some.DrawFn) -> Array:
    """Arrays whose axes are permuted, and some of them cut."""
    array = np.arange(math.prod(shape := draw(SHAPES))).reshape(shape)
    array = array.transpose(draw(some.permutations(range(len(shape)))))
    return array[tuple(slice(None, None, draw(some.sampled_from([1, 1, 2]))) for _ in shape)]


@some.composite
def regroupings(draw: some.DrawFn, count: int) -> tuple[int, ...]:
    """Shapes of `count` elements."""
    dims: list[int] = []
    while count > 1:
        dims.append(draw(some.sampled_from([dim for dim in range(2, count + 1) if count % dim == 0])))
        count //= dims[-1]
    return tuple(draw(some.permutations([*dims, 1])))


@given(some.data(), layouts())
def test_a_reshape_is_a_view_where_numpy_finds_one(data: some.DataObject, array: Array) -> None:
    """And then its elements are found where they lay."""
    wanted = data.draw(regroupings(array.size))
    found = viewed(array.shape, told(array.shape, steps(array)), wanted)
    reshaped = array.reshape(wanted)
    assert (found is not None) == np.shares_memory(array, reshaped)
    if found is not None:
        there = np.lib.stride_tricks.as_strided(array, wanted, [step * array.itemsize for step in found])
        assert (there == reshaped).all()


@given(layouts())
def test_row_major_strides_are_not_told(array: Array) -> None:
    """Whatever the stride of an axis of 1."""
    assert (told(array.shape, steps(array)) is None) == array.flags.c_contiguous
    assert told(array.shape, rowmajor(array.shape)) is None


@given(layouts(), some.lists(some.sampled_from([1, 2, 5]), max_size=2))
def test_a_broadcast_takes_no_step_along_what_it_repeats(array: Array, lead: list[int]) -> None:
    """As numpy's does not."""
    wanted = (*lead, *(3 if dim == 1 else dim for dim in array.shape))
    ours = expanded(array.shape, steps(array), wanted)
    theirs = steps(np.broadcast_to(array, wanted))
    assert all(a == b for a, b, dim in zip(ours, theirs, wanted, strict=True) if dim > 1)


@given(some.data(), layouts())
def test_a_transpose_moves_strides_along(data: some.DataObject, array: Array) -> None:
    """By its permutation, or by the span of an op that does the same."""
    order = tuple(data.draw(some.permutations(range(array.ndim))))
    theirs = array.transpose(order)
    assert turned(array.shape, steps(array), order) == (theirs.shape, steps(theirs))
    assert routed(array.shape, steps(array), moved(order), theirs.shape) == steps(theirs)


@given(layouts())
def test_an_elementwise_result_is_laid_out_as_its_operand(array: Array) -> None:
    """Without the gaps; numpy's `order="K"` does it too."""
    ours = blended(array.shape, ((array.shape, told(array.shape, steps(array))),)) or rowmajor(array.shape)
    theirs = steps(np.negative(array, order="K"))
    assert all(a == b for a, b, dim in zip(ours, theirs, array.shape, strict=True) if dim > 1)


def test_the_first_operand_with_an_opinion_decides() -> None:
    """A vector along the channels has none, as in torch."""
    shape, channels_first = (2, 3, 4, 5), rowmajor((2, 3, 4, 5))
    assert blended(
        shape,
        (
            (shape, last(shape)),
            (shape, None),
        ),
    ) == last(shape)
    assert (
        blended(
            shape,
            (
                (shape, channels_first),
                (shape, last(shape)),
            ),
        )
        is None
    )
    assert blended(
        shape,
        (
            ((3, 1, 1), None),
            (shape, last(shape)),
        ),
    ) == last(shape)


def test_channels_last_is_seen() -> None:
    """Of pictures and volumes alone."""
    picture = np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    assert steps(picture) == last((2, 3, 4, 5))
    assert channels_last(picture.shape, steps(picture))
    assert not channels_last((2, 3, 4), (12, 1, 3))
    assert not channels_last((2, 3, 4, 5), None)
