"""The one walk: every node's rule is asked once, in execution order; sizes, small values and Facts come together.

A body (a function, a branch, a loop) is described once per distinct call, by the same walk, and remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from analyzer.describe.dims import Binding
from analyzer.errors import BadModel
from analyzer.graph import Function, Graph, Model, Node, Reference, Size
from analyzer.ops.rule import Facts, Rule, Run, find
from analyzer.options import Options

__all__ = ["Missing", "Scene", "Unknown", "describe"]

CALL_DEPTH_LIMIT = 64
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Unknown:
    """Stands for the size of a tensor that has one which nobody can tell."""

    __slots__ = ()


UNKNOWN = Unknown()


class Missing(msgspec.Struct, frozen=True, eq=False):
    """Why a node has no Facts: it has no rule, an operand has no size, or (lenient) it cannot run."""

    reason: Literal["NO_RULE", "NO_SIZE", "INVALID"]
    message: str


class Scene(msgspec.Struct, frozen=True, eq=False):
    """A graph as described for given operands: parallel to `graph.nodes` the Facts, and every tensor's size.

    `constants` are tensors made from stored ones alone; `inputs` the sizes the graph was entered with.
    """

    graph: Graph
    sizes: dict[str, Size | Unknown | None]
    facts: tuple[Facts | Missing, ...]
    constants: set[str]
    dims: Mapping[str, int] = {}
    assumed: Mapping[str, int] = {}
    overridden: tuple[str, ...] = ()

    def size(self, name: str) -> Size | None:
        """A tensor's size, None where it is not known."""
        size = self.sizes.get(name)
        return size if type(size) is Size else None


def describe(model: Model, options: Options) -> Scene:
    """Describe the main graph at the sizes that `options` binds. Raises BadOption, and BadModel unless lenient."""
    binding = Binding(model.graph.inputs, options)
    entered = {name: UNKNOWN if size is None else size for name, size in binding.sizes.items()}
    scene = _Walk(model, options.lenient).scene(model.graph, entered, set())
    return msgspec.structs.replace(
        scene, dims=binding.dims, assumed=binding.assumed, overridden=tuple(binding.overridden)
    )


class _Walk:
    """One description of one model: the functions in reach, and the calls that were described already."""

    def __init__(self, model: Model, lenient: bool) -> None:
        self.functions, self.lenient = model.functions, lenient
        self.calls: dict[Any, Run] = {}
        self.stack: list[tuple[str, str, str]] = []

    def scene(
        self,
        graph: Graph,
        entered: Mapping[str, Size | Unknown | None],
        constants: set[str],
        bound: Mapping[str, Any] | None = None,
    ) -> Scene:
        """Walk `graph` with its inputs (and captured tensors) sized as `entered`; `bound` are a caller's attributes."""
        sizes: dict[str, Size | Unknown | None] = dict(entered)
        sizes[""] = None
        for name, tensor in graph.initializers.items():
            sizes[name] = tensor.size
            constants.add(name)
        facts = []
        for node in graph.nodes:
            operands = [sizes[name] for name in node.inputs]
            said = self.node(node, operands, sizes, constants, bound)
            facts.append(said)
            if type(said) is Facts:
                outputs = said.outputs
                if type(outputs) is Size:
                    sizes[node.outputs[0]] = outputs if outputs not in operands else _own(outputs)
                    for name in node.outputs[1:]:
                        sizes.setdefault(name, UNKNOWN)
                else:
                    _place(node, outputs if type(outputs) is tuple else (outputs,), operands, sizes)
                if not said.random and constants.issuperset(filter(None, node.inputs)) and constants.issuperset(node.captures):
                    constants.update(node.outputs)
            else:
                for name in node.outputs:
                    sizes.setdefault(name, UNKNOWN)
        constants.discard("")
        return Scene(graph, sizes, tuple(facts), constants)

    def node(
        self,
        node: Node,
        operands: list[Size | Unknown | None],
        sizes: dict[str, Size | Unknown | None],
        constants: set[str],
        bound: Mapping[str, Any] | None,
    ) -> Facts | Missing:
        """What is said of one node, and where nothing can be, why."""
        attributes = node.attributes if bound is None else _resolved(node.attributes, bound)
        rule = find(node.domain, node.op_type, node.version)
        if rule is None:
            key = (node.domain, node.op_type, node.overload)
            if key in self.functions:
                return self.call(key, node, operands, attributes)
            return Missing("NO_RULE", f"no rule for {node.op_type} of {node.domain} at opset {node.version}")
        if UNKNOWN in operands:
            return Missing("NO_SIZE", f"{node.inputs[operands.index(UNKNOWN)]!r} has no known size")
        try:
            return _apply(rule, node, operands, attributes)
        except BadModel as error:
            told = error.at(node=node.name, op_type=node.op_type)
        except _FAULTS as error:
            told = BadModel(
                "OPERANDS_DO_NOT_FIT",
                f"operands of shapes {', '.join(map(_drawn, operands))} do not fit ({type(error).__name__}: {error})",
                node=node.name, op_type=node.op_type,
            )  # fmt: skip
        if not self.lenient:
            raise BadModel(told.reason, f"node {node.name!r} ({node.op_type}): {told.message}", **told.facts) from None
        return Missing("INVALID", told.message)

    def call(
        self, key: tuple[str, str, str], node: Node, operands: list[Size | Unknown | None], attributes: Mapping[str, Any]
    ) -> Facts | Missing:
        """A call of a model-local function: its body, described once for these operands and attributes."""
        if key in self.stack:
            raise BadModel("RECURSION", f"function {key[1]} calls itself", node=node.name)
        if len(self.stack) >= CALL_DEPTH_LIMIT:
            raise BadModel("NESTED_TOO_DEEPLY", f"functions call one another more than {CALL_DEPTH_LIMIT} deep", node=node.name)
        seen = (key, tuple(map(_identity, operands)), tuple(sorted((k, _identity(v)) for k, v in attributes.items())))
        run = self.calls.get(seen)
        if run is None:
            self.stack.append(key)
            run = self.calls[seen] = self.body(self.functions[key], operands, attributes)
            self.stack.pop()
        return Facts(tuple(size and _own(size) for size in run.outputs), macs=0, runs=(run,))

    def body(self, function: Function, operands: list[Size | Unknown | None], attributes: Mapping[str, Any]) -> Run:
        graph = function.graph
        padded = operands + [None] * (len(graph.inputs) - len(operands))
        entered = {tensor.name: size for tensor, size in zip(graph.inputs, padded, strict=False)}
        scene = self.scene(graph, entered, set(), {**function.attributes, **attributes})
        return Run(tuple(scene.size(tensor.name) for tensor in graph.outputs), scene)


