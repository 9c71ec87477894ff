"""From bytes to a graph: what is read, what is refused and why, and what is left alone."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from analyzer import AnalyzerError, BadInput, BadModel, analyze
from analyzer.graph import Graph, Size
from analyzer.load import load
from analyzer.load.convert import NESTING_LIMIT
from tests.conftest import LIGHT_MODELS, SHIPPED_MODELS, light, shipped, text_model


def refused(model: Any) -> BadInput:
    """The error that loading raises: one line and a reason."""
    with pytest.raises(BadInput) as caught:
        load(model)
    error = caught.value
    assert str(error)
    assert "\n" not in str(error)
    assert error.reason.replace("_", "").isalnum()
    assert error.reason == error.reason.upper()
    assert error.status == "INVALID_ARGUMENT"
    return error


# ---- bytes that are no model

TEXT = "Dear Sir,\n\nhere is the model that you asked for.\n" * 20
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"
ZIP = b"PK\x03\x04\x14\x00\x00\x08\x08\x00" + bytes(64)

NO_MODELS = [
    pytest.param(b"", "EMPTY_FILE", "empty", id="empty"),
    pytest.param(TEXT.encode(), "NOT_ONNX", "text", id="text"),
    pytest.param(b"{}", "NOT_ONNX", "text", id="json"),
    pytest.param("Привет, мир\n".encode() * 9, "NOT_ONNX", "", id="text-cyrillic"),
    pytest.param(TEXT.encode("utf-16"), "NOT_ONNX", "", id="text-utf16"),
    pytest.param(bytes(1000), "NOT_ONNX", "", id="zeros"),
    pytest.param(b"\xff" * 1000, "NOT_ONNX", "", id="ones"),
    pytest.param(PNG, "NOT_ONNX", "", id="png"),
    pytest.param(ZIP, "NOT_ONNX", "", id="zip"),
    pytest.param(b"\x08\x0a", "NOT_ONNX", "graph", id="no-graph"),
    pytest.param(b"\x3a\x00", "NOT_ONNX", "ir_version", id="no-ir_version"),
    pytest.param(b"\x08\x0a\x3a\x00", "NO_OPSET", "opset_import", id="no-opset"),
]


@pytest.mark.parametrize(("data", "reason", "told"), NO_MODELS)
def test_bytes_that_are_no_model_are_refused(data: bytes, reason: str, told: str) -> None:
    """The reason tells an empty file, a text and other bytes apart."""
    error = refused(data)
    assert isinstance(error, BadModel)
    assert error.reason == reason
    assert told in error.message


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(seed: int) -> None:
    """Noise of any length is no model, and says so."""
    noise = random.Random(seed)
    assert refused(noise.randbytes(noise.randrange(1, 5000))).reason in {"NOT_ONNX", "TRUNCATED"}


CUT = ["lenet5", "tiny_transformer"]


@pytest.mark.parametrize("name", CUT)
def test_a_file_cut_off_anywhere_is_refused(name: str) -> None:
    """Every cut of the first and the last 60 bytes, and a hundred between: never a report of half a model."""
    data = shipped(name).read_bytes()
    cuts = {*range(60), *range(60, len(data), len(data) // 100), *range(len(data) - 60, len(data))}
    reasons = {refused(data[:cut]).reason for cut in cuts}
    assert reasons <= {"EMPTY_FILE", "NOT_ONNX", "NO_OPSET", "TRUNCATED"}


def test_a_cut_inside_a_field_names_the_offset_where_the_field_began() -> None:
    """Most of a file is its graph, so most cuts fall into it."""
    model = text_model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    graph = onnx.ModelProto.FromString(model).graph.SerializeToString()
    node = model.index(graph)  # the graph's first field, behind a tag and a length of a byte each
    error = refused(model[: node + 8])
    assert error.reason == "TRUNCATED"
    assert int(error.facts["offset"]) >= node
    assert "cut off?" in error.message


@pytest.mark.parametrize("name", ["lenet5", "tiny_transformer"])
@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_give_a_report_or_a_reason_but_no_traceback(name: str, seed: int) -> None:
    """Bits flipped, bytes lost and bytes put in between, forty times over."""
    damage = random.Random(f"{name} {seed}")
    whole = shipped(name).read_bytes()
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(damage.randrange(1, 4)):
            place = damage.randrange(len(data))
            match damage.randrange(3):
                case 0:
                    data[place] ^= 1 << damage.randrange(8)
                case 1:
                    del data[place : place + damage.randrange(1, 6)]
                case _:
                    data[place:place] = damage.randbytes(damage.randrange(1, 6))
        error = None
        try:
            analyze(bytes(data))
        except AnalyzerError as raised:
            error = raised
        assert error is None or (error.reason and "\n" not in str(error))


# ---- paths


def test_a_path_as_text_a_path_object_and_the_bytes_are_one_model(tmp_path: Path) -> None:
    """The file's stem is the model's name; bytes have none of their own."""
    path = tmp_path / "my.model.onnx"
    path.write_bytes(shipped("lenet5").read_bytes())
    by_text, by_path, by_bytes = load(str(path)), load(path), load(path.read_bytes())
    assert (by_text.name, by_path.name, by_bytes.name) == ("my.model", "my.model", "model")
    assert by_text.structure_sha256 == by_path.structure_sha256 == by_bytes.structure_sha256
    assert by_path.file_bytes == by_bytes.file_bytes == path.stat().st_size
    assert load(path, "another name").name == "another name"


def test_a_missing_file_a_directory_and_a_bad_path_are_refused(tmp_path: Path) -> None:
    """The path is in the message and in the facts."""
    for path, reason in (
        (tmp_path / "absent.onnx", "FILE_NOT_FOUND"),
        (tmp_path, "IS_A_DIRECTORY"),
        (tmp_path / ("n" * 300), "FILE_UNREADABLE"),
        (Path("a\0b"), "FILE_UNREADABLE"),
    ):
        error = refused(path)
        assert error.reason == reason
        assert error.facts["path"] == str(path)
        assert str(path) in str(error)


# ---- external data


def test_external_data_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where it is absent, lies outside the folder, or is a pipe whose reader would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    model = text_model("""
        g (float[2, 4] x) => (y, z, s) <
            float[4, 4] a = ["location": "absent.bin"],
            float[4, 4] b = ["location": "../../../../../../etc/passwd"],
            float[4, 4] c = ["location": "pipe", "offset": "0", "length": "64"],
            int64[2] shape = ["location": "pipe"]
        > {
            k = MatMul(x, a)
            l = MatMul(k, b)
            y = MatMul(l, c)
            d = Constant<value = float[1] outside = ["location": "/dev/stdin"]>()
            z = Add(y, d)
            s = Reshape(z, shape)
        }
    """)
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    opened: list[object] = []

    def spied(function: Callable[..., Any]) -> Callable[..., Any]:
        def spy(file: object, *arguments: Any, **keywords: Any) -> Any:
            opened.append(file)
            return function(file, *arguments, **keywords)

        return spy

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", spied(os.open))
        patch.setattr(io, "open", spied(io.open))
        patch.setattr(builtins, "open", spied(builtins.open))
        report = analyze(path)
    assert {str(file) for file in opened} == {str(path)}
    assert report.totals.parameters.known == 3 * 16 + 1
    assert {row.name: row.shape for row in report.tensors}["s"] is None


# ---- digests


WEIGHTS_EVERYWHERE = """
    <ir_version: 10, opset_import: ["" : 21, "local" : 1]>
    g (float[2, 16] x, bool c) => (float[2, 16] y) <float[16, 16] w = ["location": "weights.bin"]> {
        a = MatMul(x, w)
        k = Constant<value = float[16, 16] w = ["location": "weights.bin"]>()
        b = MatMul(a, k)
        d = If<
            then_branch = t () => (float[2, 16] p)
                <float[16, 16] inner = ["location": "weights.bin"]> { p = MatMul(b, inner) },
            else_branch = e () => (float[2, 16] q) { q = Identity(b) }
        >(c)
        y = local.f(d)
    }
    <domain: "local", opset_import: ["" : 21]>
    f (u) => (v) {
        m = Constant<value = float[16, 16] w = ["location": "weights.bin"]>()
        v = MatMul(u, m)
    }
