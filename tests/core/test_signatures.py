"""A rule's signature is its op's definition: each is held against the schemas of all opsets that it answers for.

onnx.defs has the ops of ONNX's own domains in all their versions, onnxruntime those of its domains. Where one rule
answers for several versions it takes what any of them takes, and requires what all of them require.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
import onnx.defs
import pytest
from onnx import AttributeProto, helper

import analyzer.ops  # noqa: F401  # reading the package registers every rule
from analyzer.ops.rule import REGISTRY, Rule, find

FIRST_OPSET = 7
VARIADIC = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Schema:
    """One version of an op: the operands it takes, and its attributes with their defaults.

    `least` counts the required operands before the first that may be left out, `arity` those that a variadic
    tail needs.
    """

    since: int
    least: int
    arity: int
    most: int | None
    required: frozenset[str]
    defaults: dict[str, Any]


def plain(attribute: AttributeProto) -> Any:
    """A default as a rule writes it: text, tuple, number; None where the schema leaves it to the prose."""
    if attribute.type == AttributeProto.UNDEFINED:
        return None
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float)):
        return value
    return tuple(item.decode() if isinstance(item, bytes) else item for item in value)


def schema_of(found: Any, default: Any) -> Schema:
    """From onnx's or onnxruntime's own record, which differ in how they hold a default."""
    least, arity, leading = 0, 0, True
    for formal in found.inputs:
        option = str(formal.option).rpartition(".")[2].split(":")[0]
        if option == "Single" and leading:
            least += 1
        elif option == "Variadic":
            arity = getattr(formal, "min_arity", 1)
        else:
            leading = False
    return Schema(
        found.since_version,
        least,
        arity if leading else 0,
        None if found.max_input >= VARIADIC else found.max_input,
        frozenset(name for name, attribute in found.attributes.items() if attribute.required),
        {
            name: plain(default(attribute))
            for name, attribute in found.attributes.items()
            if not attribute.required
        },
    )


@cache
def standard() -> dict[tuple[str, str], dict[int, Any]]:
    """Every schema of onnx.defs by domain and op, then by the opset that brought it."""
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        found.setdefault((schema.domain or "ai.onnx", schema.name), {})[schema.since_version] = schema
    return found


@cache
def runtime() -> dict[tuple[str, str], Schema]:
    """Every schema that onnxruntime knows, of its own domains and of others."""
    state = pytest.importorskip("onnxruntime.capi._pybind_state")

    def default(attribute: Any) -> AttributeProto:
        return AttributeProto.FromString(attribute._default_value)

    return {
        (schema.domain or "ai.onnx", schema.name): schema_of(schema, default)
        for schema in state.get_all_operator_schema()
    }


def answered(domain: str, op_type: str) -> Iterator[tuple[Schema, Rule | None, list[Schema]]]:
    """Each schema in force from opset 7 on, the rule that answers there, and all schemas that the rule answers for."""
    history = {
        since: schema for since, schema in standard()[domain, op_type].items() if not schema.deprecated
    }
    ended = [since for since, schema in standard()[domain, op_type].items() if schema.deprecated]
    read = {since: schema_of(schema, lambda a: a.default_value) for since, schema in history.items()}
    last = min(ended) - 1 if ended else onnx.defs.onnx_opset_version()
    asked = []
    for opset in range(1, last + 1):
        since = max((version for version in history if version <= opset), default=None)
        if since is not None:
            asked.append((opset, read[since], find(domain, op_type, opset)))
    for schema, rule in dict.fromkeys((s, r) for o, s, r in asked if o >= FIRST_OPSET or domain != "ai.onnx"):
        yield schema, rule, [read[since] for since in {s.since for _, s, r in asked if r is rule}]


def equal(ours: Any, theirs: Any) -> bool:
    """Defaults agree; floats to single precision, as a file stores them."""
    if isinstance(theirs, float) and isinstance(ours, (int, float)):
        return math.isclose(ours, theirs, rel_tol=1e-6)
    if isinstance(theirs, tuple) and isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs) and isinstance(ours, bool) == isinstance(theirs, bool)


def complaints(rule: Rule | None, schema: Schema, others: list[Schema]) -> Iterator[str]:
    """What a rule gets wrong of one schema, among all those that it answers for."""
    if rule is None:
        yield "exists, but no rule answers for it"
        return
    least = min(other.least for other in others), schema.least + schema.arity
    if not least[0] <= rule.least <= least[1]:
        yield f"takes at least {schema.least} operands, the rule {rule.least}"
    most = [math.inf if other.most is None else other.most for other in others]
    if (math.inf if rule.most is None else rule.most) != max(most):
        yield f"takes at most {schema.most or 'any number of'} operands, the rule {rule.most or 'any number'}"
    for name in sorted((schema.required | schema.defaults.keys()) - rule.attributes):
        yield f"has an attribute {name}, the rule has not"
    optional = {name for other in others for name in other.defaults}
    required = {name for other in others for name in other.required} - optional
    for name in sorted(rule.attributes - optional - required):
        yield f"has no attribute {name}, nor has another version, the rule has"
    for name in sorted(rule.required & schema.defaults.keys()):
        yield f"may leave {name} out, the rule may not"
    for name in sorted(required & schema.required & rule.defaults.keys()):
        yield f"needs {name}, the rule does not"
    for name in sorted(schema.defaults.keys() & rule.defaults.keys()):
        said, theirs = rule.defaults[name], schema.defaults[name]
        if theirs is not None and not equal(said, theirs):
            yield f"has {name} = {theirs!r} by default, the rule {said!r}"


def ours(key: tuple[str, str]) -> bool:
    """Whether the rule ships with the analyzer; another test may have registered one of a user's own."""
    return any(rule.function.__module__.startswith("analyzer.") for rule in REGISTRY[key])


RULES = sorted(filter(ours, REGISTRY))
STANDARD = [pytest.param(*key, id=".".join(key)) for key in RULES if key in standard()]
CONTRIB = [pytest.param(*key, id=".".join(key)) for key in RULES if key not in standard()]


@pytest.mark.parametrize(("domain", "op_type"), STANDARD)
def test_a_rules_signature_is_the_schemas(domain: str, op_type: str) -> None:
    """Operand counts, attribute names, what is required and the defaults, at every opset from 7 on."""
    wrong = [
        f"{op_type} of opset {schema.since} {line}"
        for schema, rule, others in answered(domain, op_type)
        for line in complaints(rule, schema, others)
    ]
    assert wrong == []


@pytest.mark.parametrize(("domain", "op_type"), CONTRIB)
def test_a_contrib_rules_signature_is_onnxruntimes(domain: str, op_type: str) -> None:
    """The same for the ops that onnxruntime's optimiser and its tools write."""
    assert (domain, op_type) in runtime(), f"neither onnx nor onnxruntime has an op {op_type} in {domain}"
    schema = runtime()[domain, op_type]
    rule = find(domain, op_type, schema.since)
    assert [f"{op_type} {line}" for line in complaints(rule, schema, [schema])] == []
