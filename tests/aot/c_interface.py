"""The C interface of a library, called from Python as a C program would: no check of Python's stands between a test and the library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tgen.aot.layout import Status


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_int64),
    )


class Options(ctypes.Structure):
    _fields_ = (
        ("struct_bytes", ctypes.c_uint32),
        ("threads", ctypes.c_int32),
        ("cpu_words", ctypes.c_uint32),
        ("check_weights", ctypes.c_int32),
        ("cpus", ctypes.POINTER(ctypes.c_uint64)),
        ("weights", ctypes.c_char_p),
    )


class TensorInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("element_bytes", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("shape", ctypes.POINTER(ctypes.c_char_p)),
    )


def options(**fields: Any) -> Options:
    return Options(struct_bytes=ctypes.sizeof(Options), **fields)


def int64s(values: Sequence[int]) -> Any:
    return (ctypes.c_int64 * max(len(values), 1))(*values)


def tensor(array: np.ndarray, strided: bool = False) -> Tensor:
    """An array as the interface takes it; strided: with its strides, else as if it were contiguous."""
    return Tensor(array.ctypes.data, int64s(array.shape), int64s(array.strides) if strided else None, array.ndim)


def tensors(*each: Tensor | np.ndarray) -> Any:
    made = [t if isinstance(t, Tensor) else tensor(t) for t in each]
    array = (Tensor * max(len(made), 1))(*made)
    array.kept = each  # ctypes copies structures: whose memory they point to stays alive with this
    return array


class CLibrary:
    """NAME's functions by their names without it; each test makes contexts of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self.handle, self.name = ctypes.CDLL(str(path)), name
        pointers = ("message", "status_text", "target", "manifest")
        for function in pointers:
            self[function].restype = ctypes.c_char_p
        for function in ("inputs", "outputs"):
            self[function].restype = ctypes.POINTER(TensorInfo)
        self["symbols"].restype = ctypes.POINTER(ctypes.c_char_p)
        for function in ("input_count", "output_count", "symbol_count"):
            self[function].restype = ctypes.c_int64
        self["destroy"].restype = None

    def __getitem__(self, name: str) -> Any:
        return getattr(self.handle, f"{self.name}_{name}")

    def create(self, given: Options | None = None) -> tuple[Status, ctypes.c_void_p]:
        context = ctypes.c_void_p(1)
        status = Status(self["create"](ctypes.byref(given) if given is not None else None, ctypes.byref(context)))
        return status, context

    def context(self, given: Options | None = None) -> ctypes.c_void_p:
        status, context = self.create(given)
        assert status is Status.OK
        return context

    def run(self, context: ctypes.c_void_p | None, inputs: Any, outputs: Any) -> Status:
        return Status(self["run"](context, inputs, outputs))

    def message(self, context: ctypes.c_void_p) -> str:
        return bytes(self["message"](context)).decode()

    def workspace_bytes(self, context: ctypes.c_void_p, *symbols: int) -> tuple[Status, int]:
        size = ctypes.c_int64(-1)
        status = Status(self["workspace_bytes"](context, int64s(symbols), ctypes.byref(size)))
        return status, size.value
