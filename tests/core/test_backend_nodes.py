"""The node tests of the onnx package: what they compute, the analyzer must know the shape and dtype of.

Each is a model of one op, or of an op's function body, with inputs and real outputs. The declared shapes of the
outputs are dropped and small integer inputs become stored tensors, as exporters write axes and shapes; then every
output's size is compared with the real output, its value too where the analyzer claims to know it.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx.defs
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from analyzer import AnalyzerError, Options, analyze
from analyzer.describe import describe
from analyzer.graph import Size
from analyzer.load import load
from analyzer.ops.rule import REGISTRY

SMALL = 64
FLOAT_SETTINGS = {"OneHot", "Range", "Resize", "Upsample"}
"""Ops that take sizes and scales as floating-point numbers too."""

# Ops that some case needs and that have no rule yet. A name goes when its rule comes: a test fails while it is here.
WITHOUT_RULE: set[str] = set()

# Ops of which some case has a result that only the data can size, and what is said of it: an upper bound or nothing.
SIZED_BY_DATA = {
    "ImageDecoder": "unknown", "NonMaxSuppression": "bound", "NonZero": "bound", "OptionalGetElement": "unknown",
    "StringNormalizer": "bound", "StringSplit": "unknown", "Unique": "bound",
}  # fmt: skip

Case = Any


@cache
def cases() -> dict[str, list[Case]]:
    """Every case by the op that it is about; an expanded function's is that of the test it was expanded from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected: list[Case] = collect_testcases(None)
    about: dict[str, str] = {}
    for case in collected:
        if "_expanded" not in case.name:
            nodes = case.model.graph.node
            about[case.name] = nodes[0].op_type if len(nodes) == 1 else "several"
    found: dict[str, list[Case]] = {}
    for case in collected:
        base = case.name.partition("_expanded")[0]
        found.setdefault(about.get(base, "several"), []).append(case)
    return found


def settled(op_type: str, case: Case) -> ModelProto:
    """The model without its outputs' shapes, and with its small inputs of integers stored."""
    model = ModelProto.FromString(case.model.SerializeToString())  # bfloat16 is of kind V
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    kinds = "iubfV" if op_type in FLOAT_SETTINGS else "iub"
    for declared, given in zip(list(model.graph.input), case.data_sets[0][0], strict=False):
        array = as_array(given)
        if array is not None and array.dtype.kind in kinds and array.ndim <= 1 and array.size <= SMALL:
            model.graph.initializer.append(numpy_helper.from_array(array, declared.name))
            model.graph.input.remove(declared)
    return model


def as_array(given: Any) -> np.ndarray[Any, Any] | None:
    """A tensor; None for a sequence, or nothing in an optional."""
    if isinstance(given, TensorProto):
        return numpy_helper.to_array(given)
    return np.asarray(given) if isinstance(given, (np.ndarray, np.generic)) else None


def verdict(op_type: str, case: Case) -> Iterator[tuple[str, str]]:
    """What is to be said of one case: wrong, or else no rule for it, or a size not known, or known as a bound."""
    data = settled(op_type, case).SerializeToString()
    try:
        report = analyze(data)
        scene = describe(load(data), Options())
    except AnalyzerError as error:
        yield "wrong", str(error)
        return
    missing = {warning.message.split()[3] for warning in report.warnings if warning.reason == "NO_RULE"}
    if missing:
        yield from (("no rule", op) for op in missing)
        return
    for value, result in zip(case.model.graph.output, case.data_sets[0][1], strict=True):
        real = as_array(result)
        if real is not None:
            yield from (
                (word, f"{value.name} {told}") for word, told in compared(scene.size(value.name), real)
            )


def compared(size: Size | None, real: np.ndarray[Any, Any]) -> Iterator[tuple[str, str]]:
    """One output as described and as it is."""
    if size is None:
        yield "unknown", ""
        return
    dtype = "string" if real.dtype.kind in "OUS" else real.dtype.name
    if size.dtype.name != dtype:
        yield "wrong", f"is {size.dtype.name}, really {dtype}"
    if not size.exact:
        fits = size.rank == real.ndim and all(
            ours >= theirs for ours, theirs in zip(size.shape, real.shape, strict=True)
        )
        yield ("bound", "") if fits else ("wrong", f"is at most {size.shape}, really {real.shape}")
    elif size.shape != real.shape:
        yield "wrong", f"is {size.shape}, really {real.shape}"
    elif size.value is not None and size.value_exact and real.dtype.kind in "iubf":
        if size.value.shape != real.shape:
            yield "wrong", f"has a value of shape {size.value.shape}, really {real.shape}"
        elif not np.allclose(size.value.astype(real.dtype), real, rtol=1e-5, atol=1e-5, equal_nan=True):
            yield "wrong", f"is {size.value.reshape(-1)[:8]}..., really {real.reshape(-1)[:8]}..."


