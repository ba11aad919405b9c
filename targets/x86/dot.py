"""Dot products in vectors: each 32-bit lane multiplies the k_pack elements of a word of A with those of a word of B and adds them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import BF16, DType
from ..emit import declare, splat
from ..vector import VectorTile

_WORD = ll.IntType(32)


class _Bfloat(ll.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


def _element(dtype: DType) -> ll.Type:
    return _Bfloat() if dtype is BF16 else ll.IntType(dtype.bits)


@dataclass(frozen=True)
class DotTile(VectorTile):
    """acc[j] += Σ_p a[p]·b[p, j]: one word of A, in every lane, with a word of each column; `intrinsic`(acc, first, second).

    swapped: B is the instruction's first operand (where the two differ in kind).
    """

    intrinsic: str = ""
    swapped: bool = False

    def load_a(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        word = b.load(pointer, typ=_WORD)
        word.align = self.a.size
        return splat(b, word, self.n)

    def load_b(self, b: Any, pointer: Any, slot: int) -> Any:
        words = b.load(pointer, typ=ll.VectorType(_WORD, self.n))
        words.align = self.b.size
        return words

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        operands = [self._operand(b, x, self.a), self._operand(b, y, self.b)]
        operands = operands[::-1] if self.swapped else operands
        types = [self.vector, *(o.type for o in operands)]
        return b.call(declare(b.module, f"llvm.x86.{self.intrinsic}", self.vector, types), [acc, *operands])

    def _operand(self, b: Any, words: Any, dtype: DType) -> Any:
        return b.bitcast(words, ll.VectorType(_element(dtype), self.n * self.k_pack))


def dot_tile(
    name: str,
    types: tuple[DType, DType, DType],
    lanes: int,
    needs: str,
    registers: int,
    cycles: float,
    intrinsic: str,
    swapped: bool = False,
) -> DotTile:
    """The dot product of words; types: of A, B and the accumulator; lanes: 32-bit lanes of a vector."""
    a, b, accumulate = types
    pack = 32 // a.bits
    return DotTile(
        name, 1, lanes, pack, a, b, accumulate, pack, needs, registers, cycles, intrinsic=intrinsic, swapped=swapped
    )  # fmt: skip
