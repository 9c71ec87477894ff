"""Einsum, as onnxruntime computes it: operands brought into one order of labels, then multiplied pair by pair.

Every step's tensor comes from the arena, and the result itself is made last, from a copy. Sources, under
onnxruntime/core/providers/cpu/math/einsum_utils: einsum_compute_preprocessor.cc, einsum_typed_compute_processor.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from analyzer.graph import Shape
from analyzer.runtime.kernel import Call, Usage, kernel

Label = str | int
"""A letter, or the number of a dimension that an ellipsis stands for."""


@kernel("Einsum")
def einsum(call: Call) -> Usage | None:
    """What is taken and given back, in order."""
    sizes = [size for size in call.inputs if size is not None]
    bits, y = sizes[0].dtype.bits, call.outputs[0]
    if (
        bits is None
        or y is None
        or sizes[0].dtype.name == "bfloat16"
        or not all(size.count for size in sizes)
    ):
        return None
    left, arrow, right = call.attributes["equation"].replace(" ", "").partition("->")
    shapes = [size.shape for size in sizes]
    terms = [_labels(term, len(shape)) for term, shape in zip(left.split(","), shapes, strict=True)]
    wanted = _labels(right, len(y.shape)) if arrow else _implied(terms)
    work = _Work(bits // 8, terms, wanted)
    work.run(shapes)
    return Usage(steps=tuple(work.steps))


def _labels(term: str, rank: int) -> list[Label]:
    """The labels of an operand's axes."""
    head, dots, tail = term.partition("...")
    return [*head, *range(rank - len(head) - len(tail) if dots else 0), *tail]


def _implied(terms: Sequence[Sequence[Label]]) -> list[Label]:
    """The result's labels where the equation does not say: those of the ellipsis, then letters that occur once."""
    every = [label for term in terms for label in term]
    dots = sorted({label for label in every if isinstance(label, int)})
    return [
        *dots,
        *sorted((x for x in every if isinstance(x, str) and every.count(x) == 1), key=str.swapcase),
    ]


class _Tensor:
    """An operand or intermediate; `number` is the place in `steps` of what it takes, None where it takes nothing."""

    def __init__(self, shape: Shape, number: int | None = None) -> None:
        self.shape, self.number = shape, number


