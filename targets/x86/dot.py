"""The dot products of x86-64 vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import BF16, F32, I8, I16, I32, U8
from ..dot import DotTile
from ..emit import declare


@dataclass(frozen=True)
class MultiplyAddTile(DotTile):
    """`intrinsic`(first, second) gives the sums of products, which another instruction adds to the accumulator."""

    @property
    def adds_apart(self) -> bool:
        return True

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        operands = self.operands(b, x, y)
        types = [o.type for o in operands]
        return b.add(acc, b.call(declare(b.module, f"llvm.{self.intrinsic}", self.vector, types), operands))


@dataclass(frozen=True)
class PairTile(MultiplyAddTile):
    """Sums of two products of bytes in 16 bits, those of two of them in 32: three instructions."""

    def blocks(self) -> list[tuple[int, int]]:
        """A register holds ones."""
        return [(m, n) for m, n in super().blocks() if m * n + n <= self.registers - 3]

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        pairs = ll.VectorType(ll.IntType(16), 2 * self.n)
        operands = self.operands(b, x, y)
        sums = b.call(declare(b.module, f"llvm.{self.intrinsic}", pairs, [o.type for o in operands]), operands)
        widened = declare(b.module, "llvm.x86.avx2.pmadd.wd", self.vector, [pairs, pairs])
        return b.add(acc, b.call(widened, [sums, ll.Constant(pairs, [1] * (2 * self.n))]))


def bf16_dot(cycles: float) -> DotTile:
    """vdpbf16ps. cycles: 0.5 to 2, as makers differ in what they spend on it."""
    name, intrinsic = "vdpbf16ps.512", "x86.avx512bf16.dpbf16ps.512"
    return DotTile(name, 1, 16, 2, BF16, BF16, F32, 2, "avx512bf16", 32, cycles, intrinsic=intrinsic)


def int8_dots(bits: int, needs: str, registers: int) -> tuple[DotTile, ...]:
    """vpdpbusd, which multiplies unsigned with signed; A may be either. (vpdpbusds, which saturates, is of no use.)"""
    return tuple(
        DotTile(
            f"vpdpbusd.{a}{b}.{bits}", 1, bits // 32, 4, a, b, I32, 4, needs, registers, 0.5,
            intrinsic=f"x86.avx512.vpdpbusd.{bits}", swapped=a is I8,
        )
        for a, b in ((U8, I8), (I8, U8))
    )  # fmt: skip


def int16_dots(bits: int, needs: str, registers: int, cycles: float) -> tuple[MultiplyAddTile, ...]:
    """vpmaddwd and vpaddd: exact for all operands, as int32 wraps. B lies in memory as it is multiplied, or as bytes."""
    intrinsic = {256: "x86.avx2.pmadd.wd", 512: "x86.avx512.pmaddw.d.512"}[bits]
    return tuple(
        MultiplyAddTile(f"{name}.{bits}", 1, bits // 32, 2, I16, b, I32, 2, needs, registers, cycles, intrinsic=intrinsic)
        for name, b in (("vpmaddwd", I16), ("vpmaddwd.i8", I8), ("vpmaddwd.u8", U8))
    )


def byte_pairs() -> PairTile:
    """vpmaddubsw, vpmaddwd by ones and vpaddd: of unsigned and signed bytes."""
    name, intrinsic = "vpmaddubsw.256", "x86.avx2.pmadd.ub.sw"
    return PairTile(name, 1, 8, 4, U8, I8, I32, 4, "avx2", 16, 1.1, intrinsic=intrinsic, in_pairs=True)
