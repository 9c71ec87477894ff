"""What the conformance suite expects of its legal graphs is what the analysis says and what a runtime makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

from analyzer import Options, Report, analyze
from tests.conformance import suite
from tests.conformance.suite import Case, Tensor

CASES = suite.legal()
Numbers = dict[str, tuple[int | None, str]]

each = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def analysed(case: Case) -> Report:
    return analyze(suite.model(case.text).SerializeToString(), Options(dims=case.dims))


@each
def test_totals_are_those_of_the_header(case: Case) -> None:
    """Figures and whether they are all; where a header asks for no figure, its status alone."""
    totals = analysed(case).totals
    found: Numbers = {}
    expected: Numbers = {}
    for name, number in case.totals.items():
        metric = getattr(totals, name)
        found[name] = (metric.known if number.value is not None else None, metric.status)
        expected[name] = (number.value, "complete" if number.complete else "partial")
    assert "macs" in expected
    assert found == expected


@each
def test_tensors_are_those_of_the_header(case: Case) -> None:
    """Element type, shape, whether it is a bound, and bytes."""
    rows = {row.name: row for row in analysed(case).tensors}
    tensors = {name: _tensor(rows[name]) for name in case.tensors}
    assert tensors == case.tensors
    assert {name: rows[name].bytes for name in case.bytes} == case.bytes


@each
def test_derivations_come_to_what_they_say(case: Case) -> None:
    """Arithmetic in front of the reader."""
    shown = {name: number for name, number in case.derivations.items() if number.derivation}
    assert {name: suite.worth(number.derivation or "") for name, number in shown.items()} == {
        name: number.value for name, number in shown.items()
    }


@each
def test_a_runtime_makes_what_the_analysis_says(case: Case) -> None:
    """Every output's element type and shape, with nothing optimised; where the data decides, no more than the bound.
    So the graph is a legal one.
    """
    model = suite.model(case.text)
    onnx.checker.check_model(model)
    if case.runs == "nowhere":
        pytest.skip("its header says why nobody runs it")
    rows = {row.name: row for row in analysed(case).tensors}
    for output, value in zip(model.graph.output, _run(case, model), strict=True):
        made = Tensor("string" if value.dtype.kind in "OU" else value.dtype.name, value.shape)
        told = _tensor(rows[output.name])
        assert told is not None
        assert told.dtype == made.dtype
        assert len(told.shape) == len(made.shape)
        if told.exact:
            assert told.shape == made.shape
        else:
            assert all(least <= most for least, most in zip(made.shape, told.shape, strict=True))


def _run(case: Case, model: onnx.ModelProto) -> list[np.ndarray[Any, Any]]:
    feeds = suite.fed(model, case.dims)
    if case.runs == "reference":
        values: Any = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    else:
        runtime = pytest.importorskip("onnxruntime")
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        data = model.SerializeToString()
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        values = session.run(None, feeds)
    return [np.asarray(value) for value in values]


def _tensor(row: Any) -> Tensor | None:
    return None if row.shape is None else Tensor(row.dtype, tuple(row.shape), row.exact)
