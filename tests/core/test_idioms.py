"""Idioms: which nodes a formula finds, and which it leaves alone. What each idiom keeps is in test_saved.py."""

from __future__ import annotations

import pytest

from analyzer import Options
from analyzer.describe import Scene, describe
from analyzer.idioms import spoken
from analyzer.idioms.pattern import Call, Name, Number, Text, parse
from analyzer.load import load
from analyzer.ops import extend
from tests.conftest import text_model

FOUND = [  # (formula, nodes, tensors that it names)
    ("x * Sigmoid(x)", "s = Sigmoid(a) r = Mul(a, s)", {"x": "a"}),
    ("x * Sigmoid(x)", "s = Sigmoid(a) r = Mul(s, a)", {"x": "a"}),
    ("x * Sigmoid(x)", "s = Sigmoid(b) r = Mul(a, s)", None),
    ("x - Relu(y)", "s = Relu(a) r = Sub(b, s)", {"x": "b", "y": "a"}),
    ("x - Relu(y)", "s = Relu(a) r = Sub(s, b)", None),
    ("x * 2 + y", "s = Mul(two, a) r = Add(b, s)", {"x": "a", "y": "b"}),
    ("x * 3 + y", "s = Mul(two, a) r = Add(b, s)", None),
    ("Relu(x) + Relu(x * y)", "s = Relu(a) t = Mul(b, a) u = Relu(t) r = Add(u, s)", {"x": "a", "y": "b"}),
    ("x / Sqrt(x)", "s = Sqrt(a) r = Div(a, s)", {"x": "a"}),
    (
        "Split[1](x) * Relu(Split[0](x))",
        "s, t = Split<num_outputs=2>(a) u = Relu(s) r = Mul(t, u)",
        {"x": "a"},
    ),
    ("Split[1](x) * Relu(Split[0](x))", "s, t = Split<num_outputs=2>(a) u = Relu(t) r = Mul(s, u)", None),
    ("Neg(x * y | x - y)", "s = Mul(b, a) r = Neg(s)", {"x": "b", "y": "a"}),
    ("Neg(x * y | x - y)", "s = Sub(a, b) r = Neg(s)", {"x": "a", "y": "b"}),
    ("Neg(x * y | x - y)", "s = Add(a, b) r = Neg(s)", None),
    ("Exp(x * x | x ** 2)", "s = Pow(a, two) r = Exp(s)", {"x": "a"}),
    ("Exp(x * x | x ** 2)", "s = Mul(a, b) r = Exp(s)", None),
    ("y - (Relu(x) | Exp(x) | Neg(x))", "s = Neg(a) r = Sub(b, s)", {"x": "a", "y": "b"}),
    ("y + (Relu(x) | Exp(y))", "s = Exp(a) r = Add(s, a)", {"y": "a"}),
    ("y + (Relu(x) | Exp(y))", "s = Exp(a) r = Add(s, b)", None),
    ("Relu(x) * (Exp(x) | Relu(y))", "s = Relu(a) t = Relu(b) r = Mul(t, s)", {"x": "b", "y": "a"}),
    ("x - (m := ReduceMean(x))", "s = ReduceMean(a) r = Sub(a, s)", {"x": "a", "m": "s"}),
]


def described(nodes: str, results: str = "r") -> Scene:
    """A graph over a and b [4] and the number two."""
    extend()
    text = f"g (float[4] a, float[4] b) => ({results}) <float two = {{2.0}}> {{ {nodes} }}"
    return describe(load(text_model(text)), Options())


@pytest.mark.parametrize(("formula", "nodes", "bound"), FOUND)
def test_a_formula_finds_its_nodes(formula: str, nodes: str, bound: dict[str, str] | None) -> None:
    """The operands of a sum or a product in either order, others in theirs."""
    scene = described(nodes)
    count = len(scene.graph.nodes)
    match = Text(scene, {*"abrstu"}).find(parse(formula), count - 1)
    assert (match and match[0]) == bound
    if match is not None:
        assert match[1] == set(range(count))


@pytest.mark.parametrize("results", ["r, s", "r, u"])
def test_what_somebody_else_reads_is_no_inner_step(results: str) -> None:
    """Another node, or whoever asked for it as a result."""
    scene = described("s = Sigmoid(a) r = Mul(a, s) u = Neg(s)", results)
    assert Text(scene, {*"abrsu"}).find(parse("x * Sigmoid(x)"), 1) is None


def test_a_formula_is_read_as_python_reads_it() -> None:
    """Products before sums, powers before products."""
    assert parse("1 + x * y ** 2") == Call(
        "Add", (Number(1.0), Call("Mul", (Name("x"), Call("Pow", (Name("y"), Number(2.0))))))
    )
    with pytest.raises(ValueError, match="no part of a pattern"):
        parse("Relu(x) + [1]")


def test_the_longest_phrase_wins_and_no_node_is_spoken_for_twice() -> None:
    """One of a silu in a chain of two: phrases side by side, the nodes before the last of each are silent."""
    scene = described("s = Sigmoid(a) t = Mul(a, s) u = Sigmoid(t) r = Mul(t, u)")
    phrases = spoken(Text(scene, {*"abrstu"}))
    assert {index: phrase and phrase.inputs for index, phrase in phrases.items()} == {
        0: None, 1: ("a",), 2: None, 3: ("t",),
    }  # fmt: skip
    assert spoken(Text(scene, set())) == {}


def test_a_search_costs_what_there_is_to_search() -> None:
    """Twice as long a chain of sums and products, that all might begin a formula and none does, twice the tries."""
    tries = []
    for length in (50, 100):
        nodes = " ".join(f"v{i + 1} = {('Mul', 'Add')[i % 2]}(v{i}, v{i})" for i in range(length))
        scene = described(f"v0 = Neg(a) {nodes} r = Neg(v{length})")
        text = Counting(scene, {f"v{i}" for i in range(length + 1)} | {"r"})
        for index in range(len(scene.graph.nodes)):
            text.find(parse("0.5 * (x * (1 + Tanh(x + 3 * (x * (x * x)))))"), index)
        tries.append(text.tries)
    assert tries[1] < 2.2 * tries[0]


class Counting(Text):
    """A search that counts the nodes that it looks at."""

    tries = 0

    def call(self, *arguments: object) -> bool:
        """One more."""
        self.tries += 1
        return super().call(*arguments)  # type: ignore[arg-type]
