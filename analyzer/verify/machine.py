"""The machine that something was measured on."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from analyzer.verify.record import Machine

_TELLING = ("avx", "avx2", "fma", "f16c", "avx512", "amx", "vnni", "neon", "asimd", "sve", "bf16", "i8mm")
"""What flags begin with, or hold, by which onnxruntime chooses its kernels."""


def machine(gpu: str | None = None, driver: str | None = None) -> Machine:
    """The one that this runs on."""
    told = _processor()
    flags = told.get("flags", told.get("Features", "")).split()
    return Machine(
        processor=told.get("model name", platform.processor() or platform.machine()),
        processors=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        flags=tuple(sorted({flag for flag in flags if any(word in flag for word in _TELLING)})),
        gpu=gpu,
        driver=driver,
    )


def release() -> str:
    """The release of onnxruntime that a child will find, whichever of its packages it is from."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            return version(package)
    return "of unknown release"


def _processor() -> dict[str, str]:
    """The first processor's lines, where the system has such a file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }
