"""Casts: sizes, types and values are onnxruntime's, and no value is told of which runtimes make different things."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from analyzer.graph import DTYPE_NAMED, DTYPES, Size
from tests.ops.runtime import check, check_known, check_refused, facts_of, floats, ints

PLAIN = [
    name
    for name, dtype in DTYPE_NAMED.items()
    if dtype.bits and dtype.kind in "iufb" and (dtype.bits > 8 or dtype.kind != "f")
]
KINDS = [
    DTYPE_NAMED[name] for name in PLAIN if DTYPE_NAMED[name].bits in (8, 16, 32, 64) and name != "bfloat16"
]


@pytest.mark.parametrize("before", KINDS, ids=str)
@pytest.mark.parametrize("after", KINDS, ids=str)
def test_numbers_that_fit_keep_their_value(before: Any, after: Any) -> None:
    """From every plain type to every other."""
    check_known("Cast", np.array([[0, 1, 3], [7, 100, 2]]).astype(before.numpy), to=after.code)


WRAPS = [
    (np.array([2**40 + 5, -1, 300, 2**31]), TensorProto.INT32),
    (np.array([2**40 + 5, -1, 300]), TensorProto.UINT8),
    (np.array([-1, 200], np.int16), TensorProto.UINT64),
    (np.array([0.5, 0.0, -3.0, np.nan], np.float32), TensorProto.BOOL),
    (np.array([1.9, -1.9, 0.5, -0.5, 2.5], np.float32), TensorProto.INT64),
    (np.array([1e6, -7e4, 1e-9], np.float32), TensorProto.FLOAT16),
    (np.array([2**53 + 1, 2**24 + 1]), TensorProto.FLOAT),
    (np.array([True, False]), TensorProto.DOUBLE),
]


@pytest.mark.parametrize(("x", "to"), WRAPS)
@pytest.mark.parametrize("opset", [9, 13, 21])
def test_wide_integers_wrap_and_fractions_are_cut_off(x: Any, to: int, opset: int) -> None:
    """As in C; a float too large for a narrower one is infinite, and what is not a number is true."""
    check_known("Cast", x, opset=opset, to=to)


TASTE = [
    (np.array([3e9], np.float32), "int32"), (np.array([-1.0], np.float32), "uint8"),
    (np.array([np.nan], np.float32), "int64"), (np.array([np.inf], np.float32), "int64"),
    (np.array([1e20], np.float64), "int64"), (np.array([2.0**63], np.float64), "int64"),
    (np.array([1.5], np.float32), "int4"), (np.array([500.0], np.float32), "float8_e4m3fn"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "name"), TASTE)
def test_what_does_not_fit_has_no_value(x: Any, name: str) -> None:
    """C leaves it open, and narrow types saturate or do not; the size is known all the same."""
    size = facts_of("Cast", x, stored=True, opset=23, to=DTYPE_NAMED[name].code).outputs
    assert isinstance(size, Size)
    assert (size.shape, size.dtype.name, size.value) == ((1,), name, None)


def test_strings_are_cast_without_a_value() -> None:
    """Both ways."""
    check("Cast", floats(2), to=TensorProto.STRING)
    check("Cast", np.array(["1", "2"], object), to=TensorProto.FLOAT)


def test_the_type_may_be_that_of_another_tensor() -> None:
    """Of which nothing but the type matters."""
    for opset in (15, 19, 24):
        check("CastLike", floats(2, 3), np.zeros((1, 4), np.float64), opset=opset)
        check_known("CastLike", ints(3, 4), np.zeros((), np.int32), opset=opset)


BITS = [
    (floats(2, 3), "int32"), (floats(2), "uint32"), (ints(-1, 5), "float64"), (ints(-1, 5), "uint64"),
    (floats(0, 2), "int32"),
    (np.array([1, -1], np.int16), "float16"), (np.array([1, 255], np.uint8), "int8"), (np.float32(1), "int32"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "name"), BITS)
def test_the_same_bits_can_be_read_as_another_type(x: Any, name: str) -> None:
    """Of the same width."""
    check_known("BitCast", x, opset=26, to=DTYPE_NAMED[name].code)


def test_bits_of_another_width_are_refused() -> None:
    """32 bits are not 64, and of a string nobody knows how many there are."""
    check_refused("BIT_WIDTH", "BitCast", floats(2), opset=26, to=TensorProto.INT64)


def test_a_type_that_does_not_exist_is_refused() -> None:
    """Nobody reads element type 99."""
    assert 99 not in DTYPES
    check_refused("UNKNOWN_DTYPE", "Cast", floats(2), to=99)


def test_a_cast_is_one_step_per_element_and_may_be_done_in_place_at_equal_width() -> None:
    """float32 to int32 is, to float64 is not."""
    same, wider = (facts_of("Cast", floats(2, 3), to=to) for to in (TensorProto.INT32, TensorProto.DOUBLE))
    assert (same.elementwise, len(same.inplace)) == (6, 1)
    assert (wider.elementwise, len(wider.inplace)) == (6, 0)
