"""A model in which a NaN shows what is seen: what was marked reaches all that depends on it, and nothing else.

The ops themselves carry the NaN along wherever onnxruntime's kernel for them lets it through. Three things do not, and
are put right here; how an op is put right says `analyzer.verify.patterns`:

    ops that swallow a NaN    max pooling and the like become ops that see the same rows
    ops of numbers            what a function makes of its numbers does not matter here: they are added up
    tensors of integers       cannot hold a NaN. They are frozen as a run without marks found them, and a tensor of
                              floating point of their shape, their shadow, carries the mark beside them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

Key = tuple[str, str]
"""Domain and op type."""
FLOATS: Mapping[str, int] = {"float": 1, "float16": 10, "double": 11}
"""Kinds that can hold a NaN, with ONNX's codes."""
BLOCKED = "com.microsoft.nchwc"
"""The domain of ops whose channels lie in blocks; what stands between them leaves them so."""
_DEFAULT = ("", "ai.onnx")
_MARK = "~"
_LARGEST = 1e4
"""Of a weight that is left as it is."""
_ZERO_WEIGHT = 1e-6
"""A coefficient below this is a zero that was not computed exactly."""


class Known(msgspec.Struct, frozen=True, eq=False):
    """What a run without marks showed of a tensor. `values` where they may be needed."""

    kind: str
    shape: tuple[int, ...]
    values: Any = None


class Tainted(msgspec.Struct, frozen=True, eq=False):
    """A model to be marked. `inputs` and `outputs` say what the model's own are called in it; an output that is absent
    depends on no input. What descends from `unsure` nodes may lose a mark on the way.
    """

    proto: onnx.ModelProto
    inputs: dict[str, str]
    outputs: dict[str, str]
    unsure: frozenset[str]


def key_of(node: onnx.NodeProto) -> Key:
    return ("" if node.domain in _DEFAULT else node.domain, node.op_type)


def captured(node: onnx.NodeProto) -> set[str]:
    """Outer tensors that a node's bodies read."""
    found: set[str] = set()
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {tensor.name for tensor in body.input} | {tensor.name for tensor in body.initializer}
            for inner in body.node:
                found |= (set(inner.input) | captured(inner)) - own
                own |= set(inner.output)
            found |= {output.name for output in body.output} - own
    return found - {""}


def ancestors(proto: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """The part of a model that makes these tensors, which are its outputs now."""
    wanted = set(tensors)
    kept: list[onnx.NodeProto] = []
    for node in reversed(proto.graph.node):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted |= {*node.input, *captured(node)}
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    for field in ("node", "value_info", "output", "initializer", "input"):
        graph.ClearField(field)
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name in wanted)
    stored = {tensor.name for tensor in proto.graph.initializer}
    graph.input.extend(tensor for tensor in proto.graph.input if tensor.name not in stored)
    made.ir_version = max(made.ir_version, 8)
    return made


def taint(
    proto: onnx.ModelProto,
    known: Mapping[str, Known],
    patterns: Mapping[Key, Pattern],
    tensors: Sequence[str],
) -> Tainted:
    """Rewrite a model of which `known` says every tensor, so that `tensors` show what they see."""
    return Rewriting(ancestors(proto, tensors), known, patterns).done(tensors)


