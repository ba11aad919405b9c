"""How a running CPU is asked for its features: words that an instruction or the system gives, and bits of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """64 bits (or fewer) that `source` gives for `arguments`: `cpuid` (leaf, subleaf, number of the register: eax, ebx, ecx, edx),
    `xgetbv` (register), `getauxval` (type).
    """

    source: str
    arguments: tuple[int, ...]


# A feature by LLVM's name → the words it is told by and the bits that must all be set in each.
FeatureBits = Mapping[str, tuple[tuple[Word, int], ...]]
