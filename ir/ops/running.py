"""Running totals along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..dims import product
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, normalise_axis, op
from ..types import TensorType
from .sorting import scalar_dtype

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Value


class _Cumulative(Op):
    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    multiply: ClassVar[bool]

    def infer(self, x: TensorType) -> TensorType:
        return self._total().infer(x)

    def decompose(self, b: Builder, x: Value) -> Value:
        total = b.apply(self._total(), b.cast(x, to=scalar_dtype(x.type.dtype)))
        return b.cast(total, to=x.type.dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return self._total().reference(x)

    def _total(self) -> RunningTotal:
        return RunningTotal(self.axis, self.exclusive, self.reverse, self.multiply)


@op
class CumSum(_Cumulative):
    """out[i] = Σ x[j] over j ≤ i along `axis` (j < i if exclusive; from the end if reverse)"""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    multiply: ClassVar[bool] = False


@op
class CumProd(_Cumulative):
    """out[i] = Π x[j] over j ≤ i along `axis` (j < i if exclusive; from the end if reverse)"""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    multiply: ClassVar[bool] = True


@op
class RunningTotal(Op):
    """`CumSum`, or `CumProd` if `multiply`, of a dtype that C has; one element after the other."""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    multiply: bool = False

    def infer(self, x: TensorType) -> TensorType:
        normalise_axis(self.axis, x.rank, self.name)
        if x.dtype.kind not in ("float", "int", "uint"):
            raise TypeMismatch(f"{self.name}: takes numbers, given {x}")
        return x

    def form(self, x: TensorType) -> Routine:
        axis = normalise_axis(self.axis, x.rank, self.name)
        outer, n, inner = product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :])
        options = (int(self.exclusive), int(self.reverse), int(self.multiply))
        return Routine(running_total, outer * inner, (n, inner, *options), work=product(x.shape) * 4)

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64) if x.dtype.kind not in "iu" else x
        along = np.moveaxis(np.flip(wide, self.axis) if self.reverse else wide, self.axis, 0)
        if self.exclusive:
            along = np.concatenate([np.full_like(along[:1], int(self.multiply)), along[:-1]])
        total = (np.cumprod if self.multiply else np.cumsum)(along, axis=0, dtype=along.dtype)
        total = np.moveaxis(total, 0, self.axis)
        return (np.flip(total, self.axis) if self.reverse else total).astype(x.dtype)


def running_total(
    first: int, last: int, x: Any, out: Any, n: int, inner: int, exclusive: int, reverse: int, multiply: int, scratch: Any
) -> None:
    """x[outer, n, inner] → out[outer, n, inner], along n; a unit is one (outer, inner)."""
    for unit in range(first, last if n > 0 else first):
        start, step = unit // inner * n * inner + unit % inner, inner
        if reverse:
            start, step = start + (n - 1) * inner, -inner
        out[start] = multiply  # 1 for products, 0 for sums, in the dtype of the elements
        total = out[start]
        for i in range(n):
            at = start + i * step
            value = x[at]
            if exclusive:
                out[at] = total
            total = total * value if multiply else total + value
            if not exclusive:
                out[at] = total
