"""The im2col matrix of a convolution against one that numpy cuts out of the padded input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from analyzer import analyze
from analyzer.report import NodeRow
from tests.conftest import text_model

TILE = 128


def row(text: str) -> NodeRow:
    (node,) = (node for node in analyze(text_model(text)).nodes if node.name == "conv")
    return node


def cut(
    x: tuple[int, ...], kernel: tuple[int, ...], pads: int, stride: int, dilation: int, group: int, dtype: str
) -> np.ndarray[Any, Any]:
    """The matrix of the first image and group: a row for each output position, a column for each tap."""
    image = np.zeros((x[1] // group, *(size + 2 * pads for size in x[2:])), dtype)
    reach = tuple(dilation * (size - 1) + 1 for size in kernel)
    windows = sliding_window_view(image, (image.shape[0], *reach))[0]
    rank = len(kernel)
    windows = windows[
        (slice(None, None, stride),) * rank + (slice(None),) + (slice(None, None, dilation),) * rank
    ]
    matrix: np.ndarray[Any, Any] = windows.reshape(int(np.prod(windows.shape[:rank])), -1)
    return matrix


CONVOLUTIONS = [
    # the lecture's: one map of 224x224, one kernel of 5x5
    pytest.param((1, 1, 224, 224), (1, 1, 5, 5), 2, 1, 1, 1, "float32", id="lecture"),
    pytest.param((8, 3, 32, 32), (16, 3, 3, 3), 1, 1, 1, 1, "float32", id="one-image-of-eight"),
    pytest.param((1, 3, 32, 32), (16, 3, 7, 7), 3, 2, 1, 1, "float16", id="strided"),
    pytest.param((1, 4, 31, 17), (8, 2, 3, 5), 0, 2, 2, 2, "float64", id="grouped-dilated"),
    pytest.param((1, 8, 9, 9), (8, 1, 3, 3), 1, 1, 1, 8, "float32", id="depthwise"),
    pytest.param((1, 6, 10, 10), (4, 6, 1, 1), 0, 1, 1, 1, "float32", id="pointwise"),
    pytest.param((2, 3, 50), (4, 3, 9), 4, 3, 1, 1, "float32", id="sequence"),
    pytest.param((1, 2, 8, 9, 10), (4, 2, 3, 3, 3), 1, 1, 1, 1, "float32", id="volume"),
]


@pytest.mark.parametrize(("x", "w", "pads", "stride", "dilation", "group", "dtype"), CONVOLUTIONS)
def test_the_matrix_is_the_one_that_numpy_cuts_out(
    x: tuple[int, ...], w: tuple[int, ...], pads: int, stride: int, dilation: int, group: int, dtype: str
) -> None:
    """Rows, columns, bytes, and of a tile those of its first 128 rows and columns."""
    rank = len(w) - 2
    named = {"float32": "float", "float16": "float16", "float64": "double"}[dtype]
    said = f"pads = {[pads] * 2 * rank}, strides = {[stride] * rank}, dilations = {[dilation] * rank}, group = {group}"
    node = row(
        f"g ({named}{list(x)} x) => (y) "
        f'<{named}{list(w)} w = ["location": "w"]> {{ [conv] y = Conv<{said}>(x, w) }}'
    )
    matrix = cut(x, w[2:], pads, stride, dilation, group, dtype)
    assert (node.lowering_rows, node.lowering_columns) == matrix.shape
    assert node.lowering_bytes == matrix.nbytes
    assert node.lowering_tile_bytes == matrix[:TILE, :TILE].nbytes


def test_a_quantised_convolution_lowers_bytes_and_not_sums() -> None:
    """ConvInteger makes int32 of uint8: the matrix is of what is convolved."""
    node = row(
        "g (uint8[1, 3, 16, 16] x, uint8[4, 3, 3, 3] w) => (y) { [conv] y = ConvInteger<pads = [1, 1, 1, 1]>(x, w) }"
    )
    assert (node.lowering_rows, node.lowering_columns) == (16 * 16, 3 * 3 * 3)
    assert node.lowering_bytes == cut((1, 3, 16, 16), (3, 3), 1, 1, 1, 1, "uint8").nbytes


def test_a_transposed_convolution_makes_its_matrix_from_its_input() -> None:
    """A product of weight and input has a row for each input position, a column for each tap of each output map."""
    node = row(
        "g (float[1, 8, 5, 6] x, float[8, 4, 2, 2] w) => (y) { [conv] y = ConvTranspose<strides = [2, 2]>(x, w) }"
    )
    columns = np.zeros((5 * 6, 8), np.float32) @ np.zeros((8, 4 * 2 * 2), np.float32)
    assert (node.lowering_rows, node.lowering_columns) == columns.shape
    assert node.lowering_bytes == columns.nbytes


def test_what_is_no_convolution_has_no_matrix() -> None:
    """None, not 0."""
    (node,) = analyze(text_model("g (float[4] x) => (y) { y = Relu(x) }")).nodes
    assert (node.lowering_rows, node.lowering_columns, node.lowering_bytes, node.lowering_tile_bytes) == (
        None,
    ) * 4
