"""Convolution whose kernel places are moved by data."""

from __future__ import annotations

import math

import numpy as np

from ..dtypes import F32, F64, I64
from ..errors import TypeMismatch
from ..expr import Expr, Load, call, cast, const, index, maximum, minimum, select, size
from ..forms import Map
from ..op import Op, op
from ..types import TensorType


@op
class DeformColumns(Op):
    """out[n, c, k, i, j] = x[n, c] at (i·stride + row(k)·dilation - pad + dy, …), linear between elements, 0 outside, times mask

    x [n, c, h, w]; offset [n, g·k·2, i, j] holds (dy, dx) by group of channels and kernel place k, mask [n, g·k, i, j] one factor.
    kernel: its extents; k counts its places by rows.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    groups: int = 1

    def infer(self, x: TensorType, offset: TensorType, mask: TensorType) -> TensorType:
        places, g = self.kernel[0] * self.kernel[1], self.groups
        fits = x.rank == offset.rank == mask.rank == 4 and x.dtype is offset.dtype is mask.dtype and x.dtype.is_float
        if not fits or offset.shape != (x.shape[0], g * places * 2, *mask.shape[2:]) or mask.shape[:2] != (x.shape[0], g * places):
            raise TypeMismatch(f"{self.name} of {x} by {offset} and {mask}: kernel {self.kernel}, {g} groups")
        if not isinstance(x.shape[1], int) or g < 1 or x.shape[1] % g or 0 in x.shape[1:]:
            raise TypeMismatch(f"{self.name}: the channels of {x} are not {g} groups")
        return x.with_shape((*x.shape[:2], places, *mask.shape[2:]))

    def reference(self, x: np.ndarray, offset: np.ndarray, mask: np.ndarray) -> np.ndarray:
        (n, c, h, w), places = x.shape, self.kernel[0] * self.kernel[1]
        out = np.zeros((n, c, places, *mask.shape[2:]))
        for at in np.ndindex(*out.shape):
            b, channel, k, i, j = at
            number = channel // (c // self.groups) * places + k
            y = i * self.strides[0] - self.pads[0] + k // self.kernel[1] * self.dilations[0] + float(offset[b, 2 * number, i, j])
            z = j * self.strides[1] - self.pads[1] + k % self.kernel[1] * self.dilations[1] + float(offset[b, 2 * number + 1, i, j])
            top, left = math.floor(y), math.floor(z)
            for p, q in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= p < h and 0 <= q < w:
                    out[at] += float(x[b, channel, p, q]) * (1 - abs(y - p)) * (1 - abs(z - q)) * float(mask[b, number, i, j])
        return out.astype(x.dtype)

    def form(self, x: TensorType, offset: TensorType, mask: TensorType) -> Map:
        wide = F64 if x.dtype is F64 else F32
        places, per_group = self.kernel[0] * self.kernel[1], int(x.shape[1]) // self.groups  # type: ignore[arg-type]
        number = call("div", index(1), const(per_group, I64)) * places + index(2)
        starts = call("div", index(2), const(self.kernel[1], I64)), call("rem", index(2), const(self.kernel[1], I64))
        taps = []
        for d in range(2):
            fixed = index(3 + d) * self.strides[d] + starts[d] * self.dilations[d] - self.pads[d]
            moved = cast(Load(x.dtype, 1, (index(0), number * 2 + d, index(3), index(4))), wide)
            taps.append(_taps(cast(fixed, wide) + moved, size(x.shape[2 + d])))
        total: Expr = const(0, wide)
        for row, row_weight, row_inside in taps[0]:
            for column, weight, inside in taps[1]:
                value = cast(Load(x.dtype, 0, (index(0), index(1), row, column)), wide)
                total = total + select(row_inside & inside, value, 0) * (row_weight * weight)
        factor = cast(Load(x.dtype, 2, (index(0), number, index(3), index(4))), wide)
        return Map(cast(total * factor, x.dtype))


def _taps(c: Expr, extent: Expr) -> list[tuple[Expr, Expr, Expr]]:
    """(place, weight, whether it is inside) of the two elements around c; places are in range."""
    base = call("floor", c)
    found = []
    for p, weight in ((base, 1 - (c - base)), (base + 1, c - base)):
        inside = (p >= 0) & (p < cast(extent, c.dtype))
        found.append((maximum(minimum(cast(p, I64), extent - 1), 0), weight, inside))
    return found
