"""x86-64: AVX2 with FMA, AVX-512, AVX-512 with dot products of narrow types, and AMX. Targets are named after the features that
/proc/cpuinfo tells.
"""

from __future__ import annotations

from ...ir import dtypes
from ...ir.dtypes import BF16, F32
from ..target import Caches, Target
from ..vector import vector_tile
from .amx import TDPBF16PS
from .dot import DotTile, dot_tile

TRIPLE = "x86_64-unknown-linux-gnu"
PAUSE = "call void @llvm.x86.sse2.pause()"
_V3 = ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "popcnt", "sse4.2", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_BF16 = (*_V4, "avx512vnni", "avx512bf16")
_AMX = (*_BF16, "amx-tile", "amx-bf16", "amx-int8")
_V4_NEEDS = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "fma")


def _vector_tiles(instruction: str, needs: str, bits: int, registers: int) -> tuple:  # type: ignore[type-arg]
    floats = tuple(
        vector_tile(f"{instruction}{s}.{bits}", d, bits // d.bits, needs, registers)
        for d, s in ((dtypes.F32, "ps"), (dtypes.F64, "pd"))
    )
    integers = (dtypes.I32, dtypes.U32, dtypes.I64, dtypes.U64, dtypes.I16, dtypes.U16, dtypes.I8, dtypes.U8)
    return floats + tuple(vector_tile(f"vpmul.{d}.{bits}", d, bits // d.bits, needs, registers, 2.0) for d in integers)


AVX2 = Target(
    name="avx2",
    triple=TRIPLE,
    cpu="haswell",
    features=_V3,
    needs=("avx2", "fma", "f16c", "bmi2"),
    lanes=8,
    registers=16,
    tiles=_vector_tiles("vfmadd231", "fma", 256, 16),
    caches=Caches(32 << 10, 512 << 10),
    spin_hint=PAUSE,
)

AVX512 = Target(
    name="avx512",
    triple=TRIPLE,
    cpu="skylake-avx512",
    features=_V4,
    needs=_V4_NEEDS,
    lanes=16,
    registers=32,
    tiles=_vector_tiles("vfmadd231", "avx512f", 512, 32),
    caches=Caches(48 << 10, 1 << 20),
    spin_hint=PAUSE,
)


def _bf16_dot(cycles: float) -> DotTile:
    """cycles: 0.5 to 2, as makers differ in what they spend on it."""
    return dot_tile("vdpbf16ps.512", (BF16, BF16, F32), 16, "avx512bf16", 32, cycles, "avx512bf16.dpbf16ps.512")


AVX512_BF16 = Target(  # AMD Zen 4 and later, Intel Cooper Lake
    name="avx512_bf16",
    triple=TRIPLE,
    cpu="znver4",
    features=_BF16,
    needs=(*_V4_NEEDS, "avx512vnni", "avx512bf16"),
    lanes=16,
    registers=32,
    tiles=(_bf16_dot(0.5), *AVX512.tiles),
    caches=Caches(32 << 10, 1 << 20),
    spin_hint=PAUSE,
)

AMX = Target(
    name="amx",
    triple=TRIPLE,
    cpu="sapphirerapids",
    features=_AMX,
    needs=(*AVX512_BF16.needs, "amx-tile", "amx-bf16", "amx-int8"),
    lanes=16,
    registers=32,
    tiles=(TDPBF16PS, _bf16_dot(2.0), *AVX512.tiles),
    caches=Caches(48 << 10, 2 << 20),
    spin_hint=PAUSE,
    uses_tiles=True,
)
