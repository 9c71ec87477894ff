"""A pencil for networks: one method per layer, and of every weight only its shape.

The files that come out hold no weights. Each one is a reference into a `weights.bin` that nobody ships, with the
offset and length it would have there, so a model of half a gigabyte is thirty kilobytes and every size in it is true.
Constants whose values the graph needs (shapes, axes, the 6 of a ReLU6) are written out.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

IR_VERSION = 8
OPSET = 17
WEIGHTS_FILE = "weights.bin"
FLOAT_BYTES = 4

type_of = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Wire(NamedTuple):
    """A tensor on its way between two layers: its name and the size of its axis 1."""

    name: str
    channels: int


class Net:
    """A network while it is drawn.

    A layer method reads a wire, adds one node under the name it is given and returns the node's output, a tensor of the
    same name. Weights are called `LAYER.weight`, `LAYER.bias` and so on, and lie in the absent file in the order drawn.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[NodeProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._end_of_weights = 0

    def model(self, output: str, shape: Sequence[int | str]) -> ModelProto:
        """The finished model, whose one float32 output has the given sizes; a string is a free dimension."""
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        initializers = list(self._initializers.values())
        graph = helper.make_graph(self._nodes, self.name, self._inputs, outputs, initializers)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, ir_version=IR_VERSION, opset_imports=[opset], producer_name="onnx-analyzer models"
        )

    # What every graph is made of.

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> str:
        """A graph input; a string among the sizes is a free dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, type_of[dtype], shape))
        return name

    def node(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Any op with one output, by its ONNX name."""
        self._nodes.append(helper.make_node(op_type, inputs, [name], name, **attributes))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """A float32 weight of that shape, by reference."""
        length = FLOAT_BYTES * math.prod(shape)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_FILE), ("offset", self._end_of_weights), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self._end_of_weights += length
        self._initializers[name] = tensor
        return name

    def integers(self, name: str, *values: int) -> str:
        """An int64 vector with its values, for shapes and axes; drawn once however often it is asked for."""
        self._initializers[name] = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        return name

    def index(self, name: str, value: int) -> str:
        """An int64 scalar with its value; drawn once however often it is asked for."""
        self._initializers[name] = helper.make_tensor(name, TensorProto.INT64, [], [value])
        return name

    def number(self, name: str, value: float) -> str:
        """A float32 scalar in a Constant node: among the initializers it would look like a parameter."""
        scalar = helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        return self.node("Constant", [], name, value=scalar)

    # The layers of convolutional networks.

    def image(self, channels: int, side: int, name: str = "image") -> Wire:
        """A square image input with a free batch."""
        return Wire(self.input(name, ["batch", channels, side, side]), channels)

    def conv(
        self,
        x: Wire,
        name: str,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> Wire:
        """A square convolution; unless told, padded so that stride 1 keeps the size of an odd kernel's input."""
        inputs = [x.name, self.weight(f"{name}.weight", channels, x.channels // groups, kernel, kernel)]
        if bias:
            inputs.append(self.weight(f"{name}.bias", channels))
        if pad is None:
            pad = kernel // 2
        attributes: dict[str, Any] = {"kernel_shape": [kernel, kernel]}
        if stride > 1:
            attributes["strides"] = [stride, stride]
        if pad:
            attributes["pads"] = [pad] * 4
        if groups > 1:
            attributes["group"] = groups
        return Wire(self.node("Conv", inputs, name, **attributes), channels)

    def up_conv(self, x: Wire, name: str, channels: int) -> Wire:
        """A transposed convolution, 2x2 with stride 2: twice the height and the width."""
        weight = self.weight(f"{name}.weight", x.channels, channels, 2, 2)
        inputs = [x.name, weight, self.weight(f"{name}.bias", channels)]
        return Wire(self.node("ConvTranspose", inputs, name, kernel_shape=[2, 2], strides=[2, 2]), channels)

    def batch_norm(self, x: Wire, name: str, **attributes: float) -> Wire:
        """Batch normalisation for inference: scale and shift are parameters, the running statistics are buffers."""
        kinds = ("weight", "bias", "running_mean", "running_var")
        vectors = [self.weight(f"{name}.{kind}", x.channels) for kind in kinds]
        return x._replace(name=self.node("BatchNormalization", [x.name, *vectors], name, **attributes))

    def relu(self, x: Wire, name: str) -> Wire:
        return x._replace(name=self.node("Relu", [x.name], name))

    def max_pool(
        self, x: Wire, name: str, kernel: int, stride: int, *, pad: int = 0, ceil: bool = False
    ) -> Wire:
        """A square max pooling; `ceil` rounds its output size up where the stride does not divide."""
        attributes: dict[str, Any] = {"kernel_shape": [kernel, kernel], "strides": [stride, stride]}
        if pad:
            attributes["pads"] = [pad] * 4
        if ceil:
            attributes["ceil_mode"] = 1
        return x._replace(name=self.node("MaxPool", [x.name], name, **attributes))

    def global_pool(self, x: Wire, name: str) -> Wire:
        return x._replace(name=self.node("GlobalAveragePool", [x.name], name))

    def add(self, x: Wire, y: Wire, name: str) -> Wire:
        return x._replace(name=self.node("Add", [x.name, y.name], name))

    def concat(self, wires: Sequence[Wire], name: str) -> Wire:
        """The wires side by side along the channels."""
        output = self.node("Concat", [wire.name for wire in wires], name, axis=1)
        return Wire(output, sum(wire.channels for wire in wires))

    def flatten(self, x: Wire, name: str, positions: int = 1) -> Wire:
        """One row per image; `positions` is the height times the width that is folded in."""
        return Wire(self.node("Flatten", [x.name], name, axis=1), x.channels * positions)

    def linear(self, x: Wire, name: str, features: int) -> Wire:
        """A fully connected layer on flat rows."""
        weight = self.weight(f"{name}.weight", features, x.channels)
        inputs = [x.name, weight, self.weight(f"{name}.bias", features)]
        return Wire(self.node("Gemm", inputs, name, transB=1), features)
