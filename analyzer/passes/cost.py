"""What a model computes: multiply-accumulates and elementwise operations, per node and in total.

Bodies are folded: a loop's or a function's nodes count as often as they run, of exclusive branches the dearest counts.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from analyzer.describe import Missing, Scene
from analyzer.graph import Node
from analyzer.ops.rule import Facts


class Work(msgspec.Struct, frozen=True):
    """Operations of a graph: what is known of them, whether that is all, and how many nodes could not be counted."""

    nodes: int = 0
    macs: int = 0
    elementwise: int = 0
    macs_complete: bool = True
    elementwise_complete: bool = True
    missing: tuple[tuple[str, int], ...] = ()

    @property
    def flops(self) -> int:
        """A multiply-accumulate is two, an elementwise operation is one."""
        return 2 * self.macs + self.elementwise

    @property
    def complete(self) -> bool:
        return self.macs_complete and self.elementwise_complete


def count(scene: Scene, counted: dict[int, Work] | None = None) -> Work:
    """The work of one run of `scene`. Bodies that are run from many places are `counted` once."""
    counted = {} if counted is None else counted
    nodes = macs = elementwise = 0
    macs_complete = elementwise_complete = True
    missing: Counter[str] = Counter()
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        nodes += 1
        if type(said) is Missing:
            macs_complete = elementwise_complete = False
            missing[said.message] += 1
            continue
        assert type(said) is Facts
        if said.macs is None:
            macs_complete = False
        else:
            macs += said.macs
        if scene.bounded and not _exact(scene, node):
            macs_complete &= not said.macs
            elementwise_complete &= not said.elementwise
        if said.elementwise is None:
            elementwise_complete = False
        else:
            elementwise += said.elementwise
        if said.runs:
            inner = body(said, counted)
            nodes += inner.nodes
            macs += inner.macs
            elementwise += inner.elementwise
            macs_complete &= inner.macs_complete
            elementwise_complete &= inner.elementwise_complete
            missing.update(dict(inner.missing))
    return Work(nodes, macs, elementwise, macs_complete, elementwise_complete, tuple(missing.items()))


def _exact(scene: Scene, node: Node) -> bool:
    """Whether all of a node's operands have exact sizes; else its figures are upper bounds."""
    return all(size is None or size.exact for size in map(scene.size, node.inputs))


def body(said: Facts, counted: dict[int, Work]) -> Work:
    """The work of the bodies that one node runs."""
    runs = []
    for run in said.runs:
        key = id(run.scene)
        if key not in counted:
            counted[key] = count(run.scene, counted)
        runs.append(_times(counted[key], run.repeat))
    if said.exclusive:  # one that could not be counted might be dearer than the dearest known
        dearest = max(runs, key=lambda work: work.flops)
        return msgspec.structs.replace(
            dearest,
            macs_complete=all(work.macs_complete for work in runs),
            elementwise_complete=all(work.elementwise_complete for work in runs),
            missing=tuple(entry for work in runs for entry in work.missing),
        )
    return Work(
        sum(work.nodes for work in runs),
        sum(work.macs for work in runs),
        sum(work.elementwise for work in runs),
        all(work.macs_complete for work in runs),
        all(work.elementwise_complete for work in runs),
        tuple(entry for work in runs for entry in work.missing),
    )


def _times(work: Work, repeat: int | None) -> Work:
    """`work` done `repeat` times; once, and incomplete, where nobody knows how often."""
    if repeat == 1:
        return work
    times = 1 if repeat is None else repeat
    known = repeat is not None
    return Work(
        work.nodes,
        work.macs * times,
        work.elementwise * times,
        work.macs_complete and (known or not work.macs),
        work.elementwise_complete and (known or not work.elementwise),
        work.missing,
    )
