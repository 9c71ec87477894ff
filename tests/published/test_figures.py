"""Macs, parameters and depth of well-known networks against what others have published.

A row is a file, a figure and the figure's source. Exact figures are exact: a padded tap, a bias or a running statistic
too many is a failure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analyzer import Options, Report, analyze
from tests.conftest import LIGHT_MODELS, MODELS, in_zoo, light, shipped


@cache
def report(path: Path, dims: tuple[tuple[str, int], ...] = ()) -> Report:
    return analyze(path, Options(dims=dict(dims)))


# Two independent tools agree on each of these: torch's FlopCounterMode (halved, it counts two per multiply-add) and the
# GFLOPs that torchvision prints beside its weights. NNI and torchtnt have them in their own tests.

MACS = [
    ("alexnet", 714_188_480, "torchtnt-test_module_summary"),
    ("vgg16", 15_470_264_320, "torch-FlopCounterMode"),
    ("resnet50", 4_089_184_256, "NNI-test_count_flops_params"),
    ("googlenet", 1_498_376_192, "torch-FlopCounterMode"),
    ("mobilenet_v2", 300_774_272, "torch-FlopCounterMode"),
]

EXPORTS = {
    "alexnet": ["tv_alexnet"],
    "vgg16": ["tv_vgg16__dynamo", "tv_vgg16__legacy"],
    "resnet50": ["tv_resnet50__dynamo", "tv_resnet50__legacy"],
    "googlenet": ["tv_googlenet"],
    "mobilenet_v2": ["tv_mobilenet_v2__dynamo", "tv_mobilenet_v2__legacy"],
}


@pytest.mark.parametrize(
    ("name", "macs"), [pytest.param(n, m, id=f"{n}-{m}-{source}") for n, m, source in MACS]
)
def test_macs_of_a_shipped_model(name: str, macs: int) -> None:
    """A model drawn from its paper costs what torch counts for the torchvision module of that name."""
    total = report(shipped(name)).totals.macs
    assert (total.known, total.status) == (macs, "complete")


@pytest.mark.parametrize(
    ("export", "macs"),
    [pytest.param(e, m, id=f"{e}-{m}-{source}") for n, m, source in MACS for e in EXPORTS[n]],
)
def test_macs_of_a_real_export(export: str, macs: int) -> None:
    """Both of torch's exporters hand over the same work, however differently they write it down."""
    total = report(in_zoo(export)).totals.macs
    assert (total.known, total.status) == (macs, "complete")


PARAMETERS = [
    ("resnet50", 25_557_032, "torchvision-ResNet50_Weights.num_params"),
    ("vgg16", 138_357_544, "torchvision-VGG16_Weights.num_params"),
]


@pytest.mark.parametrize(
    ("name", "parameters"), [pytest.param(n, p, id=f"{n}-{p}-{source}") for n, p, source in PARAMETERS]
)
def test_parameters_of_a_shipped_model(name: str, parameters: int) -> None:
    """Weights count once each, running statistics do not."""
    assert report(shipped(name)).totals.parameters.known == parameters


RESNET50_PARAMETERS = {"Conv": 23_454_912, "Gemm": 2_049_000, "BatchNormalization": 53_120}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(shipped("resnet50"), id="shipped"),
        pytest.param(light("resnet50"), id="onnx-wheel"),
    ],
)
def test_parameters_of_resnet50_by_kind_of_layer_NNI_test_count_flops_params(path: Path) -> None:
    """The rows of the nodes split the total as NNI's do: convolutions, the classifier, batch norm's scale and shift."""
    found: dict[str, int] = {}
    for row in report(path).nodes:
        if row.parameters:
            found[row.op_type] = found.get(row.op_type, 0) + row.parameters
    assert found == RESNET50_PARAMETERS
    assert sum(found.values()) == 25_557_032


DEPTH = [
    (shipped("alexnet"), 8, "Krizhevsky2012"),
    (light("bvlc_alexnet"), 8, "Krizhevsky2012"),
    (light("zfnet512"), 8, "ZeilerFergus2013"),
    (shipped("vgg16"), 16, "SimonyanZisserman2014-table1-D"),
    (shipped("vgg19"), 19, "SimonyanZisserman2014-table1-E"),
    (light("vgg19"), 19, "SimonyanZisserman2014-table1-E"),
    (shipped("googlenet"), 22, "Szegedy2014-section5"),
    (light("inception_v1"), 22, "Szegedy2014-section5"),
    (shipped("resnet18"), 18, "He2015-table1"),
    (shipped("resnet50"), 50, "He2015-table1"),
    (light("resnet50"), 50, "He2015-table1"),
    (shipped("resnet152"), 152, "He2015-table1"),
    (light("densenet121"), 121, "Huang2016-table1"),
]


@pytest.mark.parametrize(
    ("path", "depth"), [pytest.param(p, d, id=f"{p.stem}-{d}-{source}") for p, d, source in DEPTH]
)
def test_depth(path: Path, depth: int) -> None:
    """Weighted layers on the longest path: convolutions and products with a weight, as the papers count them."""
    assert report(path).depth == depth


# What the zoo's manifest quotes, held here against the analyzer. tests/models holds it against the files.

MANIFEST: dict[str, Any] = tomllib.loads((MODELS / "manifest.toml").read_text(encoding="utf-8"))


def quoted() -> Iterator[Any]:
    for entry in MANIFEST["model"]:
        for row in entry["published"]:
            where = [str(row[key]) for key in ("quantity", "scope", "op_type") if key in row]
            name = "-".join((Path(entry["file"]).stem, *where, str(row["value"]), row["source"]))
            yield pytest.param(entry, row, id=name)


@pytest.mark.parametrize(("entry", "row"), list(quoted()))
def test_a_figure_of_the_manifest(entry: dict[str, Any], row: dict[str, Any]) -> None:
    """A figure under a scope or of an op type is the sum of those nodes' rows; any other is a total."""
    found = report(MODELS / entry["file"], tuple(entry["dims"].items()))
    quantity, scope = row["quantity"], row.get("scope")
    if quantity == "depth":
        counted = found.depth or 0
    elif scope is None and "op_type" not in row:
        counted = getattr(found.totals, quantity).known
    else:
        rows = [
            node
            for node in found.nodes
            if (scope is None or node.name == scope or node.name.startswith((f"{scope}/", f"{scope}.")))
            and row.get("op_type", node.op_type) == node.op_type
        ]
        assert rows
        counted = sum(getattr(node, quantity) for node in rows)
    published = row["value"]
    if isinstance(published, str):
        assert Decimal(counted).quantize(Decimal(published)) == Decimal(published)
    else:
        assert counted == published


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_weights_that_a_graph_computes_from_constants_are_its_parameters(name: str) -> None:
    """The light models fill their weights by ConstantOfShape; all are found, whole, and nothing is stored beside."""
    found = report(light(name))
    assert found.totals.parameters.status == "complete"
    weights = [row for row in found.tensors if row.role == "weight"]
    assert sum(row.bytes or 0 for row in weights) == found.totals.parameter_bytes.known
    assert found.totals.parameter_bytes.known == 4 * (found.totals.parameters.known or 0)