"""
"""Large weights in every place that can hold them: stored, in a Constant, in a branch, in a function."""


def stored_tensors(nodes: Any, initializers: Any = ()) -> list[TensorProto]:
    """Every tensor in nodes and in the bodies below them."""
    found = list(initializers)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            found += stored_tensors(attribute.g.node, attribute.g.initializer)
    return found


def filled(stripped: bytes, seed: int) -> bytes:
    """The model with random numbers in place of its external data."""
    numbers = np.random.default_rng(seed)
    model = onnx.ModelProto.FromString(stripped)
    tensors = stored_tensors(model.graph.node, model.graph.initializer)
    for function in model.functions:
        tensors += stored_tensors(function.node)
    count = 0
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            values = numbers.random(tuple(tensor.dims), dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            count += 1
    assert count
    return model.SerializeToString()


STRIPPED = [
    pytest.param(text_model(WEIGHTS_EVERYWHERE), id="everywhere"),
    pytest.param(
        text_model('g (float[1, 9] x) => (y) <float[9, 99] w = ["location": "w"]> { y = MatMul(x, w) }'),
        id="one",
    ),
]


@pytest.mark.parametrize("stripped", STRIPPED)
def test_a_model_and_its_stripped_copy_have_one_digest(stripped: bytes) -> None:
    """The numbers of large weights, and whether they are there at all, are no part of the structure."""
    whole, other = filled(stripped, 1), filled(stripped, 2)
    assert len({stripped, whole, other}) == 3
    assert len({load(model).structure_sha256 for model in (stripped, whole, other)}) == 1


def test_weights_in_typed_fields_have_the_digest_of_raw_ones() -> None:
    """`float_data` and `raw_data` are two ways of storing the same tensor."""
    values = np.arange(100, dtype=np.float32)
    digests = set()
    for raw in (True, False):
        data = values.tobytes() if raw else values
        weight = helper.make_tensor("w", TensorProto.FLOAT, (100,), data, raw=raw)
        model = onnx.ModelProto.FromString(text_model("g (float[100] x) => (y) { y = Add(x, w) }"))
        model.graph.initializer.append(weight)
        digests.add(load(model.SerializeToString()).structure_sha256)
    assert len(digests) == 1


def test_structure_and_small_constants_make_the_digest() -> None:
    """Another attribute, another shape, another small constant: another model."""
    text = """
        g (float[1, 9] x) => (y) <float[9, 99] w = ["location": "w"], int64[2] s = {3, 33}> { p = MatMul(x, w) NEXT }
    """
    variants = [
        text.replace("NEXT", "y = Reshape(p, s)"),
        text.replace("NEXT", "y = Reshape <allowzero = 1> (p, s)"),
        text.replace("{3, 33}", "{33, 3}").replace("NEXT", "y = Reshape(p, s)"),
        text.replace("[9, 99] w", "[9, 66] w").replace("NEXT", "y = Reshape(p, s)"),
        text.replace("=> (y)", "=> (z)").replace("NEXT", "z = Reshape(p, s)"),
    ]
    assert len({load(text_model(model)).structure_sha256 for model in variants}) == len(variants)


def test_the_digest_of_a_model_without_large_weights_is_that_of_its_file() -> None:
    """Anyone can check it with sha256sum."""
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], []),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 21)],
        producer_name="",
    )
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]))
    data = model.SerializeToString(deterministic=True)
    assert hashlib.sha256(data).hexdigest() == load(data).structure_sha256  # nothing large: the file itself


# ---- tensors


def test_weights_come_in_as_sizes_and_small_constants_with_their_values() -> None:
    """Less than 991 bytes of integers or booleans, up to 64 floating-point numbers."""
    kept: dict[str, Any] = {
        "i": np.arange(123, dtype=np.int64),
        "b": np.ones(990, np.bool_),
        "f": np.arange(64, dtype=np.float32),
        "h": np.arange(64, dtype=np.float16),
        "s": np.array(["a", "b"], object),
    }
    dropped: dict[str, Any] = {"I": np.arange(124, dtype=np.int64), "F": np.arange(65, dtype=np.float32)}
    model = onnx.ModelProto.FromString(text_model("g (float[1] x) => (y) { y = Relu(x) }"))
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in (kept | dropped).items())
    stored = load(model.SerializeToString()).graph.initializers
    for name, values in kept.items():
        size = stored[name].size
        assert size is not None
        assert size.value is not None
        np.testing.assert_array_equal(size.value, values)
    for name in dropped:
        size = stored[name].size
        assert size is not None
        assert (size.value, size.shape) == (None, dropped[name].shape)


DTYPES = [name for name in TensorProto.DataType.keys() if name != "UNDEFINED"]  # noqa: SIM118  # no dict


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_small_constant_of_any_element_type_keeps_its_value(dtype: str, raw: bool) -> None:
    """As onnx's own reader has it; packed types of less than a byte too."""
    code = TensorProto.DataType.Value(dtype)
    kind = helper.tensor_dtype_to_np_dtype(code)
    if dtype == "STRING":
        tensor = numpy_helper.from_array(np.array(["a", "b", "c"], object), "c")
    else:
        tensor = numpy_helper.from_array(np.array([1, 2, 1]).astype(kind), "c")
        if not raw:
            tensor = helper.make_tensor("c", code, (3,), np.array([1, 2, 1]).astype(kind))
    model = onnx.ModelProto.FromString(text_model("g (float[1] x) => (y) { y = Relu(x) }"))
    model.graph.initializer.append(tensor)
    size = load(model.SerializeToString()).graph.initializers["c"].size
    assert size is not None
    assert size.value is not None
    expected = numpy_helper.to_array(tensor)
    assert size.dtype.name == ("string" if dtype == "STRING" else expected.dtype.name)
    assert size.value.tolist() == expected.tolist()


