"""Pictures as wholes: sampled where a grid says, the grid itself, cut or padded around the centre, decoded.

macs: an affine grid is the product of homogeneous coordinates and a matrix. elementwise: sampling takes a
multiply and an add per tap (two taps an axis for linear, four for cubic; none for the nearest) and, per number of
the grid, a multiply and an add to scale it to rows. Autograd keeps picture and grid.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Setting, axis_of, refuse, rule
from analyzer.spans import NOTHING, WHOLE, Read, Route, Routes, crop, straight

Ints = tuple[int, ...]


@rule("GridSample", since=16, until=19)
def grid_sample_16(
    x: Size, grid: Size, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Facts:
    """x [N, C, H, W], grid [N, H', W', 2] -> [N, C, H', W']."""
    return _sampled(x, grid, mode, {"nearest": 0, "bilinear": 2, "bicubic": 4})


@rule("GridSample", since=20)
def grid_sample(
    x: Size, grid: Size, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Facts:
    """x [N, C, *spatial], grid [N, *outer, axes] -> [N, C, *outer]."""
    return _sampled(x, grid, mode, {"nearest": 0, "linear": 2, "cubic": 4})


def _sampled(x: Size, grid: Size, mode: str, taps: dict[str, int]) -> Facts:
    """Which rows are read is in the numbers of the grid; where they go is in its shape."""
    if mode not in taps:
        raise refuse("MODE", f"mode {mode!r} is not {', '.join(taps)}", attribute="mode")
    rank = len(x.shape) - 2
    if rank < 1 or len(grid.shape) != rank + 2 or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise refuse(
            "GRID", f"grid {grid.shape} does not fit {x.shape}: [{x.shape[0]}, ..., {rank}] is needed"
        )
    y = Size((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    picture: Routes = (
        Route(0),
        Route(1),
        *(Read("data_dependent", axis, spare=True) for axis in range(2, rank + 2)),
    )
    points: Routes = (Route(0), *(Route(axis + 1) for axis in range(1, rank + 1)), WHOLE)
    steps = 2 * y.count * taps[mode] ** rank + 2 * grid.count
    return Facts(y, elementwise=steps, spans=(picture, points), saved=(x, grid))


@rule("AffineGrid", since=20)
def affine_grid(theta: Size, size: Setting, *, align_corners: int = 0) -> Facts:
    """theta [N, axes, axes + 1], size (N, C, *spatial) -> [N, *spatial, axes]."""
    if size.value is None:
        return Facts(None)
    batch, *spatial = size.ints()[:1] + size.ints()[2:]
    rank = len(spatial)
    if rank not in (2, 3) or theta.shape != (batch, rank, rank + 1):
        raise refuse("GRID", f"theta {theta.shape} does not fit size {size.ints()}")
    y = Size((batch, *spatial, rank), theta.dtype, exact=size.value_exact)
    return Facts(y, macs=y.count * (rank + 1), spans=((Route(0), Route(rank + 1), WHOLE), NOTHING))


@rule("CenterCropPad", since=18)
def center_crop_pad(x: Size, shape: Setting, *, axes: Ints | None = None) -> Facts:
    """The middle of each axis, or the axis in the middle of zeros; an odd row is left out, or added, at the end."""
    if shape.value is None:
        return Facts(None)
    rank, wanted = len(x.shape), shape.ints()
    places = tuple(range(rank)) if axes is None else tuple(axis_of(axis, rank) for axis in axes)
    if len(wanted) != len(places):
        raise refuse(
            "ATTRIBUTE_LENGTH", f"shape has {len(wanted)} entries, {len(places)} are needed", attribute="axes"
        )
    if min(wanted, default=0) < 0:
        raise refuse("NEGATIVE_DIM", f"shape {wanted} has a negative dimension")
    dims, routes = list(x.shape), list[Route | Read](straight(rank))
    for axis, out in zip(places, wanted, strict=True):
        spare = dims[axis] - out
        dims[axis] = out
        if spare:
            routes[axis] = Route(axis, crop(spare // 2 if spare > 0 else -(-spare // 2)))
    return Facts(Size(tuple(dims), x.dtype, exact=shape.value_exact), spans=(tuple(routes), NOTHING))


@rule("ImageDecoder", since=20)
def image_decoder(stream: Size, *, pixel_format: str = "RGB") -> Facts:
    """Bytes of a picture file -> uint8 [H, W, C]: how large the picture is stands in the bytes."""
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise refuse(
            "MODE", f"pixel_format {pixel_format!r} is not RGB, BGR or Grayscale", attribute="pixel_format"
        )
    return Facts(None, elementwise=None)
