"""Real exports of torchvision's networks against what others said of them, where the folder of them is at hand.

NAME.json beside each file holds the dtype and shape of every tensor as onnxruntime ran it, macs counted from those
shapes, and torch's count of parameters where the file's weights agree with it to a hundredth (exporters fold batch
norms).
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from analyzer import Options, Report, analyze
from tests.conftest import ZOO

NOT_RUN = ("__train", "__bfloat16")  # onnxruntime's CPU has no kernels for these
NAMES = sorted(path.stem for path in ZOO.glob("tv_*.onnx") if not path.stem.endswith(NOT_RUN))
SIZED_BY_DATA = {"tv_ssdlite320_mobilenet_v3_large"}
"""Detectors, in which only the data knows how many boxes are left."""


@cache
def truth(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ZOO / f"{name}.json").read_text())
    return found


@cache
def reports(name: str) -> list[tuple[dict[str, Any], Report]]:
    """Each run of the truth, and the analysis bound to its inputs."""
    runs = truth(name).get("runs") or []
    shapes = [{tensor: tuple(shape) for tensor, (_, shape) in run["inputs"].items()} for run in runs]
    assert runs
    return [
        (run, analyze(ZOO / f"{name}.onnx", Options(shapes=given)))
        for run, given in zip(runs, shapes, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_the_dtype_and_shape_that_onnxruntime_gave_it(name: str) -> None:
    """At every binding of the inputs that was run."""
    for run, report in reports(name):
        found = {tensor.name: tensor for tensor in report.tensors}
        for tensor, (dtype, shape) in run["tensors"].items():
            row = found[tensor]
            if name in SIZED_BY_DATA and row.shape is None:
                continue
            assert row.dtype == dtype, tensor
            assert row.shape is not None, tensor
            if row.exact:
                assert row.shape == tuple(shape), tensor
            else:
                assert name in SIZED_BY_DATA
                assert all(most >= dim for most, dim in zip(row.shape, shape, strict=True)), tensor


@pytest.mark.parametrize("name", NAMES)
def test_macs_are_those_counted_from_onnxruntimes_shapes(name: str) -> None:
    """Run by run, where that count leaves nothing out."""
    counts = truth(name).get("macs_from_runtime_shapes") or []
    for count, (_, report) in zip(counts, reports(name), strict=True):
        if not count["not_counted"] and not count["nodes_with_subgraphs"]:
            assert report.totals.macs.known == count["macs"]
            assert report.totals.macs.status == "complete"


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_torchs(name: str) -> None:
    """Where the exporter dropped nothing but batch norms."""
    agreed = truth(name).get("parameters_agreed")
    for _, report in reports(name) if agreed else []:
        assert report.totals.parameters.known == pytest.approx(agreed, rel=0.01)
