"""Which tensors lie in one buffer and when it goes, worked out by hand from the planner's rules.

A graph is a list of `result result = Op operand operand`; every tensor has the dims that the table gives it, `2x3`
unless it says otherwise. The plan is told as `tensor in home` for those that do not have a buffer of their own.
"""

from __future__ import annotations

import pytest

import analyzer.runtime.kernels  # noqa: F401  # enters every kernel
from analyzer.graph import DTYPE_NAMED, FLOAT32, DType, Size
from analyzer.runtime.kernel import ONNX, Call
from analyzer.runtime.planner import Block, Dims, Plan, Step, Value, alike, plan


def block(text: str, outputs: str, dims: dict[str, Dims | None], dtypes: dict[str, DType]) -> Block:
    """A block of one input `x`; what is neither made nor `x` belongs to the block around it."""
    steps = []
    for line in text.split(";"):
        results, _, call = line.partition("=")
        op_type, *operands = call.split()
        steps.append(
            Step(
                line.strip(),
                Call(op_type, ONNX, 21, (), (), (False,) * len(operands), {}),
                tuple(operands),
                tuple(results.split()),
            )
        )
    made = {"x", *(name for step in steps for name in step.outputs)}
    values = {name: Value(Size((2, 3), dtypes.get(name, FLOAT32)), dims.get(name, (2, 3))) for name in made}
    return Block(tuple(steps), ("x",), tuple(outputs.split()), {}, values)


def shared(found: Plan) -> str:
    return ", ".join(f"{name} in {home}" for name, home in found.homes.items() if name != home)


def released(found: Plan) -> str:
    return " | ".join(" ".join(sorted(names)) for names in found.released)


@pytest.mark.parametrize(
    ("text", "outputs", "dims", "homes", "gone"),
    [
        # Exp never works in place, but takes the buffer that is idle; Relu works in place
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c", "d", {}, "c in a", " |  | b | a"),
        ("a = Exp x; b = Relu a; c = Exp b", "c", {}, "b in a", " |  | a"),
        # an operand that is read again, the caller's, or another shape: no place for a result
        ("a = Exp x; b = Relu a; c = Add a b", "c", {}, "", " |  | a b"),
        ("b = Relu x; c = Exp b", "c", {}, "", " | b"),
        ("a = Exp x; b = Relu a; c = Exp b", "c", {"b": (3, 2)}, "", " | a | b"),
        # an output has a buffer of its own and lends it to nobody
        ("a = Exp x; b = Relu a; c = Exp b", "a b c", {}, "", " |  | "),
        # a view shares whatever the shape is, even with the caller
        ("a = Exp x; b = Reshape a s; c = Exp b", "c", {"b": (6,)}, "b in a", " |  | a"),
        ("b = Reshape x s; c = Exp b", "c", {"b": (6,)}, "b in x", " | "),
        # the latest that is idle is taken first
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c; e = Exp d; f = Add e d", "f", {}, "c in a, d in b, e in a",
         " |  |  |  |  | a b"),
        # equal symbols are equal dims, different ones and unknown ones are not
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c", "d", {"a": ("N", 3), "c": ("N", 3)}, "c in a", " |  | b | a"),
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c", "d", {"a": ("N", 3), "c": ("M", 3)}, "", " | a | b | c"),
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c", "d", {"a": (None, 3), "c": (None, 3)}, "", " | a | b | c"),
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c", "d", {"a": None, "c": None}, "", " | a | b | c"),
        # a scalar takes no idle buffer, but may lie in its operand's
        ("a = Exp x; b = Exp a; c = Exp b; d = Exp c", "d", {"a": (), "c": ()}, "", " | a | b | c"),
        ("a = Exp x; b = Relu a; c = Exp b", "c", {"a": (), "b": ()}, "b in a", " |  | a"),
        # what nobody reads takes no idle buffer; its own is lent, but never goes
        ("a = Exp x; b = Exp a; c = Exp b; u = Exp c; d = Exp c", "d", {}, "c in a", " |  | b |  | a"),
        ("u = Exp x; a = Exp x; b = Exp a", "b", {}, "a in u", " |  | u"),
        # a captured tensor is never lent
        ("a = Exp outer; b = Exp a; c = Exp b; d = Exp c", "d", {}, "c in a", " |  | b | a"),
    ],
)  # fmt: skip
def test_a_plan_as_by_hand(
    text: str, outputs: str, dims: dict[str, Dims | None], homes: str, gone: str
) -> None:
    """Homes of the results that have no buffer of their own, and the buffers that go after each step."""
    found = plan(block(text, outputs, dims, {}))
    assert shared(found) == homes
    assert released(found) == gone


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("float32", "int32", True),
        ("float32", "float32", True),
        ("float32", "float16", False),
        ("bool", "int8", True),
        ("int4", "uint8", True),
        ("string", "string", False),
        ("int64", "float64", True),
    ],
)
def test_elements_of_one_width_are_alike(one: str, other: str, same: bool) -> None:
    """The dtype does not matter, its width does; strings share with nobody."""
    assert alike(*(Value(Size((5,), DTYPE_NAMED[name]), (5,)) for name in (one, other))) is same


def test_a_loop_passes_on_what_it_is_given() -> None:
    """In a loop's body an Identity of an input shares it instead of copying, but for the turn's number."""
    body = Block(
        tuple(
            Step(name, Call("Identity", ONNX, 21, (), (), (False,), {}), (source,), (name,))
            for source, name in (("i", "j"), ("v", "w"))
        ),
        ("i", "c", "v"),
        ("j", "w"),
        {},
        {},
    )
    assert plan(body, "Loop").homes == {"j": "j", "w": "v"}
    assert plan(body, "Scan").homes == {"j": "j", "w": "w"}
