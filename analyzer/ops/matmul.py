"""Matrix products. macs: rows x columns x depth; bias excluded. Autograd keeps both sides."""

from __future__ import annotations

import math
from functools import lru_cache

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Kept, broadcast, refuse, rule
from analyzer.spans import POINTWISE, WHOLE, Read, Route


@rule("Gemm", since=7)
def gemm(
    a: Size,
    b: Size,
    c: Size | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Facts:
    """[rows, depth] x [depth, columns] -> [rows, columns], either side transposed."""
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise refuse("RANK", f"operands {a.shape} and {b.shape} must be matrices")
    rows, depth = a.shape[::-1] if transA else a.shape
    inner, columns = b.shape[::-1] if transB else b.shape
    if depth != inner:
        raise refuse("DEPTH_MISMATCH", f"a has depth {depth}, b has {inner}", attribute="transB")
    y = Size((rows, columns), a.dtype)
    if c is not None and c.shape not in ((columns,), y.shape) and broadcast(y.shape, c.shape) != y.shape:
        raise refuse("SHAPES_DO_NOT_BROADCAST", f"bias {c.shape} does not broadcast to {y.shape}")
    left, right = (Route(0), WHOLE), (WHOLE, Route(1))
    folds = None if c is None or c.count != columns else (b, c)
    spans = (left[::-1] if transA else left, right[::-1] if transB else right, POINTWISE)
    return Facts(y, macs=y.count * depth, spans=spans, saved=(Kept(a, b), Kept(b, a)), folds=folds)


@rule("MatMul")
def matmul(a: Size, b: Size) -> Facts:
    """numpy's matmul: [..., rows, depth] x [..., depth, columns], leading axes broadcast, vectors promoted."""
    if not a.shape or not b.shape:
        raise refuse("RANK", f"operands {a.shape} and {b.shape} must not be scalars")
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        raise refuse("DEPTH_MISMATCH", f"depths of {a.shape} and {b.shape} differ")
    batch = broadcast(left[:-2], right[:-2])
    rows, columns = left[-2], right[-1]
    shape = (*batch, *((rows,) if len(a.shape) > 1 else ()), *((columns,) if len(b.shape) > 1 else ()))
    y = Size(shape, a.dtype)
    spans = (
        _side(len(a.shape), len(shape), len(batch), len(a.shape) - 2),
        _side(len(b.shape), len(shape), len(batch), len(b.shape) - 1),
    )
    kept = _kept(a, b, (*batch, *left[-2:]), (*batch, *right[-2:]))
    return Facts(y, macs=math.prod((*batch, rows, columns, left[-1])), spans=spans, saved=kept)


def _kept(a: Size, b: Size, left: tuple[int, ...], right: tuple[int, ...]) -> tuple[Kept, Kept]:
    """Each side for the other's gradient: as one matrix where the other is no batch, else as a batch of matrices."""
    if len(b.shape) < 3:
        folded = (a.shape, (math.prod(a.shape[:-1]), a.shape[-1])) if len(a.shape) > 2 else None
        return Kept(a, b, folded=folded), Kept(b, a)
    if len(a.shape) < 3:
        return Kept(a, b), Kept(b, a, folded=(b.shape, (math.prod(b.shape[:-2]), *b.shape[-2:])))
    return tuple(  # type: ignore[return-value]  # two
        Kept(side, other, folded=(shape, (math.prod(shape[:-2]), *shape[-2:])))
        for side, other, shape in ((a, b, left), (b, a, right))
    )


@lru_cache(maxsize=256)  # a handful of ranks
def _side(rank: int, out_rank: int, batch: int, kept: int) -> tuple[Route | Read, ...]:
    """Routes of one operand: leading axes broadcast, axis `kept` is the output's row or column, the other is
    contracted.
    """
    if rank == 1:
        return (WHOLE,)
    first = batch - (rank - 2)
    target = batch if kept == rank - 2 else out_rank - 1
    return (
        *(Route(first + axis) for axis in range(rank - 2)),
        *(Route(target) if axis == kept else WHOLE for axis in (rank - 2, rank - 1)),
    )
