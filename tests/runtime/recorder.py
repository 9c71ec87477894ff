"""What onnxruntime asks of an allocator, byte by byte: a session on an allocator of our own that writes all of it down.

Through the C API of the library that lies in onnxruntime's wheel; its functions keep their places in every release.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime

API_VERSION = 18
ALIGNMENT = 64
PLACE = {
    "GetErrorMessage": 2, "CreateEnv": 3, "CreateSessionFromArray": 8, "Run": 9, "CreateSessionOptions": 10,
    "DisableMemPattern": 17, "SetSessionGraphOptimizationLevel": 23, "SetIntraOpNumThreads": 24,
    "CreateTensorWithDataAsOrtValue": 49, "CreateCpuMemoryInfo": 69, "ReleaseSession": 95, "ReleaseValue": 96,
    "ReleaseSessionOptions": 100, "AddSessionConfigEntry": 130, "RegisterAllocator": 176,
}  # fmt: skip
Pointer = ctypes.c_void_p
_Take = ctypes.CFUNCTYPE(Pointer, Pointer, ctypes.c_size_t)
_Give = ctypes.CFUNCTYPE(None, Pointer, Pointer)
_Tell = ctypes.CFUNCTYPE(Pointer, Pointer)


class _Allocator(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32),
        ("take", _Take),
        ("give", _Give),
        ("tell", _Tell),
        ("reserve", _Take),
    ]


class Record(msgspec.Struct, frozen=True):
    """Bytes asked for, in order.

    kept      when the session was made, and not given back until it ends; `reserved` of them through `Reserve`
    taken     while it ran, results included
    peak      most of them at once
    """

    kept: tuple[int, ...]
    reserved: tuple[int, ...]
    taken: tuple[int, ...]
    peak: int


def library() -> Path | None:
    """The C library, None where the wheel has none."""
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    return found[0] if found else None


class Recorder:
    """One environment with one allocator, for any number of sessions."""

    def __init__(self) -> None:
        path = library()
        assert path is not None
        base = ctypes.CDLL(str(path)).OrtGetApiBase
        base.restype = ctypes.POINTER(Pointer)
        get = ctypes.CFUNCTYPE(ctypes.POINTER(Pointer), ctypes.c_uint32)(base()[0] or 0)
        self._api = get(API_VERSION)
        self._live: dict[int, tuple[int, bool, object]] = {}
        self._taken: list[int] = []
        self._now = self._peak = 0
        self._env, self._where = Pointer(), Pointer()
        self._call("CreateEnv", 4, b"recorder", ctypes.byref(self._env))
        self._call("CreateCpuMemoryInfo", 0, 0, ctypes.byref(self._where))
        self._allocator = _Allocator(
            API_VERSION,
            _Take(lambda _, size: self._take(size, reserved=False)),
            _Give(lambda _, address: self._give(address)),
            _Tell(lambda _: self._where.value),
            _Take(lambda _, size: self._take(size, reserved=True)),
        )
        self._call("RegisterAllocator", self._env, ctypes.byref(self._allocator))

    def record(self, model: bytes, feeds: Mapping[str, np.ndarray], threads: int = 1) -> Record:
        """Make a session without optimisations and run it once."""
        options, session = Pointer(), Pointer()
        self._call("CreateSessionOptions", ctypes.byref(options))
        self._call("SetSessionGraphOptimizationLevel", options, 0)
        self._call("SetIntraOpNumThreads", options, threads)
        self._call("DisableMemPattern", options)
        self._call("AddSessionConfigEntry", options, b"session.use_env_allocators", b"1")
        size = ctypes.c_size_t(len(model))
        self._call("CreateSessionFromArray", self._env, model, size, options, ctypes.byref(session))
        kept = list(self._live.values())
        results = self._run(
            session, feeds, [value.name for value in onnx.load_from_string(model).graph.output]
        )
        taken, peak = tuple(self._taken), self._peak
        for result in results:
            self._function("ReleaseValue", None)(result)
        self._function("ReleaseSession", None)(session)
        self._function("ReleaseSessionOptions", None)(options)
        return Record(
            tuple(size for size, _, _ in kept),
            tuple(size for size, reserved, _ in kept if reserved),
            taken,
            peak,
        )

    def _run(
        self, session: Pointer, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[Pointer]:
        arrays = [np.ascontiguousarray(array) for array in feeds.values()]
        values = (Pointer * len(arrays))(*(self._value(array) for array in arrays))
        names = (ctypes.c_char_p * len(arrays))(*(name.encode() for name in feeds))
        wanted = (ctypes.c_char_p * len(outputs))(*(name.encode() for name in outputs))
        results = (Pointer * len(outputs))()
        self._taken, self._now, self._peak = [], 0, 0
        counts = ctypes.c_size_t(len(arrays)), ctypes.c_size_t(len(outputs))
        self._call("Run", session, None, names, values, counts[0], wanted, counts[1], results)
        for value in values:
            self._function("ReleaseValue", None)(Pointer(value))
        return [Pointer(result) for result in results]

    def _value(self, array: np.ndarray) -> int | None:
        value, shape = Pointer(), (ctypes.c_int64 * array.ndim)(*array.shape)
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        place, size, rank = (
            Pointer(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            ctypes.c_size_t(array.ndim),
        )
        made = ctypes.byref(value)
        self._call("CreateTensorWithDataAsOrtValue", self._where, place, size, shape, rank, kind, made)
        return value.value

    def _take(self, size: int, *, reserved: bool) -> int:
        memory = ctypes.create_string_buffer(size + ALIGNMENT)
        address = -(-ctypes.addressof(memory) // ALIGNMENT) * ALIGNMENT
        self._live[address] = size, reserved, memory
        self._taken.append(size)
        self._now += size
        self._peak = max(self._peak, self._now)
        return address

    def _give(self, address: int | None) -> None:
        if address:
            self._now -= self._live.pop(address)[0]

    def _function(self, name: str, result: type[Any] | None = Pointer) -> Any:
        return ctypes.cast(self._api[PLACE[name]] or 0, ctypes.CFUNCTYPE(result))

    def _call(self, name: str, *arguments: object) -> None:
        status = self._function(name)(*arguments)
        if status:
            message = self._function("GetErrorMessage", ctypes.c_char_p)(Pointer(status))
            raise RuntimeError(message.decode())


@cache
def recorder() -> Recorder:
    """The one of this process."""
    return Recorder()
