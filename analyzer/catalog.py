"""What the rules know, op by op, read off the rules themselves.

A rule says a fact by naming it: `Facts(y, macs=..., spans=...)`. So the facts that it can say are the keywords in its
code, and in the code of the functions that it calls; a rule that answers as another op does (`standard("Conv", ...)`)
knows what that one knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import msgspec

from analyzer.ops.rule import REGISTRY, Function, Rule

_ROOM = "analyzer.ops"


class Entry(msgspec.Struct, frozen=True):
    """One op type: the opset versions that are answered for ("7-", "1-12, 13-"), and which facts are said.

    macs, elementwise   what it costs
    field               what its outputs read of its operands
    saved               what autograd keeps
    in_place            which operands may be overwritten, or share their storage
    """

    domain: str
    op_type: str
    versions: str
    macs: bool
    elementwise: bool
    field: bool
    saved: bool
    in_place: bool


def entries() -> tuple[Entry, ...]:
    """Every op type that has a rule, by domain and name."""
    return tuple(_entry(*key, rules) for key, rules in sorted(REGISTRY.items()))


def _entry(domain: str, op_type: str, rules: list[Rule]) -> Entry:
    said: set[str] = set()
    for rule in rules:
        said |= _said(rule.function, set())
    return Entry(
        domain,
        op_type,
        _versions(rules),
        macs="macs" in said,
        elementwise="elementwise" in said,
        field="spans" in said,
        saved="saved" in said,
        in_place="inplace" in said or "view" in said,
    )


def _versions(rules: Iterable[Rule]) -> str:
    ranges = sorted({(rule.since, rule.until) for rule in rules}, key=lambda pair: pair[0])
    return ", ".join(f"{since}-{'' if until is None else until}" for since, until in ranges)


def _said(function: Any, seen: set[int]) -> set[str]:
    """Keywords in the code of a function and of what it calls in this package."""
    if not isinstance(function, FunctionType) or id(function) in seen:
        return set()
    seen.add(id(function))
    words: set[str] = set()
    for code in _codes(function.__code__):
        texts = {
            text for const in code.co_consts for text in (const if isinstance(const, tuple) else (const,))
        }
        words |= {text for text in texts if isinstance(text, str)}
        for name in code.co_names:
            called = function.__globals__.get(name)
            if getattr(called, "__module__", "").startswith(_ROOM):
                words |= _said(called, seen)
    for cell in function.__closure__ or ():
        words |= _said(cell.cell_contents, seen)
    for other in _delegates(words):
        words |= _said(other, seen)
    return words


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions within."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)


def _delegates(words: set[str]) -> Iterator[Function]:
    """Rules of the op types that a rule names."""
    for (_, op_type), rules in REGISTRY.items():
        if op_type in words:
            yield from (rule.function for rule in rules)
