"""How far two arrays that should be the same are apart.

error = max |got - wanted| over elements where both are finite;   relative = error / max |wanted|

The reference keeps subnormal numbers, compiled code may take them for zeros. So floats below `least_scale` need not be as good as
larger ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

TOLERANCES = {"highest": 1e-4, "high": 1e-3, "medium": 5e-2}  # of `relative`, for a whole network


@dataclass(frozen=True)
class Deviation:
    """error: absolute; scale: max |wanted|, at least `least_scale`; at: index of the worst element; unlike: elements where just one is
    finite, or both are not and differ; shape: what is wrong about shape or dtype, if anything is."""

    name: str
    error: float = 0.0
    scale: float = 0.0
    at: tuple[int, ...] = ()
    unlike: int = 0
    shape: str = ""

    @property
    def relative(self) -> float:
        if self.shape or self.unlike:
            return math.inf
        return self.error / self.scale if self.scale else (math.inf if self.error else 0.0)

    def exceeds(self, tolerance: float) -> bool:
        return self.relative > tolerance

    def __str__(self) -> str:
        if self.shape:
            return self.shape
        text = f"error {self.error:.3g} of {self.scale:.3g} at {list(self.at)}"
        return f"{text}; {self.unlike} elements differ in being NaN or infinite" if self.unlike else text


def compare(name: str, got: np.ndarray, wanted: np.ndarray) -> Deviation:
    """The deviation of `got` from `wanted`; text and booleans deviate by 1 where they differ."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return Deviation(name, shape=f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}")
    if not wanted.size:
        return Deviation(name)
    if wanted.dtype.kind in "OSUb":
        a, b = (got != wanted).astype(np.float64), np.zeros(wanted.shape)
        scale = 1.0
    else:
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        scale = float(np.max(np.abs(b), where=np.isfinite(b), initial=least_scale(wanted.dtype)))
    finite = np.isfinite(a) & np.isfinite(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        distance = np.where(finite, np.abs(a - b), 0.0)
    worst = int(np.argmax(distance))
    at = tuple(int(i) for i in np.unravel_index(worst, distance.shape))
    return Deviation(name, float(distance.reshape(-1)[worst]), scale, at, int(np.sum(~finite & ~same)))


def least_scale(dtype: np.dtype[Any]) -> float:
    """Of numbers beside which the least normal one is no more than rounding: 1e-31, float64 1e-292. Narrower floats are computed in float32."""
    form = np.finfo(np.float64 if dtype == np.float64 else np.float32)
    return float(form.tiny / form.eps)


def worst_of(deviations: list[Deviation]) -> Deviation:
    """The one with the greatest relative error."""
    return max(deviations, key=lambda d: d.relative)