def with_tensor(tensor: TensorProto) -> bytes:
    """A model that stores this tensor and reads it."""
    model = onnx.ModelProto.FromString(text_model("g (float[1] x) => (y) { y = Add(x, w) }"))
    model.graph.initializer.append(tensor)
    return model.SerializeToString()


def test_a_tensor_whose_bytes_do_not_fill_its_shape_is_refused() -> None:
    """It tells what is needed and what is there; numbers that were cut out altogether are fine."""
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], raw_data=bytes(20))
    error = refused(with_tensor(short))
    assert (error.reason, error.facts) == ("TENSOR_DATA_LENGTH", {"tensor": "w"})
    assert "needs 24 bytes but holds 20" in error.message
    typed = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], float_data=[1.0] * 5)
    error = refused(with_tensor(typed))
    assert (error.reason, error.facts) == ("TENSOR_DATA_LENGTH", {"tensor": "w"})
    assert "needs 6 numbers but holds 5" in error.message
    for dtype in DTYPES:
        gone = TensorProto(name="w", data_type=TensorProto.DataType.Value(dtype), dims=[2, 3])
        size = load(with_tensor(gone)).graph.initializers["w"].size
        assert size is not None
        assert (size.shape, size.value) == ((2, 3), None)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        pytest.param(TensorProto(name="w", data_type=1, dims=[2, -3]), "NEGATIVE_DIM", id="negative"),
        pytest.param(TensorProto(name="w", data_type=1, dims=[-2, -3]), "NEGATIVE_DIM", id="two-negatives"),
        pytest.param(
            TensorProto(name="w", data_type=1, dims=[0, -3]), "NEGATIVE_DIM", id="negative-and-none"
        ),
        pytest.param(TensorProto(name="w", data_type=0, dims=[2]), "UNKNOWN_DTYPE", id="no-dtype"),
        pytest.param(TensorProto(name="w", data_type=99, dims=[2]), "UNKNOWN_DTYPE", id="dtype-99"),
    ],
)
def test_a_tensor_that_cannot_be_is_refused(tensor: TensorProto, reason: str) -> None:
    """The tensor is named."""
    error = refused(with_tensor(tensor))
    assert (error.reason, error.facts["tensor"]) == (reason, "w")