class Rewriting:
    """A model under way. `live` tensors carry marks themselves, those in `shadows` beside them."""

    def __init__(
        self, proto: onnx.ModelProto, known: Mapping[str, Known], patterns: Mapping[Key, Pattern]
    ) -> None:
        self.proto, self.known, self.patterns = proto, known, patterns
        self.nodes: list[onnx.NodeProto] = []
        self.live: set[str] = set()
        self.shadows: dict[str, str] = {}
        self.stored: list[onnx.TensorProto] = []
        self.unsure: set[str] = set()
        self.blocked: set[str] = set()
        self.opset = max((one.version for one in proto.opset_import if one.domain in _DEFAULT), default=1)

    def done(self, tensors: Sequence[str]) -> Tainted:
        graph = self.proto.graph
        entered = self._enter()
        for node in graph.node:
            self._rewrite(node)
        inputs = {name: self.shadows.get(name, name) for name in entered}
        outputs = {
            name: self._in_order(self.shadows.get(name, name))
            for name in tensors
            if name in self.shadows or name in self.live
        }
        frozen = [self._frozen(name) for name in self.shadows if self.known[name].values is not None]
        for field in ("node", "input", "output"):
            graph.ClearField(field)
        for tensor in graph.initializer:
            _tame(tensor)
        graph.node.extend(self.nodes)
        graph.initializer.extend([*self.stored, *frozen])
        for name, fed in inputs.items():
            code = FLOATS.get(self.known[name].kind, 1)
            graph.input.append(helper.make_tensor_value_info(fed, code, self.known[name].shape))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(outputs.values()))
        return Tainted(self.proto, inputs, outputs, frozenset(self.unsure))

    def _enter(self) -> list[str]:
        """Every input is marked, as itself or by its shadow."""
        names = [tensor.name for tensor in self.proto.graph.input]
        for name in names:
            if self.known[name].kind in FLOATS:
                self.live.add(name)
            else:
                self.shadows[name] = name + _MARK
        return names

    def _in_order(self, name: str) -> str:
        """A tensor whose channels lie in blocks, which only onnxruntime knows the size of, as its shape says."""
        if name not in self.blocked:
            return name
        channels = self.shape(name)[1]
        return self.emit("ReorderOutput", [name], domain=BLOCKED, channels=channels)

    def _frozen(self, name: str) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(self.known[name].values, order="C"), name)

    def _rewrite(self, node: onnx.NodeProto) -> None:
        key = key_of(node)
        inside = key[0] == BLOCKED and key[1] != "ReorderOutput"
        if inside or (key[0] != BLOCKED and not self.blocked.isdisjoint(node.input)):
            self.blocked.update(node.output)
        pattern = self.patterns.get(key)
        if pattern is SHAPE_ONLY or not self.marked(node):
            self.nodes.append(node)
            return
        if not self.unsure.isdisjoint((*node.input, *captured(node))) or pattern is None:
            self.unsure.update(node.output)
        (pattern or unknown)(self, node)

    # -- what a pattern asks for

    def marked(self, node: onnx.NodeProto) -> list[str]:
        """The operands that marks come from, captured ones among them."""
        names = dict.fromkeys((*node.input, *sorted(captured(node))))
        return [
            name
            for name in names
            if (name in self.live or name in self.shadows)
            and (name not in self.known or 0 not in self.known[name].shape)
        ]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.known[name].shape

    def numbers(self, name: str) -> list[int]:
        """The values of an operand that is a list of integers."""
        return [int(number) for number in np.ravel(self.known[name].values)]

    def emit(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """One more node; the name of its result."""
        domain = attributes.pop("domain", "")
        made = output if output is not None else f"{_MARK}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [made], domain=domain, **attributes))
        return made

    def constant(self, values: Any) -> str:
        name = f"{_MARK}c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def carrier(self, name: str) -> str:
        """What carries the marks of a tensor, in single precision; of one without marks, its numbers."""
        if name in self.shadows:
            return self.shadows[name]
        if name in self.known and self.known[name].kind == "float":
            return name
        return self.emit("Cast", [name], to=1)

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        return self.emit("Reshape", [name, self.constant(np.array(shape, np.int64))])

    def mean(self, name: str, axes: Sequence[int] | None = None, keepdims: int = 1) -> str:
        """Over some axes, or all."""
        if axes is None:
            return self.emit("ReduceMean", [name], keepdims=0)
        if not axes:
            return name
        if self.opset < 18:
            return self.emit("ReduceMean", [name], axes=list(axes), keepdims=keepdims)
        return self.emit("ReduceMean", [name, self.constant(np.array(axes, np.int64))], keepdims=keepdims)

    def flags(self, name: str) -> str:
        """1 where a carrier is marked, 0 where not: for kernels that a NaN does not pass."""
        return self.emit("Cast", [self.emit("IsNaN", [name])], to=1)

    def spoilt(self, flags: str) -> str:
        """A NaN where flags are not 0, and 0 where they are."""
        hit = self.emit("Greater", [self.emit("Abs", [flags]), self.constant(np.float32(_ZERO_WEIGHT))])
        return self.emit("Where", [hit, self.constant(np.float32("nan")), self.constant(np.float32(0))])

    def give(self, output: str, parts: Iterable[str]) -> None:
        """A result that has the marks of all `parts`, which broadcast to its shape; without any it has none."""
        told, parts = self.known.get(output), list(parts)
        if not output or told is None or not parts:
            return
        together = parts[0] if len(parts) == 1 else self.emit("Sum", parts)
        shape = self.constant(np.array(told.shape, np.int64))
        if told.kind in FLOATS:
            self.live.add(output)
            wide = self.emit("Expand", [together, shape], output if told.kind == "float" else None)
            if told.kind != "float":
                self.emit("Cast", [wide], output, to=FLOATS[told.kind])
        else:
            self.shadows[output] = self.emit("Expand", [together, shape], output + _MARK)

    def copied(
        self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str] | None = None
    ) -> list[str]:
        """The node itself with other operands, in single precision; the names of its results."""
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.input[:] = inputs
        made.output[:] = outputs or [f"{_MARK}{len(self.nodes)}.{place}" for place in range(len(node.output))]
        self.nodes.append(made)
        return list(made.output)

    def all_of(self, names: Iterable[str]) -> Iterator[str]:
        """The marks of tensors as if each of their elements reached everything."""
        return (self.mean(self.carrier(name)) for name in names)


