"""The published table of receptive fields: size, stride and padding at the last end point of each net.

Distill: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", 2019; the article gives the
padding at 224 rows, the table beside its code (google-research/receptive_field) that at 321 too.
"""

from __future__ import annotations

import pytest
from onnx import ModelProto, helper

from analyzer import analyze
from analyzer.report import FieldRow
from tests.published import skeletons
from tests.published.skeletons import Path

# net: (layers, size, stride, padding of 224 rows, of 321 rows)
TABLE: dict[str, tuple[Path, int, int, int, int]] = {
    "alexnet_v2": (skeletons.alexnet_v2(), 195, 32, 64, 64),
    "vgg_a": (skeletons.vgg(1, 1, 2, 2, 2), 150, 32, 59, 59),
    "vgg_16": (skeletons.vgg(2, 2, 3, 3, 3), 212, 32, 90, 90),
    "mobilenet_v1": (skeletons.mobilenet_v1(), 315, 32, 126, 157),
    "resnet_v1_50": (skeletons.resnet_v1(3, 4, 6, 3), 483, 32, 239, 241),
    "resnet_v1_101": (skeletons.resnet_v1(3, 4, 23, 3), 1027, 32, 511, 513),
    "resnet_v1_152": (skeletons.resnet_v1(3, 8, 36, 3), 1507, 32, 751, 753),
    "resnet_v1_200": (skeletons.resnet_v1(3, 24, 36, 3), 1763, 32, 879, 881),
    "inception_v2": (skeletons.inception_v2(), 699, 32, 318, 349),
    "inception_v3": (skeletons.inception_v3(), 1311, 32, 618, 618),
    "inception_v4": (skeletons.inception_v4(), 2071, 32, 998, 998),
    "inception_resnet_v2": (skeletons.inception_resnet_v2(), 3039, 32, 1482, 1482),
    "inception_resnet_v2_same": (skeletons.inception_resnet_v2(""), 3039, 32, 1488, 1519),
}


@pytest.mark.parametrize("rows", [224, 321])
@pytest.mark.parametrize("name", TABLE)
def test_size_stride_and_padding_of_a_published_net(name: str, rows: int) -> None:
    """Along both axes of the image, at both sizes that were published."""
    path, size, stride, at_224, at_321 = TABLE[name]
    fields = drawn(path, rows, rows)
    padding = at_224 if rows == 224 else at_321
    for axis in (2, 3):
        row = fields["y", axis]
        assert (row.status, row.size, row.stride, row.padding) == ("local", size, str(stride), padding)


@pytest.mark.parametrize("name", TABLE)
def test_a_published_net_of_free_height_and_width(name: str) -> None:
    """Size and stride hold; padding and centre are told where they are those of any size, and of no tensor else."""
    path, size, stride, at_224, at_321 = TABLE[name]
    fields = drawn(path, "height", "width")
    for axis in (2, 3):
        row = fields["y", axis]
        assert (row.status, row.size, row.stride) == ("local", size, str(stride))
        assert row.padding == (at_224 if at_224 == at_321 else None)
    fitted = behind_fitted_windows(skeletons.model(path, "height", "width"))
    assert {tensor for (tensor, _), row in fields.items() if row.padding is None} == fitted
    assert {tensor for (tensor, _), row in fields.items() if row.first_center is None} == fitted


@pytest.mark.parametrize("name", TABLE)
def test_what_is_told_of_a_free_size_holds_at_any(name: str) -> None:
    """Of every tensor of the net, at 224 rows and 321 columns."""
    path = TABLE[name][0]
    fields, bound = drawn(path, "height", "width"), drawn(path, 224, 321)
    assert fields.keys() == bound.keys()
    for at, row in fields.items():
        assert (row.size, row.stride) == (bound[at].size, bound[at].stride), at
        assert row.padding in (bound[at].padding, None), at


def drawn(path: Path, height: int | str, width: int | str) -> dict[tuple[str, int], FieldRow]:
    """Rows of the height and the width of a net's tensors."""
    report = analyze(skeletons.model(path, height, width).SerializeToString())
    return {(row.tensor, row.axis): row for row in report.receptive_fields if row.axis in (2, 3)}


def behind_fitted_windows(model: ModelProto) -> set[str]:
    """Tensors behind a window of several taps and steps whose padding is made to fit the size."""
    found: set[str] = set()
    for node in model.graph.node:
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        fitted = told.get("auto_pad") == b"SAME_UPPER" and told["kernel_shape"] != [1, 1]
        if (fitted and told["strides"] != [1, 1]) or not found.isdisjoint(node.input):
            found.update(node.output)
    return found
