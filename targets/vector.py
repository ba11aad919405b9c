"""`VectorTile`: an accumulator is one vector register, A is one element broadcast; serves every vector unit and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import DType
from .emit import declare, splat
from .tile import MacTile

UNROLL = 4
MANY = 18  # accumulators, from which on half of that is as fast (6x4 and 7x3 on AVX-512)
_LLVM = {"f32": ll.FloatType(), "f64": ll.DoubleType(), **{f"{s}{w}": ll.IntType(w) for s in "iu" for w in (8, 16, 32, 64)}}


@dataclass(frozen=True)
class VectorTile(MacTile):
    """acc[0, :] += a·b[:] : fused multiply-add for floats, multiply and add for integers."""

    @property
    def adds_apart(self) -> bool:
        """Whether a product is in a register of its own before it is added, as with integers."""
        return not self.accumulate.is_float

    def blocks(self) -> list[tuple[int, int]]:
        spare = self.registers - 1 - self.adds_apart
        return [(m, n) for n in (1, 2, 3, 4) for m in range(1, 15) if m * n + n <= spare]

    def unroll(self, accumulators: int) -> int:
        """Large steps hide what a loop costs by themselves, and half the code compiles faster. Sums that are instructions of their own are
        reordered by LLVM over several steps: registers would run out.
        """
        if self.adds_apart:
            return 1
        return UNROLL if accumulators < MANY else UNROLL // 2

    @property
    def vector(self) -> ll.Type:
        return ll.VectorType(_LLVM[self.accumulate.name], self.n)

    def zero(self, b: Any, slot: int) -> Any:
        return ll.Constant(self.vector, None)

    def load_c(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        vector = b.load(pointer, typ=self.vector)
        vector.align = self.accumulate.size
        return vector

    @property
    def word(self) -> ll.Type:
        """What is read of A in one step: k_pack elements."""
        return _LLVM[self.a.name]

    def load_a(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        word = b.load(pointer, typ=self.word)
        word.align = self.a.size
        return splat(b, word, self.n)

    def load_b(self, b: Any, pointer: Any, slot: int) -> Any:
        vector = b.load(pointer, typ=ll.VectorType(_LLVM[self.b.name], self.n))
        vector.align = self.b.size
        return vector

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        if self.accumulate.is_float:
            suffix = "f32" if self.accumulate.bits == 32 else "f64"
            return b.call(declare(b.module, f"llvm.fma.v{self.n}{suffix}", self.vector, [self.vector] * 3), [x, y, acc])
        return b.add(acc, b.mul(x, y))

    def store(self, b: Any, acc: Any, pointer: Any, stride: Any) -> None:
        b.store(acc, pointer, align=self.accumulate.size)


def vector_tile(name: str, dtype: DType, lanes: int, needs: str, registers: int, cycles: float = 0.5) -> VectorTile:
    """The multiply-add of one vector of `lanes` elements of dtype."""
    return VectorTile(name, 1, lanes, 1, dtype, dtype, dtype, 1, needs, registers, cycles)
