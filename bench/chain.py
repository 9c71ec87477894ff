"""A chain of matrix products of a gigabyte: what its weights cost the usual way, and what they cost here.

    python bench/chain.py [PRODUCTS]

By default 250 products of 1024x1024, stored raw, as packed `float_data`, and in an external file that is absent. The
usual way is `onnx.load` without external data, and shape inference; each way runs in a fresh process, on files full of
zeros in a temporary folder. Prints seconds (of the wall clock: the disk counts), the peak of resident memory
(Linux tells), and how often the usual way's time each takes less. Asserts nothing.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

WIDTH = 1024
STORED = ("raw_data", "float_data", "external")
RUNS = 5


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def write(path: Path, stored: str, products: int) -> None:
    """The model, its weights written one after the other, never held."""
    nodes = [
        NodeProto(op_type="MatMul", input=[f"t{i}", f"w{i}"], output=[f"t{i + 1}"]) for i in range(products)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [8, WIDTH]) for name in ("t0", f"t{products}")
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    numbers = bytes(WIDTH * WIDTH * 4)
    tag = {"raw_data": b"\x4a", "float_data": b"\x22"}.get(stored)
    data = b"" if tag is None else tag + varint(len(numbers)) + numbers
    heads = []
    for i in range(products):
        weight = TensorProto(name=f"w{i}", dims=[WIDTH, WIDTH], data_type=TensorProto.FLOAT)
        if tag is None:
            weight.data_location = TensorProto.EXTERNAL
            weight.external_data.add(key="location", value="absent.bin")
        written = weight.SerializeToString()
        heads.append(b"\x2a" + varint(len(written) + len(data)) + written)
    structure = graph.SerializeToString()
    length = len(structure) + sum(map(len, heads)) + products * len(data)
    model = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 21)]).SerializeToString()
    with path.open("wb") as file:
        file.write(model + b"\x3a" + varint(length) + structure)
        for head in heads:
            file.write(head)
            file.write(data)


def ready() -> None:
    """Everything imported and warm."""
    from analyzer import analyze

    analyze(Path(__file__).parent.parent / "models" / "lenet5.onnx")


def infer(path: Path) -> None:
    """The usual way to the first number."""
    onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))


def report(path: Path) -> None:
    """Ours, whole."""
    from analyzer import analyze

    analyze(path)


def measure(function: Callable[[Path], None], path: Path, runs: int) -> tuple[float, int]:
    """The median time, and the peak of resident memory."""
    ready()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function(path)
        times.append(time.perf_counter() - started)
    return statistics.median(times), peak_bytes()


def peak_bytes() -> int:
    """The peak of this process's resident memory; `getrusage` would tell its parent's where that is higher."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    from analyzer.load import strip

    products = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    fresh = multiprocessing.get_context("spawn")
    print(f"{'stored':<12}{'file MB':>9}{'way':>12}{'seconds':>10}{'peak MiB':>10}{'ratio':>9}")
    for stored in STORED:
        with tempfile.TemporaryDirectory() as folder:
            path, thin = Path(folder) / "model.onnx", Path(folder) / "thin.onnx"
            write(path, stored, products)
            thin.write_bytes(strip(path))
            ways = [("usual", infer, path, 1), ("ours", report, path, RUNS), ("stripped", report, thin, RUNS)]
            base: float | None = None
            for way, function, file, runs in ways:
                with fresh.Pool(1) as pool:
                    seconds, peak = pool.apply(measure, (function, file, runs))
                base = base or seconds
                size = file.stat().st_size / 1e6
                print(
                    f"{stored:<12}{size:>9.1f}{way:>12}{seconds:>10.4f}{peak / 2**20:>10.0f}{base / seconds:>8.0f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