class _Work:
    """The steps of one call. Axes are places in `order`: labels by first appearance, those of an ellipsis first."""

    def __init__(self, element_bytes: int, terms: list[list[Label]], wanted: list[Label]) -> None:
        every = dict.fromkeys(label for term in terms for label in term)
        self.order = sorted(every, key=lambda label: isinstance(label, str))
        self.terms, self.element_bytes = terms, element_bytes
        self.wanted = [self.order.index(label) for label in wanted]
        self.last = [max(i for i, term in enumerate(terms) if label in term) for label in self.order]
        self.steps: list[int] = []
        self.taken = 0

    def take(self, shape: Shape) -> _Tensor:
        self.steps.append(math.prod(shape) * self.element_bytes)
        self.taken += 1
        return _Tensor(shape, self.taken)

    def give(self, *tensors: _Tensor | None) -> None:
        self.steps += [-t.number for t in tensors if t is not None and t.number is not None]

    def reduced(self, operand: int) -> list[int]:
        """Axes that are summed with this operand: the last to have them, and not in the result."""
        return [axis for axis, last in enumerate(self.last) if last == operand and axis not in self.wanted]

    def run(self, shapes: Sequence[Shape]) -> None:
        operands = [self.arranged(term, shape) for term, shape in zip(self.terms, shapes, strict=True)]
        result, gone = operands[0], self.reduced(0)
        if gone:
            result = self.take(_without(result.shape, gone))
        if len(operands) == 1:
            self.finish(result, [axis for axis in range(len(self.order)) if axis not in gone])
        for index, right in enumerate(operands[1:], 1):
            result = self.pair(result, right, self.reduced(index), last=index == len(operands) - 1)

    def arranged(self, term: list[Label], shape: Shape) -> _Tensor:
        """An operand with an axis for every label, in order; repeated labels leave their diagonal."""
        tensor, labels = _Tensor(shape), list(term)
        while len(set(labels)) < len(labels):
            tensor = self.diagonal(tensor, labels)
        perm = sorted(range(len(labels)), key=lambda axis: self.order.index(labels[axis]))
        if _moves(perm):
            tensor = self.moved(tensor, perm)
        lengths = dict(zip((labels[axis] for axis in perm), _ordered(tensor, labels, perm), strict=True))
        return _Tensor(tuple(lengths.get(label, 1) for label in self.order), tensor.number)

    def diagonal(self, tensor: _Tensor, labels: list[Label]) -> _Tensor:
        """The diagonal of the first two axes of one label; the second goes from `labels`, too. The axes are brought
        innermost and back where they are not.
        """
        second = next(axis for axis, label in enumerate(labels) if label in labels[:axis])
        first = labels.index(labels[second])
        rank = len(labels)
        shape = tuple(n for axis, n in enumerate(tensor.shape) if axis != second)
        if rank == 2 or (first, second) == (rank - 2, rank - 1):
            made = self.take(shape)
        else:
            turned = self.take(tensor.shape)
            small = self.take(shape)
            made = self.take(shape)
            self.give(small, turned)
        self.give(tensor)
        del labels[second]
        return made

    def moved(self, tensor: _Tensor, perm: Sequence[int]) -> _Tensor:
        made = self.take(tuple(tensor.shape[axis] for axis in perm))
        self.give(tensor)
        return made

    def pair(self, left: _Tensor, right: _Tensor, gone: list[int], *, last: bool) -> _Tensor:
        """The product of two operands with the same axes, summed over `gone`. Both operands may go after it."""
        axes = [axis for axis in range(len(self.order)) if axis not in gone]
        both = [a for a in axes if left.shape[a] > 1 and right.shape[a] > 1]
        only = [a for a in axes if left.shape[a] > 1 and right.shape[a] <= 1]
        rest = [a for a in axes if a not in both and a not in only]
        ours, theirs = self.summed(left, right, gone)
        ours = self.turned(ours, [*both, *only, *gone, *rest], left)
        theirs = self.turned(theirs, [*both, *gone, *rest, *only], right)
        shape = [left.shape[a] for a in (*both, *only)] + [1] * len(gone) + [right.shape[a] for a in rest]
        made = self.take(tuple(shape))
        order = [*both, *only, *gone, *rest]
        if last:
            self.finish(made, order)
        else:
            made = self.turned(made, _inverse(order), None)
        self.give(theirs if theirs is not right else None, ours if ours is not left else None)
        self.give(left)
        return made

    def summed(self, left: _Tensor, right: _Tensor, gone: Iterable[int]) -> tuple[_Tensor, _Tensor]:
        """Both operands, each summed at once over axes that it alone has."""
        made = [left, right]
        for axis in gone:
            lone = [operand.shape[axis] > 1 for operand in (left, right)]
            if lone[0] != lone[1]:
                side = lone.index(True)
                before, made[side] = made[side], self.take(_without(made[side].shape, (axis,)))
                self.give(before if before not in (left, right) else None)
        return made[0], made[1]

    def turned(self, tensor: _Tensor, perm: Sequence[int], keep: _Tensor | None) -> _Tensor:
        """Axes in another order: a copy, but only a view where an intermediate's axes of length 1 alone move."""
        shape = tuple(tensor.shape[axis] for axis in perm)
        if not _moves(perm):
            return tensor
        kept = [axis for axis in perm if tensor.shape[axis] != 1]
        if tensor is not keep and kept == sorted(kept):
            return _Tensor(shape, tensor.number)
        made = self.take(shape)
        self.give(tensor if tensor is not keep else None)
        return made

    def finish(self, tensor: _Tensor, order: Sequence[int]) -> None:
        """The result itself, and one more copy where its axes come in another order."""
        self.steps.append(0)
        place = {axis: i for i, axis in enumerate(a for a in order if a in self.wanted)}
        if _moves([place[axis] for axis in self.wanted]):
            self.give(self.take(tensor.shape))


def _ordered(tensor: _Tensor, labels: Sequence[Label], perm: Sequence[int]) -> Shape:
    return (
        tensor.shape if tensor.number is not None and _moves(perm) else tuple(tensor.shape[a] for a in perm)
    )


def _without(shape: Shape, gone: Iterable[int]) -> Shape:
    return tuple(1 if axis in gone else length for axis, length in enumerate(shape))


def _moves(perm: Sequence[int]) -> bool:
    return list(perm) != sorted(perm)


def _inverse(perm: Sequence[int]) -> list[int]:
    return sorted(range(len(perm)), key=perm.__getitem__)
