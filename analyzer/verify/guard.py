"""What a stranger's model may not bring along: onnxruntime follows paths, links and addresses that a file names.

Everything here is refused before onnxruntime sees a byte of it. What passes is copied into a private directory
(`analyzer.verify.stage`), so that onnxruntime never opens a path that a model names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

import onnx

from analyzer.errors import BadModel

_IN_MEMORY = "_ORT_MEM_ADDR_"
"""In a location it makes onnxruntime take the offset for an address of its own memory."""
_FLATBUFFER = b"ORTM"
"""At the fifth byte: onnxruntime's own format, which is read without the checks that an .onnx file gets."""


def check_bytes(path: Path) -> None:
    """Raises BadModel (RUNTIME_FORMAT) for a file in onnxruntime's own format, whatever its name."""
    with path.open("rb") as file:
        head = file.read(8)
    if path.suffix == ".ort" or head[4:] == _FLATBUFFER:
        raise BadModel("RUNTIME_FORMAT", f"{path.name} is in onnxruntime's own format, which is not run here")


def check_model(proto: onnx.ModelProto) -> None:
    """Raises BadModel (COMPILED_CONTEXT) where a node holds a compiled blob, or the path of one."""
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in _nodes(nodes):
            if node.op_type == "EPContext":
                told = (
                    f"node {node.name!r} is an EPContext, a compiled blob or its path, which is not run here"
                )
                raise BadModel("COMPILED_CONTEXT", told, node=node.name)


def location_of(tensor: onnx.TensorProto) -> str:
    """Where a tensor's data lies, if that is a path below the model's folder. Raises BadModel (EXTERNAL_PATH)."""
    location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
    wrong = None
    if _IN_MEMORY in location:
        wrong = "an address in memory"
    elif not location or "\0" in location:
        wrong = "no path"
    elif location.startswith(("/", "\\", "~")) or PureWindowsPath(location).drive:
        wrong = "an absolute path"
    elif ".." in location.replace("\\", "/").split("/"):
        wrong = "a path out of the model's folder"
    if wrong is not None:
        told = f"the data of {tensor.name!r} is said to lie in {location!r}, {wrong}"
        raise BadModel("EXTERNAL_PATH", told, tensor=tensor.name, location=location)
    return location


def opened(folder: Path, location: str) -> BinaryIO | None:
    """The file of external data, None where it is not there.

    Raises BadModel (EXTERNAL_FILE) where it is no plain file, or one that has another name elsewhere: no link on the
    way is followed, and what is opened is what was looked at.
    """
    *folders, name = [part for part in location.replace("\\", "/").split("/") if part not in ("", ".")]
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = below
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _no_plain_file(location, "a link, or cannot be opened") from error
    finally:
        os.close(place)
    status = os.fstat(found)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(found)
        raise _no_plain_file(location, "a hard link" if stat.S_ISREG(status.st_mode) else "no plain file")
    return os.fdopen(found, "rb")


def _no_plain_file(location: str, what: str) -> BadModel:
    told = f"external data {location!r} is {what}; it is read from plain files in the model's folder alone"
    return BadModel("EXTERNAL_FILE", told, location=location)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of their bodies."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(body.node)
