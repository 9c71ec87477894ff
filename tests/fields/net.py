"""What a table of nets is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

At = tuple[str, int, int]
"""A tensor, one of its axes and a position on it."""
Rows = tuple[int, int] | None


class Net(NamedTuple):
    """A net in ONNX text, weights left out. Every position of every tensor in it is measured.

    seen    rows of axis -1 of `x` (or of the axis told) that a position sees, worked out by hand or published
    loose   tensors of which more may be answered than is seen: what they see is decided by the data, or opaque
    runs    whether onnxruntime has kernels for it
    """

    text: str
    seen: Mapping[At, Rows] = {}
    loose: tuple[str, ...] = ()
    opset: int = 21
    runs: bool = True
    axis: int | None = None


def weights(**shapes: str) -> str:
    """Declarations of stored tensors without their numbers: `w="1, 1, 3"`."""
    return ", ".join(f'float[{shape}] {name} = ["location": "w"]' for name, shape in shapes.items())


def line(
    body: str,
    rows: int = 12,
    channels: int = 1,
    outputs: str = "y",
    opset: int = 21,
    loose: tuple[str, ...] = (),
    seen: Mapping[At, Rows] = {},
    **shapes: str,
) -> Net:
    """A net over one line of rows, `float[1, channels, rows] x`."""
    stored = f" <{weights(**shapes)}>" if shapes else ""
    return Net(f"g (float[1, {channels}, {rows}] x) => ({outputs}){stored} {{ {body} }}", seen, loose, opset)


def image(
    body: str,
    rows: int = 7,
    columns: int = 6,
    channels: int = 2,
    outputs: str = "y",
    opset: int = 21,
    loose: tuple[str, ...] = (),
    seen: Mapping[At, Rows] = {},
    axis: int | None = 2,
    **shapes: str,
) -> Net:
    """A net over `float[1, channels, rows, columns] x`."""
    stored = f" <{weights(**shapes)}>" if shapes else ""
    text = f"g (float[1, {channels}, {rows}, {columns}] x) => ({outputs}){stored} {{ {body} }}"
    return Net(text, seen, loose, opset, axis=axis)
