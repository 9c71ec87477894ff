"""What a kernel of onnxruntime's CPU provider asks of the arena beside its outputs, and where that is looked up.

One row or function per op, in the families under `analyzer/runtime/kernels/`, each with the source it was read from. An
op without an entry is unmodelled: the prediction says so, and never guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from analyzer.graph import Size

ONNX = "ai.onnx"
MICROSOFT = "com.microsoft"
NCHWC = "com.microsoft.nchwc"

Pairs = tuple[tuple[int, int], ...]


class Call(msgspec.Struct, frozen=True, eq=False):
    """One node of the graph that onnxruntime runs. An operand that is left out is None, `constant` tells stored ones.

    `threads` is the size of the intra-op pool.
    """

    op_type: str
    domain: str
    version: int
    inputs: tuple[Size | None, ...]
    outputs: tuple[Size | None, ...]
    constant: tuple[bool, ...]
    attributes: Mapping[str, Any]
    threads: int = 1


class Reserved(int):
    """Bytes asked for through `Reserve`: exactly as many, outside of every region of the arena."""


class Usage(msgspec.Struct, frozen=True):
    """Bytes that a kernel requests of the arena, as it requests them (the arena rounds, not the kernel).

    prepacked  at session creation, in this order, kept for the session's life (a packed weight); Reserved or plain
    packing    at session creation, given back before the next kernel is made, in phases like `scratch`; likewise
    replaces   operands whose stored tensor is given back once it is packed
    together   how many of `prepacked` come of each operand in `replaces`, which are kept or dropped as one; one of each
               where nothing is said
    scratch    while it runs: phases one after the other; within one everything is taken in order, then all given back
    steps      instead of `scratch` where the outputs are not the first to be taken: n bytes are taken, -n gives the
               n-th of them back (counted from 1), 0 takes the outputs; what is left is given back at the end
    turned     what is packed was turned first: it equals nothing that was not
    private    the kernel keeps what it packed to itself: of two that are equal both stay
    """

    prepacked: tuple[int, ...] = ()
    packing: tuple[tuple[int, ...], ...] = ()
    replaces: tuple[int, ...] = ()
    scratch: tuple[tuple[int, ...], ...] = ()
    steps: tuple[int, ...] = ()
    together: tuple[int, ...] = ()
    turned: bool = False
    private: bool = False


NOTHING = Usage()


class Kernel(msgspec.Struct, frozen=True, eq=False):
    """An op's entry. `alias`: (input, output) pairs that must share a buffer; `inplace`: those that may, where the
    input is dead after this node and as large. `usage` gives None where this call is not modelled (a dtype, an
    attribute).
    """

    usage: Callable[[Call], Usage | None]
    alias: Pairs = ()
    inplace: Pairs = ()


Measured = Callable[[Call], Usage | None]
_KERNELS: dict[tuple[str, str], Kernel] = {}


def kernel(
    *op_types: str, domain: str = ONNX, alias: Pairs = (), inplace: Pairs = ()
) -> Callable[[Measured], Measured]:
    """Enter a function from a call to its usage under one or several ops."""

    def enter(usage: Measured) -> Measured:
        for op_type in op_types:
            _KERNELS[domain, op_type] = Kernel(usage, alias, inplace)
        return usage

    return enter


def plain(*op_types: str, domain: str = ONNX, alias: Pairs = (), inplace: Pairs = ()) -> None:
    """Enter ops whose kernels ask for their outputs alone."""
    kernel(*op_types, domain=domain, alias=alias, inplace=inplace)(lambda _: NOTHING)


def find(domain: str, op_type: str) -> Kernel | None:
    """The entry of an op, None where nobody modelled it."""
    return _KERNELS.get((domain, op_type))
