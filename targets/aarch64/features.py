"""CPU features of AArch64 as Linux tells them: bits of two words, HWCAP and HWCAP2, of a process's auxiliary vector.

LLVM itself reads /proc/cpuinfo and knows only some of its names there.
"""

from __future__ import annotations

from ..features import FeatureBits, Word

AT_HWCAP, AT_HWCAP2 = 16, 26

# LLVM's name → bit, as in Linux's arch/arm64/include/uapi/asm/hwcap.h.
_HWCAP = {"neon": 1, "aes": 3, "crc": 7, "lse": 8, "fullfp16": 10, "rdm": 12, "rcpc": 15, "dotprod": 20, "sve": 22, "fp16fml": 23}
_HWCAP2 = {"sve2": 1, "i8mm": 13, "bf16": 14, "sme": 23}
_WORDS = {AT_HWCAP: _HWCAP, AT_HWCAP2: _HWCAP2}

# LLVM's name → what must be set.
FEATURES: FeatureBits = {
    name: ((Word("getauxval", (which,)), 1 << bit),) for which, bits in _WORDS.items() for name, bit in bits.items()
}


def features_of(hwcap: int, hwcap2: int) -> frozenset[str]:
    """The features, by LLVM's names, that these words tell."""
    words = ((_HWCAP, hwcap), (_HWCAP2, hwcap2))
    return frozenset(name for bits, word in words for name, bit in bits.items() if word >> bit & 1)