def _tame(tensor: onnx.TensorProto) -> None:
    """Weights that would overflow before anything is marked: their numbers do not matter, so they get smaller ones."""
    if tensor.data_type not in FLOATS.values() or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return
    values = numpy_helper.to_array(tensor)
    if not np.all(np.abs(values) <= _LARGEST):
        tensor.CopyFrom(numpy_helper.from_array(np.clip(np.nan_to_num(values), -1, 1), tensor.name))


Pattern = Callable[[Rewriting, onnx.NodeProto], None]


def SHAPE_ONLY(rewriting: Rewriting, node: onnx.NodeProto) -> None:  # a constant that is a function
    """The pattern of ops that read nothing but shapes, or what is frozen."""


def native(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The kernel lets a NaN through. What it has of integers is frozen, and seen by every element of the results."""
    outputs = [name for name in node.output if name]
    floats = [name for name in outputs if name not in rewriting.known or rewriting.known[name].kind in FLOATS]
    aside = [name for name in rewriting.marked(node) if name in rewriting.shadows]
    if len(floats) == len(outputs) and not aside:
        rewriting.nodes.append(node)
        rewriting.live.update(outputs)
        return
    beside = list(rewriting.all_of(rewriting.marked(node) if len(floats) < len(outputs) else aside))
    made = dict(zip(node.output, rewriting.copied(node, node.input), strict=True)) if floats else {}
    for name in outputs:
        if name not in rewriting.known:
            continue
        own = [_single(rewriting, made[name], rewriting.known[name].kind)] if name in floats else []
        rewriting.give(name, [*own, *beside])


def unknown(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """Nobody said what the kernel does with a NaN. Its results of integers are frozen, and have no marks."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    for place, name in enumerate(node.output):
        told = rewriting.known.get(name)
        if told is not None and told.kind not in FLOATS and told.values is not None:
            rewriting.stored.append(numpy_helper.from_array(np.asarray(told.values, order="C"), name))
            made.output[place] = f"{_MARK}{len(rewriting.nodes)}.{place}"
        elif name:
            rewriting.live.add(name)
    rewriting.nodes.append(made)


def _single(rewriting: Rewriting, name: str, kind: str) -> str:
    return name if kind == "float" else rewriting.emit("Cast", [name], to=1)
