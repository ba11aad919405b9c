"""Samples of tree ensembles: small trees drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS
from tgen.ir.ops.trees import AGGREGATES, MODES, TRACKS_NAN

from .samples import Sample

WIDTH, DEPTH, TREES, TARGETS = 5, 3, 4, 3
INNER, LEAVES = 2**DEPTH - 1, 2**DEPTH


def _forest(rng: np.random.Generator, dtype: type) -> list[np.ndarray]:
    """Complete trees: node i of a tree has the children 2i + 1 and 2i + 2, of which those past the inner ones are leaves."""
    nodes = TREES * INNER
    below = np.array([[2 * i + 1, 2 * i + 2] for i in range(INNER)])
    jumps = np.concatenate([np.where(below < INNER, below + t * INNER, -1 - (below - INNER) - t * LEAVES) for t in range(TREES)])
    spans = np.concatenate([[0], np.cumsum(rng.integers(0, 3, TREES * LEAVES))])
    tables = rng.integers(0, WIDTH, nodes), rng.integers(0, len(MODES), nodes) + TRACKS_NAN * rng.integers(0, 2, nodes), jumps
    roots, targets = np.arange(TREES) * INNER, rng.integers(0, TARGETS - 1, spans[-1])  # no leaf has the last target
    thresholds, weights = rng.integers(-2, 3, nodes).astype(dtype), rng.standard_normal(spans[-1]).astype(dtype)
    whole = [t.astype(np.int32) for t in (*tables, roots, spans, targets)]
    return [*whole[:3], thresholds, *whole[3:], weights]


def _oracle(aggregate: str) -> Callable[..., np.ndarray]:
    def holds(mode: int, value: float, threshold: float) -> bool:
        if np.isnan(value):
            return mode >= TRACKS_NAN or MODES[mode % TRACKS_NAN] == "BRANCH_NEQ"
        sign = {"LEQ": (-1, 0), "LT": (-1,), "GTE": (1, 0), "GT": (1,), "EQ": (0,), "NEQ": (-1, 1)}
        return int(np.sign(value - threshold)) in sign[MODES[mode % TRACKS_NAN].removeprefix("BRANCH_")]

    def run(
        x: np.ndarray, features: np.ndarray, modes: np.ndarray, jumps: np.ndarray, thresholds: np.ndarray, *rest: np.ndarray
    ) -> Any:
        roots, spans, targets, weights = rest

        def leaf(line: np.ndarray, at: int) -> int:
            if at < 0:
                return -1 - at
            return leaf(line, jumps[at][0 if holds(modes[at], line[features[at]], thresholds[at]) else 1])

        out = np.zeros((len(x), TARGETS))
        for row, line in enumerate(x):
            parts = [range(spans[found], spans[found + 1]) for found in (leaf(line, root) for root in roots)]
            for target in range(TARGETS):
                own = [weights[k] for part in parts for k in part if targets[k] == target]
                whole = {"SUM": sum, "AVERAGE": lambda w: sum(w) / TREES, "MIN": min, "MAX": max}[aggregate]
                out[row, target] = whole(own) if own else 0.0
        return out.astype(x.dtype)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype in (np.float32, np.float64):
        for aggregate in AGGREGATES:
            x = rng.integers(-3, 4, (6, WIDTH)).astype(dtype)
            x[0, :3] = np.nan
            op = OPS["tree_ensemble"](targets=TARGETS, aggregate=aggregate)
            yield Sample(op, (x, *_forest(rng, dtype)), _oracle(aggregate), tolerance=1e-5, absolute=1e-6)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(67)))
