"""`ByElementTile`: NEON instructions that take one operand from a lane of a register, so that a register of A serves several steps.

    acc[j] += Σ_s a[s]·b[s, j]        s: the words of a 16-byte register of A; each step is one instruction of `inner`
Reading A word by word into every lane costs a load and a vector operation for each; this costs one load for all of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import F16, F32, DType
from ..dot import DotTile
from ..emit import declare, splat_lane
from ..vector import VectorTile

REGISTER = 16  # bytes
ADDRESSES = 20  # of the 31 general registers, for rows of A


@dataclasses.dataclass(frozen=True)
class ByElementTile(VectorTile):
    """`inner`'s geometry, `steps` times along k."""

    inner: VectorTile | None = None
    steps: int = 1

    def blocks(self) -> list[tuple[int, int]]:
        """Accumulators, B of all steps, and a few registers of A, which are loaded ahead."""
        return [(m, n) for n in (1, 2, 3, 4) for m in range(1, 15) if m * n + self.steps * n + 5 <= self.registers]

    def unroll(self, accumulators: int) -> int:
        """The steps are written out already."""
        return 1

    def load_a(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        words = b.load(pointer, typ=ll.VectorType(self._inner.word, self.steps))
        words.align = self.a.size
        return words

    def load_b(self, b: Any, pointer: Any, slot: int) -> list[Any]:
        places = (b.gep(pointer, [ll.IntType(64)(REGISTER * s)], source_etype=ll.IntType(8)) for s in range(self.steps))
        return [self._inner.load_b(b, place, slot) for place in places]

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        for step, right in enumerate(y):
            acc = self._inner.mac(b, acc, splat_lane(b, x, step, self.n), right)
        return acc

    @property
    def _inner(self) -> VectorTile:
        assert self.inner is not None
        return self.inner


@dataclasses.dataclass(frozen=True)
class WideningTile(ByElementTile):
    """fmlal, fmlal2: products of float16 added to float32 without rounding between. A word of A is two steps of k, of which B has the
    rows in the lower and the upper half of a register.
    """

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        halves = ll.VectorType(ll.HalfType(), 8)
        left = b.bitcast(x, halves)
        for step, right in enumerate(y):
            for half, name in enumerate(("fmlal", "fmlal2")):
                function = declare(b.module, f"llvm.aarch64.neon.{name}.v4f32.v8f16", self.vector, [self.vector, halves, halves])
                acc = b.call(function, [acc, b.bitcast(right, halves), splat_lane(b, left, 2 * step + half, 8)])
        return acc


def by_element(inner: VectorTile, kind: type[ByElementTile] = ByElementTile) -> ByElementTile:
    """The same instruction with A's words in lanes."""
    steps = REGISTER // (inner.k * inner.a.size)
    known = {f.name: getattr(inner, f.name) for f in dataclasses.fields(VectorTile)}
    times = {name: known[name] * steps for name in ("k", "cycles", "load_cycles", "latency")}
    return kind(**{**known, **times, "addresses": ADDRESSES}, inner=inner, steps=steps)


FMLAL = by_element(DotTile("fmlal", 1, 4, 2, F16, F16, F32, 1, "fp16fml", 32, 1.0, latency=8.0), WideningTile)


def dot_tile(name: str, a: DType, b: DType, accumulate: DType, needs: str, swapped: bool = False) -> ByElementTile:
    """A dot product of 32-bit words, two a cycle."""
    pack = 4 // a.size
    intrinsic = f"aarch64.neon.{name}.{'v4f32.v8bf16' if a.is_float else 'v4i32.v16i8'}"
    nearest = not a.is_float  # bfdot rounds to odd
    geometry = (f"{name}.{a}{b}", 1, 4, pack, a, b, accumulate, pack, needs, 32, 0.5)
    return by_element(DotTile(*geometry, nearest=nearest, intrinsic=intrinsic, swapped=swapped))
