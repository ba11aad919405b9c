"""Composite operators: defined by a small graph of others; fusion makes one kernel of them."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..graph import Value
from ..op import Op, normalise_axis, op
from ..types import TensorType


@op
class Softmax(Op):
    """exp(x - max x) / Σ exp(x - max x) along axis"""

    axis: int = -1

    def infer(self, x: TensorType) -> TensorType:
        normalise_axis(self.axis, x.rank, "softmax")
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        if not wide.size:
            return x.copy()
        e = np.exp(wide - wide.max(axis=self.axis, keepdims=True))
        return (e / e.sum(axis=self.axis, keepdims=True)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        e = b.exp(b.sub(x, b.reduce_max(x, axes=(self.axis,))))
        return b.div(e, b.reduce_sum(e, axes=(self.axis,)))
