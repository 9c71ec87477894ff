"""The one walk: every node's rule is asked once, in execution order; sizes, small values and Facts come together.

A body (a function, a branch, a loop) is described once per distinct call, by the same walk, and remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from analyzer.describe.dims import Binding
from analyzer.errors import BadModel
from analyzer.graph import UNKNOWN, Graph, Known, Model, Node, Reference, Sequence, Size, Tensor, Unknown
from analyzer.ops.rule import Facts, Rule, Run, find
from analyzer.options import Options
from analyzer.spans import NOTHING

__all__ = ["Missing", "Scene", "describe"]

CALL_DEPTH_LIMIT = 64
_FATAL = frozenset({"RECURSION", "NESTED_TOO_DEEPLY"})
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


Operands = list[Known | Unknown | None]
Sizes = dict[str, Known | Unknown | None]


class Missing(msgspec.Struct, frozen=True, eq=False):
    """Why a node has no Facts: it has no rule, an operand has no size, or (lenient) it cannot run."""

    reason: Literal["NO_RULE", "NO_SIZE", "INVALID"]
    message: str


class Scene(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A graph as described for given operands: every tensor's size and, parallel to `graph.nodes`, rules and Facts.

    `constants` are tensors made from stored ones alone; `bounded` says that some sizes are upper bounds.
    `sizes` holds UNKNOWN for a tensor whose size nobody can tell. `calls` are the bodies of nodes that have some, and
    `missing` what nobody could say of the others, by the node's index.
    """

    graph: Graph
    sizes: Mapping[str, Known | Unknown | None]
    facts: tuple[Facts | Missing, ...]
    rules: tuple[Rule | None, ...]
    constants: set[str]
    calls: Mapping[int, tuple[Run, ...]]
    missing: Mapping[int, Missing]
    bounded: bool = False
    dims: Mapping[str, int] = {}
    assumed: Mapping[str, int] = {}
    overridden: tuple[str, ...] = ()

    @cached_property
    def bytes(self) -> Mapping[str, int]:
        """Exact bytes of every tensor whose size tells them."""
        return {
            name: amount
            for name, size in self.sizes.items()
            if type(size) is Size and (amount := size.bytes) is not None
        }

    def size(self, name: str) -> Size | None:
        """A tensor's size; None where it is not known, or is no tensor's."""
        size = self.sizes.get(name)
        return size if type(size) is Size else None

    def named(self, names: tuple[str, ...], size: Size) -> str:
        """The tensor among `names` that a Size belongs to, "" if none: identity tells."""
        sizes = self.sizes
        for name in names:
            if sizes[name] is size:
                return name
        return ""


def describe(model: Model, options: Options) -> Scene:
    """Describe the main graph at the sizes that `options` binds. Raises BadOption, and BadModel unless lenient."""
    binding = Binding(model.graph.inputs, options)
    try:
        return _described(model, options, binding)
    except BadModel as error:
        modest = Binding(model.graph.inputs, options, modest=True)
        if modest.assumed != binding.assumed:
            with suppress(BadModel):
                return _described(model, options, modest)
        if not binding.assumed:
            raise
        assumed = ", ".join(f"{symbol} = {value}" for symbol, value in binding.assumed.items())
        hint = f"{error.message}; assumed were {assumed}: bind free dimensions by name if that does not suit the model"
        raise BadModel(error.reason, hint, **error.facts) from None


def _described(model: Model, options: Options, binding: Binding) -> Scene:
    entered: Sizes = {name: UNKNOWN if size is None else size for name, size in binding.sizes.items()}
    with np.errstate(all="ignore"):  # a value may be infinite, or no number
        scene = _Walk(model, options.lenient).scene(model.graph, entered, set())
    return msgspec.structs.replace(
        scene, dims=binding.dims, assumed=binding.assumed, overridden=tuple(binding.overridden)
    )


