"""The list of devices: a table, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from analyzer.devices import Device, devices
from analyzer.units import show_bytes, show_count

RATES = ("float64", "float32", "tf32", "float16", "bfloat16", "float8", "int8")
HEADS = ("device", "memory", "per second", *RATES)

_PAGE = """# Devices

The {count} devices that `--device` knows by name. This page is made by `onnx-analyzer devices --format markdown -o
docs/devices.md`, and a test keeps it fresh.

Memory is all that is there: what a sheet calls 12 GB are 12 GiB of chips, of which the driver keeps some back, and
what a process's context takes is set aside only where somebody measured it. Rates are peaks of matrix products in
operations per second, dense, never with sparsity; GeForce cards at boost clock. A type without a rate counts at the
device's highest, so that a least time stays one. A product of float32 may run at the rate of tf32, as the frameworks'
do.

Case, punctuation and the maker's words do not matter, and a part of a name that fits one device alone is enough:
`--device rtx4090`, `--device "Tesla V100-SXM2-16GB"`.

A device of one's own is a TOML file, given as `--device mine.toml`. Numbers are plain or with a unit (K, M, G, T in
1000s; KiB, MiB, GiB in 1024s), and only the name and the memory must be there:

```toml
name = "mine"
memory_bytes = "10GiB"
context_bytes = "400MiB"
bytes_per_second = "500G"
flops_per_second = {{ float32 = "12T", float16 = "24T" }}
source = "measured, 2026"
```
"""


def table() -> str:
    """One line per device."""
    rows = [HEADS, *map(_row, devices())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown() -> str:
    """The page docs/devices.md."""
    listed = devices()
    lines = [_PAGE.format(count=len(listed))]
    lines.append("| " + " | ".join((*HEADS, "source")) + " |")
    lines.append("| :-- |" + " --: |" * (len(HEADS) - 1) + " :-- |")
    for device in listed:
        source = f"[sheet]({device.source})" if device.source.startswith("http") else device.source
        note = f"; {device.note}" if device.note else ""
        lines.append("| " + " | ".join((*_row(device), source + note)) + " |")
    return "\n".join(lines) + "\n"


def json() -> str:
    """A list of objects, one line each."""
    return "[\n" + ",\n".join(msgspec.json.encode(device).decode() for device in devices()) + "\n]\n"


def _row(device: Device) -> tuple[str, ...]:
    speed = "" if device.bytes_per_second is None else f"{show_count(device.bytes_per_second)}B"
    rates = device.flops_per_second
    return (
        device.name,
        show_bytes(device.memory_bytes),
        speed,
        *(show_count(rates[dtype]) if dtype in rates else "" for dtype in RATES),
    )


FORMS: Mapping[str, Callable[[], str]] = {"table": table, "markdown": markdown, "json": json}
