"""A gigabyte through the gRPC door: with its weights, without them, and as bytes in a stream that nobody looks at.

    python bench/upload.py [NODES]

The model is a chain of NODES (250) MatMuls of 1024x1024 float32, in a file whose weights are holes. Server, worker and
the bare stream's receiver are processes of their own, warm, on loopback. Prints seconds and MB/s (medians of
interleaved runs), and by how much the resident memory of server and worker grew at most meanwhile. Asserts
nothing. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, cast

import grpc
import onnx

from analyzer.client import Client
from analyzer.server import Limits, serve

WIDTH = 1024
CHUNK_BYTES = 1 << 18  # as the client sends them
RUNS = 3


def chain(path: Path, nodes: int) -> None:
    """Write the model, the weights left out as holes."""
    weight_bytes = 4 * WIDTH * WIDTH
    weights = [
        onnx.TensorProto(
            name=f"w{n}", data_type=onnx.TensorProto.FLOAT, dims=(WIDTH, WIDTH)
        ).SerializeToString()
        + field(9, weight_bytes)  # raw_data
        for n in range(nodes)
    ]
    heads = [field(5, len(head) + weight_bytes) + head for head in weights]  # initializer
    rest = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(nodes)],
        "chain",
        [onnx.helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, ["batch", WIDTH])],
        [onnx.helper.make_tensor_value_info(f"x{nodes}", onnx.TensorProto.FLOAT, ["batch", WIDTH])],
    ).SerializeToString()
    model = onnx.ModelProto(ir_version=10, opset_import=[onnx.helper.make_opsetid("", 21)])
    graph_bytes = sum(map(len, heads)) + nodes * weight_bytes + len(rest)
    with path.open("wb") as file:
        file.write(model.SerializeToString() + field(7, graph_bytes))  # graph
        for head in heads:
            file.write(head)
            file.seek(weight_bytes, 1)
        file.write(rest)


def field(number: int, length: int) -> bytes:
    """What stands before a field of that many bytes."""
    encoded = bytearray((number << 3 | 2,))
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((*encoded, length))


def served(pipe: Connection[str, None]) -> None:
    """The server, in a process of its own."""
    serve("localhost:0", limits=Limits(workers=1), on_ready=pipe.send)


def drained(pipe: Connection[str, None]) -> None:
    """A receiver that counts the bytes of a stream and keeps none."""

    def count(chunks: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
        return str(sum(map(len, chunks))).encode()

    server = grpc.server(ThreadPoolExecutor(2))
    method = grpc.stream_unary_rpc_method_handler(count)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Drain", {"Drain": method}),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    pipe.send(f"localhost:{port}")
    server.wait_for_termination()


def bare(address: str, path: Path) -> None:
    """The same bytes in the same chunks, to the receiver that drops them."""

    def chunks() -> Iterator[bytes]:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    with grpc.insecure_channel(address) as channel:
        received = channel.stream_unary("/bench.Drain/Drain", None, None)(chunks())
    assert int(received) == path.stat().st_size


def analyzed(address: str, path: Path, *, with_weights: bool) -> None:
    """A whole call, the connection included."""
    with Client(address) as client:
        client.analyze(path, with_weights=with_weights)


class Run(NamedTuple):
    """How long one call took, and by how much the resident memory of server and worker grew at most."""

    seconds: float
    server_bytes: int
    worker_bytes: int


def measure(function: Callable[[], None], server: int) -> Run:
    pids = server, worker_of(server)
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak starts again from here
    before = [resident_bytes(pid, "VmRSS") for pid in pids]
    started = time.perf_counter()
    function()
    seconds = time.perf_counter() - started
    grown = [resident_bytes(pid, "VmHWM") - held for pid, held in zip(pids, before, strict=True)]
    return Run(seconds, *grown)


def resident_bytes(pid: int, which: str) -> int:
    """VmRSS, what a process holds now, or VmHWM, the most that it has held."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def worker_of(server: int) -> int:
    """The largest of its children; the other keeps multiprocessing's books."""
    tasks = Path(f"/proc/{server}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return max(children, key=lambda pid: resident_bytes(pid, "VmRSS"))


@contextmanager
def running(target: Callable[[Connection[str, None]], None]) -> Iterator[tuple[int, str]]:
    """A process and the address that it serves."""
    spawn = multiprocessing.get_context("spawn")
    hears, tells = spawn.Pipe(duplex=False)
    process = spawn.Process(target=target, args=(tells,))
    process.start()
    try:
        yield cast(int, process.pid), hears.recv()
    finally:
        process.terminate()
        process.join()


def main() -> None:
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    with (
        tempfile.TemporaryDirectory() as folder,
        running(drained) as (_, receiver),
        running(served) as (server, address),
    ):
        path, small = Path(folder) / "chain.onnx", Path(folder) / "small.onnx"
        chain(path, nodes)
        chain(small, 2)
        ways = {
            "bare stream": partial(bare, receiver),
            "full upload": partial(analyzed, address, with_weights=True),
            "thin upload": partial(analyzed, address, with_weights=False),
        }
        for way in ways.values():  # warm: everything is imported, every buffer has its size
            way(small)
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for _ in range(RUNS):
            for name, way in ways.items():
                runs[name].append(measure(partial(way, path), server))
        show(runs, path.stat().st_size)


def show(runs: dict[str, list[Run]], size: int) -> None:
    seconds = {name: statistics.median(run.seconds for run in them) for name, them in runs.items()}
    head = f"{size / 1e6:.0f} MB"
    print(f"{head:<14}{'seconds':>9}{'MB/s':>7}{'of bare':>9}{'server MiB':>12}{'worker MiB':>12}")
    for name, them in runs.items():
        rate = f"{size / 1e6 / seconds[name]:>7.0f}{seconds['bare stream'] / seconds[name]:>9.2f}"
        grown = (max(run.server_bytes for run in them), max(run.worker_bytes for run in them))
        memory = "".join(f"{each / 2**20:>12.1f}" for each in grown)
        print(f"{name:<14}{seconds[name]:>9.3f}{' ' * 16 if name == 'thin upload' else rate}{memory}")


if __name__ == "__main__":
    main()
