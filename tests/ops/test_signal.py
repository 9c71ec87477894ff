"""Spectra and windows against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from analyzer.graph import FLOAT32, INT64, Size
from analyzer.ops.signal import dft, hann_window, mel_weight_matrix, stft
from analyzer.spans import WHOLE, Route, window
from tests.ops.kept import kept
from tests.ops.lone import Lone, inside

F32 = np.float32
REAL, COMPLEX = np.ones((2, 10, 1), F32), np.ones((2, 10, 2), F32)
IMAGE = np.ones((2, 10, 7, 2), F32)


def number(value: int) -> np.ndarray[Any, Any]:
    return np.array(value, np.int64)


TRANSFORMS = [
    # operands, attributes, points of a transform, transforms
    ([REAL], {}, 10, 2),
    ([REAL, number(16)], {}, 16, 2),
    ([COMPLEX, number(6)], {}, 6, 2),
    ([REAL, number(7)], {"onesided": 1}, 7, 2),
    ([COMPLEX], {"inverse": 1}, 10, 2),
    ([COMPLEX], {"inverse": 1, "onesided": 1}, 18, 2),  # from 10 frequencies, one side of 18 real numbers
    ([COMPLEX, number(13)], {"inverse": 1, "onesided": 1}, 13, 2),
]


@pytest.mark.parametrize(("operands", "attributes", "points", "times"), TRANSFORMS)
@pytest.mark.parametrize("opset", [17, 20])
def test_a_transform_has_a_frequency_per_point(
    opset: int, operands: list[Any], attributes: dict[str, Any], points: int, times: int
) -> None:
    """Or one side of them; 5 n ceil(log2 n) steps each. Every frequency reads every point."""
    lone = Lone("DFT", operands, opset, **attributes)
    lone.check()
    facts = lone.facts()
    assert facts.elementwise == times * 5 * points * int(np.ceil(np.log2(points)))
    assert [lone.route(axis) for axis in range(3)] == [Route(0), WHOLE, WHOLE]


@pytest.mark.parametrize("axis", [1, -2, 2, 0, -3])
def test_a_transform_along_any_axis_but_the_last(axis: int) -> None:
    """An attribute at first, an operand since opset 20."""
    Lone("DFT", [IMAGE], 17, axis=axis).check()
    Lone("DFT", [IMAGE, None, number(axis)], 20).check()


SIGNAL = np.ones((2, 128, 1), F32)
FRAMES: list[tuple[list[Any], int, int]] = [
    ([SIGNAL, number(8), np.ones(16, F32)], 16, 8),
    ([SIGNAL, number(8), None, number(16)], 16, 8),
    ([SIGNAL, number(8), np.ones(16, F32), number(16)], 16, 8),
    ([SIGNAL, number(7), None, number(17)], 17, 7),
    ([SIGNAL, number(200), None, number(128)], 128, 200),
    ([np.ones((1, 50, 2), F32), number(3), None, number(5)], 5, 3),
    ([np.ones((1, 50), F32), number(3), None, number(5)], 5, 3),
]


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize(("operands", "points", "step"), FRAMES)
def test_frames_are_whole(operands: list[Any], points: int, step: int, onesided: int) -> None:
    """As many as fit without padding, however unevenly; onnx's own inference gives another count."""
    lone = Lone("STFT", operands, 17, onesided=onesided)
    lone.check()
    assert lone.taps(1) == window(points, step)


