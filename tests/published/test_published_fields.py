"""Receptive fields of well-known networks against published and measured figures.

Distill: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", 2019, and its table.
Measured: every input row perturbed in turn in onnxruntime, and the positions listed that notice it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from analyzer import Report, analyze
from analyzer.report import FieldRow
from tests.conftest import LIGHT_MODELS, light, shipped

HEIGHT, WIDTH = 2, 3


@cache
def report(path: Path) -> Report:
    return analyze(path)


def fields(path: Path, tensor: str) -> dict[int, FieldRow]:
    """The rows of one tensor by the input's axis."""
    return {row.axis: row for row in report(path).receptive_fields if row.tensor == tensor}


def last_local(path: Path) -> str:
    """The last tensor whose field along the height is a window: the end of the convolutional part."""
    rows = [row for row in report(path).receptive_fields if row.axis == HEIGHT and row.size is not None]
    return rows[-1].tensor


ANCHORS = [
    (light("bvlc_alexnet"), "r14", 195, 32, 64, "Distill-alexnet_v2-pool5"),
    (shipped("vgg16"), "pool5", 212, 32, 90, "Distill-vgg_16-pool5"),
    (shipped("vgg19"), "pool5", 268, 32, 118, "closed_form-pool5"),
    (light("vgg19"), "r36", 268, 32, 118, "closed_form-pool5"),
    (light("inception_v1"), "r137", 715, 32, 327, "measured-last_Concat"),
    (light("resnet50"), "r170", 427, 32, 213, "measured-last_Sum"),
]


@pytest.mark.parametrize(
    ("path", "tensor", "size", "stride", "padding"),
    [
        pytest.param(*row[:5], id=f"{row[0].stem}-{row[1]}-{row[2]}_{row[3]}_{row[4]}-{row[5]}")
        for row in ANCHORS
    ],
)
@pytest.mark.parametrize("axis", [HEIGHT, WIDTH])
def test_size_stride_and_padding(
    path: Path, tensor: str, size: int, stride: int, padding: int, axis: int
) -> None:
    """The three figures of the literature, along both axes of the image."""
    row = fields(path, tensor)[axis]
    assert (row.status, row.size, row.stride, row.padding) == ("local", size, str(stride), padding)


# (tensor, size, stride, padding, first centre, field along the narrowest path, first tensor that sees over 224 rows)

MEASURED = {
    "bvlc_alexnet": ("r14", 195, 32, 64, 33.0, 195, None),
    "zfnet512": ("r14", 155, 32, 48, 29.0, 155, None),
    "vgg19": ("r36", 268, 32, 118, 15.5, 268, ("r34", 252)),
    "inception_v1": ("r137", 715, 32, 327, 30.0, 75, ("r61", 235)),
    "inception_v2": ("r504", 699, 32, 343, 6.0, 75, ("r248", 251)),
    "squeezenet": ("r63", 207, 16, 88, 15.0, 31, None),
    "resnet50": ("r170", 427, 32, 213, 0.0, 11, ("r123", 235)),
    "densenet121": ("r906", 2071, 32, 1021, 14.0, 39, ("r269", 239)),
    "shufflenet": ("r197", 527, 32, 263, 0.0, 63, ("r120", 239)),
}


def test_every_light_model_has_its_row() -> None:
    """The table is whole."""
    assert sorted(MEASURED) == LIGHT_MODELS


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("axis", [HEIGHT, WIDTH])
def test_a_light_models_field_as_measured_in_onnxruntime(name: str, axis: int) -> None:
    """At the end of the convolutional part; the widest path is the field itself."""
    tensor, size, stride, padding, center, narrow, wide_at = MEASURED[name]
    row = fields(light(name), tensor)[axis]
    assert (row.size, row.size_min, row.stride, row.padding) == (size, size, str(stride), padding)
    assert (row.first_center, row.path_min, row.path_max) == (center, narrow, size)
    assert row.exceeds_input is (wide_at is not None)


@pytest.mark.parametrize("name", MEASURED)
def test_the_first_tensor_of_a_light_model_that_sees_more_than_its_input(name: str) -> None:
    """The light models read 224 rows; `exceeds_input` says where the field outgrows them."""
    rows = report(light(name)).receptive_fields
    wide = [(row.tensor, row.size) for row in rows if row.axis == HEIGHT and row.exceeds_input]
    assert (wide[0] if wide else None) == MEASURED[name][6]


@pytest.mark.parametrize("name", MEASURED)
def test_branches_with_different_centres_meet_in_inception_v2_only(name: str) -> None:
    """Its strided max pools have no padding on the left, unlike the convolutions beside them: at two Concats only."""
    apart = {row.tensor for row in report(light(name)).receptive_fields if row.aligned is False}
    assert apart == ({"r161", "r402"} if name == "inception_v2" else set())


def test_the_hull_of_misaligned_branches_is_as_measured() -> None:
    """123 and 443 rows, although the widest of the branches sees fewer."""
    merges = {name: fields(light("inception_v2"), name)[HEIGHT].size for name in ("r161", "r402")}
    assert merges == {"r161": 123, "r402": 443}


CLOSED_FORM = {
    "alexnet": (195, 195, 32),  # 11/4, 3/2, 5, 3/2, 3, 3, 3, 3/2
    "vgg16": (212, 212, 32),
    "vgg19": (268, 268, 32),
    "googlenet": (379, 379, 32),  # torchvision's has 3x3 where the paper has 5x5
    "resnet18": (435, 435, 32),
    "resnet50": (427, 427, 32),  # the stride on the 3x3 of a block; 483 with it on the 1x1
    "resnet152": (1451, 1451, 32),
    "mobilenet_v2": (491, 491, 32),
    "unet": (204, 188, 1),  # two sizes by the output's phase, as after any up-convolution
}


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_a_shipped_models_field_as_in_closed_form(name: str) -> None:
    """At the end of the convolutional part of each, largest and smallest over the output's phases."""
    row = fields(shipped(name), last_local(shipped(name)))[HEIGHT]
    assert (row.size, row.size_min, row.stride) == (*CLOSED_FORM[name][:2], str(CLOSED_FORM[name][2]))


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet50", "mobilenet_v2"])
def test_the_classifier_sees_the_whole_image(name: str) -> None:
    """A matrix product behind a Flatten, or behind global pooling, has no window any more."""
    (output,) = (row.name for row in report(shipped(name)).tensors if row.role == "output")
    row = fields(shipped(name), output)[HEIGHT]
    assert (row.status, row.size, row.stride, row.padding) == ("global", None, None, None)


def test_a_pool_as_large_as_the_map_is_a_window_still() -> None:
    """light ResNet-50 ends in AveragePool 7x7, which on a larger image would slide: 427 + 6*32 = 619."""
    (output,) = (row.name for row in report(light("resnet50")).tensors if row.role == "output")
    row = fields(light("resnet50"), output)[HEIGHT]
    assert (row.status, row.size, row.stride) == ("local", 427 + 6 * 32, "32")
