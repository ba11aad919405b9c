"""CPU features of x86-64 as the instructions `cpuid` and `xgetbv` tell them: what code without a compiler beside it asks before it chooses.

A feature counts only where the operating system keeps the registers it needs (XCR0), too.
"""

from __future__ import annotations

from ..features import FeatureBits, Word

_XCR0 = Word("xgetbv", (0,))
_YMM, _ZMM, _TILE = (_XCR0, 0x6), (_XCR0, 0xE6), (_XCR0, 0x60000)


def _cpuid(leaf: int, subleaf: int, register: str, bit: int) -> tuple[Word, int]:
    """Bit of a register (`a`, `b`, `c`, `d`) after cpuid. Bits as in Intel's manual, volume 2A, and AMD's, volume 3, appendix E."""
    return Word("cpuid", (leaf, subleaf, "abcd".index(register))), 1 << bit


# LLVM's name → what must be set.
FEATURES: FeatureBits = {
    "sse4.2": (_cpuid(1, 0, "c", 20),),
    "movbe": (_cpuid(1, 0, "c", 22),),
    "popcnt": (_cpuid(1, 0, "c", 23),),
    "lzcnt": (_cpuid(0x80000001, 0, "c", 5),),
    "bmi": (_cpuid(7, 0, "b", 3),),
    "bmi2": (_cpuid(7, 0, "b", 8),),
    "avx": (_cpuid(1, 0, "c", 28), _YMM),
    "fma": (_cpuid(1, 0, "c", 12), _YMM),
    "f16c": (_cpuid(1, 0, "c", 29), _YMM),
    "avx2": (_cpuid(7, 0, "b", 5), _YMM),
    "avxvnni": (_cpuid(7, 1, "a", 4), _YMM),
    "avx512f": (_cpuid(7, 0, "b", 16), _ZMM),
    "avx512dq": (_cpuid(7, 0, "b", 17), _ZMM),
    "avx512cd": (_cpuid(7, 0, "b", 28), _ZMM),
    "avx512bw": (_cpuid(7, 0, "b", 30), _ZMM),
    "avx512vl": (_cpuid(7, 0, "b", 31), _ZMM),
    "avx512vnni": (_cpuid(7, 0, "c", 11), _ZMM),
    "avx512bf16": (_cpuid(7, 1, "a", 5), _ZMM),
    "amx-bf16": (_cpuid(7, 0, "d", 22), _TILE),
    "amx-tile": (_cpuid(7, 0, "d", 24), _TILE),
    "amx-int8": (_cpuid(7, 0, "d", 25), _TILE),
}
