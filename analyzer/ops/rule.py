"""What a rule is, what it says, and where rules are found.

A rule is a function from the sizes of an op's operands, by position, and its attributes, by keyword, to
`Facts`. Its signature is the op's definition: parameters without a default are required. An operand's
annotation says what a constant there would be:

    Size      data, or a weight if it is a constant of floating point
    Weight    a weight whatever its dtype (a quantised matrix)
    Buffer    a running statistic, a scale or a zero point
    Setting   a shape, an axis, a bound: it decides what is computed and is no weight
    Anything  the same, and the rule can do without knowing its size: the operand may be Unknown

Two keyword parameters are filled in by the walk where a rule asks for them: `results`, how many outputs the node
names, and `version`, the opset version in force.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeVar

import msgspec
import numpy as np

from analyzer.errors import BadModel
from analyzer.graph import VALUE_LIMIT, Known, Size, Tensor, Unknown, Value
from analyzer.spans import OPAQUE, Each, Exact, Read, Route, Span, Spans, Word

Weight = Size
Buffer = Size
Setting = Size
Anything = Size | Unknown

OperandRole = Literal["data", "weight", "buffer", "setting"]
_ROLES: dict[str, OperandRole] = {
    "Weight": "weight",
    "Buffer": "buffer",
    "Setting": "setting",
    "Anything": "setting",
}
_FILLED = frozenset({"results", "version"})
_KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "int": ("an integer", int),
    "float": ("a number", (int, float)),
    "str": ("a string", str),
    "Size": ("a tensor", Size),
    "Tensor": ("a type", Tensor),
}
_LISTS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "Ints": ("integers", int), "tuple[int,": ("integers", int),
    "Floats": ("numbers", (int, float)), "tuple[float,": ("numbers", (int, float)),
    "Strings": ("strings", str), "tuple[str,": ("strings", str),
}  # fmt: skip
ONNX = "ai.onnx"
MICROSOFT = "com.microsoft"


class Run(msgspec.Struct, frozen=True, eq=False):
    """A body as described for given operands: `scene` is opaque to rules; `repeat` is None where the data decides it.

    `operands` names the caller's tensors that the body's inputs are, where they are. `never`: it is a branch that is
    known not to be taken.
    """

    outputs: tuple[Known | None, ...]
    scene: Any
    repeat: int | None = 1
    operands: tuple[str, ...] = ()
    never: bool = False


T = TypeVar("T")


class Turns(msgspec.Struct, frozen=True, eq=False, gc=False):
    """How a loop hands tensors to its body and back. The body gets `lead` inputs of the loop's own, then the values
    that are carried, then a row of each scanned operand; it gives back `told` results for the loop's own use, the
    values that are carried, and rows that are stacked.

    operands           operands of the node before those that are carried
    carried            how many values are
    scanned, stacked   the axis of each, and whether it is gone through backwards
    """

    operands: int
    lead: int
    told: int
    carried: int
    scanned: tuple[tuple[int, bool], ...] = ()
    stacked: tuple[tuple[int, bool], ...] = ()

    def apart(self, operands: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
        """What is known of each operand, told apart: the loop's own, those that are carried, those that are scanned."""
        first = self.operands + self.carried
        return [*operands[: self.operands]], [*operands[self.operands : first]], [*operands[first:]]


class Body(Protocol):
    """A graph attribute: called with sizes for its inputs it is described for them. `unsure`: it may never run, so what
    cannot run in it is no error.
    """

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...

    def __call__(self, *operands: Known | None, repeat: int | None = 1, unsure: bool = False) -> Run: ...


