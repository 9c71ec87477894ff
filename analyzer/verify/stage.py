"""A private copy of a model that onnxruntime may be shown: its weights in one file, all of them there.

What the model brought is copied as it is. What is absent gets small numbers of its own, the same at every call:

    floating point   of two axes or more normal, scaled by the terms of a sum; else between 0.5 and 1.5, fit for a
                     variance, a scale, a bias
    8 bits and less  a few small integers
    wider integers   zeros: an index that fits everywhere
    bool             true
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import onnx
import onnx.parser
from google.protobuf.message import DecodeError

from analyzer.errors import BadInput, BadModel
from analyzer.graph import DTYPES, DType
from analyzer.load import LOCATION
from analyzer.load.strip import tensors_of
from analyzer.verify import guard

KEPT_BYTES = 1024
"""Tensors below this stay in the file: shapes, axes, scales."""
_ALIGNMENT = 64
_CHUNK_BYTES = 1 << 24
_EXTERNAL = onnx.TensorProto.EXTERNAL


class Staged(msgspec.Struct, frozen=True, eq=False):
    """A model in a directory of its own. `invented`: stored tensors that got numbers."""

    place: Path
    proto: onnx.ModelProto
    weight_bytes: int
    invented: int

    def write(self, name: str, outputs: tuple[str, ...] | None = None) -> str:
        """The model as a file beside its weights; with `outputs`, those and no others are its outputs."""
        proto = self.proto
        if outputs is not None:
            proto = onnx.ModelProto()
            proto.CopyFrom(self.proto)
            declared = {output.name: output for output in self.proto.graph.output}
            proto.graph.ClearField("output")
            proto.graph.output.extend(
                declared.get(output) or onnx.ValueInfoProto(name=output) for output in outputs
            )
        (self.place / name).write_bytes(proto.SerializeToString(deterministic=True))
        return name


def nothing(place: Path) -> str:
    """The smallest model that a provider can take, which needs no memory to speak of."""
    graph = onnx.parser.parse_graph("nothing (float[1] x) => (float[1] y) { y = Relu (x) }")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (place / "nothing.onnx").write_bytes(model.SerializeToString())
    return "nothing.onnx"


def stage(model: Path, place: Path) -> Staged:
    """Copy a model and its weights to an empty directory.

    Raises BadInput where it cannot be read, BadModel where it is none, or brings what `analyzer.verify.guard` refuses.
    """
    try:
        guard.check_bytes(model)
        proto = onnx.ModelProto.FromString(model.read_bytes())
    except OSError as error:
        raise BadInput("FILE_UNREADABLE", f"cannot read {model}: {error.strerror}", path=model) from error
    except DecodeError as error:
        raise BadModel("NOT_ONNX", f"{model.name} is no ONNX model, or one of more than 2 GiB") from error
    guard.check_model(proto)
    invented = 0
    with (place / LOCATION).open("xb") as weights:
        for tensor in tensors_of(proto):
            invented += _settle(tensor, model.parent, weights)
        end = weights.tell()
    return Staged(place, proto, end, invented)


def _settle(tensor: onnx.TensorProto, folder: Path, weights: BinaryIO) -> bool:
    """Move a tensor's numbers to the file of weights, and say whether they had to be invented."""
    dtype = DTYPES.get(tensor.data_type)
    external = tensor.data_location == _EXTERNAL
    if dtype is None or dtype.bits is None:
        if external:
            raise BadModel("EXTERNAL_STRINGS", f"the data of {tensor.name!r} is external, and no numbers")
        return False
    length = (math.prod(tensor.dims) * dtype.bits + 7) // 8
    if not external and (length < KEPT_BYTES or not tensor.HasField("raw_data")):
        return False
    start = -(-weights.tell() // _ALIGNMENT) * _ALIGNMENT
    weights.seek(start)
    found = True
    if not external:
        weights.write(tensor.raw_data)
        tensor.ClearField("raw_data")
    else:
        found = _copied(tensor, folder, length, weights)
        if not found:
            _invent(tensor.name, dtype, tuple(tensor.dims), weights)
    tensor.data_location = _EXTERNAL
    tensor.ClearField("external_data")
    for key, value in (("location", LOCATION), ("offset", str(start)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return not found


def _copied(tensor: onnx.TensorProto, folder: Path, length: int, weights: BinaryIO) -> bool:
    """Copy external data; False where its file is not there."""
    file = guard.opened(folder, guard.location_of(tensor))
    if file is None:
        return False
    told = {entry.key: entry.value for entry in tensor.external_data}
    with file:
        offset, size = told.get("offset") or "0", os.fstat(file.fileno()).st_size
        if not offset.isdecimal() or int(offset) + length > size:
            line = f"the data of {tensor.name!r} is {length} bytes from {offset} on, of a file of {size}"
            raise BadModel("EXTERNAL_DATA_LENGTH", line, tensor=tensor.name)
        file.seek(int(offset))
        while length:
            length -= weights.write(file.read(min(length, _CHUNK_BYTES)))
    return True


def _invent(name: str, dtype: DType, dims: tuple[int, ...], weights: BinaryIO) -> None:
    """Small numbers for an absent tensor, by its name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    count = math.prod(dims)
    if not dtype.is_float:
        length = (count * (dtype.bits or 8) + 7) // 8
        small = (dtype.bits or 8) <= 8 and dtype.kind != "b"
        filled = (
            random.integers(0, 8, length, np.uint8) if small else np.full(length, dtype.kind == "b", np.uint8)
        )
        weights.write(filled.tobytes())
        return
    scale = 1 / math.sqrt(max(count // max(dims[0], 1), dims[0], 1)) if len(dims) > 1 else None
    width = max(dtype.bits or 8, 8) // 8  # narrower ones are made byte by byte, two or more of a kind in one
    for start in range(0, count, _CHUNK_BYTES):
        size = min(_CHUNK_BYTES, count - start)
        numbers = (
            random.random(size, np.float32) + 0.5
            if scale is None
            else random.standard_normal(size, np.float32) * np.float32(scale)
        )
        made = numbers.astype(dtype.numpy)
        if (dtype.bits or 8) < 8:
            made = np.zeros((size * (dtype.bits or 8) + 7) // 8, np.uint8)
        assert made.itemsize == width
        weights.write(made.tobytes())
