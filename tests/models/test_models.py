"""The model zoo: its files are what the script draws, runtimes accept them, and they say what others have published.

Nothing here asks the analyzer. The figures are added up from onnx's shape inference and from the files themselves, so
that the same manifest can be held against the analyzer elsewhere.
"""

import math
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

MODELS = Path(__file__).parents[2] / "models"
MANIFEST: dict[str, Any] = tomllib.loads((MODELS / "manifest.toml").read_text(encoding="utf-8"))
ENTRIES: dict[str, dict[str, Any]] = {Path(entry["file"]).stem: entry for entry in MANIFEST["model"]}
PUBLISHED = [(name, row) for name, entry in ENTRIES.items() for row in entry["published"]]

Array = NDArray[Any]


def build(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", MODELS / "build.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of a fresh build, by name."""
    folder = tmp_path_factory.mktemp("built")
    assert build("-o", folder).returncode == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# The script.


def test_a_rebuild_gives_the_committed_files_byte_for_byte(built: dict[str, bytes]) -> None:
    committed = {path.name: path.read_bytes() for path in MODELS.glob("*.onnx")}
    assert committed.keys() == built.keys()
    assert [name for name in committed if committed[name] != built[name]] == []


def test_check_is_silent_about_fresh_files_and_has_a_line_for_each_stale_one(
    tmp_path: Path, built: dict[str, bytes]
) -> None:
    for name, data in built.items():
        (tmp_path / name).write_bytes(data)
    fresh = build("--check", "-o", tmp_path)
    assert (fresh.returncode, fresh.stdout) == (0, "")

    (tmp_path / "lenet5.onnx").unlink()
    (tmp_path / "vgg16.onnx").write_bytes(b"")
    (tmp_path / "stranger.onnx").write_bytes(b"")
    stale = build("--check", "-o", tmp_path)
    assert stale.returncode == 1
    assert [line.split(";")[0] for line in stale.stdout.splitlines()] == [
        "lenet5.onnx: missing",
        "vgg16.onnx: differs from what is built",
        "stranger.onnx: no net in models/build.py makes it",
    ]
    assert (tmp_path / "vgg16.onnx").read_bytes() == b""


# The files.


@cache
def load(name: str) -> ModelProto:
    return onnx.load(MODELS / f"{name}.onnx", load_external_data=False)


def declared(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_the_manifest_names_every_file_and_every_source() -> None:
    assert sorted(ENTRIES) == sorted(path.stem for path in MODELS.glob("*.onnx"))
    assert {row["source"] for _, row in PUBLISHED} == {*MANIFEST["sources"], "paper"}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_file_declares_the_inputs_and_outputs_of_its_manifest(name: str) -> None:
    entry, graph = ENTRIES[name], load(name).graph
    (x,), (y,) = graph.input, graph.output
    dtype = onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type).name
    assert {"name": x.name, "dtype": dtype, "shape": declared(x)} == entry["input"]
    assert {"name": y.name, "shape": declared(y)} == entry["output"]


@pytest.mark.parametrize("name", ENTRIES)
def test_weights_are_gapless_references_and_constants_are_small_and_inline(name: str) -> None:
    end = 0
    for tensor in load(name).graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert tensor.data_location == TensorProto.EXTERNAL
            assert place == {
                "location": "weights.bin",
                "offset": str(end),
                "length": str(4 * math.prod(tensor.dims)),
            }
            end += int(place["length"])
        else:
            assert tensor.data_type == TensorProto.INT64
            assert onnx.numpy_helper.to_array(tensor).size <= 64
    assert (MODELS / f"{name}.onnx").stat().st_size < 150_000


@pytest.mark.parametrize("name", ENTRIES)
def test_names_are_unique_and_every_weight_is_used(name: str) -> None:
    graph = load(name).graph
    nodes = [node.name for node in graph.node]
    tensors = [graph.input[0].name, *(weight.name for weight in graph.initializer)]
    tensors += [output for node in graph.node for output in node.output]
    assert all(nodes)
    assert len(set(nodes)) == len(nodes)
    assert len(set(tensors)) == len(tensors)
    assert set(tensors) - {name for node in graph.node for name in node.input} == {graph.output[0].name}


# What onnx and onnxruntime make of them. A file needs its weights.bin for that, which is then a hole of zeros on disk.


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that goes when the test ends; pytest's own stay for three runs, and these weights are large."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def weights_bytes(name: str) -> int:
    return sum(4 * math.prod(tensor.dims) for tensor in load(name).graph.initializer if tensor.external_data)


def with_weights(name: str, folder: Path, random: bool) -> Path:
    """A copy of the model beside a weights.bin that is a hole of zeros, or holds random numbers."""
    path = folder / f"{name}.onnx"
    path.write_bytes((MODELS / path.name).read_bytes())
    size = weights_bytes(name)
    with (folder / "weights.bin").open("wb") as file:
        if random:
            rng = np.random.default_rng(1998)
            for tensor in load(name).graph.initializer:
                if tensor.external_data:
                    file.write(plausible(tensor, rng).astype(np.float32).tobytes())
        else:
            file.truncate(size)
    return path


def plausible(weight: TensorProto, rng: np.random.Generator) -> Array:
    """Values that neither blow a signal up nor let it die: vectors, variances among them, are positive."""
    if len(weight.dims) == 1:
        return rng.uniform(0.5, 1.0, tuple(weight.dims))
    return rng.normal(0.0, math.prod(weight.dims[1:]) ** -0.5, tuple(weight.dims))


@pytest.mark.parametrize("name", ENTRIES)
def test_the_checker_accepts_the_file_once_its_weights_are_there(name: str, folder: Path) -> None:
    onnx.checker.check_model(with_weights(name, folder, random=False), full_check=True)


def feed(name: str, batch: int) -> Array:
    """An input of that batch, each image with a tint of its own; a free dimension other than the batch is 5."""
    x = ENTRIES[name]["input"]
    sizes = [{"batch": batch}.get(dim, 5) if isinstance(dim, str) else dim for dim in x["shape"]]
    rng = np.random.default_rng(2012)
    if x["dtype"] == "int64":
        return rng.integers(0, 8192, sizes)
    tint = rng.normal(0.0, 10.0, [*sizes[:2], 1, 1])
    return (tint + rng.normal(0.0, 10.0, sizes)).astype(x["dtype"])


def run(path: Path, x: Array) -> Array:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(y)


SMALL = [name for name in ENTRIES if weights_bytes(name) < 50_000_000]
NOT_RUN = ["vgg16_lecture"]  # 1.8 GB, and nothing in it that VGG-16 has not
LARGE = [name for name in ENTRIES if name not in SMALL + NOT_RUN]


@pytest.mark.parametrize("name", LARGE)
def test_a_large_model_runs_and_gives_the_output_of_its_manifest(name: str, folder: Path) -> None:
    y = run(with_weights(name, folder, random=False), feed(name, batch=2))
    assert y.shape == (2, *ENTRIES[name]["output"]["shape"][1:])


@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_gives_each_element_of_a_batch_what_it_gives_it_alone(name: str, folder: Path) -> None:
    path, x = with_weights(name, folder, random=True), feed(name, batch=2)
    y = run(path, x)
    assert y.shape == tuple(
        {"batch": 2, "seq": 5}[dim] if isinstance(dim, str) else dim
        for dim in ENTRIES[name]["output"]["shape"]
    )
    tolerance = 1e-4 * np.abs(y).max()
    assert np.abs(y[0] - y[1]).max() > 10 * tolerance
    for i in (0, 1):
        np.testing.assert_allclose(run(path, x[i : i + 1])[0], y[i], rtol=0, atol=tolerance)


def test_the_transformer_computes_what_its_paper_says(folder: Path) -> None:
    """The file against the equations, written once more in numpy."""
    path, ids = with_weights("tiny_transformer", folder, random=True), feed("tiny_transformer", batch=2)
    model = onnx.load(path)
    weights = {w.name: onnx.numpy_helper.to_array(w).astype(np.float64) for w in model.graph.initializer}
    erf = np.vectorize(math.erf)

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attend(q: Array, k: Array, v: Array) -> Array:
        scores = np.exp(q @ k.swapaxes(-1, -2) / math.sqrt(32))
        return np.asarray(scores / scores.sum(-1, keepdims=True) @ v)

    x = weights["embeddings/token.weight"][ids] + weights["embeddings/position.weight"][: ids.shape[1]]
    x = norm(x, "embeddings/norm")
    for layer in ("encoder.0", "encoder.1"):
        roles = (linear(x, f"{layer}/attention/{role}") for role in ("query", "key", "value"))
        heads = zip(*(np.split(role, 4, axis=-1) for role in roles), strict=True)
        context = np.concatenate([attend(*head) for head in heads], axis=-1)
        x = norm(x + linear(context, f"{layer}/attention/output"), f"{layer}/attention/norm")
        y = linear(x, f"{layer}/feed_forward/up")
        y = y * (1 + erf(y / math.sqrt(2))) / 2
        x = norm(x + linear(y, f"{layer}/feed_forward/down"), f"{layer}/feed_forward/norm")
    np.testing.assert_allclose(run(path, ids), x, rtol=1e-3, atol=1e-4)


# The published figures.


@cache
def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor at the manifest's dims, by onnx's strict shape inference."""
    model = ModelProto.FromString(load(name).SerializeToString())
    (x,), (y,) = model.graph.input, model.graph.output
    for dim in x.type.tensor_type.shape.dim:
        if dim.dim_param:
            dim.dim_value = ENTRIES[name]["dims"][dim.dim_param]
    y.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}
    return found | {weight.name: tuple(weight.dims) for weight in graph.initializer}


