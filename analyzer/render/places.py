"""Every node of a report with its place: scope, positions of its output, and whether it only prepares constants.

Positions are output elements per channel: 56x56 of a convolution and 3136 tokens of a transformer are the same size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from analyzer.render import scopes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.render.scopes import Scope
    from analyzer.report import NodeRow, Report, TensorRow


HEAVY = 0.01


class Place(msgspec.Struct, eq=False):
    """A node, where it sits and what it makes. `scope` is () where nothing tells.

    `heavy`: it multiplies, its cost is not known, or it holds a share of the parameters worth a row.
    """

    index: int
    node: NodeRow
    shape: tuple[int, ...] | None
    positions: int | None
    scope: Scope = ()
    heavy: bool = False


def settle(report: Report) -> tuple[list[Place], list[NodeRow]]:
    """Places in execution order, and apart from them the nodes that only prepare weights, shapes and constants."""
    tensors = {tensor.name: tensor for tensor in report.tensors}
    preparing = [node for node in report.nodes if _prepares(node, tensors)]
    apart = set(map(id, preparing))
    working = [node for node in report.nodes if id(node) not in apart]
    worth = HEAVY * sum(node.parameters or 0 for node in working)
    layouts = [_channels_last(node, tensors) for node in working]
    channels_last = next((layout for layout in layouts if layout is not None), False)
    places: list[Place] = []
    for node, layout in zip(working, layouts, strict=True):
        channels_last = channels_last if layout is None else layout
        shape = _shape(node, tensors)
        heavy = node.macs != 0 or (node.parameters or 0) > worth
        places.append(Place(len(places), node, shape, _positions(shape, channels_last), heavy=heavy))
    makers = {name: node for node in preparing for name in node.outputs}
    _spread(places, [_scope(node, tensors, makers) for node in working])
    return places, preparing


def _prepares(node: NodeRow, tensors: Mapping[str, TensorRow]) -> bool:
    """Whether all it makes is weights or constants: it runs once, before any input is seen."""
    made = [tensors.get(name) for name in node.outputs if name]
    return bool(made) and all(row is not None and row.role in ("weight", "constant") for row in made)


def _shape(node: NodeRow, tensors: Mapping[str, TensorRow]) -> tuple[int, ...] | None:
    row = next((tensors[name] for name in node.outputs if name in tensors), None)
    return row.shape if row is not None else None


def _channels_last(node: NodeRow, tensors: Mapping[str, TensorRow]) -> bool | None:
    """The layout that a node with a weight works in: a matrix multiplies the last axis, a kernel the second."""
    shape = _shape(node, tensors)
    if not node.macs or shape is None or len(shape) < 3:
        return None
    rows = [tensors[name] for name in node.inputs if name in tensors]
    ranks = [len(row.shape) for row in rows if row.role in ("weight", "constant") and row.shape is not None]
    rank = next((rank for rank in ranks if rank > 1), None)
    return None if rank is None else rank == 2


def _positions(shape: tuple[int, ...] | None, channels_last: bool) -> int | None:
    if shape is None:
        return None
    if len(shape) < 2:
        return 1
    channels = shape[1] if len(shape) > 3 and not channels_last else shape[-1]
    if len(shape) == 3 and not channels_last:
        channels = shape[1]
    return math.prod(shape) // channels if channels else 0


def _scope(node: NodeRow, tensors: Mapping[str, TensorRow], makers: Mapping[str, NodeRow]) -> Scope | None:
    """What names tell of a node's place: its own path, its weights' names, its own bare name, in this order."""
    own = scopes.of_node(node.name, node.op_type)
    if own is not None:
        return own
    for name in node.inputs:
        row = tensors.get(name)
        if row is None or row.role not in ("weight", "constant"):
            continue
        told = scopes.of_weight(
            _stored(row, tensors, makers), bare=bool(node.macs) and len(row.shape or ()) > 1
        )
        if told is not None:
            return told
    return scopes.of_bare_node(node.name, node.op_type) if node.macs or node.parameters else None


def _stored(row: TensorRow, tensors: Mapping[str, TensorRow], makers: Mapping[str, NodeRow]) -> str:
    """The name of the weight that a reshaped or transposed one comes from."""
    while row.name in makers:
        source = next((tensors[name] for name in makers[row.name].inputs if name in tensors), None)
        if source is None or source.bytes is None or source.bytes != row.bytes:
            break
        row = source
    return row.name


def _spread(places: list[Place], told: list[Scope | None]) -> None:
    """Gives silent nodes the scope of their neighbours: activations follow what they activate.

    A silent node that changes the size (a pool) starts something new: it belongs to what follows at its size.
    """
    common = scopes.shared([scope for scope in told if scope is not None])
    if any(scope is not None and scopes.numbered(scope[len(common) : len(common) + 1]) for scope in told):
        common = common[:-1]  # "layers.0" keeps its word
    short = [None if scope is None else scope[len(common) :] or None for scope in told]
    follows = False
    for index, place in enumerate(places):
        before = places[index - 1] if index else None
        scope = short[index]
        if scope is None and place.node.macs and index + 1 < len(places):
            scope = short[index + 1]  # a product whose bias tells
        if scope is not None:
            place.scope, follows = scope, True
        elif before is not None and (follows and place.positions == before.positions):
            place.scope = before.scope
        else:
            follows = False
    _bridge(places)


def _bridge(places: list[Place]) -> None:
    """Scopes for runs of silent nodes that changed the size: the block on both sides, or the one of their size."""
    index = 0
    while index < len(places):
        if places[index].scope:
            index += 1
            continue
        end = index
        while end < len(places) and not places[end].scope:
            end += 1
        before = places[index - 1].scope if index else ()
        after = places[end].scope if end < len(places) else ()
        common = scopes.shared([before, after])
        size = _block_positions(places, end) if after else None
        for place in reversed(places[index:end]):
            if len(common) > 1:
                place.scope = common
            elif after and place.positions == size:
                place.scope = after[:1]
            else:
                break
        index = end


def _block_positions(places: list[Place], start: int) -> int | None:
    """Positions at the end of the block (two parts of scope) that begins here."""
    block, end = places[start].scope[:2], start
    while end + 1 < len(places) and places[end + 1].scope[:2] == block:
        end += 1
    return places[end].positions