class _Walk:
    """One description of one model: the functions in reach, and the calls that were described already."""

    def __init__(self, model: Model, lenient: bool) -> None:
        self.functions, self.lenient = model.functions, lenient
        self.calls: dict[Any, Scene] = {}
        self.stack: list[tuple[str, str, str]] = []

    def scene(
        self, graph: Graph, entered: Sizes, constants: set[str], bound: Mapping[str, Any] | None = None
    ) -> Scene:
        """Walk `graph` with its inputs and captured tensors sized as `entered`, of which `constants` are constant.

        `bound` are the attributes of a function's caller.
        """
        sizes = dict(entered)
        sizes[""] = None
        for name, tensor in graph.initializers.items():
            sizes[name] = tensor.size
        constants.update(graph.initializers)
        constants.add("")  # an operand that is left out keeps no node from being constant
        facts: list[Facts | Missing] = []
        rules: list[Rule | None] = []
        calls: dict[int, tuple[Run, ...]] = {}
        missing: dict[int, Missing] = {}
        bounded = any(map(_bounded, entered.values()))
        for index, node in enumerate(graph.nodes):
            operands = [*map(sizes.__getitem__, node.inputs)]
            rule = find(node.domain, node.op_type, node.version)
            said = self.node(node, rule, operands, sizes, constants, bound)
            rules.append(rule)
            facts.append(said)
            if isinstance(said, Missing):
                missing[index] = said
                for name in node.outputs:
                    sizes.setdefault(name, UNKNOWN)
                continue
            if said.runs:
                calls[index] = said.runs
            outputs = said.results
            if bounded and any(map(_bounded, operands)):
                outputs = _passed_on(outputs, operands, said, rule)
            bounded = _place(node, outputs, operands, sizes) or bounded
            if constants.issuperset(node.inputs) and constants.issuperset(node.captures) and not said.random:
                constants.update(node.outputs)
        constants.discard("")
        return Scene(graph, sizes, tuple(facts), tuple(rules), constants, calls, missing, bounded)

    def node(
        self,
        node: Node,
        rule: Rule | None,
        operands: Operands,
        sizes: Sizes,
        constants: set[str],
        bound: Mapping[str, Any] | None,
    ) -> Facts | Missing:
        """What is said of one node, and where nothing can be, why."""
        attributes = node.attributes if bound is None else _resolved(node.attributes, bound)
        try:
            if rule is None:
                key = (node.domain, node.op_type, node.overload)
                if key in self.functions:
                    return self.call(key, node, operands, attributes, constants)
                return Missing(
                    "NO_RULE", f"no rule for {node.op_type} of {node.domain} at opset {node.version}"
                )
            if len(operands) < rule.least or not all(operands):
                if UNKNOWN in operands and not (rule.bodies or rule.undaunted):
                    return Missing("NO_SIZE", f"{node.inputs[operands.index(UNKNOWN)]!r} has no known size")
                if len(operands) < rule.least or None in operands[: rule.least]:
                    given = sum(size is not None for size in operands)
                    raise BadModel("MISSING_OPERAND", f"needs {rule.least} operands, has {given}")
            if rule.bodies:
                attributes = {
                    name: Body(self, value, node, sizes, constants, bound) if type(value) is Graph else value
                    for name, value in attributes.items()
                }
            return _apply(rule, node, operands, attributes)
        except BadModel as error:
            within = "node" in error.facts
            told = error.at(node=node.name, op_type=node.op_type)
        except _FAULTS:
            within = False
            misfit = rule.misfit(attributes) if rule is not None else None
            told = (misfit or _unforeseen(operands)).at(node=node.name, op_type=node.op_type)
        if told.reason not in _FATAL and any(map(_bounded, operands)):
            return Missing("NO_SIZE", told.message)  # what an upper bound does not fit, the data may
        if told.reason in _FATAL or not self.lenient:
            if within:  # the innermost node has told it
                raise told
            raise BadModel(told.reason, f"node {node.name!r} ({node.op_type}): {told.message}", **told.facts)
        return Missing("INVALID", told.message)

    def call(
        self,
        key: tuple[str, str, str],
        node: Node,
        operands: Operands,
        attributes: Mapping[str, Any],
        constants: set[str],
    ) -> Facts:
        """A call of a model-local function: its body, described once for these operands and attributes."""
        if key in self.stack:
            raise BadModel("RECURSION", f"function {key[1]} calls itself", function=key[1])
        if len(self.stack) >= CALL_DEPTH_LIMIT:
            raise BadModel(
                "NESTED_TOO_DEEPLY", f"functions call one another more than {CALL_DEPTH_LIMIT} deep"
            )
        function = self.functions[key]
        graph = function.graph
        formals = [tensor.name for tensor in graph.inputs]
        fixed = {
            formal for formal, name in zip(formals, node.inputs, strict=False) if name and name in constants
        }
        seen = (
            key,
            *map(_identity, operands),
            frozenset(fixed),
            *((k, _identity(v)) for k, v in sorted(attributes.items())),
        )
        scene = self.calls.get(seen)
        if scene is None:
            self.stack.append(key)
            try:
                entered = dict.fromkeys(formals) | dict(zip(formals, operands, strict=False))
                scene = self.calls[seen] = self.scene(
                    graph, entered, fixed, {**function.attributes, **attributes}
                )
            finally:
                self.stack.pop()
        run = Run(_results(scene), scene, operands=node.inputs)
        return Facts(run.outputs, runs=(run,), transparent=True)


