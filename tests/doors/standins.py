"""Stand-ins for the analysis, for workers to import: what they do is written in the model itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import onnx

from analyzer.errors import BadModel, BadOption
from analyzer.options import Options
from analyzer.report import (
    ArenaSlot,
    FieldRow,
    FoundOrder,
    InferenceMemory,
    LiveTensor,
    LocalField,
    Memory,
    Metric,
    MissedInplace,
    ModelInfo,
    NodeRow,
    Report,
    Savings,
    TensorRow,
    Totals,
    TrainingMemory,
    WaitingTensor,
    Warning,
)

OBEDIENT = f"{__name__}:obey"


def said(order: str, weight_bytes: int = 0) -> bytes:
    """A model that the stand-in obeys, with a weight of that many bytes."""
    model = onnx.ModelProto(ir_version=10, producer_name=order, graph=onnx.GraphProto(name="graph"))
    if weight_bytes:
        weight = onnx.TensorProto(name="weight", data_type=onnx.TensorProto.UINT8, dims=(weight_bytes,))
        weight.raw_data = bytes(weight_bytes)
        model.graph.initializer.append(weight)
    return model.SerializeToString()


HELLO = said("hello")


def hollow(path: Path, order: str, weight_bytes: int) -> Path:
    """The same as a file, in which the weight is a hole: it takes no place on the disk."""
    weight = onnx.TensorProto(name="weight", data_type=onnx.TensorProto.UINT8, dims=(weight_bytes,))
    weight_head = weight.SerializeToString() + b"\x4a" + varint(weight_bytes)  # raw_data
    graph_head = b"\x2a" + varint(len(weight_head) + weight_bytes) + weight_head  # initializer
    model_head = onnx.ModelProto(ir_version=10, producer_name=order).SerializeToString()
    head = model_head + b"\x3a" + varint(len(graph_head) + weight_bytes) + graph_head  # graph
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + weight_bytes)
    return path


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    return bytes((value,)) if value < 0x80 else bytes((value & 0x7F | 0x80,)) + varint(value >> 7)


def obey(
    model: str | bytes, options: Options, *, name: str | None = None, file_bytes: int | None = None
) -> Report:
    """Do what the model says; the report tells the process as ir_version, and as depth the bytes that came to it.

    rows N         a report of N tensors              sleep S     take S seconds
    bad model      raise it                           bad option  likewise
    fault          raise what nobody should           die         be killed, or `die late S`, S seconds into the answer
    """
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    size = len(data) if file_bytes is None else file_bytes
    command, _, argument = onnx.ModelProto.FromString(data).producer_name.partition(" ")
    match command, argument:
        case "rows", number:
            return report(name or "model", size, rows=int(number))
        case "sleep", seconds:
            time.sleep(float(seconds))
        case "bad", "model":
            raise BadModel("NOT_ONNX", "not an ONNX model: a stand-in says so", offset=7)
        case "bad", "option":
            raise BadOption("UNKNOWN_DIM", "no free dimension is named 'nope'", option="dims", dim="nope")
        case "fault", _:
            raise ZeroDivisionError("a secret of the server")
        case "die", late if late.startswith("late"):
            answer = report("x" * 500_000_000, size)
            threading.Timer(float(late.removeprefix("late")), os.kill, (os.getpid(), signal.SIGKILL)).start()
            return answer
        case "die", _:
            os.kill(os.getpid(), signal.SIGKILL)
    return msgspec.structs.replace(report(name or "model", size, dims=options.dims), depth=len(data))


def report(
    name: str = "model", file_bytes: int = 0, *, dims: dict[str, int] | None = None, rows: int = 3
) -> Report:
    """A report with an example of every None, 0, "", False and empty tuple that the records admit."""
    none, zero, some = Metric(None, "unavailable"), Metric(0, "complete"), Metric(2**62, "partial")
    return Report(
        schema_version=1,
        model=ModelInfo(name, "0" * 64, file_bytes, os.getpid(), {"": 17, "ai.onnx.ml": 3}, ""),
        dims=dims or {},
        warnings=(Warning("ASSUMED", "batch taken as 1"), Warning("ODD", "", ""), Warning("ODD", "", "node")),
        totals=Totals(none, zero, some, none, zero, some, none, zero),
        nodes=(
            NodeRow("", "Conv", "", (), (), None, "complete", None, None, None, None, None, None, None),
            NodeRow("b", "Relu", "com", ("a", ""), ("",), 0, "partial", 0, 0, 0, 0, 0, 0, 0),
            NodeRow("c", "Gemm", "", ("é",), ("c",), 1, "unavailable", 1, 2, 3, 4, 5, 6, 7, 0, 8, 9, 10),
        ),
        tensors=tuple(
            TensorRow(f"tensor_{row}", "activation", *ways)
            for row in range(rows)
            for ways in ((None, None, None), ("", (), 0), ("float32", (1, 0, 3), 12, False))[
                row % 3 : row % 3 + 1
            ]
        ),
        memory=Memory(
            InferenceMemory(None, 0, 1, None, None, (), None, "unavailable"),
            TrainingMemory(None, "adam", 0, None, 1, 2, 3, 4, None, "partial"),
        ),
        receptive_fields=(
            FieldRow("t", "x", 2, "global"),
            FieldRow("t", "x", 0, "local", 0, 0, "", 0, 0.0, 0, 0, False, False, LocalField(0, "", 0)),
            FieldRow("t", "x", 3, "local", 3, 1, "1/2", -1, 0.5, 1, 7, True, True, LocalField(3, "2", 1)),
        ),
        depth=None,
    )


def with_peak(given: Report) -> Report:
    """The same with the other half of the memory fields filled, so that both are tried."""
    peak = (LiveTensor("", None), LiveTensor("a", 0), LiveTensor("b", 9))
    slots = (ArenaSlot("", 0, 0, None, ""), ArenaSlot("a", 2, 1, "b", None))
    waiting = (WaitingTensor("", 0, "", "", 0), WaitingTensor("a", 1, "b", "c", 2))
    savings = Savings(FoundOrder(0, False, ()), (MissedInplace("a", "b", "c", 1),), waiting)
    inference = InferenceMemory(
        0, None, None, 0, "", peak, 0, "complete", arena_offsets=slots, savings=savings
    )
    training = TrainingMemory(0, "", None, 0, None, 0, None, 0, 5, "complete")
    return msgspec.structs.replace(given, memory=Memory(inference, training), depth=0)
