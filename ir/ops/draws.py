"""Random numbers that are a function of an element's place: any thread and any target draws the same ones."""

from __future__ import annotations

import math

import numpy as np

from ..dims import DimLike, concrete, product
from ..dtypes import I64, U64
from ..errors import TypeMismatch
from ..expr import Expr, call, cast, const, index, size
from ..forms import Map
from ..op import Op, op
from ..types import TensorType

ROUNDS = 10
FACTORS = 0xD2511F53, 0xCD9E8D57  # of the counter's words, and what is added to the key after a round: as Philox 4×32 has them
WEYL = 0x9E3779B9, 0xBB67AE85
WORD = 0xFFFFFFFF


@op
class RandomBits(Op):
    """u64[shape]: 64 random bits for each element, the first two words of Philox 4×32-10 of its row-major place, keyed by the seed

    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """

    shape: tuple[DimLike, ...]
    seed: int

    def infer(self) -> TensorType:
        if not 0 <= self.seed < 1 << 64:
            raise TypeMismatch(f"{self.name}: seed {self.seed} has not 64 bits")
        return TensorType(U64, self.shape)

    def reference(self) -> np.ndarray:
        shape = concrete(self.shape)
        place = np.arange(math.prod(shape), dtype=np.uint64)
        word, half = np.uint64(WORD), np.uint64(32)
        c = [place & word, place >> half, np.zeros_like(place), np.zeros_like(place)]
        for turn in range(ROUNDS):
            keys = [np.uint64(key) for key in _keys(self.seed, turn)]
            p, q = c[0] * np.uint64(FACTORS[0]), c[2] * np.uint64(FACTORS[1])
            c = [(q >> half) ^ c[1] ^ keys[0], q & word, (p >> half) ^ c[3] ^ keys[1], p & word]
        return (c[1] << half | c[0]).reshape(shape)

    def form(self) -> Map:
        flat: Expr = const(0, I64)
        for axis in range(len(self.shape)):
            flat = flat + index(axis) * size(product(self.shape[axis + 1 :]))
        place = cast(flat, U64)
        zero: Expr = const(0, U64)
        a, b, c, d = place & WORD, call("shr", place, 32), zero, zero
        for turn in range(ROUNDS):
            p, q, keys = a * FACTORS[0], c * FACTORS[1], _keys(self.seed, turn)
            a, c = (call("xor", call("xor", call("shr", x, 32), y), key) for x, y, key in ((q, b, keys[0]), (p, d, keys[1])))
            b, d = q & WORD, p & WORD
        return Map(call("shl", b, 32) | a)


def _keys(seed: int, turn: int) -> tuple[int, int]:
    """The two words of the key in a round."""
    return (seed + turn * WEYL[0]) & WORD, ((seed >> 32) + turn * WEYL[1]) & WORD