def test_a_tensor_of_no_elements_or_of_more_than_any_machine_holds_is_a_size() -> None:
    """Sizes are integers without a limit; nothing of that size is ever made."""
    empty = TensorProto(name="w", data_type=1, dims=[0, 2**62, 2**62])
    vast = TensorProto(name="w", data_type=1, dims=[2**62] * 4)
    for tensor, count in ((empty, 0), (vast, 2**248)):
        size = load(with_tensor(tensor)).graph.initializers["w"].size
        assert size is not None
        assert size.count == count
        assert size.bytes == 4 * count


def test_a_sparse_tensor_is_the_dense_one_that_it_stands_for() -> None:
    """A COO initializer of 2 numbers in a 3x4 matrix has 12 elements."""
    model = onnx.ModelProto.FromString(text_model("g (float[3, 4] x) => (y) { y = Add(x, w) }"))
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 5]), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 4]))
    size = load(model.SerializeToString()).graph.initializers["w"].size
    assert size is not None
    assert (size.shape, size.dtype.name) == ((3, 4), "float32")


# ---- names and structure


@pytest.mark.parametrize(
    ("text", "tensor"),
    [
        pytest.param("g (float[2] x) => (y) { y = Relu(x) y = Tanh(x) }", "y", id="two-nodes"),
        pytest.param("g (float[2] x) => (x) { x = Relu(x) }", "x", id="node-and-input"),
        pytest.param(
            "g (float[2] x) => (y) <float[1] w = {1}> { w = Relu(x) y = Add(x, w) }",
            "w",
            id="node-and-weight",
        ),
        pytest.param("g (float[2] x, float[2] x) => (y) { y = Relu(x) }", "x", id="two-inputs"),
        pytest.param(
            "g (float[2] x) => (y) <float[1] w = {1}, float[1] w = {2}> { y = Add(x, w) }",
            "w",
            id="two-weights",
        ),
        pytest.param(
            "g (float[6] x) => (y) { y, y = Split <num_outputs = 2> (x) }", "y", id="one-node-twice"
        ),
        pytest.param("g (float[2] x) => (z) { z = Relu(y) y = Relu(x) y = Tanh(x) }", "y", id="unsorted"),
    ],
)
def test_a_tensor_with_two_definitions_is_refused(text: str, tensor: str) -> None:
    """Each tensor has one maker; the tensor is named."""
    error = refused(text_model(text))
    assert (error.reason, error.facts["tensor"]) == ("DUPLICATE_TENSOR", tensor)
    assert repr(tensor) in error.message


