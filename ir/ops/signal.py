"""Fourier transforms: products with tables of roots of unity, which are constants unless the length is symbolic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..dims import DimLike
from ..dtypes import F64, I64
from ..errors import TypeMismatch
from ..op import Op, normalise_axis, op
from ..types import TensorType

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Value


@op
class Dft(Op):
    """out[f] = Σ_k x[k]·e^(∓2πi·k·f/length) along `axis`; the last axis holds (real, imaginary) or just the real part

    x is cut, or zeros follow, where it has not `length` elements. inverse: sign + and divided by length. onesided: only the first
    ⌊length/2⌋ + 1 frequencies are given; with inverse these are all that is read, the others being their conjugates, and out is real.
    """

    length: DimLike
    axis: int = -2
    inverse: bool = False
    onesided: bool = False

    def infer(self, x: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, x.rank, self.name)
        if x.rank < 2 or axis == x.rank - 1 or x.shape[-1] not in (1, 2) or not x.dtype.is_float:
            raise TypeMismatch(f"{self.name} of {x} along axis {self.axis}: takes floats, the last axis 1 or 2 parts")
        if isinstance(self.length, int) and self.length < 1:
            raise TypeMismatch(f"{self.name}: the length is {self.length}")
        parts = 1 if self.inverse and self.onesided else 2
        return x.with_shape(
            tuple(self._frequencies() if k == axis else parts if k == x.rank - 1 else d for k, d in enumerate(x.shape))
        )

    def _frequencies(self) -> DimLike:
        """Extent of the result."""
        return self.length // 2 + 1 if self.onesided and not self.inverse else self.length

    def _read(self) -> DimLike:
        """Elements of the operand that take part."""
        return self.length // 2 + 1 if self.onesided and self.inverse else self.length

    def reference(self, x: np.ndarray) -> np.ndarray:
        axis, n = normalise_axis(self.axis, x.ndim, self.name), int(self.length)  # type: ignore[arg-type]
        wide = x.astype(np.float64)
        signal = wide[..., 0] + (1j * wide[..., 1] if x.shape[-1] == 2 else 0)
        if self.inverse and self.onesided:
            return np.fft.irfft(signal, n, axis)[..., None].astype(x.dtype)
        out = (np.fft.ifft if self.inverse else np.fft.fft)(signal, n, axis)
        out = np.take(out, np.arange(int(self._frequencies())), axis)  # type: ignore[arg-type]
        return np.stack([out.real, out.imag], -1).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        """The axis goes beside the parts: [rows…, k·part] times a table [k·part, f·part].

        In float64: such long sums lose more than the log(length) levels of a fast transform, whose results these are to be.
        """
        rank, kept = x.type.rank, self.infer(x.type).shape[-1]
        axis = normalise_axis(self.axis, rank, self.name)
        order = (*(k for k in range(rank - 1) if k != axis), axis, rank - 1)
        rows = self._fitted(b, b.transpose(b.cast(x, to=F64), perm=order))
        lead, parts = rows.type.shape[:-2], x.type.shape[-1]
        flat = b.reshape(rows, shape=(*lead, self._read() * parts))
        out = b.reshape(b.matmul(flat, self._table(b, parts == 2)), shape=(*lead, self._frequencies(), kept))
        result: Value = b.cast(b.transpose(out, perm=tuple(order.index(k) for k in range(rank))), to=x.type.dtype)
        return result

    def _fitted(self, b: Builder, rows: Value) -> Value:
        """[…, k, parts] cut or padded to the elements that take part."""
        have, want = rows.type.shape[-2], self._read()
        if have == want:
            return rows
        rank = rows.type.rank
        after = tuple(want - have if k == rank - 2 else 0 for k in range(rank))
        padded: Value = b.pad(rows, 0.0, before=(0,) * rank, after=after)
        return padded

    def _table(self, b: Builder, is_complex: bool) -> Value:
        """f64[k·part, f·part]: (re, im) of the result from re, and from im, of the operand."""
        zero, one = b.constant(0, I64), b.constant(1, I64)
        k, f = (b.range(zero, one, size=d) for d in (self._read(), self._frequencies()))
        length = b.reshape(b.dims_value(dims=(self.length,)), shape=())
        turns = b.mod(b.mul(b.unsqueeze(k, axes=(1,)), f), length)
        angle = b.mul(b.div(b.cast(turns, to=F64), b.cast(length, to=F64)), 2 * math.pi if self.inverse else -2 * math.pi)
        cos, sin = b.cos(angle), b.sin(angle)
        if self.inverse:
            factor = b.div(1.0, b.cast(length, to=F64))
            if self.onesided:  # all but the first and the middle one stand for themselves and their conjugate
                alone = b.equal(b.mod(b.mul(k, 2), length), 0)
                factor = b.unsqueeze(b.where(alone, factor, b.mul(factor, 2.0)), axes=(1,))
            cos, sin = b.mul(cos, factor), b.mul(sin, factor)
        rows = [[cos, sin], [b.neg(sin), cos]][: 1 + is_complex]
        kept = 1 if self.inverse and self.onesided else 2
        joined = [b.concat(*(b.unsqueeze(v, axes=(1, 3)) for v in row[:kept]), axis=3) for row in rows]
        table = b.concat(*joined, axis=1) if is_complex else joined[0]
        shape: tuple[DimLike, ...] = (self._read() * len(rows), self._frequencies() * kept)
        flat: Value = b.reshape(table, shape=shape)
        return flat