@cache
def verdicts(op_type: str) -> dict[str, set[str]]:
    """Words by case, over all cases about one op."""
    found: dict[str, set[str]] = {}
    for case in cases().get(op_type, []):
        for word, told in verdict(op_type, case):
            found.setdefault(word, set()).add(f"{case.name}: {told}" if word == "wrong" else told)
    return found


OPS = sorted({schema.name for schema in onnx.defs.get_all_schemas_with_history()} | {"several"})


@pytest.mark.parametrize("op_type", OPS)
def test_every_output_of_a_node_test_is_described_as_it_is(op_type: str) -> None:
    """Shape and dtype, and the value where one is claimed. What cannot be known is not claimed."""
    if op_type not in cases():
        pytest.skip("onnx has no node test of it")
    found = verdicts(op_type)
    assert found.get("wrong", set()) == set()
    assert found.get("no rule", set()) <= WITHOUT_RULE
    assert not (found.keys() & {"unknown", "bound"}) or op_type in SIZED_BY_DATA


def test_ops_without_a_rule_are_still_without_one() -> None:
    """The list must shrink: whoever writes the rule takes the name out."""
    assert {name for _, name in REGISTRY} & WITHOUT_RULE == set()


@pytest.mark.parametrize("op_type", sorted(SIZED_BY_DATA))
def test_an_op_that_the_data_sizes_is_described_no_better(op_type: str) -> None:
    """The list must shrink here too: what has come to be known exactly is held to it."""
    words = verdicts(op_type).keys() & {"unknown", "bound"}
    assert words == {SIZED_BY_DATA[op_type]}


def test_every_case_belongs_to_an_op() -> None:
    """None is left out of the tests above."""
    assert set(cases()) <= set(OPS)
    assert sum(map(len, cases().values())) > 1000


# ---- nodes that are damaged

ODD = (-5, -1, 0, 1, 2, 3, 7, 64)


def damaged(model: ModelProto, rng: random.Random) -> bytes:
    """The model with an attribute, a dimension or an operand that is not as it was."""
    model = ModelProto.FromString(model.SerializeToString())
    (node, inputs) = rng.choice(model.graph.node), model.graph.input
    attributes = [attribute for attribute in node.attribute if attribute.HasField("i") or attribute.ints]
    match rng.choice(["attribute", "dimension", "rank", "operand"]):
        case "attribute" if attributes:
            attribute = rng.choice(attributes)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(ODD)
            else:
                attribute.i = rng.choice(ODD)
        case "dimension" if inputs:
            shape = rng.choice(inputs).type.tensor_type.shape.dim
            if shape:
                rng.choice(shape).dim_value = abs(rng.choice(ODD))
        case "rank" if inputs:
            shape = rng.choice(inputs).type.tensor_type.shape.dim
            if shape and rng.random() < 0.5:
                shape.pop()
            else:
                shape.add(dim_value=2)
        case "operand" if node.input:
            stored = [tensor.name for tensor in model.graph.initializer]
            node.input[rng.randrange(len(node.input))] = rng.choice(
                ["", *stored, *(value.name for value in inputs)]
            )
    return model.SerializeToString()


@pytest.mark.parametrize("op_type", OPS)
def test_a_damaged_node_gives_a_report_or_a_reason(op_type: str) -> None:
    """Forty times each op: whatever is wrong, no rule and no pass falls over, and nothing is less than nothing."""
    rng = random.Random(op_type)
    models = [settled(op_type, case) for case in cases().get(op_type, []) if "_expanded" not in case.name]
    for _ in range(40 if models else 0):
        data = damaged(rng.choice(models), rng)
        try:
            report = analyze(data, Options(lenient=rng.random() < 0.3))
        except AnalyzerError:
            continue
        totals = report.totals
        for total in (totals.macs, totals.elementwise_flops, totals.outputs_bytes, totals.parameters):
            assert total.known is None or total.known >= 0
        assert all(min(tensor.shape or (0,)) >= 0 for tensor in report.tensors)
