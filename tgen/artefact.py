"""`Artefact`: what compilation leaves: object files, packed weights, and a manifest that needs no compiler to be read.

As bytes (for the cache): the weights, the object files, a head in JSON, and how many bytes of those are the head.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frame import Frame
from .ir.dims import DimLike, parse_dim
from .ir.errors import InvalidInput
from .ir.types import TensorType, parse_type

_ALIGNMENT = 64
_HEAD_BYTES = struct.Struct("<Q")
_DIMS = ("arena", "scratch", "work")


@dataclass(frozen=True)
class Manifest:
    """inputs, outputs: names and types in call order. arena, scratch: bytes a run needs, and each thread besides, by
    the symbols. work: element operations of a run, roughly. assumptions: pairs of dimensions that must be equal for a run to be
    legal. extents: symbols that a run finds out. messages: what a run may end with (see `Frame`). unbounded:
    whether it may have no end. texts: see `Graph`. flushes: whether subnormal numbers are zeros.
    """

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
    extents: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    unbounded: bool = False
    texts: tuple[str, ...] = ()
    flushes: bool = False

    @property
    def subnormals(self) -> str:
        """What becomes of them."""
        return "flushed" if self.flushes else "kept"

    @property
    def frame(self) -> Frame:
        extents = len(self.extents)
        return Frame(len(self.inputs), len(self.outputs), len(self.symbols), self.steps, extents, len(self.messages) - extents)

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
        fields.update({key: tuple(fields[key]) for key in ("symbols", "needs", "extents", "messages", "texts")})
        return Manifest(**fields)


@dataclass(frozen=True)
class Artefact:
    """code: object files that are loaded together and export `run`. weights: bytes, as kernels address them."""

    manifest: Manifest
    code: tuple[bytes, ...]
    weights: np.ndarray

    @staticmethod
    def from_bytes(data: memoryview) -> Artefact:
        """Inverse of `serialised`; the weights stay a view of `data`."""
        (size,) = _HEAD_BYTES.unpack(data[-_HEAD_BYTES.size :])
        head = json.loads(bytes(data[-_HEAD_BYTES.size - size : -_HEAD_BYTES.size]))
        weights = np.frombuffer(data, np.uint8, head["weights"])
        ends = list(itertools.accumulate(head["code"], initial=head["weights"]))
        code = tuple(bytes(data[start:end]) for start, end in itertools.pairwise(ends))
        return Artefact(Manifest.from_json(head["manifest"]), code, weights)


def serialised(manifest: Manifest, weights: Iterable[np.ndarray], code: Iterable[bytes]) -> Iterator[Any]:
    """An artefact as byte strings to be written one after another. Its parts are asked for when their turn comes, so that one can be
    written while another is still made. weights: bytes that follow each other.
    """
    size = 0
    for part in weights:
        yield part.data
        size += part.size
    sizes = []
    for each in code:
        yield each
        sizes.append(len(each))
    head = json.dumps({"manifest": manifest.to_json(), "code": sizes, "weights": size}).encode()
    yield head
    yield _HEAD_BYTES.pack(len(head))


def aligned_bytes(size: int) -> np.ndarray:
    """Uninitialised bytes that begin at a multiple of 64. Raises InvalidInput if there is no such memory."""
    try:
        raw = np.empty(size + _ALIGNMENT, np.uint8)
    except MemoryError as error:
        raise InvalidInput(f"{size:,} bytes of memory are needed, more than this process is given") from error
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]
