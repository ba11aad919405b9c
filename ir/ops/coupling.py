"""Chances of classes from chances of pairs of them: an iteration, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import F64
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType

LEAST_TURNS = 100
CLOSE = 0.005


@op
class CoupledChances(Op):
    """(p[n, k], products[n, k], q[n, k, k]): p, which sums to 1, makes Σ_ij (r[j, i]·p[i] - r[i, j]·p[j])² small; the others are Q·p, Q

    Operand: r f64[n, k, k], the chance of class i against class j; its diagonal is not read. Iterates until no class is off by more
    than 0.005 / k, or max(100, k) times: Wu, Lin, Weng, "Probability estimates for multi-class classification by pairwise coupling"
    (2004), algorithm 2.
    """

    def infer(self, r: TensorType) -> tuple[TensorType, ...]:
        if r.rank != 3 or r.shape[1] != r.shape[2] or r.dtype is not F64:
            raise TypeMismatch(f"{self.name}: takes square matrices of f64, given {r}")
        return r.with_shape(r.shape[:2]), r.with_shape(r.shape[:2]), r

    def form(self, r: TensorType) -> Routine:
        rows, k, _ = r.shape
        return Routine(coupled_chances, rows, (k,), work=rows * k * k * k * 10)

    def reference(self, r: np.ndarray) -> tuple[np.ndarray, ...]:
        n, k, _ = r.shape
        found = np.full((n, k), 1 / max(k, 1)), np.zeros((n, k)), np.zeros_like(r)
        for row, p, products, q in zip(r, *found):
            outside = np.where(np.eye(k, dtype=bool), 0.0, row)
            q[:] = np.diag(np.square(outside).sum(axis=0)) - outside.T * outside
            for _ in range(max(LEAST_TURNS, k)):
                products[:] = q @ p
                if np.abs(products - p @ products).max(initial=0) < CLOSE / k:
                    break
                whole = p @ products
                for t in range(k):
                    step = (whole - products[t]) / q[t, t]
                    whole = (whole + step * (step * q[t, t] + 2 * products[t])) / (1 + step) ** 2
                    p[t] += step
                    p /= 1 + step
                    products[:] = (products + step * q[t]) / (1 + step)
        return found


def coupled_chances(first: int, last: int, r: Any, p: Any, products: Any, q: Any, k: int, scratch: Any) -> None:
    """See `CoupledChances`; a unit is a row."""
    for unit in range(first, last):
        row, square = unit * k, unit * k * k
        for i in range(k):
            p[row + i] = 1.0 / k
            diagonal = 0.0
            for j in range(k):
                if i != j:
                    diagonal += r[square + j * k + i] * r[square + j * k + i]
                    q[square + i * k + j] = -r[square + j * k + i] * r[square + i * k + j]
            q[square + i * k + i] = diagonal
        for _ in range(max(LEAST_TURNS, k)):
            whole = multiply(q, p, products, square, row, k)
            furthest = 0.0
            for i in range(k):
                furthest = max(furthest, abs(products[row + i] - whole))
            if furthest < CLOSE / k:
                break
            for t in range(k):
                own, before = q[square + t * k + t], products[row + t]
                step = (whole - before) / own
                whole = (whole + step * (step * own + 2 * before)) / ((1 + step) * (1 + step))
                p[row + t] += step
                for i in range(k):
                    p[row + i] /= 1 + step
                    products[row + i] = (products[row + i] + step * q[square + t * k + i]) / (1 + step)


def multiply(q: Any, p: Any, products: Any, square: int, row: int, k: int) -> Any:
    """products = Q·p; returns p·Q·p"""
    whole = 0.0
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += q[square + i * k + j] * p[row + j]
        products[row + i] = total
        whole += p[row + i] * total
    return whole
