"""Little models whose kernels take nothing beside their results, simulated and run: the same to the byte.

The runtime is the judge: the counters of the arena in its own profile, with the memory pattern and without it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from analyzer.describe import describe
from analyzer.graph import Graph
from analyzer.load import declared, load
from analyzer.options import Options
from analyzer.runtime.planner import Outcome, Program
from analyzer.runtime.program import program_of
from analyzer.runtime.simulate import simulate
from tests.conftest import text_model

runtime = pytest.importorskip("onnxruntime")
DTYPES = {"float": np.float32, "double": np.float64, "int64": np.int64, "bool": np.bool_}

MODELS: dict[str, str] = {
    "a chain, some of it in place": """g (float[1, 64, 64, 64] x) => (float[1, 64, 64, 64] y) {
        a = Add (x, x) b = Relu (a) c = Mul (b, b) d = Sigmoid (c) e = Add (d, b) y = Neg (e) }""",
    "views keep their operand": """g (float[4, 1000] x) => (float[4000] y) <int64[1] s = {-1}> {
        a = Add (x, x) b = Reshape (a, s) c = Abs (b) d = Identity (c) e = Neg (d) y = Add (e, b) }""",
    "buffers that are idle": """g (float[100, 100] x) => (float[100, 100] y, float[200, 100] z) {
        a = Add (x, x) b = Neg (a) c = Abs (b) d = Exp (c) e = Mul (d, a) f = Concat <axis = 0> (e, c)
        z = Neg (f) h = Neg (e) y = Neg (h) }""",
    "an output is read again": """g (float[100, 100] x) => (float[100, 100] y, float[100, 100] z) {
        y = Add (x, x) b = Relu (y) z = Relu (b) }""",
    "results that nobody reads": """g (float[100, 100] x) => (float[100, 100] y) {
        d1 = Exp (x) d2 = Neg (x) d3 = Abs (x) a = Add (x, x) b = Neg (a) y = Abs (b) }""",
    "half a result that nobody reads": """g (float[100, 100] x) => (float[50, 100] y) {
        a = Add (x, x) b, c = Split <axis = 0, num_outputs = 2> (a) d = Neg (b) e = Neg (d) y = Neg (e) }""",
    "narrow and wide": """g (double[77, 3] x, int64[5, 7] i, bool[9] p) => (double[77, 3] y, int64[5, 7] j, bool[9] q) {
        a = Add (x, x) b = Cast <to = 1> (a) c = Cast <to = 11> (b) y = Neg (c) k = Add (i, i)
        l = Cast <to = 9> (k) m = Not (l) n = Cast <to = 7> (m) j = Add (n, i) r = Not (p)
        s = Not (r) q = And (s, p) }""",
    "two names for the same number": """g (float[N, 100] x, float[M, 100] w) => (float[N, 100] y, float[M, 100] v) {
        a = Add (x, x) b = Neg (a) c = Neg (b) y = Neg (c) d = Add (w, w) e = Neg (d) f = Neg (e) v = Neg (f) }""",
    "a dim that nobody knows": """g (float[N, 100] x) => (float[K, 100] y) {
        a = Concat <axis = 0> (x, x) b = Neg (a) c = Neg (b) d = Neg (c) y = Neg (d) }""",
    "scalars": "g (float x) => (float y) { a = Add (x, x) b = Neg (a) c = Relu (b) d = Neg (c) y = Neg (d) }",
    "chunks of half the size": """g (float[4, 3, 224, 224] x) => (float[4, 3, 112, 224] y) {
        a = Add (x, x) b = Neg (a) c, d = Split <axis = 2, num_outputs = 2> (b) e = Add (c, d) f = Neg (e)
        h = Neg (f) y = Add (h, e) }""",
    "small stored tensors": """g (float[3, 4] x) => (float[3, 4] y, float[4] w)
        <float[4] w = {1, 2, 3, 4}, float[3, 1] u = {1, 2, 3}, float v = {1}> {
        a = Add (x, w) b = Mul (a, u) c = Add (b, v) y = Neg (c) }""",
    "a gap behind the last": """g (float[1, 64] x, float[100, 300] x2) => (float[1200, 100] y) {
        v0 = Neg (x2) v3 = Neg (v0) v4 = Concat <axis = 0> (v3, x2) v2 = Sub (x, x) v10 = Sigmoid (v2) v14 = Neg (v10)
        t0 = Concat <axis = 1> (x2, x2) t2 = Mul (t0, t0) t4 = Sub (t2, t2) v27 = Transpose <perm = [1, 0]> (t4)
        t6 = Concat <axis = 1> (t0, t0) y = Transpose <perm = [1, 0]> (t6) }""",
    "a branch of known shape": """g (float[100, 100] x) => (float[100, 100] y) <bool c = {1}> {
        a = Add (x, x) b = If (c) <
            then_branch = t () => (float[100, 100] r) { p = Add (a, x) q = Relu (p) r = Neg (q) },
            else_branch = e () => (float[100, 100] s) { s = Neg (a) } >
        y = Neg (b) }""",
    "a branch in another order": """g (float[100, 100] x) => (float[100, 100] y) <bool c = {1}> {
        a = Add (x, x) b = If (c) <
            then_branch = t () => (float[100, 100] r) { p = Concat <axis = 0> (a, x) q = Neg (a) s = Neg (p)
                h, k = Split <axis = 0, num_outputs = 2> (s) r = Add (h, q) },
            else_branch = e () => (float[100, 100] s2) { s2 = Neg (a) } >
        y = Neg (b) }""",
    "a branch of unknown shape": """g (float[N, 100] x) => (float[K, 100] y) <bool c = {1}> {
        a = Add (x, x) b = If (c) <
            then_branch = t () => (float[M, 100] r) { p = Concat <axis = 0> (a, x) q = Neg (p) r = Neg (q) },
            else_branch = e () => (float[M, 100] s) { s = Concat <axis = 0> (a, x) } >
        d = Neg (b) y = Neg (d) }""",
    "a loop that passes on and collects": """g (float[100, 100] x) => (float[100, 100] y, float[5, 100, 100] z)
        <int64 n = {5}, bool t = {1}> {
        a = Add (x, x) b, k, z = Loop (n, t, a, x) <body = b (int64 i, bool ci, float[100, 100] v, float[100, 100] h)
            => (bool co, float[100, 100] w, float[100, 100] h2, float[100, 100] u) {
            co = Identity (ci) h2 = Identity (h) p = Add (v, x) q = Neg (p) w = Neg (q) u = Abs (q) }>
        y = Add (b, k) }""",
    "a loop of no turns": """g (float[100, 100] x) => (float[100, 100] y) <int64 n = {0}, bool t = {1}> {
        a = Add (x, x) b = Loop (n, t, a) <body = b (int64 i, bool ci, float[100, 100] v)
            => (bool co, float[100, 100] w) { co = Identity (ci) p = Add (v, x) w = Neg (p) }>
        y = Neg (b) }""",
    "a branch in a loop": """g (float[100, 100] x) => (float[100, 100] y) <int64 n = {4}, bool t = {1}, bool c = {1}> {
        a = Add (x, x) b = Loop (n, t, a) <body = b (int64 i, bool ci, float[100, 100] v)
            => (bool co, float[100, 100] w) { co = Identity (ci) p = Add (v, x) q = If (c) <
                then_branch = t () => (float[100, 100] r) { p2 = Add (p, x) q2 = Neg (p2) r = Neg (q2) },
                else_branch = e () => (float[100, 100] s) { s = Neg (p) } > w = Neg (q) }>
        y = Neg (b) }""",
    "a scan": """g (float[100, 100] x, float[6, 300] s) => (float[100, 100] y, float[6, 300] z) {
        a = Add (x, x) b, c = Scan <num_scan_inputs = 1, body = b (float[100, 100] v, float[300] e)
            => (float[100, 100] w, float[300] u) { p = Add (v, x) w = Neg (p) f = Abs (e) u = Neg (f) }> (a, s)
        y = Neg (b) z = Neg (c) }""",
    "a scan of one turn": """g (float[100] x, float[1, 30] s) => (float[100] y, float[1, 30] z) {
        b, z = Scan <num_scan_inputs = 1, body = b (float[100] v, float[30] e) => (float[100] w, float[30] u) {
            p = Add (v, x) w = Neg (p) u = Abs (e) }> (x, s)
        y = Neg (b) }""",
    "a scan along other axes": """g (float[100] x, float[30, 6] s) => (float[100] y, float[30, 6] z) {
        a = Add (x, x) b, c = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
            body = b (float[100] v, float[30] e) => (float[100] w, float[30] u) {
            p = Add (v, x) w = Neg (p) u = Abs (e) }> (a, s)
        y = Neg (b) z = Neg (c) }""",
}
DIMS = {"N": 50, "M": 50}


def symbols(graph: Graph) -> set[str]:
    return {dim for tensor in graph.inputs for dim in tensor.dims or () if isinstance(dim, str)}


def planned(model: bytes) -> Program:
    """The program of a model that no optimiser has touched; shapes of the main graph that are known before it runs are
    those that onnx infers.
    """
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).SerializeToString()
    loaded = load(model)
    scene = describe(loaded, Options(dims={name: DIMS[name] for name in symbols(loaded.graph)}))
    dims = {name: told for name, told in declared(inferred).dims.items() if told is not None}
    return program_of(scene, declared(model), dims, loaded.graph, "disable", 1)


def measured(model: bytes, pattern: bool, place: Path) -> Outcome:
    """The same, by the profile of one run, or of two with the memory pattern."""
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_mem_pattern = pattern
    options.enable_profiling, options.profile_file_prefix = True, str(place / "profile")
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    fed: dict[str, np.ndarray[Any, Any]] = {
        given.name: np.ones([DIMS.get(d, d) for d in given.shape], DTYPES[given.type[7:-1]])
        for given in session.get_inputs()
    }
    for _ in range(1 + pattern):
        session.run(None, fed)
    events = json.loads(Path(session.end_profiling()).read_text())
    said: list[Mapping[str, str]] = [e["args"] for e in events if e["name"].endswith("_kernel_time")]
    return Outcome(
        int(said[0]["mem_bytes_requested_in_use"]) - int(said[0]["mem_requested_in_use_delta"]),
        int(said[-1]["mem_in_use_peak"]),
        int(said[-1]["mem_arena_held"]),
        int(said[-1]["mem_in_use_peak"]),
        max(int(event["mem_bytes_requested_in_use"]) for event in said),
    )


def compared(model: bytes, place: Path) -> None:
    program = planned(model)
    for pattern in (False, True):
        said = simulate(msgspec.structs.replace(program, pattern=pattern))
        assert said == measured(model, pattern, place), pattern


@pytest.mark.parametrize("name", MODELS)
def test_the_arena_counts_the_same(name: str, tmp_path: Path) -> None:
    """Base, peak, held and requested bytes equal those of a real session, with the memory pattern and without it."""
    compared(text_model(MODELS[name]), tmp_path)


def drawn(seed: int) -> str:
    """A random graph of ops that take nothing, some of whose results nobody reads."""
    choose = random.Random(seed)
    shapes = {name: choose.choice([(1, 64), (10, 300), (3, 7), (57, 55)]) for name in ("x", "x2")}
    lines, read = [], set[str]()
    for index in range(choose.randint(5, 40)):
        source = choose.choice(list(shapes)[-6:])
        rows, columns = shapes[source]
        other = choose.choice([name for name in shapes if shapes[name] == shapes[source]])
        text, shape = choose.choice(
            [
                (f"Relu ({source})", (rows, columns)),
                (f"Sigmoid ({source})", (rows, columns)),
                (f"Neg ({source})", (rows, columns)),
                (f"Abs ({source})", (rows, columns)),
                (f"Mul ({source}, {other})", (rows, columns)),
                (f"Concat <axis = 0> ({source}, {other})", (2 * rows, columns)),
                (f"Flatten <axis = 0> ({source})", (1, rows * columns)),
                (f"Transpose <perm = [1, 0]> ({source})", (columns, rows)),
            ]
        )
        read |= {name for name in (source, other) if name in text}
        shapes[f"v{index}"] = shape
        lines.append(f"v{index} = {text}")
    made = [name for name in shapes if name[0] == "v"]
    ends = [name for name in made if name not in read and choose.random() < 0.8]
    typed = {name: f"float[{rows}, {columns}] {name}" for name, (rows, columns) in shapes.items()}
    results = ", ".join(typed[name] for name in ends or made[-1:])
    return f"g ({typed['x']}, {typed['x2']}) => ({results}) {{ {' '.join(lines)} }}"


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_take_the_same(seed: int, tmp_path: Path) -> None:
    """Whatever the order and the lifetimes, with the memory pattern and without it."""
    compared(text_model(drawn(seed)), tmp_path)