def test_a_body_may_use_a_name_that_its_sibling_uses() -> None:
    """Names are one scope's own."""
    load(
        text_model("""
        g (float[2] x, bool c) => (y) {
            y = If<then_branch = t () => (r) { r = Relu(x) }, else_branch = e () => (r) { r = Tanh(x) }>(c)
        }
    """)
    )


@pytest.mark.parametrize(
    ("text", "tensor"),
    [
        pytest.param("g (float[2] x) => (y) { y = Add(x, nowhere) }", "nowhere", id="operand"),
        pytest.param("g (float[2] x) => (nowhere) { y = Relu(x) }", "nowhere", id="output"),
        pytest.param(
            "g (bool c) => (y) { y = If<then_branch = t () => (r) { r = Relu(nowhere) }, "
            "else_branch = e () => (s) { s = Relu(nowhere) }>(c) }",
            "nowhere",
            id="in-a-branch",
        ),
        pytest.param(
            '<ir_version: 10, opset_import: ["" : 21, "l" : 1]> g (float[2] x) => (y) { y = l.f(x) } '
            '<domain: "l", opset_import: ["" : 21]> f (a) => (b) { b = Add(a, x) }',
            "x",
            id="function-reads-its-caller",
        ),
    ],
)
def test_a_read_of_what_nothing_defines_is_refused(text: str, tensor: str) -> None:
    """The tensor is named."""
    error = refused(text_model(text))
    assert (error.reason, error.facts["tensor"]) == ("UNDEFINED_TENSOR", tensor)
    assert repr(tensor) in error.message


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        pytest.param("g (float[2] x) => (y) { [a] y = Add(x, y) }", "a -> a", id="itself"),
        pytest.param("g (float[2] x) => (y) { [a] y = Add(x, z) [b] z = Relu(y) }", "a -> b -> a", id="two"),
        pytest.param(
            "g (float[2] x) => (y) "
            "{ [in] p = Relu(x) [a] y = Add(p, s) [b] r = Relu(y) [c] s = Tanh(r) [out] z = Relu(r) }",
            "a -> b -> c -> a",
            id="three-with-ways-in-and-out",
        ),
        pytest.param(
            "g (bool c) => (y) { [a] y = If<then_branch = t () => (r) { r = Relu(z) }, "
            "else_branch = e () => (s) { s = Relu(z) }>(c) [b] z = Tanh(y) }",
            "a -> b -> a",
            id="through-a-branch",
        ),
    ],
)
def test_a_cycle_is_refused_and_its_nodes_named(text: str, nodes: str) -> None:
    """Only those on the cycle, in order, wherever one starts."""
    error = refused(text_model(text))
    assert error.reason == "CYCLE"
    told = error.message.split(": ", 1)[1].replace("'", "").split(" -> ")
    ring = nodes.split(" -> ")[:-1]
    assert told[0] == told[-1] == error.facts["node"]
    start = ring.index(told[0])
    assert told[:-1] == ring[start:] + ring[:start]