def macs(name: str, nodes: list[NodeProto]) -> int:
    """Every tap counts, padding included; a transposed convolution counts from its input, bias nowhere."""
    size, total = shapes(name), 0
    for node in nodes:
        y = math.prod(size[node.output[0]])
        match node.op_type:
            case "Conv":
                total += y * math.prod(size[node.input[1]][1:])
            case "ConvTranspose":
                total += math.prod(size[node.input[0]]) * math.prod(size[node.input[1]][1:])
            case "Gemm" | "MatMul":
                total += y * size[node.input[0]][-1]
    return total


def parameters(name: str, nodes: list[NodeProto]) -> int:
    """Elements of the float weights that the nodes read, each once, without running statistics."""
    statistics = {
        vector for node in nodes if node.op_type == "BatchNormalization" for vector in node.input[3:]
    }
    read = {tensor for node in nodes for tensor in node.input} - statistics
    weights = (w for w in load(name).graph.initializer if w.data_type == TensorProto.FLOAT)
    return sum(math.prod(weight.dims) for weight in weights if weight.name in read)


def depth(name: str, nodes: list[NodeProto]) -> int:
    """Layers with a weight on the longest path from the input."""
    weighted = {"Conv", "ConvTranspose", "Gemm"}
    reached: dict[str, int] = {}
    for node in nodes:
        before = max((reached.get(tensor, 0) for tensor in node.input), default=0)
        reached[node.output[0]] = before + (node.op_type in weighted)
    return max(reached.values())


def selected(graph: GraphProto, row: dict[str, Any]) -> Iterator[NodeProto]:
    """The nodes under the row's scope and of its op type, or all of them."""
    for node in graph.node:
        scope = row.get("scope", node.name)
        in_scope = node.name == scope or node.name.startswith((f"{scope}/", f"{scope}."))
        if in_scope and row.get("op_type", node.op_type) == node.op_type:
            yield node


def figure_id(value: Any) -> str | None:
    if isinstance(value, dict):
        keys = ("quantity", "scope", "op_type", "value", "source")
        return "-".join(str(value[key]) for key in keys if key in value)
    return None


@pytest.mark.parametrize(("name", "row"), PUBLISHED, ids=figure_id)
def test_a_published_figure_holds(name: str, row: dict[str, Any]) -> None:
    measure = {"macs": macs, "parameters": parameters, "depth": depth}[row["quantity"]]
    counted = measure(name, list(selected(load(name).graph, row)))
    published = row["value"]
    if isinstance(published, str):
        assert Decimal(counted).quantize(Decimal(published)) == Decimal(published)
    else:
        assert counted == published
