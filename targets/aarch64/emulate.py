"""The instructions of AArch64 without AArch64, as plain arithmetic: for tests on machines that cannot run it, nor emulate it whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import DType
from ..dot import DotTile
from ..emit import declare, splat_lane
from ..emulate import EmulatedDotTile, plus
from ..target import Target
from ..tile import MacTile
from .by_element import ByElementTile, WideningTile
from .matrix import MatrixTile

_INT, _FLOAT = ll.IntType(32), ll.FloatType()


@dataclasses.dataclass(frozen=True)
class EmulatedWideningTile(WideningTile):
    """The verbs of `WideningTile`, with float16 made float32 first."""

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        left = _floats(b, x)
        fma = declare(b.module, "llvm.fma.v4f32", self.vector, [self.vector] * 3)
        for step, right in enumerate(y):
            rows = _floats(b, right)
            for half in range(2):
                row = b.shuffle_vector(rows, rows, _lanes([4 * half + j for j in range(4)]))
                acc = b.call(fma, [row, splat_lane(b, left, 2 * step + half, 4), acc])
        return acc


@dataclasses.dataclass(frozen=True)
class EmulatedMatrixTile(MatrixTile):
    """The verbs of `MatrixTile`: element by element of k."""

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        left, right = (_wide(b, register, dtype) for register, dtype in ((x, self.a), (y, self.b)))
        for p in range(self.k):
            row = b.shuffle_vector(left, left, _lanes([p, p, self.k + p, self.k + p]))
            column = b.shuffle_vector(right, right, _lanes([p, self.k + p, p, self.k + p]))
            acc = plus(b, acc, b.fmul(row, column) if self.a.is_float else b.mul(row, column))
        return acc


def emulated(target: Target, host: Target) -> Target:
    """`target` with instructions and registers as they are, in code that `host` can run."""
    kept = {name: getattr(host, name) for name in ("triple", "cpu", "features", "needs", "spin_hint", "clock", "converts_f16")}
    return dataclasses.replace(target, name=f"{target.name} emulated", tiles=tuple(map(_stand_in, target.tiles)), **kept)


def _stand_in(tile: MacTile) -> MacTile:
    if isinstance(tile, WideningTile):
        return EmulatedWideningTile(**_fields(tile))
    if isinstance(tile, MatrixTile):
        return EmulatedMatrixTile(**_fields(tile))
    if isinstance(tile, ByElementTile) and isinstance(tile.inner, DotTile):
        return dataclasses.replace(tile, inner=EmulatedDotTile(**_fields(tile.inner)))
    return tile


def _fields(tile: Any) -> dict[str, Any]:
    return {f.name: getattr(tile, f.name) for f in dataclasses.fields(tile)}


def _lanes(numbers: list[int]) -> Any:
    return ll.Constant(ll.VectorType(_INT, len(numbers)), numbers)


def _floats(b: Any, register: Any) -> Any:
    return b.fpext(b.bitcast(register, ll.VectorType(ll.HalfType(), 8)), ll.VectorType(_FLOAT, 8))


def _wide(b: Any, register: Any, dtype: DType) -> Any:
    """A register's narrow elements in 32 bits."""
    count = 16 // dtype.size
    narrow, wide = b.bitcast(register, ll.VectorType(ll.IntType(dtype.bits), count)), ll.VectorType(_INT, count)
    if dtype.is_float:
        return b.bitcast(b.shl(b.zext(narrow, wide), ll.Constant(wide, [16] * count)), ll.VectorType(_FLOAT, count))
    return b.sext(narrow, wide) if dtype.kind == "int" else b.zext(narrow, wide)
