"""`TensorType`: a dtype and a shape whose entries are integers or symbolic dimensions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from . import dims
from .dims import DimLike
from .dtypes import DTYPES, DType
from .errors import TypeMismatch, Unequal


@dataclass(frozen=True)
class TensorType:
    """`f32[batch, seq, 384]`; rank 0 is written `f32[]`."""

    dtype: DType
    shape: tuple[DimLike, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    __repr__ = __str__

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> DimLike:
        return dims.product(self.shape)

    @property
    def bytes(self) -> DimLike:
        return self.elements * self.dtype.size

    def with_shape(self, shape: tuple[DimLike, ...]) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def substitute(self, values: Mapping[str, DimLike]) -> TensorType:
        return TensorType(self.dtype, tuple(dims.substitute(d, values) for d in self.shape))


def parse_type(text: str) -> TensorType:
    """Inverse of `str`: `parse_type("f32[batch, 384]")`."""
    match = re.fullmatch(r"\s*(\w+)\s*\[(.*)\]\s*", text)
    if match is None or match[1] not in DTYPES:
        raise TypeMismatch(f"{text!r} is not a tensor type such as f32[batch, 384]")
    return TensorType(DTYPES[match[1]], tuple(dims.parse_dim(d) for d in split_top(match[2])))


def split_top(text: str, separator: str = ",") -> list[str]:
    """Splits at separators outside brackets and quotes; empty text gives no parts."""
    parts, depth, start, quote = [], 0, 0, ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == separator and not depth:
            parts.append(text[start:i].strip())
            start = i + 1
    tail = text[start:].strip()
    return [*parts, tail] if tail else parts


def require(given: TensorType, wanted: TensorType, message: str) -> None:
    """Raises TypeMismatch with this message, Unequal if it is an extent that differs, unless a type is the one wanted."""
    if (given.dtype, given.rank) != (wanted.dtype, wanted.rank):
        raise TypeMismatch(message)
    for pair in zip(wanted.shape, given.shape):
        if pair[0] != pair[1]:
            raise Unequal(message, *pair)


def broadcast(*shapes: tuple[DimLike, ...]) -> tuple[DimLike, ...]:
    """The shape NumPy broadcasting gives: aligned at the right, 1 stretches to anything.

    Two different dimensions, neither of them the integer 1, do not broadcast: a symbol is never taken to be 1.
    Raises TypeMismatch.
    """
    rank = max(map(len, shapes), default=0)
    out: list[DimLike] = []
    for axis in range(rank):
        entries = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        wide = [e for e in dict.fromkeys(entries) if e != 1]
        if len(wide) > 1:
            text = f"shapes {', '.join(map(_shape_text, shapes))} do not broadcast: {wide[0]} against {wide[1]}"
            raise Unequal(text, *wide[:2])
        out.append(wide[0] if wide else 1)
    return tuple(out)


def _shape_text(shape: tuple[DimLike, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def contiguous_strides(shape: tuple[DimLike, ...]) -> tuple[DimLike, ...]:
    """Row-major strides, counted in elements."""
    return tuple(dims.product(shape[i + 1 :]) for i in range(len(shape)))
