"""`DotTile`: dot products in vectors, where each 32-bit lane multiplies the k_pack elements of a word of A with those of a word of B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import BF16, DType
from .emit import declare
from .vector import VectorTile

WORD = ll.IntType(32)


class _Bfloat(ll.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


def elements(b: Any, register: Any, dtype: DType, count: int) -> Any:
    """A vector of any type as one of `count` narrow elements, as intrinsics want it."""
    return b.bitcast(register, ll.VectorType(_Bfloat() if dtype is BF16 else ll.IntType(dtype.bits), count))


@dataclass(frozen=True)
class DotTile(VectorTile):
    """acc[j] += Σ_p a[p]·b[p, j]: one word of A, in every lane, with a word of each column; `intrinsic`(acc, first, second).

    swapped: B is the instruction's first operand (where the two differ in kind). B that is narrower than A is widened when it is
    loaded, once for all rows of a block.
    """

    intrinsic: str = ""
    swapped: bool = False

    @property
    def adds_apart(self) -> bool:
        return False

    @property
    def word(self) -> ll.Type:
        return WORD

    @property
    def held(self) -> DType:
        """B's dtype in a register."""
        return self.a if self.b.bits < self.a.bits else self.b

    def load_b(self, b: Any, pointer: Any, slot: int) -> Any:
        count = self.n * WORD.width // self.held.bits
        loaded = b.load(pointer, typ=ll.VectorType(ll.IntType(self.b.bits), count))
        loaded.align = self.b.size
        if self.held is not self.b:
            wide = ll.VectorType(ll.IntType(self.held.bits), count)
            loaded = b.sext(loaded, wide) if self.b.kind == "int" else b.zext(loaded, wide)
        return b.bitcast(loaded, ll.VectorType(WORD, self.n))

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        operands = self.operands(b, x, y)
        types = [self.vector, *(o.type for o in operands)]
        return b.call(declare(b.module, f"llvm.{self.intrinsic}", self.vector, types), [acc, *operands])

    def operands(self, b: Any, x: Any, y: Any) -> list[Any]:
        """Words of A and B as elements, in the instruction's order."""
        both = [elements(b, words, dtype, self.n * self.k_pack) for words, dtype in ((x, self.a), (y, self.held))]
        return both[::-1] if self.swapped else both
