"""Devices: how much fits on one and how fast it can be. Rows of devices.toml, and files of a user's own.

A name is matched without regard to case, punctuation, order and the maker's words; a part that fits one device alone is
enough. What ends in .toml is a file with the keys of `Device`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from analyzer.errors import BadOption
from analyzer.units import parse_quantity

__all__ = ["Device", "devices", "find", "load"]

MOST_NAMED = 4
_MAKERS = frozenset({"nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "apple"})


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device by its sheet. What the sheet does not say is None, or missing in `flops_per_second`.

    memory_bytes      all of it; `context_bytes` are what a process's context takes before the first tensor
    bytes_per_second  of its memory
    flops_per_second  of matrix products, dense, by type: float64, float32, tf32, float16, bfloat16, float8, int8
    """

    name: str
    memory_bytes: int
    context_bytes: int | None = None
    bytes_per_second: int | None = None
    flops_per_second: dict[str, int] = {}
    source: str = ""
    note: str = ""

    @property
    def usable_bytes(self) -> int:
        """What tensors may take; all of it where nobody knows what the context takes."""
        return self.memory_bytes - (self.context_bytes or 0)

    def rate(self, dtype: str, matrix: bool = False) -> int | None:
        """Most operations per second at a type; `matrix` products of float32 may run as tf32, as the frameworks' do.

        A type without a rate of its own counts at the highest that there is: a time stays a lower bound.
        """
        rates = self.flops_per_second
        key = _RATED.get(dtype, dtype)
        if key == "float32" and matrix:
            return max((rates[name] for name in ("float32", "tf32") if name in rates), default=None)
        return rates.get(key) or max(rates.values(), default=None)


_RATED = {
    "uint8": "int8",
    "float8_e4m3fn": "float8", "float8_e4m3fnuz": "float8", "float8_e5m2": "float8", "float8_e5m2fnuz": "float8",
}  # fmt: skip
"""Element types that run at another's rate."""


@cache
def devices() -> tuple[Device, ...]:
    """Every row of devices.toml, in its order."""
    rows = tomllib.loads((Path(__file__).parent / "devices.toml").read_text(encoding="utf-8"))["device"]
    return tuple(_device(row, "devices.toml") for row in rows)


def find(name: str) -> Device:
    """The device of this name, or in the file of this name. Raises BadOption with near names, or with what is wrong."""
    if name.lower().endswith(".toml"):
        return load(name)
    asked = _words(name)
    fitting = [device for device in devices() if asked and asked <= _words(device.name)]
    same = [device for device in fitting if asked == _words(device.name)]
    if same or len(fitting) == 1:
        return (same or fitting)[0]
    raise BadOption("UNKNOWN_DEVICE", _unknown(name, fitting), option="device", device=name)


def load(path: str | Path) -> Device:
    """The device that a TOML file describes. Raises BadOption where it does not describe one."""
    try:
        return _device(tomllib.loads(Path(path).read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise BadOption(
            "NO_DEVICE", f"cannot read the device {path}: {error.strerror}", option="device"
        ) from error
    except ValueError as error:
        raise BadOption("BAD_DEVICE", f"{path} is no TOML: {error}", option="device") from error


def _device(row: Mapping[str, Any], source: str) -> Device:
    plain = dict(row)
    unknown = plain.keys() - set(Device.__struct_fields__)
    if unknown:
        known = ", ".join(Device.__struct_fields__)
        told = f"{source}: a device has no {', '.join(map(repr, sorted(unknown)))}; it has {known}"
        raise BadOption("BAD_DEVICE", told, option="device")
    for key in ("memory_bytes", "context_bytes", "bytes_per_second"):
        if key in plain:
            plain[key] = _quantity(plain[key], key, source)
    rates = plain.get("flops_per_second")
    if isinstance(rates, Mapping):
        plain["flops_per_second"] = {dtype: _quantity(rate, dtype, source) for dtype, rate in rates.items()}
    try:
        return msgspec.convert(plain, Device)
    except msgspec.ValidationError as error:
        raise BadOption("BAD_DEVICE", f"{source}: {error}", option="device") from error


def _quantity(value: object, key: str, source: str) -> int:
    """A number from 1 up, plain or with a unit."""
    number: object = value
    if isinstance(value, str):
        try:
            number = parse_quantity(value)
        except ValueError as error:
            raise BadOption("BAD_DEVICE", f"{source}: {key}: {error}", option="device") from error
    if isinstance(number, bool) or not isinstance(number, int | float) or not 1 <= number < float("inf"):
        raise BadOption(
            "BAD_DEVICE", f"{source}: {key} is a number from 1 up, not {value!r}", option="device"
        )
    return round(number)


def _words(name: str) -> Counter[str]:
    """Runs of letters and of digits, without the maker's: "rtx4090" and "NVIDIA GeForce RTX 4090" are one."""
    return Counter(word for word in re.findall(r"[a-z]+|[0-9]+", name.lower()) if word not in _MAKERS)


def _unknown(name: str, fitting: list[Device]) -> str:
    if fitting:
        return f"{name!r} may be {_listed([device.name for device in fitting])}: say which"
    asked = list(_words(name).elements())
    parts: dict[str, list[str]] = {}
    for device in devices():  # whole names, and as many words in a row as were written
        words = list(_words(device.name).elements())
        for start in range(len(words)):
            for end in {start + len(asked), len(words)}:
                parts.setdefault("".join(words[start:end]), []).append(device.name)
    close = difflib.get_close_matches("".join(asked), parts, 3, 0.65) if asked else []
    near = list(dict.fromkeys(found for part in close for found in parts[part]))[:MOST_NAMED]
    hint = f"did you mean {_listed(near)}?" if near else "`devices` lists those that are known"
    return f"no device is named {name!r}: {hint}"


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
