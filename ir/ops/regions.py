"""Pooling of image regions whose places are data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import I64
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType
from .sorting import scalar_dtype

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Value

FINEST = 1024  # samples along one side of a bin at most


@op
class RoiAlign(Op):
    """out[r, c, i, j]: x[batch[r], c] pooled over bin (i, j) of region r, by linear samples at fixed places in the bin

    x [n, c, h, w], rois [r, 4] as (x1, y1, x2, y2), in units of 1/scale of x's elements, batch i64 [r]. half_pixel: elements are
    squares around their places; else regions have an extent of at least 1. samples: along each side of a bin; 0: one an element.
    maximum: the greatest weighted element of all samples, as ONNX has it; else their mean.
    """

    height: int
    width: int
    samples: int = 0
    scale: float = 1.0
    half_pixel: bool = True
    maximum: bool = False

    def infer(self, x: TensorType, rois: TensorType, batch: TensorType) -> TensorType:
        fits = x.rank == 4 and rois.rank == 2 and rois.shape[1] == 4 and batch.shape == rois.shape[:1]
        if not fits or rois.dtype is not x.dtype or not x.dtype.is_float or batch.dtype is not I64:
            raise TypeMismatch(f"{self.name} of {x} in {rois} of {batch}")
        if self.height < 1 or self.width < 1 or self.samples < 0 or 0 in (x.shape[0], *x.shape[2:]):
            raise TypeMismatch(f"{self.name} of {x}: {self.height}×{self.width} bins with {self.samples} samples")
        return x.with_shape((rois.shape[0], x.shape[1], self.height, self.width))

    def decompose(self, b: Builder, x: Value, rois: Value, batch: Value) -> Value:
        wide = scalar_dtype(x.type.dtype)
        places = b.sub(b.mul(b.cast(rois, to=wide), self.scale), 0.5 if self.half_pixel else 0.0)
        pool = PoolRegions(self.height, self.width, self.samples, self.half_pixel, self.maximum)
        out: Value = b.cast(b.apply(pool, b.cast(x, to=wide), places, batch), to=x.type.dtype)
        return out

    def reference(self, x: np.ndarray, rois: np.ndarray, batch: np.ndarray) -> np.ndarray:
        places = rois.astype(np.float64) * self.scale - (0.5 if self.half_pixel else 0.0)
        pool = PoolRegions(self.height, self.width, self.samples, self.half_pixel, self.maximum)
        return pool.reference(x.astype(np.float64), places, batch).astype(x.dtype)


@op
class PoolRegions(Op):
    """`RoiAlign` in regions that are in x's own units, of a dtype that C has."""

    height: int
    width: int
    samples: int = 0
    half_pixel: bool = True
    maximum: bool = False

    def infer(self, x: TensorType, rois: TensorType, batch: TensorType) -> TensorType:
        if scalar_dtype(x.dtype) is not x.dtype:
            raise TypeMismatch(f"{self.name}: {x.dtype} has to be widened first")
        return RoiAlign(self.height, self.width, self.samples).infer(x, rois, batch)

    def form(self, x: TensorType, rois: TensorType, batch: TensorType) -> Routine:
        n, channels, h, w = x.shape
        planes = rois.shape[0] * channels
        options = (self.samples, int(self.half_pixel), int(self.maximum))
        work = planes * self.height * self.width * (self.samples or 2) ** 2 * 20
        return Routine(pool_regions, planes, (n, channels, h, w, self.height, self.width, *options), work=work)

    def reference(self, x: np.ndarray, rois: np.ndarray, batch: np.ndarray) -> np.ndarray:
        out = np.zeros((len(rois), x.shape[1], self.height, self.width))
        for r, (x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
            image = x[min(max(int(batch[r]), 0), len(x) - 1)].astype(np.float64)
            rows, columns = self._places(y1, y2, self.height), self._places(x1, x2, self.width)
            for i, j in np.ndindex(self.height, self.width):
                terms = [self._corners(image, y, z) for y in rows[i] for z in columns[j]]
                if terms:
                    stacked = np.array(terms)  # [samples, 4, c]
                    out[r, :, i, j] = stacked.max((0, 1)) if self.maximum else stacked.sum((0, 1)) / len(terms)
        return out.astype(x.dtype)

    def _places(self, start: float, end: float, bins: int) -> list[list[float]]:
        extent = end - start if self.half_pixel else max(end - start, 1.0)
        count = self.samples or min(max(math.ceil(extent / bins), 0), FINEST)
        return [[start + extent / bins * (i + (k + 0.5) / count) for k in range(count)] for i in range(bins)]

    @staticmethod
    def _corners(image: np.ndarray, y: float, x: float) -> np.ndarray:
        """The four weighted elements around a place, [4, c]."""
        h, w = image.shape[1:]
        if not (-1 <= y <= h and -1 <= x <= w):
            return np.zeros((4, len(image)))
        y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
        top, left = int(y), int(x)
        fy, fx = y - top, x - left
        corners = [
            (top, left, (1 - fy) * (1 - fx)),
            (top, left + 1, (1 - fy) * fx),
            (top + 1, left, fy * (1 - fx)),
            (top + 1, left + 1, fy * fx),
        ]
        return np.array([image[:, min(i, h - 1), min(j, w - 1)] * weight for i, j, weight in corners])


def pool_regions(
    first: int, last: int, x: Any, rois: Any, batch: Any, out: Any,
    n: int, channels: int, h: int, w: int, height: int, width: int, samples: int, half_pixel: int, maximum: int, scratch: Any,
) -> None:  # fmt: skip
    """x[n, channels, h, w] → out[regions, channels, height, width]; a unit is one (region, channel)."""
    for unit in range(first, last):
        region = unit // channels
        image = (min(max(batch[region], 0), n - 1) * channels + unit % channels) * h * w
        left, top = rois[region * 4], rois[region * 4 + 1]
        across, down = rois[region * 4 + 2] - left, rois[region * 4 + 3] - top
        if half_pixel == 0:
            across, down = max(across, across * 0 + 1), max(down, down * 0 + 1)
        across, down = across / width, down / height
        rows, columns = samples, samples
        while samples == 0 and rows < down and rows < 1024:
            rows += 1
        while samples == 0 and columns < across and columns < 1024:
            columns += 1
        for bin_ in range(height * width):
            at = unit * height * width + bin_
            out[at] = 0
            for k in range(rows * columns):
                y = top + down * (bin_ // width + (k // columns + 0.5) / rows)
                z = left + across * (bin_ % width + (k % columns + 0.5) / columns)
                a = b = c = d = out[at] * 0
                if y >= -1 and y <= h and z >= -1 and z <= w:
                    y, z = min(max(y, 0.0), h - 1.0), min(max(z, 0.0), w - 1.0)
                    i, j = int(y), int(z)
                    fy, fx = y - i, z - j
                    i2, j2 = min(i + 1, h - 1), min(j + 1, w - 1)
                    a = x[image + i * w + j] * (1 - fy) * (1 - fx)
                    b = x[image + i * w + j2] * (1 - fy) * fx
                    c = x[image + i2 * w + j] * fy * (1 - fx)
                    d = x[image + i2 * w + j2] * fy * fx
                if maximum == 0:
                    out[at] += (a + b + c + d) / (rows * columns)
                else:
                    best = max(max(a, b), max(c, d))
                    out[at] = best if k == 0 else max(out[at], best)
