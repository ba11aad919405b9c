"""CPU features of AArch64 as Linux tells them: bits of two words, HWCAP and HWCAP2, of a process's auxiliary vector.

LLVM itself reads /proc/cpuinfo and knows only some of its names there.
"""

from __future__ import annotations

AT_HWCAP, AT_HWCAP2 = 16, 26

# LLVM's name → bit, as in Linux's arch/arm64/include/uapi/asm/hwcap.h.
_HWCAP = {"neon": 1, "aes": 3, "crc": 7, "lse": 8, "fullfp16": 10, "rdm": 12, "rcpc": 15, "dotprod": 20, "sve": 22, "fp16fml": 23}
_HWCAP2 = {"sve2": 1, "i8mm": 13, "bf16": 14, "sme": 23}


def features_of(hwcap: int, hwcap2: int) -> frozenset[str]:
    """The features, by LLVM's names, that these words tell."""
    words = ((_HWCAP, hwcap), (_HWCAP2, hwcap2))
    return frozenset(name for bits, word in words for name, bit in bits.items() if word >> bit & 1)
