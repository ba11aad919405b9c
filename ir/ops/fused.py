"""What fusion makes: loop programs and contractions with epilogues. Their references interpret the composed bodies."""

from __future__ import annotations

import numpy as np

from ..dims import evaluate_dim
from ..dtypes import F32, F64, DType
from ..errors import InvalidGraph
from ..expr import Expr, Index, Kept, Load, evaluate_expr
from ..loops import LoopProgram, interpret
from ..op import Op, op
from ..types import TensorType, broadcast


@op
class Loops(Op):
    """A loop program over the operands; results are the program's outputs."""

    program: LoopProgram

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        self.program.verify()
        return self.program.outputs

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return interpret(self.program, arrays)


@op
class Contraction(Op):
    """out_e[batch..., m, n] = epilogue_e(acc), acc = Σ over products (i, j) of Σ_k a_i[batch..., m, k]·b_j[batch..., k, n].

    Operands: a_0 … a_{a_parts-1}, b_0 … b_{b_parts-1}, then what the epilogues load. A float32-grade product of bf16 parts
    lists its products smallest first. accumulate: dtype of acc. epilogues: one for each result, over `Kept(0)` (acc),
    `Load(k, ...)` (operand k of this node) and `Index` of the result's axes.
    """

    epilogues: tuple[Expr, ...] = (Kept(F32, 0),)
    products: tuple[tuple[int, int], ...] = ((0, 0),)
    a_parts: int = 1
    b_parts: int = 1
    accumulate: DType = F32

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        a, b = operands[0], operands[self.a_parts]
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise InvalidGraph(f"contraction of {a} with {b}")
        shape = (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        return tuple(TensorType(e.dtype, shape) for e in self.epilogues)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = F64.numpy if self.accumulate.is_float else self.accumulate.numpy
        a, b = arrays[: self.a_parts], arrays[self.a_parts : self.a_parts + self.b_parts]
        acc = sum(np.matmul(a[i].astype(wide), b[j].astype(wide)) for i, j in self.products)
        acc = np.asarray(acc).astype(self.accumulate.numpy)
        grid = [np.arange(e).reshape([-1 if j == k else 1 for j in range(acc.ndim)]) for k, e in enumerate(acc.shape)]

        def leaf(x: Expr) -> np.ndarray:
            if isinstance(x, Kept):
                return acc
            return arrays[x.operand] if isinstance(x, Load) else grid[x.axis] if isinstance(x, Index) else acc[()]

        if acc.size == 0:
            return tuple(np.zeros(acc.shape, e.dtype.numpy) for e in self.epilogues)
        return tuple(np.broadcast_to(evaluate_expr(e, leaf, {}), acc.shape) for e in self.epilogues)


def concrete(shape: tuple[object, ...]) -> tuple[int, ...]:
    """A shape whose dimensions are integers by now."""
    return tuple(evaluate_dim(d, {}) for d in shape)  # type: ignore[arg-type]