def test_onnx_counts_frames_otherwise() -> None:
    """The reason why its inference is no part of an answer: 16 frames fit, by hand as in onnxruntime."""
    lone = Lone("STFT", FRAMES[3][0], 17)
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(lone.model), data_prop=True)
    inferred = [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    size = lone.scene().size("y0")
    assert size is not None
    assert size.shape[1] == (128 - 17) // 7 + 1 == 16
    assert inferred != list(size.shape)


def test_a_frame_sees_its_own_samples() -> None:
    """Frame i reads the signal from step x i on, for as long as the frame is."""
    signal = np.ones((1, 30, 1), F32)
    lone = Lone("STFT", [signal, number(4), None, number(6)], 17)
    assert lone.rows(1) == list(inside(lone.taps(1), 7, 30))


def test_a_window_is_multiplied_with_and_kept() -> None:
    """One multiply per sample of each frame, beside the transforms; 15 frames of 16 in each of 2 signals."""
    with_window = Lone("STFT", FRAMES[0][0], 17).facts()
    without = Lone("STFT", FRAMES[1][0], 17).facts()
    assert without.elementwise == 2 * 15 * (5 * 16 * 4)
    assert with_window.elementwise == without.elementwise + 2 * 15 * 16
    assert [size.shape for size in kept(with_window)] == [(16,)]
    assert without.saved == ()


@pytest.mark.parametrize("op_type", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("attributes", [{}, {"output_datatype": 11}, {"periodic": 0, "output_datatype": 1}])
@pytest.mark.parametrize("size", [np.array(10, np.int64), np.array(7, np.int32)])
def test_windows_have_as_many_points_as_asked(op_type: str, attributes: dict[str, Any], size: Any) -> None:
    """Of the type asked for, a float unless said."""
    Lone(op_type, [size], 17, **attributes).check()


@pytest.mark.parametrize("attributes", [{}, {"output_datatype": 11}])
def test_a_mel_matrix_is_frequencies_by_bins(attributes: dict[str, Any]) -> None:
    """One side of the spectrum's frequencies."""
    operands = [number(8), number(16), number(8192), np.array(0, F32), np.array(4096, F32)]
    lone = Lone("MelWeightMatrix", operands, 17, **attributes)
    lone.check()
    assert lone.facts().elementwise == 4 * (16 // 2 + 1) * 8


def test_what_the_data_decides_is_open() -> None:
    """A length, a step, an axis or a size that is not known."""
    x, open_number, known = Size((1, 8, 1), FLOAT32), Size((), INT64), Size((), INT64, number(4))
    assert dft(x, open_number).outputs is None
    assert dft(x, None, open_number).outputs is None
    assert stft(x, open_number, None, known).outputs is None
    assert stft(x, known, None, open_number).outputs is None
    assert hann_window(open_number).outputs is None
    assert mel_weight_matrix(open_number, known, known, known, known).outputs is None


@pytest.mark.parametrize(
    ("op_type", "opset", "operands", "attributes", "reason"),
    [
        ("DFT", 17, [IMAGE], {"axis": 3}, "SIGNAL"),
        ("DFT", 20, [IMAGE, None, number(-1)], {}, "SIGNAL"),
        ("DFT", 20, [np.ones((2, 10, 3), F32)], {}, "SIGNAL"),
        ("DFT", 20, [COMPLEX], {"onesided": 1}, "SIGNAL"),
        ("DFT", 20, [COMPLEX, number(0)], {}, "SIGNAL"),
        ("STFT", 17, [SIGNAL, number(8), np.ones(16, F32), number(15)], {}, "SIGNAL"),
        ("STFT", 17, [SIGNAL, number(8), None, number(160)], {}, "SIGNAL"),
        ("STFT", 17, [SIGNAL, number(0), None, number(16)], {}, "SIGNAL"),
        ("HannWindow", 17, [number(-1)], {}, "NEGATIVE_DIM"),
        ("HannWindow", 17, [number(4)], {"output_datatype": 99}, "UNKNOWN_DTYPE"),
    ],
)
def test_what_does_not_fit_is_refused(
    op_type: str, opset: int, operands: list[Any], attributes: dict[str, Any], reason: str
) -> None:
    """By onnxruntime as well."""
    lone = Lone(op_type, operands, opset, **attributes)
    assert lone.reason() == reason
    assert lone.fault()
