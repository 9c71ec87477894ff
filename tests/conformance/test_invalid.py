"""What nothing could run is refused, with its reason, at its node; whoever asks for it gets a partial report."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import onnx
import pytest

from analyzer import BadModel, Options, analyze
from tests.conformance import suite
from tests.conformance.suite import Fault

FAULTS = suite.invalid()

READ_WITH = {"onnx": "1.23", "onnxruntime": "1.32"}
"""Versions with which it was found out who accepts what."""


def rows(*, lenient: bool) -> list[Any]:
    """The graphs that can, or cannot, be described in part."""
    return [pytest.param(fault, id=fault.name) for fault in FAULTS if not lenient or fault.lenient]


def bytes_of(fault: Fault) -> bytes:
    return suite.model(fault.text).SerializeToString()


def innermost(node: str | None) -> str | None:
    """A node's own name, without the bodies that it is in."""
    return node and node.rpartition("/")[2]


@pytest.mark.parametrize("fault", rows(lenient=False))
def test_it_is_refused_in_one_line_that_says_where(fault: Fault) -> None:
    """Reason, node and attribute are also data."""
    with pytest.raises(BadModel) as caught:
        analyze(bytes_of(fault))
    facts = caught.value.facts
    assert caught.value.reason == fault.reason
    assert "\n" not in caught.value.message
    if fault.node is not None:
        assert innermost(facts.get("node")) == fault.node
        assert fault.node in caught.value.message
    if fault.attribute is not None:
        assert facts.get("attribute") == fault.attribute


@pytest.mark.parametrize("fault", rows(lenient=True))
def test_a_lenient_analysis_warns_and_goes_on(fault: Fault) -> None:
    """One warning at the node; its cost is missing from the totals, which say so."""
    report = analyze(bytes_of(fault), Options(lenient=True))
    assert [innermost(warning.node) for warning in report.warnings if warning.reason == "INVALID"] == [
        fault.node
    ]
    assert report.totals.macs.status == "partial"


@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.lenient], ids=lambda fault: fault.name)
def test_nothing_can_be_said_of_a_structure_that_contradicts_itself(fault: Fault) -> None:
    """Lenient or not."""
    with pytest.raises(BadModel) as caught:
        analyze(bytes_of(fault), Options(lenient=True))
    assert caught.value.reason == fault.reason


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.accepted], ids=lambda fault: fault.name)
def test_others_accept_it(fault: Fault) -> None:
    """As far as the header says."""
    runtime = pytest.importorskip("onnxruntime")
    for package, version in READ_WITH.items():
        if not importlib.metadata.version(package).startswith(f"{version}."):
            pytest.skip(f"{package} is not {version}")
    model = suite.model(fault.text)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = None
    for gate in fault.accepted:
        match gate:
            case "check":
                onnx.checker.check_model(model)
            case "full_check":
                onnx.checker.check_model(model, full_check=True)
            case "strict_inference":
                onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
            case "session":
                data = model.SerializeToString()
                session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            case "run":
                assert session is not None
                session.run(None, suite.fed(model, {}))
