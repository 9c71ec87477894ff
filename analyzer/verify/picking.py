"""How marks pass what picks rows by number or by coordinates: as a run without marks picked them."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from analyzer.verify.patterns import attribute, moving, nobody_knows, pattern
from analyzer.verify.taint import Key, Pattern, Rewriting


def _first(node: onnx.NodeProto) -> tuple[int, ...]:
    return (0,)


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


def _unpooled(rewriting: Rewriting, node: onnx.NodeProto, place: int) -> str | None:
    """An index of a pool moves what it moves within its channel."""
    if place > 1:
        return None
    rank = len(rewriting.shape(node.input[1]))
    return rewriting.mean(rewriting.carrier(node.input[1]), range(2, rank))


pattern("MaxUnpool")(moving(_first, _unpooled))
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
pattern("ScatterND")(scattering(nobody_knows))
pattern("TensorScatter")(moving(lambda node: (0, 1), nobody_knows))


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
