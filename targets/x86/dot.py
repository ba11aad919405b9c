"""Dot products in vectors: each 32-bit lane multiplies the k_pack elements of a word of A with those of a word of B and adds them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import BF16, F32, I8, I16, I32, U8, DType
from ..emit import declare, splat
from ..vector import UNROLL, VectorTile

_WORD = ll.IntType(32)


class _Bfloat(ll.Type):  # type: ignore[misc]
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

    @property
    def unroll(self) -> int:
        return UNROLL

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


@dataclass(frozen=True)
class MultiplyAddTile(DotTile):
    """`intrinsic`(first, second) gives the sums of products, which another instruction adds to the accumulator."""

    @property
    def unroll(self) -> int:
        return 1

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        operands = [self._operand(b, x, self.a), self._operand(b, y, self.b)]
        types = [o.type for o in operands]
        return b.add(acc, b.call(declare(b.module, f"llvm.x86.{self.intrinsic}", self.vector, types), operands))


def bf16_dot(cycles: float) -> DotTile:
    """vdpbf16ps. cycles: 0.5 to 2, as makers differ in what they spend on it."""
    name, intrinsic = "vdpbf16ps.512", "avx512bf16.dpbf16ps.512"
    return DotTile(name, 1, 16, 2, BF16, BF16, F32, 2, "avx512bf16", 32, cycles, intrinsic=intrinsic)


def int8_dots(bits: int, needs: str, registers: int) -> tuple[DotTile, ...]:
    """vpdpbusd, which multiplies unsigned with signed; A may be either. (vpdpbusds, which saturates, is of no use.)"""
    return tuple(
        DotTile(
            f"vpdpbusd.{a}{b}.{bits}", 1, bits // 32, 4, a, b, I32, 4, needs, registers, 0.5,
            intrinsic=f"avx512.vpdpbusd.{bits}", swapped=a is I8,
        )
        for a, b in ((U8, I8), (I8, U8))
    )  # fmt: skip


def int16_dot(bits: int, needs: str, registers: int, cycles: float) -> MultiplyAddTile:
    """vpmaddwd and vpaddd: exact for all operands, as int32 wraps."""
    intrinsic = {256: "avx2.pmadd.wd", 512: "avx512.pmaddw.d.512"}[bits]
    return MultiplyAddTile(f"vpmaddwd.{bits}", 1, bits // 32, 2, I16, I16, I32, 2, needs, registers, cycles, intrinsic=intrinsic)
