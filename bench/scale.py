"""Time and memory over the number of nodes: chains, and ladders of residual blocks.

    python bench/scale.py [NODES ...]

By default 1,000, 10,000, 100,000 and 300,000 nodes; each model is analysed in a fresh process. Prints seconds of
processor time, the exponent by which they grow with the nodes (fitted so far), and resident memory per node beyond
the file and what an idle process holds (Linux tells). Asserts nothing.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

SIZES = (1_000, 10_000, 100_000, 300_000)


def chain(nodes: int) -> list[NodeProto]:
    """One after the other."""
    return [
        NodeProto(op_type="Relu", input=[f"t{i}"], output=[f"t{i + 1}"], name=f"n{i}") for i in range(nodes)
    ]


def ladder(nodes: int) -> list[NodeProto]:
    """Blocks of a convolution, an activation, and a sum with the block's own input."""
    made = []
    pads = [helper.make_attribute("pads", [1, 1, 1, 1])]
    for i in range(nodes // 3):
        source, target = f"t{3 * i}", f"t{3 * i + 3}"
        conv, relu = f"t{3 * i + 1}", f"t{3 * i + 2}"
        made.append(NodeProto(op_type="Conv", input=[source, "w"], output=[conv], name=conv, attribute=pads))
        made.append(NodeProto(op_type="Relu", input=[conv], output=[relu], name=relu))
        made.append(NodeProto(op_type="Add", input=[relu, source], output=[target], name=target))
    return made


def write(nodes: list[NodeProto], path: Path) -> None:
    x = helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 8, 32, 32])
    y = onnx.ValueInfoProto(name=nodes[-1].output[0])
    w = TensorProto(name="w", dims=[8, 8, 3, 3], data_type=TensorProto.FLOAT, raw_data=bytes(8 * 8 * 9 * 4))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [w]), opset_imports=[helper.make_opsetid("", 21)]
    )
    path.write_bytes(model.SerializeToString())


def measure(path: str) -> tuple[float, int]:
    """Seconds of a full report, and the bytes by which resident memory peaked above a process that is ready."""
    from analyzer import analyze

    analyze(Path(__file__).parent.parent / "models" / "lenet5.onnx")
    before = peak_bytes()
    started = time.process_time()
    analyze(path)
    seconds = time.process_time() - started
    return seconds, peak_bytes() - before


def peak_bytes() -> int:
    """The peak of this process's resident memory; `getrusage` would tell its parent's where that is higher."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or list(SIZES)
    fresh = multiprocessing.get_context("spawn")
    print(f"{'shape':<10}{'nodes':>10}{'file MB':>10}{'seconds':>10}{'exponent':>10}{'bytes per node':>16}")
    shapes: list[Callable[[int], list[NodeProto]]] = [chain, ladder]
    for shape in shapes:
        points: list[tuple[float, float]] = []
        for nodes in sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                write(shape(nodes), path)
                size = path.stat().st_size
                with fresh.Pool(1) as pool:
                    seconds, grown = pool.apply(measure, (str(path),))
            points.append((math.log(nodes), math.log(seconds)))
            exponent = (
                statistics.linear_regression(*zip(*points, strict=True)).slope if points[1:] else math.nan
            )
            each = (grown - size) / nodes
            print(
                f"{shape.__name__:<10}{nodes:>10,}{size / 1e6:>10.1f}{seconds:>10.2f}{exponent:>10.2f}{each:>16,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
