"""Pixels for channels: blocks of a picture moved into its channels, and back. Nothing is computed and autograd
keeps nothing.

Channels of a deep tensor are numbered (row, column, depth) in DCR mode, (depth, row, column) in CRD.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.spans import PHASES, Affine, Chain, Read, Regroup, Route, in_runs, moved

Ints = tuple[int, ...]


@rule("DepthToSpace", until=10)
def depth_to_space_1(x: Size, *, blocksize: int) -> Facts:
    """There was one mode."""
    return depth_to_space(x, blocksize=blocksize)


@rule("DepthToSpace", since=11)
def depth_to_space(x: Size, *, blocksize: int, mode: str = "DCR") -> Facts:
    """[N, C, H, W] -> [N, C / block^2, H * block, W * block]."""
    batch, depth, height, width = _picture(x, blocksize, mode)
    cells = blocksize**2
    channels = depth // cells
    if depth % cells:
        raise refuse("BLOCK_SIZE", f"{depth} channels are no multiple of {cells}", attribute="blocksize")
    spread = Affine(1, 1, (0,), ((cells - 1) * channels,), max(channels, 1))
    together = Affine(1, cells, (0,), (cells - 1,))
    y = Size((batch, channels, height * blocksize, width * blocksize), x.dtype)
    lined = Route(1, spread if mode == "DCR" else together)
    # [N, (row, column, C) or (C, row, column), H, W] -> [N, C, (H, row), (W, column)]
    cut = (blocksize, blocksize, channels) if mode == "DCR" else (channels, blocksize, blocksize)
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    exact = {0: lambda: _turned(x.shape, (batch, *cut, height, width), order, y.shape)}
    spans = (Route(0), lined, in_runs(2, blocksize), in_runs(3, blocksize))
    return Facts(y, spans=spans, exact=exact)


@rule("SpaceToDepth", until=27)
def space_to_depth_1(x: Size, *, blocksize: int) -> Facts:
    """There was one mode."""
    return space_to_depth(x, blocksize=blocksize)


@rule("SpaceToDepth", since=28)
def space_to_depth(x: Size, *, blocksize: int, mode: str = "DCR") -> Facts:
    """[N, C, H, W] -> [N, C * block^2, H / block, W / block]."""
    batch, channels, height, width = _picture(x, blocksize, mode)
    if height % blocksize or width % blocksize:
        raise refuse("BLOCK_SIZE", f"{height} x {width} is no multiple of {blocksize}", attribute="blocksize")
    folded = Affine(1, blocksize, (0,), (blocksize - 1,))
    cells = blocksize**2
    y = Size((batch, channels * cells, height // blocksize, width // blocksize), x.dtype)
    lined = _repeated(1, channels) if mode == "DCR" else in_runs(1, cells)
    # [N, C, (H, row), (W, column)] -> [N, (row, column, C) or (C, row, column), H, W]
    cut = (batch, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    exact = {0: lambda: _turned(x.shape, cut, order, y.shape)}
    return Facts(y, spans=(Route(0), lined, Route(2, folded), Route(3, folded)), exact=exact)


def _turned(before: Ints, cut: Ints, order: Ints, after: Ints) -> Chain:
    """Axes cut up, transposed and put together."""
    turned = tuple(cut[axis] for axis in order)
    return Chain(((Regroup(before, cut), cut), (moved(order), turned), (Regroup(turned, after), after)))


def _repeated(axis: int, extent: int) -> Route | Read:
    """All `extent` rows, again and again."""
    if not 0 < extent <= PHASES:
        return Read("global", axis)
    return Route(axis, Affine(extent, 0, tuple(range(extent)), tuple(range(extent))))


def _picture(x: Size, blocksize: int, mode: str) -> tuple[int, int, int, int]:
    if blocksize < 1:
        raise refuse("BLOCK_SIZE", f"blocksize is {blocksize}", attribute="blocksize")
    if mode not in ("DCR", "CRD"):
        raise refuse("MODE", f"mode {mode!r} is neither DCR nor CRD", attribute="mode")
    if len(x.shape) != 4:
        raise refuse("RANK", f"input {x.shape} must be [N, C, H, W]")
    batch, channels, height, width = x.shape
    return batch, channels, height, width