def _apply(rule: Rule, node: Node, operands: list[Any], attributes: Mapping[str, Any]) -> Facts:
    """Ask the rule, once it is sure that operands and attributes are those of its signature."""
    if len(operands) < rule.least or None in operands[: rule.least]:
        raise BadModel("MISSING_OPERAND", f"needs {rule.least} operands, has {sum(o is not None for o in operands)}")
    if rule.most is not None and len(operands) > rule.most:
        raise BadModel("TOO_MANY_OPERANDS", f"takes at most {rule.most} operands, has {len(operands)}")
    if not attributes.keys() <= rule.attributes:
        attributes = {name: value for name, value in attributes.items() if name in rule.attributes}
    if not rule.required <= attributes.keys():
        absent = ", ".join(sorted(rule.required - attributes.keys()))
        raise BadModel("MISSING_ATTRIBUTE", f"attribute {absent} is missing", attribute=absent)
    if not rule.fills:
        return rule.function(*operands, **attributes)
    filled = {"results": len(node.outputs), "version": node.version}
    return rule.function(*operands, **attributes, **{name: filled[name] for name in rule.fills})


def _place(
    node: Node, outputs: tuple[Size | None, ...], operands: list[Size | Unknown | None], sizes: dict[str, Size | Unknown | None]
) -> None:
    """Give each named output its Size, one of its own even where a rule used one twice."""
    seen: list[Size | Unknown | None] = list(operands)
    for index, name in enumerate(node.outputs):
        size = outputs[index] if index < len(outputs) else None
        if size is None:
            sizes.setdefault(name, UNKNOWN)
            continue
        if name:
            sizes[name] = size if size not in seen else _own(size)
            seen.append(size)


def _own(size: Size) -> Size:
    """An equal Size with an identity of its own."""
    return Size(size.shape, size.dtype, size.value, size.exact, size.value_exact)


def _resolved(attributes: Mapping[str, Any], bound: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes of a function's node with references to the caller's attributes replaced; unset ones vanish."""
    if not any(type(value) is Reference for value in attributes.values()):
        return attributes
    resolved = {name: bound.get(value) if type(value) is Reference else value for name, value in attributes.items()}
    return {name: value for name, value in resolved.items() if value is not None}


def _identity(value: Any) -> Any:
    """What makes two operands or attributes the same for a described call."""
    if type(value) is Size:
        return value.shape, value.dtype.code, None if value.value is None else value.value.tobytes()
    return repr(value) if isinstance(value, (float, dict, list)) else value


def _drawn(size: Size | Unknown | None) -> str:
    return str(size.shape) if type(size) is Size else "-"
