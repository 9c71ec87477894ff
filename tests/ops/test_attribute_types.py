"""Attributes of a type that an op's definition does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import analyzer.ops  # noqa: F401  # reading the package registers every rule
from analyzer.graph import FLOAT32, Size
from analyzer.ops.rule import REGISTRY, Facts, Rule, find

TENSOR = Size((2,), FLOAT32, np.ones(2, np.float32))

MISFITS = [
    ("Conv", {"strides": 2}, "strides", "attribute strides is an integer, integers are wanted"),
    (
        "Conv",
        {"strides": (2, 2), "pads": (1.0, 1.0)},
        "pads",
        "attribute pads is a list, integers are wanted",
    ),
    ("Softmax", {"axis": "last"}, "axis", "attribute axis is a string, an integer is wanted"),
    ("Softmax", {"axis": (1,)}, "axis", "attribute axis is a list, an integer is wanted"),
    ("LeakyRelu", {"alpha": "steep"}, "alpha", "attribute alpha is a string, a number is wanted"),
    ("LSTM", {"direction": 1}, "direction", "attribute direction is an integer, a string is wanted"),
    ("LSTM", {"activations": "Tanh"}, "activations", "attribute activations is a string, strings are wanted"),
    ("Constant", {"value": 3}, "value", "attribute value is an integer, a tensor is wanted"),
    ("Gelu", {"approximate": 0.5}, "approximate", "attribute approximate is a number, a string is wanted"),
    ("Loop", {"body": TENSOR}, "body", "attribute body is a tensor, a graph is wanted"),
]


@pytest.mark.parametrize(("op_type", "attributes", "attribute", "message"), MISFITS)
def test_a_rule_names_the_attribute_of_another_type(
    op_type: str, attributes: dict[str, Any], attribute: str, message: str
) -> None:
    """And says what it is, and what is wanted."""
    rule = find("ai.onnx", op_type, 21)
    assert rule is not None
    error = rule.misfit(attributes)
    assert error is not None
    assert (error.reason, error.facts, error.message) == ("ATTRIBUTE_TYPE", {"attribute": attribute}, message)


def test_no_default_is_of_another_type() -> None:
    """What a rule says of its attributes holds for their defaults, so it is a type and not a misunderstanding."""
    rules = [rule for found in REGISTRY.values() for rule in found]
    assert [rule.op_type for rule in rules if rule.misfit(rule.defaults)] == []


def test_a_users_rule_is_read_alike() -> None:
    """Its annotations are types, where they are not put off to be text, or there are none."""

    def mine(x: Size, *, steps: int | None = None, names: tuple[str, ...] = (), scale=1.0) -> Facts:  # type: ignore[no-untyped-def]
        return Facts(x)

    mine.__annotations__ = {"x": Size, "steps": int | None, "names": tuple[str, ...], "return": Facts}
    rule = Rule("Mine", "my.own", 1, None, mine)
    assert rule.misfit({"steps": 3, "names": ("a",), "scale": 2.0}) is None
    for wrong in ({"steps": "3"}, {"names": "a"}, {"scale": "a"}):
        error = rule.misfit(wrong)
        assert error is not None
        assert error.facts == {"attribute": next(iter(wrong))}
