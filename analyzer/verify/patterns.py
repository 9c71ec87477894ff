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
    "Conv", "DFT", "GlobalAveragePool", "GlobalLpPool", "GroupNormalization",
    "InstanceNormalization", "LayerNormalization", "LinearAttention", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "RMSNormalization", "Softmax", "STFT",
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


@pattern("AveragePool", "ConvTranspose", "LpPool")
def told_again(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The kernel lets a NaN through; onnx's own inference may get a size wrong that is rounded up or asked for."""
    if not attribute(node, "ceil_mode") and listed(node, "output_shape") is None:
        native(rewriting, node)
        return
    (made,) = rewriting.copied(node, node.input)
    shape = rewriting.constant(np.array(rewriting.shape(node.output[0]), np.int64))
    rewriting.live.add(rewriting.emit("Reshape", [made, shape], node.output[0]))


# -------------------------------------------------------------------------------------------- pointwise


@pattern(
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd",
    "BitwiseNot", "BitwiseOr", "BitwiseXor", "Bernoulli", "BitCast", "Cast", "Ceil", "Celu", "Clip", "Cos",
    "Cosh", "DequantizeLinear", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "QuantizeLinear",
    "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
    "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
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
pattern("CenterCropPad")(moving(_first, nobody_knows))
pattern("Pad")(moving(lambda node: (0, 2), nobody_knows))


@pattern("Attention")
def attention(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """What a causal mask hides has the weight 0, times which a NaN is one: rows so far of keys and values."""
    marked, (query, keys, values, *others) = rewriting.marked(node), node.input
    if not attribute(node, "is_causal") or any(others) or any(node.output[1:]):
        native(rewriting, node)
        return
    heads, fewer = (
        attribute(node, name) or rewriting.shape(of)[1]
        for name, of in (("q_num_heads", query), ("kv_num_heads", keys))
    )
    parts = [rewriting.mean(_by_head(rewriting, query, heads), [3])] if query in marked else []
    for name, by_column in ((keys, False), (values, True)):
        if name in marked:
            rows = _by_head(rewriting, name, fewer)
            rows = rows if by_column else rewriting.mean(rows, [3])
            rows = rewriting.emit("CumSum", [rows, rewriting.constant(np.int64(2))])
            length = rewriting.shape(name)[-2]
            seen = [min(row, length - 1) for row in range(rewriting.shape(query)[-2])]
            rows = rewriting.emit("Gather", [rows, rewriting.constant(np.array(seen))], axis=2)
            group = [head * fewer // heads for head in range(heads)]
            parts.append(rewriting.emit("Gather", [rows, rewriting.constant(np.array(group))], axis=1))
    shape = rewriting.shape(node.output[0])
    if len(shape) == 3:  # heads beside one another
        batch, length, width = shape
        wide = rewriting.constant(np.array((batch, heads, length, width // heads), np.int64))
        whole = (rewriting.emit("Expand", [part, wide]) for part in parts)
        turned = (rewriting.emit("Transpose", [part], perm=[0, 2, 1, 3]) for part in whole)
        parts = [rewriting.reshaped(part, shape) for part in turned]
    rewriting.give(node.output[0], parts)


def _by_head(rewriting: Rewriting, name: str, heads: int) -> str:
    """Marks as [batch, heads, rows, width]."""
    carried, shape = rewriting.carrier(name), rewriting.shape(name)
    if len(shape) == 3:
        apart = rewriting.reshaped(carried, (*shape[:2], heads, shape[2] // heads))
        carried = rewriting.emit("Transpose", [apart], perm=[0, 2, 1, 3])
    return carried


# ------------------------------------------------------------------------- kernels that swallow a NaN


@pattern("MaxPool", "GlobalMaxPool", "Resize", "Upsample")
def flagged(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The kernel itself, on flags. A tap of weight 0 moves no flag."""
    marked = rewriting.marked(node)
    parts = list(rewriting.all_of(name for name in node.input[1:] if name in marked))
    if node.input[0] in marked:
        flags = rewriting.flags(rewriting.carrier(node.input[0]))
        (made, *_) = rewriting.copied(node, [flags, *node.input[1:]])
        kernel = rewriting.nodes[-1]
        del kernel.output[1:]  # indices are frozen
        kept = [one for one in kernel.attribute if one.name != "extrapolation_value"]  # a flag where none is
        kernel.ClearField("attribute")
        kernel.attribute.extend(kept)
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
