"""Orders that onnxruntime leaves to chance: those that sessions chose, and the peaks that they had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from analyzer import Options, analyze
from analyzer.graph import Graph
from analyzer.load import load, strip
from analyzer.runtime import chance
from analyzer.runtime.order import from_leaves
from analyzer.runtime.session import optimised
from tests.conftest import in_zoo, text_model
from tests.runtime.test_predict import measured

pytest.importorskip("onnxruntime")

BRANCHES = 6
SESSIONS = 6


def star() -> bytes:
    """Convolutions of one input, each to another length, that meet along an axis that no blocked layout has."""
    stored = ", ".join(
        f'float[16, 16, {index + 1}, 3] w{index} = ["location": "weights.bin"]' for index in range(BRANCHES)
    )
    lines = [f"c{index} = Conv (s, w{index}) r{index} = Relu (c{index})" for index in range(BRANCHES)]
    met = ", ".join(f"r{index}" for index in range(BRANCHES))
    text = f"""g (float[n, 3, 40, 40] x) => (float[n, 16, h, 36] y)
        <float[16, 3, 3, 3] v = ["location": "weights.bin"], {stored}> {{
        s = Conv (x, v) {" ".join(lines)} t = Concat <axis = 2> ({met}) y = Exp (t) }}"""
    model = onnx.ModelProto.FromString(text_model(text, opset=18))
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        numbers = random.random(tuple(tensor.dims), np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(numbers, tensor.name))
    return model.SerializeToString()


def saved(thin: bytes, sessions: int) -> Iterator[Graph]:
    """What that many sessions of a stripped model run."""
    return (load(optimised(thin, "all").model).graph for _ in range(sessions))


def has_blocks(graph: Graph) -> bool:
    return any(node.op_type == "ReorderOutput" for node in graph.nodes)


def test_each_session_runs_in_the_order_of_its_numbers() -> None:
    """The ranks that are worked out of a saved graph give the order in which it was saved."""
    model = star()
    original = load(model).graph
    for graph in saved(strip(model), 3):
        if not has_blocks(graph):
            pytest.skip("this processor has no blocked layout")
        ranks = chance._ranks(graph.nodes, original)
        assert ranks is not None
        assert from_leaves(graph.nodes, ranks) == tuple(range(len(graph.nodes)))


@pytest.mark.parametrize("name", ["timm_pnasnet5large"])
def test_a_networks_sessions_run_in_such_orders(name: str) -> None:
    """The same of exports in which convolutions have taken in sums."""
    path = in_zoo(name)
    (graph,) = saved(strip(path), 1)
    if not has_blocks(graph):
        pytest.skip("this processor has no blocked layout")
    found = chance.orders(graph.nodes, load(path).graph)
    assert found is not None
    assert len(found) > 1


def test_every_order_is_legal() -> None:
    """Each has all nodes once, none before what it reads."""
    model = star()
    (graph,) = saved(strip(model), 1)
    found = chance.orders(graph.nodes, load(model).graph)
    assert found is not None
    for order in found:
        made = {tensor.name for tensor in graph.inputs} | set(graph.initializers) | {""}
        for index in order:
            assert made.issuperset(graph.nodes[index].inputs)
            made.update(graph.nodes[index].outputs)
        assert sorted(order) == list(range(len(graph.nodes)))


def test_no_session_is_outside_of_the_prediction(tmp_path: Path) -> None:
    """Peaks of several sessions lie between the least and the largest that are told."""
    model = star()
    said = analyze(model, Options(dims={"n": 2}, runtime="onnxruntime")).memory.inference.onnxruntime
    assert said is not None
    assert said.status == "complete"
    peaks = [measured(model, "all", tmp_path, 2)[0] for _ in range(SESSIONS)]
    assert all(said.distinct.least_peak_bytes <= peak <= said.distinct.peak_bytes for peak in peaks), peaks


def test_one_way_out_is_no_choice() -> None:
    """A chain has one order, and its least peak is its peak."""
    text = """g (float[1, 16, 20, 20] x) => (float[1, 16, 18, 18] y)
        <float[16, 16, 3, 3] w = ["location": "weights.bin"]> { a = Conv (x, w) y = Exp (a) }"""
    said = analyze(text_model(text, opset=18), Options(runtime="onnxruntime")).memory.inference.onnxruntime
    assert said is not None
    assert said.least_peak_bytes == said.peak_bytes
