"""What of a processor decides how much memory onnxruntime's kernels take. Only quantised ones ask."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """Features by which onnxruntime chooses among its quantised kernels (`core/mlas/lib/platform.cpp`).

    avx512         AVX-512 with byte and word instructions
    amx_int8       matrix tiles of bytes
    avx_vnni_int8  dot products of signed bytes

    The default is a server's processor of today.
    """

    avx512: bool = True
    amx_int8: bool = True
    avx_vnni_int8: bool = False


@cache
def here() -> Machine | None:
    """The processor that this runs on; None where it is of another family than x86-64, or older than AVX2."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    flags = _flags()
    if flags is None:
        return Machine()
    if "avx2" not in flags:
        return None
    return Machine(
        avx512={"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags,
        amx_int8={"amx_tile", "amx_int8"} <= flags,
        avx_vnni_int8="avx_vnni_int8" in flags,
    )


def _flags() -> frozenset[str] | None:
    """Features by the kernel's names; None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(found.partition(":")[2].split()) or None
