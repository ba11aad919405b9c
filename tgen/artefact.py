"""`Artefact`: what compilation leaves: an object file, packed weights, and a manifest that needs no compiler to be read.

As bytes (for the cache): a line of JSON, then the object file, then the weights at a multiple of 64.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .codegen.program import Frame
from .ir.dims import DimLike, parse_dim
from .ir.types import TensorType, parse_type

_ALIGNMENT = 64
_DIMS = ("arena", "scratch", "work")


@dataclass(frozen=True)
class Manifest:
    """inputs, outputs: names and types in call order. arena, scratch: bytes a run needs, and each thread besides, by
    the symbols. work: element operations of a run, roughly. assumptions:
    pairs of dimensions that must be equal for a run to be legal."""

    name: str
    target: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    symbols: tuple[str, ...]
    arena: DimLike
    scratch: DimLike
    work: DimLike
    steps: int
    kernels: int
    needs: tuple[str, ...]
    assumptions: tuple[tuple[DimLike, DimLike], ...] = ()

    @property
    def frame(self) -> Frame:
        return Frame(len(self.inputs), len(self.outputs), len(self.symbols), self.steps)

    def to_json(self) -> dict[str, Any]:
        fields = dict(self.__dict__)
        for key in ("inputs", "outputs"):
            fields[key] = [[name, str(t)] for name, t in fields[key]]
        fields["assumptions"] = [[str(a), str(b)] for a, b in self.assumptions]
        return {**fields, **{key: str(fields[key]) for key in _DIMS}}

    @staticmethod
    def from_json(fields: dict[str, Any]) -> Manifest:
        for key in ("inputs", "outputs"):
            fields[key] = tuple((name, parse_type(t)) for name, t in fields[key])
        fields.update({key: parse_dim(fields[key]) for key in _DIMS})
        fields["assumptions"] = tuple((parse_dim(a), parse_dim(b)) for a, b in fields["assumptions"])
        fields["symbols"], fields["needs"] = tuple(fields["symbols"]), tuple(fields["needs"])
        return Manifest(**fields)


@dataclass(frozen=True)
class Artefact:
    """code: an object file that exports `run`. weights: bytes, as kernels address them."""

    manifest: Manifest
    code: bytes
    weights: np.ndarray

    def parts(self) -> Sequence[Any]:
        """The artefact as byte strings to be written one after another."""
        head = {"manifest": self.manifest.to_json(), "code": len(self.code), "weights": int(self.weights.size)}
        line = json.dumps(head).encode() + b"\n"
        gap = -(len(line) + len(self.code)) % _ALIGNMENT
        return (line, self.code, b"\0" * gap, self.weights.data)

    @staticmethod
    def from_bytes(data: memoryview) -> Artefact:
        """Inverse of `parts`; the weights stay a view of `data`."""
        line = _first_line(data)
        head = json.loads(line)
        start = len(line) + 1
        code = bytes(data[start : start + head["code"]])
        at = -(-(start + head["code"]) // _ALIGNMENT) * _ALIGNMENT
        weights = np.frombuffer(data, np.uint8, head["weights"], at)
        return Artefact(Manifest.from_json(head["manifest"]), code, weights)


def _first_line(data: memoryview) -> bytes:
    size = 4096
    while b"\n" not in bytes(data[:size]) and size < len(data):
        size *= 2
    return bytes(data[:size]).split(b"\n", 1)[0]


def aligned_bytes(size: int) -> np.ndarray:
    """Uninitialised bytes that begin at a multiple of 64."""
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]