class Body:
    """A graph attribute as its op's rule sees it: call it with sizes for its inputs, and it is described for them."""

    def __init__(
        self,
        walk: _Walk,
        graph: Graph,
        node: Node,
        sizes: Sizes,
        constants: set[str],
        bound: Mapping[str, Any] | None,
    ) -> None:
        self.walk, self.graph, self.bound = walk, graph, bound
        self.captured = {name: sizes[name] for name in node.captures}
        self.fixed = constants.intersection(node.captures)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the body declares of its inputs."""
        return self.graph.inputs

    def __call__(self, *operands: Known | None, repeat: int | None = 1, unsure: bool = False) -> Run:
        """The body described for `operands`. `unsure`: it may never run, so a node in it that cannot is no error."""
        entered: Sizes = dict(self.captured)
        for tensor, size in zip(self.graph.inputs, operands, strict=False):
            entered[tensor.name] = UNKNOWN if size is None else size
        lenient = self.walk.lenient or unsure
        told = tuple((name, _identity(value)) for name, value in (self.bound or {}).items())
        sizes = tuple((name, _identity(size)) for name, size in entered.items())
        seen = (id(self.graph), lenient, frozenset(self.fixed), told, sizes)
        scene = self.walk.calls.get(seen)
        if scene is None:
            before, self.walk.lenient = self.walk.lenient, lenient
            try:
                scene = self.walk.calls[seen] = self.walk.scene(
                    self.graph, entered, set(self.fixed), self.bound
                )
            finally:
                self.walk.lenient = before
        return Run(_results(scene), scene, repeat)


def _results(scene: Scene) -> tuple[Known | None, ...]:
    """Sizes of a body's outputs, None where unknown."""
    found = [scene.sizes.get(tensor.name) for tensor in scene.graph.outputs]
    return tuple(_own(size) if isinstance(size, Known) else None for size in found)


def _bounded(size: object) -> bool:
    """Whether a shape or a value is an upper bound only."""
    return type(size) is Size and not (size.exact and size.value_exact)


def _passed_on(
    outputs: tuple[Known | None, ...], operands: Operands, said: Facts, rule: Rule | None
) -> tuple[Known | None, ...]:
    """Outputs of a node whose operands are bounds: bounds too, except where only a shape was asked for."""
    if said.spans is NOTHING or said.runs:
        return outputs
    shaky = any(
        type(size) is Size
        and (not size.exact or (not size.value_exact and rule is not None and rule.role(place) == "setting"))
        for place, size in enumerate(operands)
    )
    return tuple(
        Size(size.shape, size.dtype, size.value, exact=not shaky and size.exact, value_exact=False)
        if type(size) is Size
        else size
        for size in outputs
    )


def _apply(rule: Rule, node: Node, operands: list[Any], attributes: Mapping[str, Any]) -> Facts:
    """Ask the rule, once it is sure that operands and attributes are no more than its signature has, and that no size
    in what it says is below zero.
    """
    if rule.most is not None and len(operands) > rule.most:
        raise BadModel("TOO_MANY_OPERANDS", f"takes at most {rule.most} operands, has {len(operands)}")
    if attributes and not rule.attributes.issuperset(attributes):
        attributes = {name: value for name, value in attributes.items() if name in rule.attributes}
    if rule.required and not rule.required <= attributes.keys():
        absent = ", ".join(sorted(rule.required - attributes.keys()))
        raise BadModel("MISSING_ATTRIBUTE", f"attribute {absent} is missing", attribute=absent)
    if rule.fills:
        filled = {"results": len(node.outputs), "version": node.version}
        attributes = {**attributes, **{name: filled[name] for name in rule.fills}}
    said = rule.function(*operands, **attributes)
    for size in said.results:
        if type(size) is Size and size.shape and min(size.shape) < 0:
            raise BadModel("NEGATIVE_DIM", f"the result would have shape {size.shape}")
    return said


def _place(node: Node, outputs: tuple[Known | None, ...], operands: Operands, sizes: Sizes) -> bool:
    """Give each named output its size, one of its own even where a rule used one twice; whether some are
    bounds only.
    """
    bounded = False
    for index, name in enumerate(node.outputs):
        size = outputs[index] if index < len(outputs) else None
        if size is None:
            sizes.setdefault(name, UNKNOWN)
        elif name:
            if size in operands or (index and size in outputs[:index]):
                size = _own(size)  # the tensor's own
            sizes[name] = size
            if type(size) is Size and not (size.exact and size.value_exact):
                bounded = True
    return bounded


def _own(size: Known) -> Known:
    """An equal size with an identity of its own."""
    return (
        size
        if type(size) is not Size
        else Size(size.shape, size.dtype, size.value, size.exact, size.value_exact)
    )


def _resolved(attributes: Mapping[str, Any], bound: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes of a function's node with references to the caller's attributes replaced; unset ones vanish."""
    if not any(type(value) is Reference for value in attributes.values()):
        return attributes
    resolved = {
        name: bound.get(value) if type(value) is Reference else value for name, value in attributes.items()
    }
    return {name: value for name, value in resolved.items() if value is not None}


def _identity(value: Any) -> Any:
    """What makes two operands or attributes the same for a described call."""
    if type(value) is Size:
        known = None if value.value is None else value.value.tobytes()
        return value.shape, value.dtype.code, known, value.exact, value.value_exact
    if type(value) is Sequence:
        return None if value.items is None else tuple(map(_identity, value.items)), _identity(value.element)
    return repr(value) if isinstance(value, (float, dict, list)) else value


def _unforeseen(operands: Operands) -> BadModel:
    """What is said where a rule failed in a way that it has no reason for."""
    return BadModel(
        "OPERANDS_DO_NOT_FIT",
        f"operands of shapes {', '.join(map(_drawn, operands))} and attributes do not fit together "
        "(if a runtime runs this model, the rule is at fault: please report it)",
    )


def _drawn(size: object) -> str:
    return str(size.shape) if type(size) is Size else "-"
