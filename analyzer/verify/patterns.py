"""How each op lets marks through: the table of `analyzer.verify.taint`.

An op that stands in no table runs as it is, and what comes after it is looked at in a second way too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper

from analyzer.verify.taint import BLOCKED, SHAPE_ONLY, Key, Pattern, Rewriting, native

PATTERNS: dict[Key, Pattern] = {}
CONTRIB = "com.microsoft"


def pattern(*ops: str, domain: str = "") -> Callable[[Pattern], Pattern]:
    """The pattern of some ops."""

    def entered(function: Pattern) -> Pattern:
        PATTERNS.update(dict.fromkeys(((domain, op) for op in ops), function))
        return function

    return entered


def attribute(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)


def listed(node: onnx.NodeProto, name: str) -> list[int] | None:
    return next((list(one.ints) for one in node.attribute if one.name == name), None)


# ------------------------------------------------------------------------------------- what is as it is

pattern(
    "Shape", "Size", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike", "Range",
)(SHAPE_ONLY)  # fmt: skip
pattern(
    "Attention", "AveragePool", "Conv", "ConvTranspose", "DFT", "GlobalAveragePool",
    "GlobalLpPool", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LinearAttention",
    "LogSoftmax", "LpNormalization", "LpPool", "MeanVarianceNormalization", "RMSNormalization", "Softmax",
    "STFT",
)(native)  # fmt: skip
pattern("Attention", "FusedMatMul", "MultiHeadAttention", "SimplifiedLayerNormalization", "SkipLayerNormalization",
        domain=CONTRIB)(native)  # fmt: skip
pattern("SimplifiedLayerNormalization")(native)
pattern("AveragePool", "GlobalAveragePool", "ReorderInput", "ReorderOutput", domain=BLOCKED)(native)


@pattern("FusedConv", "FusedGemm", domain=CONTRIB)
@pattern("Conv", domain=BLOCKED)
def bare(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """Without the activation that it is fused with, which may swallow a NaN."""
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    kept.ClearField("attribute")
    kept.attribute.extend(one for one in node.attribute if not one.name.startswith("activation"))
    native(rewriting, kept)


# -------------------------------------------------------------------------------------------- pointwise


@pattern(
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot",
    "BitwiseOr", "BitwiseXor", "Bernoulli", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Div",
    "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where",
    "Xor",
)  # fmt: skip
def pointwise(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """An element sees what its operands see there, whatever becomes of the numbers."""
    parts = [rewriting.carrier(name) for name in rewriting.marked(node)]
    for output in node.output:
        rewriting.give(output, parts)


pattern("QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "FastGelu", "QuickGelu", "BiasGelu", "Gelu",
        "QuantizeLinear", "DequantizeLinear", "BiasSplitGelu", "QLinearWhere", domain=CONTRIB)(pointwise)  # fmt: skip


@pattern("CastLike")
def like(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The first operand's elements; of the second the type alone matters."""
    if node.input[0] in rewriting.marked(node):
        rewriting.give(node.output[0], [rewriting.carrier(node.input[0])])
    else:
        rewriting.nodes.append(node)


