"""Where a framework with strides puts tensors: which of them share a storage, and in which order their elements lie."""

from __future__ import annotations

from analyzer.describe import Scene
from analyzer.graph import Size
from analyzer.ops.rule import Facts, Kept
from analyzer.spans import POINTWISE
from analyzer.strides import (
    Strides,
    blended,
    channels_last,
    expanded,
    last,
    routed,
    rowmajor,
    told,
    turned,
    viewed,
)

Names = tuple[str, ...]
_ANEW = " laid out anew"
"""Behind the name of a tensor: a copy of it in the order of its axes."""
_DROPPED = " after dropout"
"""Behind the name of a tensor: what dropout has made of it."""


class Storages:
    """The storages of one graph's tensors, each by the name of what first lay there, and the strides of those tensors
    that are not row-major.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.first: dict[str, str] = {}
        self.strides: dict[str, Strides] = {}
        self.whole: dict[
            str, str
        ] = {}  # a part that was picked of a tensor that is not row-major -> that tensor

    def of(self, name: str) -> str:
        """The storage that a tensor lies in."""
        return self.first.get(name, name)

    def named(self, storage: str) -> str:
        """The tensor whose elements, all of them, lie in a storage."""
        return storage.removesuffix(_ANEW).removesuffix(_DROPPED)

    def bytes(self, storage: str) -> int:
        """All of a storage's bytes, 0 where its size is not known."""
        return self.scene.bytes.get(self.named(storage), 0)

    def share(self, name: str, other: str) -> None:
        """`name` lies in the storage of `other`, if there is one."""
        if other:
            self.first[name] = self.of(other)

    def drop(self, name: str) -> None:
        """Whoever reads the tensor `name` from now on reads what dropout has made of it."""
        self.first[name] = name + _DROPPED

    def is_dropped(self, storage: str) -> bool:
        """Whether dropout has made what lies there."""
        return storage.endswith(_DROPPED)

    def copied(self, name: str, size: Size, kept: Kept) -> Size | None:
        """The copy that must be made to keep a tensor folded as `kept` says; None where a view will do."""
        if kept.folded is None:
            return None
        (wide, flat), shape, strides = kept.folded, size.shape, self.strides.get(name)
        if kept.order is not None:
            shape, strides = turned(shape, strides, kept.order)
        if viewed(wide, told(wide, expanded(shape, strides, wide)), flat) is not None:
            return None
        return Size(flat, size.dtype)

    def place(self, inputs: Names, outputs: Names, said: Facts, first: Size) -> None:
        """Storage and strides of an op's results, the size of the first being `first`."""
        source = said.strided or said.view
        if source is not None:
            self._view(inputs, outputs, said, source)
        elif said.order is not None:
            steps = rowmajor(tuple(first.shape[axis] for axis in said.order))
            step = dict(zip(said.order, steps, strict=True))
            self._lay(outputs[0], told(first.shape, tuple(step[axis] for axis in range(first.rank))))
        elif not self.strides.keys().isdisjoint(inputs):
            self._lay(outputs[0], self._taken_over(inputs, said, first))

    def _view(self, inputs: Names, outputs: Names, said: Facts, source: Size) -> None:
        """Results that are views of `source`, or of a reshape the copy where there can be no view."""
        name = self.scene.named(inputs, source)
        strides = self.strides.get(name)
        if said.view is not None and strides is None:
            self.share(outputs[0], name)
            return
        for place, output in enumerate(outputs if said.strided is not None else outputs[:1]):
            size = self.scene.size(output)
            if size is None:
                continue
            steps = routed(source.shape, strides, said.span(0, place), size.shape)
            if steps is not None:
                self.share(output, name)
                self._lay(output, told(size.shape, steps))
                if strides is not None and size.rank < source.rank and size.count < source.count:
                    self.whole[output] = name
            elif name in self.whole:  # parts that are viewed alike were laid out anew before they were parted
                self.share(output, self.whole[name] + _ANEW)

    def _taken_over(self, inputs: Names, said: Facts, first: Size) -> Strides | None:
        """Strides of a new tensor after those of operands."""
        if said.alike is not None:
            strides = self.strides.get(self.scene.named(inputs, said.alike))
            return None if strides is None else blended(first.shape, ((said.alike.shape, strides),))
        if said.follows:
            strides = self.strides.get(self.scene.named(inputs, said.follows[0]))
            found = channels_last(said.follows[0].shape, strides)
            return told(first.shape, last(first.shape)) if found else None
        if said.spans is not POINTWISE and (type(said.spans) is not tuple or said.spans[0] is not POINTWISE):
            return None
        operands = [
            (size.shape, self.strides.get(name))
            for place, name in enumerate(inputs)
            if said.span(place) is POINTWISE and (size := self.scene.size(name)) and size.shape
        ]
        return blended(first.shape, tuple(operands)) if operands else None

    def _lay(self, name: str, strides: Strides | None) -> None:
        if strides is not None:
            self.strides[name] = strides
