"""Greatest elements of regions of interest, in bins whose borders are data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import I64
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType
from .sorting import scalar_dtype


@op
class RegionMax(Op):
    """out[r, c, i, j] = the greatest element of x[n, c] in bin (i, j) of region r, whose rows and columns are cut into height·width bins

    x [n, c, h, w] of floats that C has; regions i64[r, 5]: entry, first column and row, last column and row, at most 2³¹ either way. A
    region has at least one row and one column; bin i of m begins at ⌊i·rows / m⌋ and ends at ⌈(i + 1)·rows / m⌉, so bins may overlap.
    What of it is outside of x does not count, and 0 is the result of a bin without elements. Entries are clamped into x.
    """

    height: int
    width: int

    def infer(self, x: TensorType, regions: TensorType) -> TensorType:
        if x.rank != 4 or scalar_dtype(x.dtype) is not x.dtype or not x.dtype.is_float:
            raise TypeMismatch(f"{self.name}: takes images of floats that C has, given {x}")
        if regions.rank != 2 or regions.shape[1] != 5 or regions.dtype is not I64 or min(self.height, self.width) < 1:
            raise TypeMismatch(f"{self.name}: regions {regions} in {self.height} by {self.width} bins")
        return x.with_shape((regions.shape[0], x.shape[1], self.height, self.width))

    def form(self, x: TensorType, regions: TensorType) -> Routine:
        n, c, h, w = x.shape
        count = regions.shape[0] * c
        return Routine(region_max, count, (n, c, h, w, self.height, self.width), work=count * h * w)

    def reference(self, x: np.ndarray, regions: np.ndarray) -> np.ndarray:
        out = np.zeros((len(regions), x.shape[1], self.height, self.width), x.dtype)
        for r, (entry, left, top, right, bottom) in enumerate(regions.tolist() if len(x) else ()):
            image = x[min(max(entry, 0), len(x) - 1)]
            for i, j in np.ndindex(self.height, self.width):
                part = image[:, _bin(i, self.height, top, bottom), _bin(j, self.width, left, right)]
                out[r, :, i, j] = part.max(axis=(1, 2)) if part.size else 0
        return out


def _bin(number: int, count: int, first: int, last: int) -> slice:
    """Of the places from first to last."""
    extent = max(last - first + 1, 1)
    return slice(max(first + number * extent // count, 0), max(first - (-(number + 1) * extent // count), 0))


def region_max(
    first: int,
    last: int,
    x: Any,
    regions: Any,
    out: Any,
    n: int,
    channels: int,
    h: int,
    w: int,
    height: int,
    width: int,
    scratch: Any,
) -> None:
    """See `RegionMax`; a unit is a channel of a region."""
    for unit in range(first, last):
        region = unit // channels * 5
        entry, left, top = min(max(regions[region], 0), n - 1), regions[region + 1], regions[region + 2]
        rows, columns = max(regions[region + 4] - top + 1, 1), max(regions[region + 3] - left + 1, 1)
        base = (entry * channels + unit % channels) * h * w
        for place in range(height * width):
            i, j = place // width, place % width
            low, high = max(top + i * rows // height, 0), min(top + ((i + 1) * rows + height - 1) // height, h)
            start, end = max(left + j * columns // width, 0), min(left + ((j + 1) * columns + width - 1) // width, w)
            at = unit * height * width + place
            out[at] = 0
            if n > 0 and low < high and start < end:
                out[at] = x[base + low * w + start]
                for row in range(low, high):
                    for column in range(start, end):
                        value = x[base + row * w + column]
                        if value > out[at] or value != value:
                            out[at] = value
