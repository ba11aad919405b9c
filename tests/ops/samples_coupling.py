"""Samples of pairwise coupling, against the linear equations whose solution the iteration comes near to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _solved(r: np.ndarray) -> tuple[np.ndarray, ...]:
    """Q·p = λ for all classes and Σp = 1."""
    n, k, _ = r.shape
    p, q = np.zeros((n, k)), np.zeros_like(r)
    for row in range(n):
        for i in range(k):
            for j in range(k):
                others = [s for s in range(k) if s != i]
                q[row, i, j] = sum(r[row, s, i] ** 2 for s in others) if i == j else -r[row, j, i] * r[row, i, j]
        equations = np.block([[q[row], np.ones((k, 1))], [np.ones((1, k)), np.zeros((1, 1))]])
        p[row] = np.linalg.solve(equations, np.eye(k + 1)[k])[:k]
    return p, np.einsum("nij,nj->ni", q, p), q


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, k in ((5, 2), (4, 3), (3, 6)):
        upper = np.triu(rng.uniform(0.05, 0.95, (n, k, k)), 1)
        below = np.tril(1 - upper.transpose(0, 2, 1), -1)
        yield Sample(OPS["coupled_chances"](), (upper + below,), _solved, tolerance=0.01, absolute=0.01)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(103)))
