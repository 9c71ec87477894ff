"""DepthToSpace and SpaceToDepth against onnxruntime: sizes, and which rows and channels each position reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import FLOAT32, Size
from analyzer.ops.blocks import depth_to_space, space_to_depth
from analyzer.spans import PHASES, Affine, Read, Route
from tests.ops.lone import Lone, inside


def ones(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize(("opset", "mode"), [(7, ""), (11, "DCR"), (11, "CRD"), (13, "CRD"), (28, "DCR")])
def test_depth_becomes_space(opset: int, mode: str, block: int) -> None:
    """A position reads one row, and the channels of its block: scattered in DCR, together in CRD."""
    attributes: dict[str, Any] = {"mode": mode} if mode else {}
    lone = Lone("DepthToSpace", [ones(2, 2 * block**2, 2, 3)], opset, blocksize=block, **attributes)
    lone.check()
    facts = lone.facts()
    assert (facts.macs, facts.elementwise, facts.saved) == (0, 0, ())
    for axis, rows in enumerate((2, 2 * block**2, 2, 3)):
        seen = lone.rows(axis)
        assert list(inside(lone.taps(axis), len(seen), rows)) == seen


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize(("opset", "mode"), [(7, ""), (13, ""), (28, "DCR"), (28, "CRD")])
def test_space_becomes_depth(opset: int, mode: str, block: int) -> None:
    """A position reads the rows of its block, and one channel: in turn in DCR, block^2 times in succession in CRD."""
    attributes: dict[str, Any] = {"mode": mode} if mode else {}
    lone = Lone("SpaceToDepth", [ones(2, 3, 2 * block, 4 * block)], opset, blocksize=block, **attributes)
    lone.check()
    for axis, rows in enumerate((2, 3, 2 * block, 4 * block)):
        seen = lone.rows(axis)
        assert list(inside(lone.taps(axis), len(seen), rows)) == seen


def test_a_pixel_shuffle_has_as_many_phases_as_its_block() -> None:
    """Rows 0, 0, 1, 1, 2, 2: half a row per position."""
    lone = Lone("DepthToSpace", [ones(1, 4, 3, 3)], 13, blocksize=2)
    assert lone.taps(2) == Affine(2, 1, (0, 0), (0, 0))


def test_more_phases_than_can_be_written_out_are_all_rows() -> None:
    """A block of thousands, or as many channels in turn, is no more than a whole axis."""
    spans: Any = depth_to_space(Size((1, (PHASES + 1) ** 2, 1, 1), FLOAT32), blocksize=PHASES + 1).spans
    assert spans[2] == Read("global", 2)
    spans = space_to_depth(Size((1, 2**40, 2, 2), FLOAT32), blocksize=2).spans
    assert spans[:2] == (Route(0), Read("global", 1))


@pytest.mark.parametrize(
    ("op_type", "shape", "attributes", "reason"),
    [
        ("DepthToSpace", (1, 9, 2, 2), {"blocksize": 2}, "BLOCK_SIZE"),
        ("DepthToSpace", (1, 8, 2, 2), {"blocksize": 0}, "BLOCK_SIZE"),
        ("DepthToSpace", (1, 8, 2, 2), {"blocksize": 2, "mode": "RCD"}, "MODE"),
        ("DepthToSpace", (1, 8, 2), {"blocksize": 2}, "RANK"),
        ("SpaceToDepth", (1, 8, 2, 3), {"blocksize": 2}, "BLOCK_SIZE"),
        ("SpaceToDepth", (1, 8, 4, 4, 4), {"blocksize": 2}, "RANK"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(
    op_type: str, shape: tuple[int, ...], attributes: dict[str, Any], reason: str
) -> None:
    """By onnxruntime as well."""
    lone = Lone(op_type, [ones(*shape)], 13, **attributes)
    assert lone.reason() == reason
    assert lone.fault()
