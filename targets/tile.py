"""`MacTile`: one multiply-accumulate instruction, the atom of every contraction.

    C[m, n] += A[m, k]·B[k, n]        geometry m n k; k_pack rows of B lie side by side in memory
A tile prints its instruction through six verbs (zero, load_c, load_a, load_b, mac, store) given an `llvmlite.ir` builder, and has a
NumPy `reference`. Block shapes and packed weight layouts are derived from its geometry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.dtypes import DType


@dataclass(frozen=True)
class MacTile:
    """needs: LLVM feature; registers: of its file.

    For the cost model: cycles: of one instruction at full throughput; load_cycles, store_cycles: of an operand from, an accumulator to L1;
    latency: from one instruction to the next on the same accumulator; addresses: of so many rows of A general registers hold, those of
    more come from memory in every step; stream: the share of the bandwidth from L2 and beyond that its
    loads reach. nearest: sums are rounded to nearest; those that are not have no float32 quality, whatever is added up.
    in_pairs: neighbours along k are added in 16 bits, which saturate: for B whose pairs are small enough for that.

    broadcast: A is read one word (k_pack elements) at a time and spread over a vector; otherwise A is a tile of m rows and
    must lie in memory padded to whole tiles.
    """

    name: str
    m: int
    n: int
    k: int
    a: DType
    b: DType
    accumulate: DType
    k_pack: int
    needs: str
    registers: int
    cycles: float
    broadcast: bool = True
    load_cycles: float = 0.5
    store_cycles: float = 1.0
    latency: float = 4.0
    addresses: int = 7
    stream: float = 1.0
    nearest: bool = True
    in_pairs: bool = False

    def reference(self, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """c[m, n] + a[m, k] @ b[k, n] in the accumulator's dtype; b is given unpacked."""
        wide = self.accumulate.numpy
        return c + a.astype(wide) @ b.astype(wide)

    def blocks(self) -> list[tuple[int, int]]:
        """Block shapes (rows of tiles, columns of tiles) whose accumulators and operands fit the register file."""
        raise NotImplementedError

    def least_rows(self, block: tuple[int, int]) -> int:
        """Rows of tiles: a block of fewer takes as long as one of so many, since each instruction waits for the last on its sum."""
        return min(block[0], math.ceil(self.latency / (self.cycles * block[1])))

    def unroll(self, accumulators: int) -> int:
        """How many steps of k a loop does at a time, where a step has so many accumulators."""
        return 1

    def enter(self, b: Any) -> None:
        """What a thread does before its first instruction of this kind in a run."""

    def leave(self, b: Any) -> None:
        """What a thread does after its last one."""

    # The verbs. `b` is an llvmlite IRBuilder; pointers are LLVM pointers; acc is whatever `zero` gave.
    def zero(self, b: Any, slot: int) -> Any:
        raise NotImplementedError

    def load_c(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        """An accumulator that `store` wrote."""
        raise NotImplementedError

    def load_a(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        raise NotImplementedError

    def load_b(self, b: Any, pointer: Any, slot: int) -> Any:
        raise NotImplementedError

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        raise NotImplementedError

    def store(self, b: Any, acc: Any, pointer: Any, stride: Any) -> None:
        """Writes the accumulator to pointer, `stride` bytes from row to row."""
        raise NotImplementedError
