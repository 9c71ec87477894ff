"""A model without calls and without choices: functions instead of calls, and of an If the branch that it took."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.inliner

from analyzer.verify.taint import Known, captured

_MARKS_SINCE = 9
"""The opset from which on there are all ops that marks make use of."""


def called(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every function of the file in place of its calls."""
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def modern(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same at a later opset, if it is older than marks can do with: of ops that changed since, some are mended."""
    imports = [one for one in proto.opset_import if one.domain in ("", "ai.onnx")]
    if (
        not imports
        or imports[0].version >= _MARKS_SINCE
        or any(node.op_type == "Scan" for node in proto.graph.node)
    ):
        return proto
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for one in made.opset_import:
        if one.domain in ("", "ai.onnx"):
            one.version = _MARKS_SINCE
    for number, node in enumerate(made.graph.node):
        for attribute in list(node.attribute):
            if (node.op_type, attribute.name) == ("BatchNormalization", "spatial"):  # 1 wherever it could run
                node.attribute.remove(attribute)
            if (node.op_type, attribute.name) == ("Upsample", "scales"):
                scales = np.array(attribute.floats, np.float32)
                node.input.append(f"~{number}/scales")
                made.graph.initializer.append(onnx.numpy_helper.from_array(scales, node.input[1]))
                node.attribute.remove(attribute)
    return made


def rounded(proto: onnx.ModelProto) -> bool:
    """Whether onnx's own inference may get sizes wrong, by which onnxruntime plans what memory to use again."""
    attributes = [attribute for node in proto.graph.node for attribute in node.attribute]
    return any(one.name == "output_shape" or (one.name == "ceil_mode" and one.i) for one in attributes)


def chosen(proto: onnx.ModelProto, known: Mapping[str, Known]) -> onnx.ModelProto | None:
    """The branches that a run took in place of the Ifs, whose conditions it showed; None where there is no If."""
    if not any(node.op_type == "If" for node in proto.graph.node):
        return None
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    made.graph.ClearField("node")
    for number, node in enumerate(proto.graph.node):
        if node.op_type != "If":
            made.graph.node.append(node)
            continue
        taken = "then_branch" if bool(known[node.input[0]].values) else "else_branch"
        body = next(attribute.g for attribute in node.attribute if attribute.name == taken)
        _enter(made.graph, body, list(node.output), f"~{number}/")
    return made


def _enter(graph: onnx.GraphProto, body: onnx.GraphProto, outputs: list[str], prefix: str) -> None:
    """The nodes of a body among those of the graph, its own names with a prefix."""
    own = {name for node in body.node for name in node.output if name}
    own |= {tensor.name for tensor in body.initializer}
    renamed = {name: prefix + name for name in own}
    for tensor in body.initializer:
        copy = graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = renamed[tensor.name]
    for node in body.node:
        copied = graph.node.add()
        copied.CopyFrom(node)
        _rename(copied, renamed)
        copied.output[:] = [renamed.get(name, name) for name in node.output]
    for made, name in zip(outputs, body.output, strict=True):
        if made:
            inner = renamed.get(name.name, name.name)
            graph.node.append(onnx.helper.make_node("Identity", [inner], [made]))


def _rename(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """New names for what a node and its bodies read from outside."""
    outer = {name: renamed[name] for name in (*node.input, *captured(node)) if name in renamed}
    node.input[:] = [outer.get(name, name) for name in node.input]
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {tensor.name for tensor in body.input} | {tensor.name for tensor in body.initializer}
            own |= {name for inner in body.node for name in inner.output}
            passed = {name: new for name, new in outer.items() if name not in own}
            for inner in body.node:
                _rename(inner, passed)
            for output in body.output:
                output.name = passed.get(output.name, output.name)