@pattern("Identity")
def same(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """Of a sequence too."""
    (pointwise if node.output[0] in rewriting.known else native)(rewriting, node)


# ------------------------------------------------------------------------- what moves, multiplies and sums

Slots = Callable[[onnx.NodeProto], Sequence[int]]


def moving(slots: Slots, picked: Callable[[Rewriting, onnx.NodeProto, int], str | None]) -> Pattern:
    """The op itself, on the carriers of the operands in `slots`; `picked` says who sees a mark of another one."""

    def moved(rewriting: Rewriting, node: onnx.NodeProto) -> None:
        places, marked = slots(node), rewriting.marked(node)
        inputs = list(node.input)
        parts: dict[str, list[str]] = {name: [] for name in node.output if name}
        if any(inputs[place] in marked for place in places if place < len(inputs)):
            for place in places:
                if place < len(inputs) and inputs[place]:
                    inputs[place] = rewriting.carrier(inputs[place])
            for name, made in zip(node.output, rewriting.copied(node, inputs), strict=True):
                if name:
                    parts[name].append(made)
        for place, name in enumerate(node.input):
            if place not in places and name in marked:
                reach = picked(rewriting, node, place) or rewriting.mean(rewriting.carrier(name))
                for several in parts.values():
                    several.append(reach)
        for name, several in parts.items():
            rewriting.give(name, several)

    return moved


def nobody_knows(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str | None:
    return None


def _first(node: onnx.NodeProto) -> Sequence[int]:
    return (0,)


def every(node: onnx.NodeProto) -> Sequence[int]:
    return range(len(node.input))


pattern(
    "Compress", "CumProd", "CumSum", "DepthToSpace", "Expand", "Flatten", "Reshape", "ReverseSequence", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Col2Im",
)(moving(_first, nobody_knows))  # fmt: skip
pattern("Concat")(moving(every, nobody_knows))
pattern("Pad")(moving(lambda node: (0, 2), nobody_knows))
pattern("MaxUnpool")(moving(_first, nobody_knows))


def _gathered(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str:
    """An index is seen by the whole of what it picks."""
    rank, shape = len(rewriting.shape(node.input[0])), rewriting.shape(node.input[1])
    behind = rank - 1 - attribute(node, "axis") % rank
    return rewriting.reshaped(rewriting.carrier(node.input[1]), (*shape, *(1,) * behind))


def _gathered_nd(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str:
    shape = rewriting.shape(node.input[1])
    behind = len(rewriting.shape(node.output[0])) - (len(shape) - 1)
    tuples = rewriting.mean(rewriting.carrier(node.input[1]), [len(shape) - 1])
    return rewriting.reshaped(tuples, (*shape[:-1], *(1,) * behind))


def _element(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str:
    return rewriting.carrier(node.input[place])


def _scattered(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str | None:
    """An index along an axis moves what it moves along that axis alone."""
    shape, made = rewriting.shape(node.input[1]), rewriting.shape(node.output[0])
    axis = attribute(node, "axis") % len(made)
    if any(a != b for at, (a, b) in enumerate(zip(shape, made, strict=True)) if at != axis):
        return None
    return rewriting.mean(rewriting.carrier(node.input[1]), [axis])


pattern("Gather")(moving(_first, _gathered))
pattern("GatherND")(moving(_first, _gathered_nd))
pattern("GatherElements")(moving(_first, _element))


def scattering(picked: Callable[[Rewriting, onnx.NodeProto, int], str | None]) -> Pattern:
    """Where it is for the data to say which rows are replaced, any may be left as it is."""
    replaced = moving(lambda node: (0, 2), picked)

    def scattered(rewriting: Rewriting, node: onnx.NodeProto) -> None:
        left = node.input[0]

        def or_left(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str:
            told = picked(rewriting, node, place) or rewriting.mean(rewriting.carrier(node.input[place]))
            return rewriting.emit("Sum", [told, rewriting.carrier(left)])

        marked = rewriting.marked(node)
        both = left in marked and node.input[1] in marked
        (moving(lambda node: (0, 2), or_left) if both else replaced)(rewriting, node)

    return scattered


pattern("ScatterElements", "Scatter")(scattering(_scattered))
pattern("ScatterND", "TensorScatter")(scattering(nobody_knows))


@pattern("OneHot")
def one_hot(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """An index is seen by the row that it makes."""
    made = rewriting.shape(node.output[0])
    axis = attribute(node, "axis", -1) % len(made)
    marked = rewriting.marked(node)
    parts = list(rewriting.all_of(name for name in node.input[1:] if name in marked))
    if node.input[0] in marked:
        shape = (*made[:axis], 1, *made[axis + 1 :])
        parts.append(rewriting.reshaped(rewriting.carrier(node.input[0]), shape))
    rewriting.give(node.output[0], parts)


# ------------------------------------------------------------------------- coordinates that the data give


def _points(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str:
    """A grid's points, each seen where it is sampled."""
    shape = rewriting.shape(node.input[1])
    points = rewriting.mean(rewriting.carrier(node.input[1]), [len(shape) - 1])
    return rewriting.reshaped(points, (shape[0], 1, *shape[1:-1]))


def _boxes(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str:
    shape = rewriting.shape(node.input[place])
    carried = rewriting.carrier(node.input[place])
    one = rewriting.mean(carried, range(1, len(shape))) if len(shape) > 1 else carried
    return rewriting.reshaped(one, (shape[0], 1, 1, 1))


def _offsets(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str | None:
    return None if place in (1, 3) else rewriting.mean(rewriting.carrier(node.input[place]), [1])


FROZEN: dict[Key, tuple[int, ...]] = {
    ("", "GridSample"): (1,),
    ("", "RoiAlign"): (1,),
    ("", "DeformConv"): (2, 4),
}
"""Operands of floating point whose numbers pick rows: a NaN there would pick none."""


def coordinates(picked: Callable[[Rewriting, onnx.NodeProto, int], str | None]) -> Pattern:
    """The op itself at the places where a run without marks sampled; coordinates are seen where they are used."""

    def sampled(rewriting: Rewriting, node: onnx.NodeProto) -> None:
        marked, inputs, parts = rewriting.marked(node), list(node.input), []
        for place, name in enumerate(node.input[1:], 1):
            if name not in marked:
                continue
            values = rewriting.known[name].values
            if name in rewriting.live and values is not None:
                inputs[place] = rewriting.constant(values)
            parts.append(picked(rewriting, node, place) or rewriting.mean(rewriting.carrier(name)))
        if inputs[0] in marked:
            flags = rewriting.flags(rewriting.carrier(inputs[0]))
            parts.append(rewriting.spoilt(rewriting.copied(node, [flags, *inputs[1:]])[0]))
        rewriting.give(node.output[0], parts)

    return sampled


pattern("GridSample")(coordinates(_points))
pattern("RoiAlign")(coordinates(_boxes))
pattern("DeformConv")(coordinates(_offsets))


# ------------------------------------------------------------------------- kernels that swallow a NaN


@pattern("MaxPool", "GlobalMaxPool", "Resize", "Upsample")
def flagged(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The kernel itself, on flags. A tap of weight 0 moves no flag."""
    marked = rewriting.marked(node)
    parts = list(rewriting.all_of(name for name in node.input[1:] if name in marked))
    if node.input[0] in marked:
        flags = rewriting.flags(rewriting.carrier(node.input[0]))
        (made, *_) = rewriting.copied(node, [flags, *node.input[1:]])
        del rewriting.nodes[-1].output[1:]  # indices are frozen
        made = rewriting.reshaped(
            made, rewriting.shape(node.output[0])
        )  # which onnx's own inference may get wrong
        parts.append(rewriting.spoilt(made))
    for name in node.output:
        rewriting.give(name, parts)


pattern("MaxPool", "GlobalMaxPool", "Upsample", domain=BLOCKED)(flagged)


@pattern("LSTM", "GRU", "RNN")
def recurrent(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """Sums so far: the kernels' own sigmoids and tanhs let a NaN through or not, depending on their width."""
    marked, (source, weights, *others) = rewriting.marked(node), node.input
    states = [
        rewriting.mean(rewriting.carrier(name), [2]) for name in others[3:5] if name in marked
    ]  # [D, B, 1]
    aside = list(rewriting.all_of(name for name in (weights, *others[:3], *others[5:]) if name in marked))
    rows, ends = [*aside], [*aside, *states]
    rows += [
        rewriting.reshaped(state, (1, *_known_as(rewriting, others[3:5], marked), 1)) for state in states
    ]
    if source in marked:
        steps = rewriting.mean(rewriting.carrier(source), [2])  # [T, B, 1]
        ends.append(rewriting.mean(steps, [0]))
        length, batch, _ = rewriting.shape(source)
        axis = rewriting.constant(np.int64(0))
        named = next((one.s.decode() for one in node.attribute if one.name == "direction"), "forward")
        ways = {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}[named]
        told = [rewriting.emit("CumSum", [steps, axis], reverse=way) for way in ways]
        apart = [rewriting.reshaped(one, (length, 1, batch, 1)) for one in told]
        rows.append(rewriting.emit("Concat", apart, axis=1))
    for name, parts in zip(node.output, (rows, ends, ends), strict=False):
        rewriting.give(name, parts)


def _known_as(rewriting: Rewriting, names: Sequence[str], marked: Sequence[str]) -> tuple[int, ...]:
    """Directions and batch of a recurrent layer's states."""
    return next(rewriting.shape(name)[:2] for name in names if name in marked)


@pattern("BatchNormalization")
def normalised(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """In training of the whole batch and image, where onnxruntime's kernel for the CPU gives no numbers."""
    marked, source = rewriting.marked(node), node.input[0]
    if not attribute(node, "training_mode"):
        native(rewriting, node)
        return
    shape = rewriting.shape(source)
    parts = list(rewriting.all_of(name for name in node.input[1:] if name in marked))
    if source in marked:
        parts.append(
            rewriting.mean(rewriting.carrier(source), [axis for axis in range(len(shape)) if axis != 1])
        )
    behind = [rewriting.reshaped(part, (-1,)) for part in parts]
    for name, several in zip(node.output, (parts, behind, behind), strict=False):
        rewriting.give(name, several)


@pattern("LRN")
def across(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The kernel keeps a running sum, in which a NaN would stay: half where marked, one where not, and what differs."""
    ones = rewriting.constant(np.ones(rewriting.shape(node.input[0]), np.float32))
    halves = rewriting.emit(
        "Mul", [rewriting.flags(rewriting.carrier(node.input[0])), rewriting.constant(np.float32(0.5))]
    )
    lone = helper.make_node("LRN", [""], [""], size=attribute(node, "size"), alpha=1.0, beta=1.0, bias=1.0)
    (plain,) = rewriting.copied(lone, [ones])
    (marked,) = rewriting.copied(lone, [rewriting.emit("Sub", [ones, halves])])
    rewriting.give(node.output[0], [rewriting.spoilt(rewriting.emit("Sub", [marked, plain]))])


@pattern(
    "ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
def reduced(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """All of the axes in question, whatever becomes of the numbers."""
    source, keep = node.input[0], attribute(node, "keepdims", 1)
    rank = len(rewriting.shape(source))
    if node.op_type.startswith("Arg"):
        axes: list[int] | None = [attribute(node, "axis")]
    elif len(node.input) > 1 and node.input[1]:
        axes = rewriting.numbers(node.input[1])
    else:
        axes = listed(node, "axes")
    if not axes:
        axes = [] if attribute(node, "noop_with_empty_axes") else list(range(rank))
    rewriting.give(node.output[0], [rewriting.mean(rewriting.carrier(source), axes, keep)])


@pattern("TopK", "Hardmax", "Unique", "NonZero", "NonMaxSuppression", "Multinomial")
def chosen(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """Any element may be the one: of an axis, or of all where the op has none."""
    marked = rewriting.marked(node)
    along = node.op_type in ("TopK", "Hardmax") and (node.op_type == "TopK" or rewriting.opset >= 13)
    if along:
        axis = attribute(node, "axis", -1)
        parts = [rewriting.mean(rewriting.carrier(name), [axis]) for name in node.input[:1] if name in marked]
        parts += rewriting.all_of(name for name in node.input[1:] if name in marked)
    elif node.op_type == "Hardmax":
        rank = len(rewriting.shape(node.input[0]))
        axes = range(attribute(node, "axis", 1) % rank, rank)
        parts = [rewriting.mean(rewriting.carrier(node.input[0]), axes)]
    else:
        parts = list(rewriting.all_of(marked))
    for name in node.output:
        rewriting.give(name, parts)