def test_nodes_out_of_order_are_put_in_order() -> None:
    """A consumer before its producer; nodes that do not depend on one another keep the file's order."""
    model = load(
        text_model("""
        g (float[2] x) => (y) {
            [last] y = Add(c, d)
            [second] c = Relu(a)
            [first] a = Tanh(x)
            [third] d = Sigmoid(a)
        }
    """)
    )
    assert [node.name for node in model.graph.nodes] == ["first", "second", "third", "last"]


def test_a_branchs_producer_that_comes_later_in_the_file_comes_first() -> None:
    """What a body captures is an operand of the node that holds it."""
    model = load(
        text_model("""
        g (float[2] x, bool c) => (y) {
            [choice] y = If<then_branch = t () => (r) { r = Relu(z) }, else_branch = e () => (s) { s = Relu(x) }>(c)
            [producer] z = Tanh(x)
        }
    """)
    )
    assert [node.name for node in model.graph.nodes] == ["producer", "choice"]
    assert set(model.graph.nodes[1].captures) == {"x", "z"}


@pytest.mark.parametrize("count", [3000])
def test_order_is_found_without_recursion(count: int) -> None:
    """A chain of thousands of nodes, written backwards."""
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"], name=f"n{i}") for i in range(count)]
    x = helper.make_tensor_value_info("t0", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes[::-1], "g", [x], [y]))
    assert [node.name for node in load(model.SerializeToString()).graph.nodes] == [
        f"n{i}" for i in range(count)
    ]


def test_nodes_without_names_and_with_equal_names_get_names_of_their_own() -> None:
    """An op's name and a number where there is none; a number behind the second of two; a lone name stays."""
    model = text_model("""
        g (float[2] x) => (y) {
            [same] a = Relu(x)
            [same] b = Relu(a)
            c = Tanh(b)
            [Tanh_4] d = Tanh(c)
            e = Tanh(d)
            [same_7] f = Relu(e)
            [other] h = Relu(f)
            [same] y = Relu(h)
        }
    """)
    names = [node.name for node in load(model).graph.nodes]
    assert len(set(names)) == len(names) == 8
    assert names[0] == "same"
    assert names[2] == "Tanh_2"
    assert names[6] == "other"
    assert all(name.startswith(("same#", "Tanh_")) for name in (names[1], names[4], names[7]))


def test_a_name_that_is_no_text_is_refused() -> None:
    """protobuf lets any bytes through; a report could not hold them."""
    model = text_model("g (float[2] x) => (y) { [nnnn] tttt = Relu(x) y = Relu(tttt) }")
    for name in (b"nnnn", b"tttt", b"Relu"):
        error = refused(model.replace(name, name[:-1] + b"\xff"))
        assert error.reason == "NOT_UTF8"
    symbolic = text_model("g (float[ssss] x) => (y) { y = Relu(x) }")
    assert refused(symbolic.replace(b"ssss", b"ss\xff\xff")).reason == "NOT_UTF8"


def test_a_stored_tensor_that_is_also_an_input_is_a_weight() -> None:
    """Before IR version 4 every initializer had to be listed among the inputs; a caller feeds the others only."""
    model = onnx.ModelProto.FromString(text_model("g (float[2] x, float[2] w) => (y) { y = Add(x, w) }"))
    model.ir_version = 3
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    data = model.SerializeToString()
    assert [tensor.name for tensor in load(data).graph.inputs] == ["x"]
    assert {row.name: row.role for row in analyze(data).tensors} == {
        "x": "input",
        "w": "weight",
        "y": "output",
    }


def test_a_model_from_before_opset_imports_is_of_opset_1() -> None:
    """IR versions 1 and 2 had none."""
    model = onnx.ModelProto.FromString(text_model("g (float[2] x) => (y) { y = Relu(x) }"))
    del model.opset_import[:]
    model.ir_version = 2
    assert load(model.SerializeToString()).opsets == {"ai.onnx": 1}


# ---- attributes


