"""Weights of a library: one block that all code versions share, as an object file or as a file that processes map into memory.

A weights file is a header of HEADER_BYTES (magic, bytes of weights, hash; then zeros, so that weights begin on a page) and the weights.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..artefact import aligned_bytes
from ..ir.dims import evaluate_dim
from ..ir.errors import InvalidModel
from ..plan.types import Plan

HEADER_BYTES = 4096
MAGIC = b"tgenwts1"
LANES = 8
FACTOR = 0x9E3779B97F4A7C15  # odd, so that multiplying by it loses nothing (2**64 over the golden ratio)
_ALIGNMENT = 64
_HEADER = struct.Struct("<8sQQ")
_BLOCK = 4096  # words of a lane that one step of `weights_hash` takes


@dataclass(frozen=True)
class Weights:
    """block: bytes as kernels address them, a multiple of 64; hash: see `weights_hash`."""

    block: np.ndarray
    hash: int

    @property
    def header(self) -> bytes:
        """What tells this block's file from every other one."""
        return _HEADER.pack(MAGIC, self.block.size, self.hash)


def shared_weights(plans: Sequence[Plan]) -> tuple[list[Plan], Weights]:
    """The plans with their weights in one block: what is equal in several of them is there once."""
    places: dict[bytes, int] = {}
    end, moved = 0, []
    room = sum(_padded(evaluate_dim(tensor.type.bytes, {})) for plan in plans for _, tensor in plan.weights)
    block = aligned_bytes(max(room, _ALIGNMENT))  # of which the system gives what is written only
    for plan in plans:
        new: dict[int, int] = {}
        for at, tensor in plan.weights:
            array = tensor.array  # held, since one that is computed when asked for would be computed twice
            if tensor.digest not in places:
                places[tensor.digest] = end
                raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                block[end : end + raw.size] = raw
                block[end + raw.size : end + _padded(raw.size)] = 0
                end += _padded(raw.size)
            new[at] = places[tensor.digest]
        moved.append(_relocated(plan, new))
    if not end:
        block[:] = 0
    block = block[: max(end, _ALIGNMENT)]
    return [dataclasses.replace(plan, weight_bytes=block.size) for plan in moved], Weights(block, weights_hash(block))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _relocated(plan: Plan, places: dict[int, int]) -> Plan:
    """The plan with its weights at other places; places: old → new."""
    buffers = tuple(
        dataclasses.replace(b, offset=places[b.offset]) if b.kind == "weight" and isinstance(b.offset, int) else b
        for b in plan.buffers
    )
    return dataclasses.replace(plan, buffers=buffers, weights=tuple((places[at], tensor) for at, tensor in plan.weights))


def weights_hash(block: np.ndarray) -> int:
    """64 bits of a block of bytes (a multiple of 64): lane k sums words k, k + 8, … by Horner's rule with FACTOR, modulo 2**64, and the
    lanes are summed likewise. Cheap enough to be checked at every start; it finds damage, not malice.
    """
    words = block.view("<u8").reshape(-1, LANES)
    lanes = np.zeros(LANES, np.uint64)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(_BLOCK, FACTOR, np.uint64), dtype=np.uint64)
        falling = np.concatenate([powers[:-1][::-1], np.ones(1, np.uint64)])
        for start in range(0, len(words), _BLOCK):
            part = words[start : start + _BLOCK]
            lanes = lanes * powers[len(part) - 1] + (part * falling[_BLOCK - len(part) :, None]).sum(0, dtype=np.uint64)
    total = 0
    for lane in lanes:
        total = (total * FACTOR + int(lane)) % 2**64
    return total


def write_weights_file(weights: Weights, path: Path) -> None:
    with open(path, "wb") as file:
        file.write(weights.header.ljust(HEADER_BYTES, b"\0"))
        file.write(weights.block.data)


def map_weights_file(path: Path, header: bytes) -> np.ndarray:
    """The weights of a file as read-only memory that processes share. Raises InvalidModel for another file than the header tells."""
    try:
        found = path.read_bytes() if path.stat().st_size < HEADER_BYTES else np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise InvalidModel(f"weights file {path}: {error.strerror}") from error
    _, size, _ = _HEADER.unpack(header)
    if len(found) != HEADER_BYTES + size or bytes(found[: len(header)]) != header:
        raise InvalidModel(f"weights file {path} does not belong to this library: its size or hash differs")
    return np.asarray(found[HEADER_BYTES:])