class Kept(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What autograd keeps under a condition: only where `beside`, another operand, needs a gradient.

    Kept as transposed by `order` and, if `folded`, broadcast to the first shape and reshaped to the second: the latter
    is a copy where strides allow no view.
    """

    size: Size
    beside: Size | None = None
    order: tuple[int, ...] | None = None
    folded: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def bytes(self) -> int | None:
        return self.size.bytes


class Facts(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Everything a rule says about one node; a rule says only what is true of its op, the rest is harmless.

    outputs      sizes of the results, in order; None where a size cannot be told
    macs         multiply-accumulates (CONTRACT: conventions of the numbers); None: not known
    elementwise  one per output element and arithmetic step of everything else
    spans        what the output reads: one Span per operand, or one for all of them; `Each` where results differ;
                 unsaid is opaque
    exact        by operand, what result 0 reads of it at the size at hand, where clipping its span would not tell;
                 worked out when asked for
    saved        what autograd keeps for the backward pass where the node's result needs a gradient: operands, results,
                 or fresh Sizes (masks, statistics)
    view         the operand whose storage output 0 shares
    strided      the operand that the results are views of where tensors have strides: a transpose, a slice
    training     what is said of the op in training where this is said of inference: a dropout at rest
    alike        the operand in the order of whose axes in memory output 0 is laid out; elementwise ops need not say so
    follows      operands whose layout output 0 takes over where it is one of pictures with channels last
    folds        weight and bias, one number per output channel, that may have taken in a batch norm
    order        axes of output 0 from slowest to fastest in memory, where they are not in their order
    inplace      operands that output 0 may overwrite where nobody else needs them
    lowering     rows (positions) and columns (taps) of the im2col matrix of one image and group, of what is convolved:
                 the first operand
    random       the result differs from run to run, so it is never a constant
    runs         bodies executed by this node; `exclusive`: only one of them is; `transparent`: their results
                 are the node's
    turns        how a loop goes through its body
    over_batch   in training the result of one sample depends on the others of its batch
    passes       operands whose gradient is that of output 0, or a part of it, as it stands
    workspace    bytes that the op takes beside its results, forward, and beside the gradients of its operands,
                 backward; of PyTorch's kernels on a CPU. A function tells whom it concerns, given whether the first
                 operand comes with channels last
    reserve      bytes that such a kernel holds from its way forward to its way back, beside what is `saved`
    """

    outputs: Known | tuple[Known | None, ...] | None
    macs: int | None = 0
    elementwise: int | None = 0
    spans: Spans = OPAQUE
    exact: Mapping[int, Callable[[], Exact]] | None = None
    saved: tuple[Size | Kept, ...] = ()
    view: Size | None = None
    strided: Size | None = None
    training: Facts | None = None
    alike: Size | None = None
    follows: tuple[Size, ...] = ()
    order: tuple[int, ...] | None = None
    folds: tuple[Size, Size] | None = None
    inplace: tuple[Size, ...] = ()
    lowering: tuple[int, int] | None = None
    random: bool = False
    runs: tuple[Run, ...] = ()
    exclusive: bool = False
    transparent: bool = False
    turns: Turns | None = None
    over_batch: bool = False
    passes: tuple[Size, ...] = ()
    workspace: tuple[int, int] | Callable[[bool], tuple[int, int]] = (0, 0)
    reserve: int = 0

    def span(self, operand: int, result: int = 0) -> Span:
        """What one result reads of one operand. A list of spans that is too short ends with the last one's."""
        spans = self.spans
        if type(spans) is Word:
            return spans
        if type(spans) is Each:
            spans = spans.results[result]
        if type(spans) is not tuple or not spans or type(spans[0]) is Route or type(spans[0]) is Read:
            return spans  # type: ignore[return-value]  # one for every operand
        return spans[operand] if operand < len(spans) else spans[-1]  # type: ignore[return-value]

    def seen(self, operand: int, result: int = 0) -> Exact:
        """The same at the size at hand."""
        if self.exact is not None and not result and operand in self.exact:
            return self.exact[operand]()
        return self.span(operand, result)

    @property
    def turn_count(self) -> int | None:
        """How many turns a loop takes, whose bodies are one for each or one for all; None where the data decides it."""
        return len(self.runs) if len(self.runs) > 1 else self.runs[0].repeat

    def turn(self, number: int) -> Run:
        """The body of one turn of a loop."""
        return self.runs[number if len(self.runs) > 1 else 0]

    @property
    def results(self) -> tuple[Known | None, ...]:
        """The outputs as a tuple, one or many."""
        outputs = self.outputs
        return outputs if isinstance(outputs, tuple) else (outputs,)


Function = Callable[..., Facts]
F = TypeVar("F", bound=Function)


class Rule:
    """One op type's rule for a range of opset versions, with what its signature tells."""

    __slots__ = (
        "attributes", "bodies", "defaults", "domain", "fills", "function", "least", "most", "op_type",
        "required", "roles", "since", "undaunted", "until",
    )  # fmt: skip

    def __init__(self, op_type: str, domain: str, since: int, until: int | None, function: Function) -> None:
        self.op_type, self.domain, self.since, self.until, self.function = (
            op_type,
            domain,
            since,
            until,
            function,
        )
        parameters = inspect.signature(function).parameters.values()
        operands = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
        keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.least = sum(p.default is p.empty for p in operands)
        self.most = None if rest else len(operands)
        self.roles: tuple[OperandRole, ...] = tuple(_role(p.annotation) for p in (*operands, *rest))
        self.fills = frozenset(p.name for p in keywords) & _FILLED
        self.attributes = frozenset(p.name for p in keywords) - _FILLED
        self.undaunted = any(str(p.annotation).startswith("Anything") for p in operands)
        self.bodies = frozenset(p.name for p in keywords if str(p.annotation).partition(" ")[0] == "Body")
        self.required = frozenset(p.name for p in keywords if p.default is p.empty) - _FILLED
        self.defaults = {p.name: p.default for p in keywords if p.default is not p.empty}

    def role(self, position: int) -> OperandRole:
        """What a constant would be as the operand at `position`; the last role goes on for variadic operands."""
        roles = self.roles
        return roles[position] if position < len(roles) else roles[-1]

    def misfit(self, attributes: Mapping[str, Any]) -> BadModel | None:
        """What is wrong with an attribute's type, for whoever asks when a rule has failed: no rule looks at types."""
        for parameter in inspect.signature(self.function).parameters.values():
            value = attributes.get(parameter.name)
            if value is None or parameter.kind is not parameter.KEYWORD_ONLY:
                continue
            wanted = _unlike(_word(parameter), value)
            if wanted:
                message = f"attribute {parameter.name} is {_told(value)}, {wanted} wanted"
                return BadModel("ATTRIBUTE_TYPE", message, attribute=parameter.name)
        return None

    def covers(self, version: int) -> bool:
        return self.since <= version and (self.until is None or version <= self.until)


def _role(annotation: object) -> OperandRole:
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return _ROLES.get(words.partition(" ")[0], "data")


def _word(parameter: inspect.Parameter) -> str:
    """The first word of an attribute's annotation; without one, the type of its default."""
    told = parameter.annotation
    if told is parameter.empty:
        return type(parameter.default).__name__
    if not isinstance(told, str):
        told = told.__name__ if isinstance(told, type) else str(told)
    return told.partition(" ")[0].rpartition(".")[2]


def _unlike(word: str, value: object) -> str | None:
    """What is wanted instead of a value of another type than `word` says; None where it fits or nothing is said."""
    if word in _LISTS:
        words, kind = _LISTS[word]
        return (
            None if isinstance(value, tuple) and all(isinstance(v, kind) for v in value) else f"{words} are"
        )
    if word in _KINDS:
        words, kind = _KINDS[word]
        return None if isinstance(value, kind) else f"{words} is"
    if word == "Body":
        return None if callable(value) else "a graph is"
    return None


def _told(value: object) -> str:
    """What an attribute's value is, without saying all of it."""
    if isinstance(value, tuple):
        return "a list"
    return next((words for words, kind in _KINDS.values() if isinstance(value, kind)), "a graph")


REGISTRY: dict[tuple[str, str], list[Rule]] = {}
_FOUND: dict[tuple[str, str, int], Rule | None] = {}


def rule(*op_types: str, domain: str = ONNX, since: int = 1, until: int | None = None) -> Callable[[F], F]:
    """Make a function the rule of `op_types` for opset versions `since` up to `until`. A later rule outranks
    an earlier one, so that a user's own can replace ours.
    """

    def register(function: F) -> F:
        for op_type in op_types:
            REGISTRY.setdefault((domain, op_type), []).insert(
                0, Rule(op_type, domain, since, until, function)
            )
        _FOUND.clear()
        return function

    return register


def find(domain: str, op_type: str, version: int) -> Rule | None:
    """The rule that answers for an op at an opset version, or None."""
    key = (domain, op_type, version)
    try:
        return _FOUND[key]
    except KeyError:
        found = _FOUND[key] = next((r for r in REGISTRY.get(key[:2], ()) if r.covers(version)), None)
        return found


def signed(
    function: Function, operands: Iterable[str], attributes: dict[str, Any], role: str = "Size"
) -> Function:
    """Give a function made in a loop the signature that `Rule` reads: required operands, then attributes with
    defaults.
    """
    kinds = inspect.Parameter
    parameters = [kinds(name, kinds.POSITIONAL_OR_KEYWORD, annotation=role) for name in operands]
    parameters += [kinds(name, kinds.KEYWORD_ONLY, default=default) for name, default in attributes.items()]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect honours it
    return function


def refuse(reason: str, message: str, attribute: str | None = None) -> BadModel:
    """An op that no runtime could run as it stands; the walk adds the node."""
    return BadModel(reason, message, attribute=attribute)


def known(count: int, function: Callable[..., Any], *sizes: Size | None, **keywords: Any) -> Value | None:
    """The value of an output of `count` elements where every operand's value is known and the result is
    small, else None. The walk takes care that numpy warns of nothing.
    """
    if count > VALUE_LIMIT:
        return None
    values = []
    for size in sizes:
        if size is None or size.value is None:
            return None
        values.append(size.value)
    return np.asarray(function(*values, **keywords))


def axis_of(axis: int, rank: int) -> int:
    """A possibly negative axis as 0 <= axis < rank."""
    if not -rank <= axis < rank:
        raise refuse(
            "AXIS_OUT_OF_RANGE", f"axis {axis} does not exist in a tensor of rank {rank}", attribute="axis"
        )
    return axis % rank if rank else 0


@lru_cache(maxsize=4096)  # a network asks for the same few over and over
def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that numpy-style broadcasting gives."""
    first = shapes[0]
    if all(shape == first for shape in shapes[1:]):
        return first
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, dim in enumerate(shape, rank - len(shape)):
            if dim != 1:
                if result[axis] not in (1, dim):
                    raise refuse(
                        "SHAPES_DO_NOT_BROADCAST", f"shapes {', '.join(map(str, shapes))} do not broadcast"
                    )
                result[axis] = dim
    return tuple(result)
