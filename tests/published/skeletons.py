"""The nets of the published table of receptive fields, drawn with one channel: only the windows are left.

A layer is a word: `3` a convolution, `3/2` with a stride, `1x7` one that is not square, `max3/2` a pool. It is padded
as TensorFlow's SAME does unless it ends in `v` (VALID) or `e` (explicitly, by half of the kernel on either side,
whatever the input's size). A list is a path of layers, a tuple holds branches that are added up; an empty path is a
shortcut.

Source of the layers: TensorFlow-Slim (`research/slim/nets`), which the table was made from; their order, strides and
paddings are facts of the networks' papers and of that code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Path = list["str | tuple[Path, ...]"]


def words(text: str) -> Path:
    """A path of single layers."""
    return list(text.split())


def alexnet_v2() -> Path:
    return words("11/4v max3/2v 5 max3/2v 3 3 3 max3/2v")


def vgg(*depths: int) -> Path:
    return [layer for depth in depths for layer in (*["3"] * depth, "max2/2v")]


def mobilenet_v1() -> Path:
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    return ["3/2", *(layer for stride in strides for layer in (f"3/{stride}", "1"))]


def resnet_v1(*depths: int) -> Path:
    """Slim's: the stride is that of a block's last unit, at its 3x3."""
    path = words("7/2e max3/2")
    for block, depth in enumerate(depths):
        for unit in range(depth):
            stride = 2 if unit == depth - 1 and block < 3 else 1
            shortcut: Path = [f"1/{stride}"] if unit == 0 else [f"max1/{stride}"] if stride > 1 else []
            path.append((shortcut, ["1", f"3/{stride}e" if stride > 1 else "3", "1"]))
    return path


def inception_v2() -> Path:
    def mixed(pool: str) -> tuple[Path, ...]:
        return (words("1"), words("1 3"), words("1 3 3"), words(f"{pool} 1"))

    halved = (words("1 3/2"), words("1 3 3/2"), words("max3/2"))
    return [
        *words("7/2 max3/2 1 3 max3/2"), *[mixed("avg3")] * 2, halved, *[mixed("avg3")] * 4, halved,
        mixed("avg3"), mixed("max3"),
    ]  # fmt: skip


_STEM = words("3/2v 3v 3 max3/2v 1v 3v max3/2v")
_FACTORED = (words("1"), words("1 1x7 7x1"), words("1 7x1 1x7 7x1 1x7"), words("avg3 1"))
_FORK: tuple[Path, ...] = (["1x3"], ["3x1"])


def inception_v3() -> Path:
    wide = (words("1"), words("1 5"), words("1 3 3"), words("avg3 1"))
    halved = (words("3/2v"), words("1 3 3/2v"), words("max3/2v"))
    halved_again = (words("1 3/2v"), words("1 1x7 7x1 3/2v"), words("max3/2v"))
    forked: tuple[Path, ...] = (words("1"), ["1", _FORK], ["1", "3", _FORK], words("avg3 1"))
    return [*_STEM, *[wide] * 3, halved, *[_FACTORED] * 4, halved_again, *[forked] * 2]


def inception_v4() -> Path:
    stem: Path = [
        *words("3/2v 3v 3"), (["max3/2v"], ["3/2v"]), (words("1 3v"), words("1 1x7 7x1 3v")),
        (["3/2v"], ["max3/2v"]),
    ]  # fmt: skip
    a = (words("1"), words("1 3"), words("1 3 3"), words("avg3 1"))
    halved = (words("3/2v"), words("1 3 3/2v"), words("max3/2v"))
    halved_again = (words("1 3/2v"), words("1 1x7 7x1 3/2v"), words("max3/2v"))
    c: tuple[Path, ...] = (words("1"), ["1", _FORK], ["1", "3x1", "1x3", _FORK], words("avg3 1"))
    return [*stem, *[a] * 4, halved, *[_FACTORED] * 7, halved_again, *[c] * 3]


def inception_resnet_v2(padding: str = "v") -> Path:
    """With `padding` "" the variant whose feature maps are aligned: SAME throughout."""
    v = padding
    stem = words(f"3/2{v} 3{v} 3 max3/2{v} 1{v} 3{v} max3/2{v}")
    wide = (words("1"), words("1 5"), words("1 3 3"), words("avg3 1"))
    block35: Path = [([], [(words("1"), words("1 3"), words("1 3 3")), "1"])]
    halved = (words(f"3/2{v}"), words(f"1 3 3/2{v}"), words(f"max3/2{v}"))
    block17: Path = [([], [(words("1"), words("1 1x7 7x1")), "1"])]
    halved_again = (words(f"1 3/2{v}"), words(f"1 3/2{v}"), words(f"1 3 3/2{v}"), words(f"max3/2{v}"))
    block8: Path = [([], [(words("1"), words("1 1x3 3x1")), "1"])]
    return [*stem, wide, *block35 * 10, halved, *block17 * 20, halved_again, *block8 * 10, "1"]


def model(path: Path, height: int | str, width: int | str) -> ModelProto:
    """The path as a graph from `x` [1, 1, height, width] to `y`; a string is a free dimension."""
    drawing = _Drawing()
    drawing.nodes.append(helper.make_node("Identity", [drawing.path(path, "x")], ["y"]))
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, height, width]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, None, None]),
    ]
    graph = helper.make_graph(drawing.nodes, "skeleton", ends[:1], ends[1:], drawing.weights())
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


class _Drawing:
    """Nodes so far, and the kernels that were asked for."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.kernels: set[tuple[int, int]] = set()

    def weights(self) -> list[TensorProto]:
        return [
            numpy_helper.from_array(np.ones((1, 1, high, wide), np.float32), f"w{high}x{wide}")
            for high, wide in sorted(self.kernels)
        ]

    def path(self, path: Path, x: str) -> str:
        """The tensor at the end of a path that begins at `x`."""
        for layer in path:
            if isinstance(layer, tuple):
                ends = [self.path(branch, x) for branch in layer]
                x = self.node("Sum", ends)
            else:
                x = self.layer(layer, x)
        return x

    def layer(self, word: str, x: str) -> str:
        kernel_text, _, stride = word.rstrip("ve").partition("/")
        op_type = {"max": "MaxPool", "avg": "AveragePool"}.get(kernel_text[:3], "Conv")
        high, _, wide = kernel_text.removeprefix("max").removeprefix("avg").partition("x")
        kernel = [int(high), int(wide or high)]
        padding: dict[str, Any] = {"auto_pad": "VALID" if word.endswith("v") else "SAME_UPPER"}
        if word.endswith("e"):
            padding = {"pads": [(k - 1) // 2 for k in kernel] * 2}
        inputs = [x]
        if op_type == "Conv":
            self.kernels.add((kernel[0], kernel[1]))
            inputs.append(f"w{kernel[0]}x{kernel[1]}")
        steps = [int(stride or 1)] * 2
        return self.node(op_type, inputs, kernel_shape=kernel, strides=steps, **padding)

    def node(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output], **attributes))
        return output
