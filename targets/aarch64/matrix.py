"""`MatrixTile`: the matrix instructions of Armv8.6, which multiply two rows of A with two columns of B at a time.

acc[2, 2] += a[2, k]·b[k, 2]        k: 8 bytes; b's columns lie side by side, as a register holds them
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import BF16, F32, I8, I32, U8, DType
from ..dot import elements
from ..emit import declare
from ..vector import VectorTile

_HALF = ll.IntType(64)  # of a register: a row of A, a column of B
_REGISTER = ll.VectorType(_HALF, 2)


@dataclass(frozen=True)
class MatrixTile(VectorTile):
    """`intrinsic`(acc, a, b); acc is the register [c00, c01, c10, c11]."""

    intrinsic: str = ""

    def blocks(self) -> list[tuple[int, int]]:
        """Panels of whole vectors, as epilogues work on."""
        return [(m, n) for n in (2, 4, 6) for m in range(1, 9) if m * n + n + 2 <= self.registers]

    def unroll(self, accumulators: int) -> int:
        return 1

    @property
    def vector(self) -> ll.Type:
        return ll.VectorType(super().vector.element, self.m * self.n)

    def load_a(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        return self._both(b, pointer, stride, _HALF, self.a)

    def load_b(self, b: Any, pointer: Any, slot: int) -> Any:
        register = b.load(pointer, typ=_REGISTER)
        register.align = self.b.size
        return register

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        operands = [elements(b, register, dtype, 2 * self.k) for register, dtype in ((x, self.a), (y, self.b))]
        types = [self.vector, *(o.type for o in operands)]
        return b.call(declare(b.module, f"llvm.aarch64.neon.{self.intrinsic}", self.vector, types), [acc, *operands])

    def load_c(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        return b.bitcast(self._both(b, pointer, stride, _HALF, self.accumulate), self.vector)

    def store(self, b: Any, acc: Any, pointer: Any, stride: Any) -> None:
        rows = b.bitcast(acc, _REGISTER)
        for row, place in enumerate((pointer, self._second(b, pointer, stride))):
            b.store(b.extract_element(rows, ll.IntType(32)(row)), place, align=self.accumulate.size)

    def _both(self, b: Any, pointer: Any, stride: Any, half: ll.Type, dtype: DType) -> Any:
        """A register of what lies at pointer and a stride behind it."""
        register = ll.Constant(_REGISTER, ll.Undefined)
        for row, place in enumerate((pointer, self._second(b, pointer, stride))):
            loaded = b.load(place, typ=half)
            loaded.align = dtype.size
            register = b.insert_element(register, loaded, ll.IntType(32)(row))
        return register

    @staticmethod
    def _second(b: Any, pointer: Any, stride: Any) -> Any:
        return b.gep(pointer, [stride], source_etype=ll.IntType(8))


def _matrix(name: str, a: DType, b: DType, accumulate: DType, intrinsic: str, needs: str) -> MatrixTile:
    depth = 8 // a.size
    nearest = not a.is_float  # bfmmla rounds to odd
    return MatrixTile(name, 2, 2, depth, a, b, accumulate, depth, needs, 32, 0.5, nearest=nearest, intrinsic=intrinsic)


INT8_MATRICES = (
    _matrix("smmla", I8, I8, I32, "smmla.v4i32.v16i8", "i8mm"),
    _matrix("ummla", U8, U8, I32, "ummla.v4i32.v16i8", "i8mm"),
    _matrix("usmmla", U8, I8, I32, "usmmla.v4i32.v16i8", "i8mm"),
)
BFMMLA = _matrix("bfmmla", BF16, BF16, F32, "bfmmla", "bf16")
