"""Pixels for channels: blocks of a picture moved into its channels, and back. Nothing is computed and autograd
keeps nothing.

Channels of a deep tensor are numbered (row, column, depth) in DCR mode, (depth, row, column) in CRD.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.spans import Affine, Route


@rule("DepthToSpace", until=10)
def depth_to_space_1(x: Size, *, blocksize: int) -> Facts:
    """There was one mode."""
    return depth_to_space(x, blocksize=blocksize)


@rule("DepthToSpace", since=11)
def depth_to_space(x: Size, *, blocksize: int, mode: str = "DCR") -> Facts:
    """[N, C, H, W] -> [N, C / block^2, H * block, W * block]."""
    block, (batch, depth, height, width) = _block(blocksize, mode), _picture(x)
    cells = block * block
    if depth % cells:
        raise refuse("BLOCK_SIZE", f"{depth} channels are no multiple of {cells}", attribute="blocksize")
    channels = depth // cells
    dcr = Affine(1, 1, (0,), ((cells - 1) * channels,), channels or 1)
    crd = Affine(1, cells, (0,), (cells - 1,))
    stretched = Affine(block, 1, (0,) * block, (0,) * block)
    y = Size((batch, channels, height * block, width * block), x.dtype)
    return Facts(
        y, spans=(Route(0), Route(1, dcr if mode == "DCR" else crd), Route(2, stretched), Route(3, stretched))
    )


@rule("SpaceToDepth", until=27)
def space_to_depth_1(x: Size, *, blocksize: int) -> Facts:
    """There was one mode."""
    return space_to_depth(x, blocksize=blocksize)


@rule("SpaceToDepth", since=28)
def space_to_depth(x: Size, *, blocksize: int, mode: str = "DCR") -> Facts:
    """[N, C, H, W] -> [N, C * block^2, H / block, W / block]."""
    block, (batch, channels, height, width) = _block(blocksize, mode), _picture(x)
    if height % block or width % block:
        raise refuse("BLOCK_SIZE", f"{height} x {width} is no multiple of {block}", attribute="blocksize")
    cells, rows = block * block, tuple(range(channels))
    dcr, crd = Affine(channels, 0, rows, rows), Affine(cells, 1, (0,) * cells, (0,) * cells)
    folded = Affine(1, block, (0,), (block - 1,))
    y = Size((batch, channels * cells, height // block, width // block), x.dtype)
    return Facts(
        y, spans=(Route(0), Route(1, dcr if mode == "DCR" else crd), Route(2, folded), Route(3, folded))
    )


def _block(blocksize: int, mode: str) -> int:
    if blocksize < 1:
        raise refuse("BLOCK_SIZE", f"blocksize is {blocksize}", attribute="blocksize")
    if mode not in ("DCR", "CRD"):
        raise refuse("MODE", f"mode {mode!r} is neither DCR nor CRD", attribute="mode")
    return blocksize


def _picture(x: Size) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise refuse("RANK", f"input {x.shape} must be [N, C, H, W]")
    batch, channels, height, width = x.shape
    return batch, channels, height, width
