"""Data movement: index maps. A single affine load is a view and costs nothing."""

from __future__ import annotations

import numpy as np

from ..errors import TypeMismatch
from ..expr import Load, index
from ..dims import DimLike, product
from ..forms import Map, Reshape as ReshapeForm
from ..op import Op, op
from ..types import TensorType


@op
class Transpose(Op):
    """out[i_perm[0], …] : result axis j is operand axis perm[j]"""

    perm: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.rank)):
            raise TypeMismatch(f"transpose: {self.perm} is not a permutation of the axes of {x}")
        return x.with_shape(tuple(x.shape[p] for p in self.perm))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.transpose(x, self.perm)

    def form(self, x: TensorType) -> Map:
        return Map(Load(x.dtype, 0, tuple(index(self.perm.index(k)) for k in range(x.rank))))


@op
class Reshape(Op):
    """The same elements in row-major order under `shape`; the numbers of elements must agree."""

    shape: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        if product(self.shape) != x.elements:
            raise TypeMismatch(f"reshape of {x} to [{', '.join(map(str, self.shape))}]: {x.elements} elements are not {product(self.shape)}")
        return x.with_shape(self.shape)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.reshape(x, self.shape)

    def form(self, x: TensorType) -> ReshapeForm:
        return ReshapeForm(self.shape)