def test_attributes_come_as_plain_values() -> None:
    """Integers, floats and texts alone or in tuples; tensors as sizes; bodies as graphs."""
    node = helper.make_node(
        "Some", ["x"], ["y"], domain="some.where",
        i=3, f=0.5, s="text", ints=[1, 2], floats=[0.5, 1.5], strings=["a", "b"],
        t=numpy_helper.from_array(np.arange(3), "t"), g=helper.make_graph([], "body", [], []),
    )  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    model = helper.make_model(helper.make_graph([node], "g", [x], []))
    attributes = dict(load(model.SerializeToString()).graph.nodes[0].attributes)
    tensor, body = attributes.pop("t"), attributes.pop("g")
    assert attributes == {
        "i": 3, "f": 0.5, "s": "text", "ints": (1, 2), "floats": (0.5, 1.5), "strings": ("a", "b"),
    }  # fmt: skip
    assert isinstance(tensor, Size)
    assert tensor.ints() == (0, 1, 2)
    assert isinstance(body, Graph)


def test_attributes_from_before_types_were_written_down_are_read_by_what_is_set() -> None:
    """IR version 1 had no `type`."""
    node = onnx.NodeProto(op_type="Some", input=["x"], output=["y"])
    for name, field, value in (("f", "f", 0.5), ("i", "i", 7), ("s", "s", b"text")):
        setattr(node.attribute.add(name=name), field, value)
    node.attribute.add(name="ints").ints.extend([1, 2])
    node.attribute.add(name="floats").floats.extend([0.5])
    node.attribute.add(name="strings").strings.extend([b"a"])
    node.attribute.add(name="t").t.CopyFrom(numpy_helper.from_array(np.arange(3), "t"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    model = helper.make_model(helper.make_graph([node], "g", [x], []))
    attributes = dict(load(model.SerializeToString()).graph.nodes[0].attributes)
    assert attributes.pop("t").ints() == (0, 1, 2)
    assert attributes == {"f": 0.5, "i": 7, "s": "text", "ints": (1, 2), "floats": (0.5,), "strings": ("a",)}


def test_an_attribute_of_an_unknown_type_is_refused() -> None:
    """A file from the future, or a damaged one."""
    model = onnx.ModelProto.FromString(text_model("g (float[2] x) => (y) { y = Elu <alpha = 0.5> (x) }"))
    model.graph.node[0].attribute[0].type = onnx.AttributeProto.GRAPHS
    error = refused(model.SerializeToString())
    assert (error.reason, error.facts["attribute"]) == ("ATTRIBUTE_TYPE", "alpha")


# ---- bodies


def chain_of_bodies(depth: int) -> bytes:
    """A model whose `depth` bodies hold one another; the inmost reads the graph's own input. Spelled out on the wire,
    since onnx's helpers give up before we do.
    """

    def field(number: int, data: bytes) -> bytes:
        length = bytearray()
        rest = len(data)
        while rest > 0x7F:
            length.append(rest & 0x7F | 0x80)
            rest >>= 7
        return bytes([number << 3 | 2, *length, rest]) + data

    wrap = onnx.NodeProto(op_type="Wrap", domain="some.where", output=["r"]).SerializeToString()
    body = onnx.AttributeProto(name="body", type=onnx.AttributeProto.GRAPH).SerializeToString()
    result = onnx.GraphProto(name="body", output=[onnx.ValueInfoProto(name="r")]).SerializeToString()
    graph = result + field(1, helper.make_node("Identity", ["x"], ["r"]).SerializeToString())
    for _ in range(depth):
        graph = result + field(1, wrap + field(5, body + field(6, graph)))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    model = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 21)]).SerializeToString()
    return model + field(7, graph + field(11, x.SerializeToString()))


def test_a_body_names_what_it_reads_from_outside_through_every_level() -> None:
    """The inmost body's capture is a capture of every node around it."""
    graph = load(chain_of_bodies(5)).graph
    for _ in range(5):
        (node,) = graph.nodes
        assert node.captures == ("x",)
        graph = node.attributes["body"]
    assert graph.nodes[0].inputs == ("x",)


def test_bodies_nest_up_to_a_limit() -> None:
    """What protobuf itself still reads; beyond it there is one clear line, whoever notices first."""
    depth = 0
    graph = load(chain_of_bodies(NESTING_LIMIT)).graph
    while graph.nodes[0].attributes:
        graph, depth = graph.nodes[0].attributes["body"], depth + 1
    assert depth == NESTING_LIMIT
    for deeper in (NESTING_LIMIT + 1, NESTING_LIMIT + 2, 60, 300):
        assert refused(chain_of_bodies(deeper)).reason == "NESTED_TOO_DEEPLY"


