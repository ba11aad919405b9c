"""Samples of random bits, against the generator in Python's integers, which its own known answers vouch for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample

KNOWN = {0: 0xE169C58D6627E8D5}  # published for place 0 and key 0


def _word(place: int, seed: int) -> int:
    counter, key = [place & 0xFFFFFFFF, place >> 32, 0, 0], [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        one, other = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(other >> 32) ^ counter[1] ^ key[0], other % 2**32, (one >> 32) ^ counter[3] ^ key[1], one % 2**32]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter[0] + (counter[1] << 32)


def _bits(shape: tuple[int, ...], seed: int) -> Callable[[], np.ndarray]:
    def run() -> np.ndarray:
        words = [_word(place, seed) for place in range(prod(shape))]
        assert seed not in KNOWN or words[0] == KNOWN[seed]
        return np.array(words, np.uint64).reshape(shape)

    return run


def _samples() -> Iterator[Sample]:
    for shape, seed in (((), 0), ((5, 7), 0x123456789ABCDEF0), ((0, 3), 1), ((37,), 2**64 - 1)):
        yield Sample(OPS["random_bits"](shape=shape, seed=seed), (), _bits(shape, seed))


def samples() -> list[Sample]:
    return list(_samples())
