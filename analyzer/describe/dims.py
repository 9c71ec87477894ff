"""Binding of free dimensions: what the caller asked for, and a documented rule for the rest.

    1. `Options.shapes` gives an input's whole shape; it must agree with `Options.dims`
    2. `Options.dims` gives a symbol's value
    3. a dimension on axis 0, or whose name says batch, is 1
    4. a dimension whose name speaks of a sequence, or of length or time, is 128; of height or width, 224
    5. anything else is 1
    6. where the model cannot run at what was assumed, every assumed dimension is 1

A dimension without a name is called by its place, "x[2]". Every value comes back in the report's `dims`, and every one
that nobody asked for as a warning.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from analyzer.errors import BadOption
from analyzer.graph import FLOAT32, Size, Tensor
from analyzer.options import Options

_ASSUMED = (
    (re.compile(r"batch|^[nb]$", re.IGNORECASE), 1),
    (re.compile(r"seq|len|time|token", re.IGNORECASE), 128),
    (re.compile(r"height|width|^[hw]$", re.IGNORECASE), 224),
)


class Binding:
    """Sizes of the graph's inputs, the value of every symbol, and those that were assumed."""

    def __init__(self, inputs: tuple[Tensor, ...], options: Options, modest: bool = False) -> None:
        self.modest = modest  # rule 6
        self.dims: dict[str, int] = {}
        self.assumed: dict[str, int] = {}
        self.overridden: list[str] = []
        self.sizes: dict[str, Size | None] = {}
        _check_names(inputs, options)
        self._given = dict(options.dims)
        for tensor in inputs:
            if tensor.name in options.shapes:
                self._bind_shape(tensor, options.shapes[tensor.name], options.dims)
        for tensor in inputs:
            self.sizes[tensor.name] = self._size(tensor, options.shapes.get(tensor.name))

    def _bind_shape(self, tensor: Tensor, shape: tuple[int, ...], dims: Mapping[str, int]) -> None:
        name = tensor.name
        if tensor.dims is not None and len(shape) != len(tensor.dims):
            raise BadOption(
                "WRONG_RANK",
                f"--shape {tensor.name}:{','.join(map(str, shape))} has rank {len(shape)}, but the model declares "
                f"{_drawn(tensor.dims)} (rank {len(tensor.dims)})",
                option="shapes", input=tensor.name,
            )  # fmt: skip
        if any(dim < 0 for dim in shape):
            raise BadOption(
                "NEGATIVE_DIM", f"--shape {tensor.name} has a negative dimension: {shape}", option="shapes"
            )
        for axis, dim in enumerate(tensor.dims or ()):
            if isinstance(dim, str):
                if self._given.setdefault(dim, shape[axis]) != shape[axis]:
                    raise BadOption(
                        "DIM_CONFLICT",
                        f"dimension {dim!r} is {self._given[dim]} elsewhere, {shape[axis]} in the shape of {name}",
                        option="dims" if dim in dims else "shapes", input=tensor.name,
                    )  # fmt: skip
                self.dims[dim] = shape[axis]
            elif dim is not None and dim != shape[axis]:
                self.overridden.append(
                    f"{tensor.name}[{axis}] is fixed at {dim} in the model and was analysed at {shape[axis]}"
                )

    def _size(self, tensor: Tensor, shape: tuple[int, ...] | None) -> Size | None:
        if shape is None:
            if tensor.dims is None:
                return None
            shape = tuple(self._value(tensor.name, axis, dim) for axis, dim in enumerate(tensor.dims))
        else:
            for axis, dim in enumerate(tensor.dims or ()):
                if dim is None:
                    self.dims[f"{tensor.name}[{axis}]"] = shape[axis]
        return Size(tuple(shape), tensor.dtype or FLOAT32)

    def _value(self, name: str, axis: int, dim: int | str | None) -> int:
        """One dimension's value; free ones are looked up or assumed."""
        if isinstance(dim, int):
            return dim
        symbol = dim or f"{name}[{axis}]"
        if symbol in self._given:
            value = self._given[symbol]
        elif symbol in self.dims:
            value = self.dims[symbol]
        else:
            value = self.assumed[symbol] = 1 if self.modest else _assume(symbol if dim else "")
        self.dims[symbol] = value
        return value


def _assume(symbol: str) -> int:
    for pattern, value in _ASSUMED:
        if pattern.search(symbol):
            return value
    return 1


def _check_names(inputs: tuple[Tensor, ...], options: Options) -> None:
    """Every name in the options is one of the model's. Raises BadOption with near names."""
    symbols = {
        dim or f"{tensor.name}[{axis}]"
        for tensor in inputs
        for axis, dim in enumerate(tensor.dims or ())
        if not isinstance(dim, int)
    }
    for name, value in options.dims.items():
        if name not in symbols:
            raise BadOption(
                "UNKNOWN_DIM",
                f"no free dimension is named {name!r}; {_choices(name, symbols)}",
                option="dims",
                dim=name,
            )
        if value < 0:
            raise BadOption("NEGATIVE_DIM", f"--dim {name}={value} is negative", option="dims", dim=name)
    names = {tensor.name for tensor in inputs}
    for name in options.shapes:
        if name not in names:
            raise BadOption(
                "UNKNOWN_INPUT",
                f"no input is named {name!r}; {_choices(name, names)}",
                option="shapes",
                input=name,
            )


def _choices(name: str, choices: set[str]) -> str:
    if not choices:
        return "the model has none"
    near = difflib.get_close_matches(name, choices, 3) or sorted(choices)[:8]
    return f"the model has {', '.join(near)}"


def _drawn(dims: tuple[int | str | None, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"
