"""Element types. `F32.numpy` is the NumPy dtype; sub-byte types are stored one element a byte in NumPy (ml_dtypes)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import TypeMismatch


@dataclass(frozen=True, eq=False)
class DType:
    """name: the short name used in text (`f32`); kind: float, int, uint, bool or string; bits: width of a value. One object for each."""

    name: str
    kind: str
    bits: int
    numpy_name: str

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name.upper()

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)  # copies are the same object: dtypes are compared with `is`

    @functools.cached_property
    def numpy(self) -> np.dtype[Any]:
        if hasattr(np, self.numpy_name):
            return np.dtype(getattr(np, self.numpy_name))
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, self.numpy_name))

    @property
    def size(self) -> int:
        """Bytes one element takes in memory (sub-byte types are unpacked: one byte)."""
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")


F64 = DType("f64", "float", 64, "float64")
F32 = DType("f32", "float", 32, "float32")
F16 = DType("f16", "float", 16, "float16")
BF16 = DType("bf16", "float", 16, "bfloat16")
F8E4M3 = DType("f8e4m3fn", "float", 8, "float8_e4m3fn")
F8E4M3UZ = DType("f8e4m3fnuz", "float", 8, "float8_e4m3fnuz")
F8E5M2 = DType("f8e5m2", "float", 8, "float8_e5m2")
F8E5M2UZ = DType("f8e5m2fnuz", "float", 8, "float8_e5m2fnuz")
F8E8M0 = DType("f8e8m0fnu", "float", 8, "float8_e8m0fnu")  # powers of two and NaN; neither sign nor zero
F4E2M1 = DType("f4e2m1fn", "float", 4, "float4_e2m1fn")
I64 = DType("i64", "int", 64, "int64")
I32 = DType("i32", "int", 32, "int32")
I16 = DType("i16", "int", 16, "int16")
I8 = DType("i8", "int", 8, "int8")
I4 = DType("i4", "int", 4, "int4")
I2 = DType("i2", "int", 2, "int2")
U64 = DType("u64", "uint", 64, "uint64")
U32 = DType("u32", "uint", 32, "uint32")
U16 = DType("u16", "uint", 16, "uint16")
U8 = DType("u8", "uint", 8, "uint8")
U4 = DType("u4", "uint", 4, "uint4")
U2 = DType("u2", "uint", 2, "uint2")
BOOL = DType("bool", "bool", 8, "bool_")
STRING = DType("string", "string", 64, "object_")

DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        *(F64, F32, F16, BF16, F8E4M3, F8E4M3UZ, F8E5M2, F8E5M2UZ, F8E8M0, F4E2M1),
        *(I64, I32, I16, I8, I4, I2, U64, U32, U16, U8, U4, U2, BOOL, STRING),
    )
}


def _named(name: str) -> DType:
    return DTYPES[name]


@functools.cache
def _by_numpy() -> dict[np.dtype[Any], DType]:
    return {d.numpy: d for d in DTYPES.values()}


def dtype_of(array_dtype: Any) -> DType:
    """The DType of a NumPy dtype (or of anything `np.dtype` takes, or of a short name).

    Raises TypeMismatch for dtypes tgen has no name for, such as complex numbers.
    """
    if isinstance(array_dtype, DType):
        return array_dtype
    if isinstance(array_dtype, str) and array_dtype in DTYPES:
        return DTYPES[array_dtype]
    dtype = np.dtype(array_dtype)
    if dtype.kind in "US":
        return STRING
    found = _by_numpy().get(dtype.newbyteorder("="))
    if found is None:
        raise TypeMismatch(f"no tgen dtype for {dtype}; known: {', '.join(DTYPES)}")
    return found