def test_functions_are_read_with_their_attributes_and_defaults() -> None:
    """An attribute without a default must come from the caller: None."""
    model = load(
        text_model("""
        <ir_version: 10, opset_import: ["" : 21, "local" : 1]>
        g (float[2] x) => (y) { y = local.f <slope = 0.5> (x) }
        <domain: "local", opset_import: ["" : 18]>
        f <slope, other: float = 0.25> (a) => (b) {
            t = LeakyRelu <alpha: float = @slope> (a)
            b = Elu <alpha: float = @other> (t)
        }
    """)
    )
    function = model.functions["local", "f", ""]
    assert dict(function.attributes) == {"slope": None, "other": 0.25}
    assert [tensor.name for tensor in function.graph.inputs] == ["a"]
    assert [node.version for node in function.graph.nodes] == [18, 18]
    assert [node.version for node in model.graph.nodes] == [1]
    assert [node.attributes["alpha"] for node in function.graph.nodes] == ["slope", "other"]


# ---- the graph


def test_a_graph_is_frozen() -> None:
    """Neither its fields nor its DAG can be changed."""
    graph = load(shipped("lenet5")).graph
    for field in ("name", "nodes", "inputs", "outputs", "initializers", "dag", "another"):
        with pytest.raises(AttributeError):
            setattr(graph, field, ())
    with pytest.raises(AttributeError):
        graph.nodes[0].name = "another"  # type: ignore[misc]  # that is the point
    with pytest.raises(nx.NetworkXError):
        graph.dag.add_node("another")
    with pytest.raises(nx.NetworkXError):
        graph.dag.remove_edge(*next(iter(graph.dag.edges)))


@pytest.mark.parametrize(
    "path", [*map(light, LIGHT_MODELS), *map(shipped, SHIPPED_MODELS)], ids=lambda path: path.stem
)
def test_the_dag_is_bipartite(path: Path) -> None:
    """Every edge joins a node (an index) and a tensor (a name); nothing comes before itself; all of it is there."""
    graph = load(path).graph
    dag = graph.dag
    assert nx.is_directed_acyclic_graph(dag)
    assert all({type(a), type(b)} == {int, str} for a, b in dag.edges)
    assert [key for key in dag if isinstance(key, int)] == list(range(len(graph.nodes)))
    tensors = {key for key in dag if isinstance(key, str)}
    named = {name for node in graph.nodes for name in (*node.inputs, *node.outputs) if name}
    assert tensors == named | set(graph.initializers) | {tensor.name for tensor in graph.inputs}
    for index, node in enumerate(graph.nodes):
        assert dag.nodes[index]["node"] is node
        assert set(dag.predecessors(index)) == {name for name in node.inputs if name}
        assert set(dag.successors(index)) == {name for name in node.outputs if name}
        assert all(maker < index for name in node.inputs for maker in dag.predecessors(name) if name)


# ---- errors


@pytest.mark.parametrize("data", [b"", b"text", b"\x08\x0a"], ids=["empty", "text", "half"])
def test_an_error_survives_pickling(data: bytes) -> None:
    """Errors cross process boundaries whole."""
    error = refused(data)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.reason, again.message, again.facts, again.status) == (
        error.reason, error.message, error.facts, error.status,
    )  # fmt: skip


def test_names_with_line_breaks_do_not_break_an_errors_line() -> None:
    """What a file says is shown, not obeyed."""
    for text in (
        "g (float[2] x) => (y) { [nnnn] y = Add(x, z) [b] z = Relu(y) }",
        "g (float[2] x) => (y) { [nnnn] y = Relu(x) [nnnn] y = Relu(x) }",
        "g (float[2] x) => (y) { [nnnn] y = MatMul(x) }",
        "g (float[2] x) => (y) { [nnnn] y = Reshape(x, nowhere) }",
    ):
        with pytest.raises(BadModel) as caught:
            analyze(text_model(text).replace(b"nnnn", b"n\nn\r").replace(b"nowhere", b"nowh\nre"))
        assert len(str(caught.value).splitlines()) == 1
