"""x86-64: AVX2 with FMA, AVX-512, both with dot products of narrow types, and AMX. Targets are named after the features that
/proc/cpuinfo tells.
"""

from __future__ import annotations

import dataclasses

from ...ir import dtypes
from ..target import Caches, Target
from ..vector import vector_tile
from .amx import INT8_TILES, TDPBF16PS
from .dot import bf16_dot, byte_pairs, int8_dots, int16_dots

TRIPLE = "x86_64-unknown-linux-gnu"
PAUSE = "call void @llvm.x86.sse2.pause()"
_V3 = ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "popcnt", "sse4.2", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_AMX = ("amx-tile", "amx-bf16", "amx-int8")


def _vector_tiles(instruction: str, needs: str, bits: int, registers: int) -> tuple:  # type: ignore[type-arg]
    floats = tuple(
        vector_tile(f"{instruction}{s}.{bits}", d, bits // d.bits, needs, registers)
        for d, s in ((dtypes.F32, "ps"), (dtypes.F64, "pd"))
    )
    integers = (dtypes.I32, dtypes.U32, dtypes.I64, dtypes.U64, dtypes.I16, dtypes.U16, dtypes.I8, dtypes.U8)
    return floats + tuple(vector_tile(f"vpmul.{d}.{bits}", d, bits // d.bits, needs, registers, 2.0) for d in integers)


_TILES = (*_vector_tiles("vfmadd231", "fma", 256, 16), *int16_dots(256, "avx2", 16, 0.75))

AVX2 = Target(
    name="avx2",
    triple=TRIPLE,
    cpu="haswell",
    features=_V3,
    needs=("avx2", "fma", "f16c", "bmi2"),
    lanes=8,
    registers=16,
    tiles=(*_TILES, byte_pairs()),
    caches=Caches(32 << 10, 512 << 10),
    spin_hint=PAUSE,
)

AVX_VNNI = dataclasses.replace(  # Intel's small cores and desktops from Alder Lake on
    AVX2,
    name="avx_vnni",
    cpu="haswell",
    features=(*_V3, "avxvnni"),
    needs=(*AVX2.needs, "avxvnni"),
    tiles=(*int8_dots(256, "avxvnni", 16), *_TILES),
    caches=Caches(32 << 10, 1280 << 10),
)

AVX512 = Target(
    name="avx512",
    triple=TRIPLE,
    cpu="skylake-avx512",
    features=_V4,
    needs=("avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"),
    lanes=16,
    registers=32,
    tiles=(*_vector_tiles("vfmadd231", "avx512f", 512, 32), *int16_dots(512, "avx512bw", 32, 1.0)),
    caches=Caches(32 << 10, 1 << 20, l2_speed=48.0),  # Skylake's and Cascade Lake's; Ice Lake has more
    spin_hint=PAUSE,
    masks=True,
)

AVX512_VNNI = dataclasses.replace(  # Cascade Lake, Ice Lake and later
    AVX512,
    name="avx512_vnni",
    cpu="cascadelake",
    features=(*_V4, "avx512vnni"),
    needs=(*AVX512.needs, "avx512vnni"),
    tiles=(*int8_dots(512, "avx512vnni", 32), *AVX512.tiles),
)

AVX512_BF16 = dataclasses.replace(  # AMD Zen 4 and later, Intel Cooper Lake
    AVX512_VNNI,
    name="avx512_bf16",
    cpu="cooperlake",
    features=(*AVX512_VNNI.features, "avx512bf16"),
    needs=(*AVX512_VNNI.needs, "avx512bf16"),
    tiles=(bf16_dot(0.5), *AVX512_VNNI.tiles),
    caches=Caches(32 << 10, 1 << 20),
)

AMX = dataclasses.replace(  # Intel Sapphire Rapids and later
    AVX512_BF16,
    name="amx",
    cpu="cooperlake",
    features=(*AVX512_BF16.features, *_AMX),
    needs=(*AVX512_BF16.needs, *_AMX),
    tiles=(TDPBF16PS, *INT8_TILES, bf16_dot(2.0), *AVX512_VNNI.tiles),
    caches=Caches(48 << 10, 2 << 20, l2_speed=48.0, ways=12),
    uses_tiles=True,
)
