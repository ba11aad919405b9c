"""AArch64: NEON, dot products of 8-bit integers (Armv8.2), matrix instructions of 8-bit integers and bfloat16 (Armv8.6)."""

from __future__ import annotations

import dataclasses

from ...ir import dtypes
from ...ir.dtypes import BF16, F32, I8, I32, U8
from ..target import Caches, Target
from ..tile import MacTile
from ..vector import vector_tile
from .by_element import FMLAL, by_element, dot_tile
from .matrix import BFMMLA, INT8_MATRICES

TRIPLE = "aarch64-unknown-linux-gnu"
SPIN = "call void @llvm.aarch64.isb(i32 15)"  # waits some 10 ns; `yield` does nothing on most cores
CLOCK = "cntvct_el0"  # counts time; the cycle counter is the kernel's
_REGISTERS = 32


_FREE = 28  # of them for accumulators and operands of instructions that LLVM schedules over several steps


def _base_tiles() -> tuple[MacTile, ...]:
    floats = (by_element(vector_tile(f"fmla.{d}", d, 128 // d.bits, "neon", _REGISTERS)) for d in (F32, dtypes.F64))
    small = ((d, 1.0) for d in (I32, dtypes.U32, dtypes.I16, dtypes.U16, I8, U8))
    large = ((d, 4.0) for d in (dtypes.I64, dtypes.U64))  # no such instruction: two scalar ones
    integers = (vector_tile(f"mla.{d}", d, 128 // d.bits, "neon", _FREE, cycles) for d, cycles in (*small, *large))
    return (*floats, *integers)


NEON = Target(  # every 64-bit Arm CPU
    name="neon",
    triple=TRIPLE,
    cpu="",
    features=("neon",),
    needs=("neon",),
    lanes=4,
    registers=_REGISTERS,
    tiles=_base_tiles(),
    caches=Caches(32 << 10, 512 << 10, l2_speed=16.0),
    spin_hint=SPIN,
    clock=CLOCK,
)

NEON_DOT = dataclasses.replace(  # Cortex-A76, Neoverse N1, Apple M1 and later
    NEON,
    name="neon_dot",
    cpu="neoverse-n1",  # of which LLVM uses all features: later ones have SVE, which not all CPUs with matrix instructions have
    features=("neon", "fullfp16", "dotprod", "lse", "rdm", "rcpc"),
    needs=("neon", "fullfp16", "dotprod", "lse", "rdm", "rcpc"),
    tiles=(
        dot_tile("sdot", I8, I8, I32, "dotprod"),
        dot_tile("udot", U8, U8, I32, "dotprod"),
        *NEON.tiles,
    ),
    caches=Caches(64 << 10, 1 << 20, l2_speed=32.0),
)

NEON_MATRIX = dataclasses.replace(  # Neoverse V1 and N2, Cortex-A510 and A710, Apple M2 and later
    NEON_DOT,
    name="neon_matrix",
    features=(*NEON_DOT.features, "fp16fml", "i8mm", "bf16"),
    needs=(*NEON_DOT.needs, "fp16fml", "i8mm", "bf16"),
    tiles=(
        BFMMLA,
        dot_tile("bfdot", BF16, BF16, F32, "bf16"),
        *INT8_MATRICES,
        dot_tile("usdot", U8, I8, I32, "i8mm"),
        dot_tile("usdot", I8, U8, I32, "i8mm", swapped=True),
        FMLAL,
        *NEON_DOT.tiles,
    ),
)
