"""`generic`: any target of LLVM, 128-bit vectors that LLVM may split, no assumption about instructions."""

from __future__ import annotations

from ...ir import dtypes
from ..target import Target
from ..vector import vector_tile

_LANES = {
    dtypes.F32: 4,
    dtypes.F64: 2,
    dtypes.I32: 4,
    dtypes.U32: 4,
    dtypes.I64: 2,
    dtypes.U64: 2,
    dtypes.I16: 8,
    dtypes.U16: 8,
    dtypes.I8: 16,
    dtypes.U8: 16,
}

GENERIC = Target(
    name="generic",
    triple="",
    cpu="",
    features=(),
    needs=(),
    lanes=4,
    registers=16,
    converts_f16=False,
    tiles=tuple(vector_tile(f"generic.{d}", d, n, "", 16) for d, n in _LANES.items()),
)
