"""Ensembles of decision trees: one loop over rows, then over trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")  # x ? threshold, by number
AGGREGATES = ("SUM", "AVERAGE", "MIN", "MAX")
TRACKS_NAN = 8  # added to a mode: NaN counts as true
TYPICAL_DEPTH = 8
AT_ONCE = 32  # rows that go through one tree after another


@op
class TreeEnsemble(Op):
    """out[row, target] = aggregate over trees of the weights of the leaves that the row comes to

    Operands: x [rows, features]; of nodes: features, modes (of `MODES`, + `TRACKS_NAN`) and jumps [nodes, 2] (where true, where false:
    another node, or -1 - a leaf), all i32, thresholds of x's dtype; roots of the trees (as jumps); of leaves: spans i32[leaves + 1]
    in targets i32[weights] and weights of x's dtype. Every walk ends, and all positions are in range: that is not checked, importers
    see to it. A target that no leaf has is 0.
    """

    targets: int
    aggregate: str = "SUM"

    def infer(self, x: TensorType, *tables: TensorType) -> TensorType:
        features, modes, jumps, thresholds, _, _, _, weights = tables
        if x.rank != 2 or x.dtype.name not in ("f32", "f64") or {thresholds.dtype, weights.dtype} != {x.dtype}:
            raise TypeMismatch(f"{self.name}: takes float matrices and tables of their dtype, given {x}, {thresholds}, {weights}")
        if self.aggregate not in AGGREGATES or jumps.shape != (*features.shape, 2) or modes.shape != thresholds.shape:
            raise TypeMismatch(f"{self.name}: aggregate {self.aggregate!r} over nodes {features}, {jumps}, {modes}, {thresholds}")
        return TensorType(x.dtype, (x.shape[0], self.targets))

    def form(self, x: TensorType, *tables: TensorType) -> Routine:
        (trees,) = tables[4].shape
        sizes = (x.shape[1], trees, self.targets, AGGREGATES.index(self.aggregate))
        return Routine(
            tree_ensemble, x.shape[0], sizes, work=x.shape[0] * trees * TYPICAL_DEPTH, scratch=8 * self.targets * AT_ONCE
        )

    def reference(self, x: np.ndarray, *tables: np.ndarray) -> np.ndarray:
        features, modes, jumps, thresholds, roots, spans, targets, weights = tables
        out = np.zeros((len(x), self.targets), x.dtype)
        compare = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)
        for row, line in enumerate(x):
            found: dict[int, list[float]] = {}
            for at in roots:
                while at >= 0:
                    value, mode = line[features[at]], modes[at]
                    true = compare[mode % TRACKS_NAN](value, thresholds[at]) or (mode >= TRACKS_NAN and np.isnan(value))
                    at = jumps[at, 0 if true else 1]
                for k in range(spans[-1 - at], spans[-at]):
                    found.setdefault(int(targets[k]), []).append(float(weights[k]))
            for target, values in found.items():
                total = {"MIN": min, "MAX": max}.get(self.aggregate, sum)(values)
                out[row, target] = total / len(roots) if self.aggregate == "AVERAGE" else total
        return out


def tree_ensemble(
    first: int, last: int, x: Any, features: Any, modes: Any, jumps: Any, thresholds: Any, roots: Any, spans: Any, targets: Any,
    weights: Any, out: Any, width: int, trees: int, count: int, aggregate: int, scratch: Any,
) -> None:  # fmt: skip
    """See `TreeEnsemble`; a unit is a row. Some rows at once go through a tree, which caches hold then.

    scratch: which targets have a weight, in each of these rows.
    """
    for begin in range(first, last, AT_ONCE):
        rows = min(AT_ONCE, last - begin)
        result = begin * count
        for j in range(rows * count):
            out[result + j] = 0
            scratch[j] = 0
        for tree in range(trees):
            for row in range(rows):
                start, at = (begin + row) * width, roots[tree]
                while at >= 0:
                    value, threshold, mode = x[start + features[at]], thresholds[at], modes[at]
                    right = value <= threshold if mode == 0 else is_true(value, threshold, mode)
                    at = jumps[2 * at + (0 if right else 1)]
                for k in range(spans[-1 - at], spans[-at]):
                    held = row * count + targets[k]
                    if aggregate < 2:
                        out[result + held] += weights[k]
                    elif scratch[held] == 0 or (weights[k] < out[result + held]) == (aggregate == 2):
                        out[result + held] = weights[k]
                    scratch[held] = 1
        if aggregate == 1:
            for j in range(rows * count):
                out[result + j] = out[result + j] / trees


def is_true(value: Any, threshold: Any, mode: int) -> bool:
    """The comparison of this number; see `MODES`."""
    kind = mode & 7
    if value != value and mode >= 8:
        return True
    if kind == 0:
        return value <= threshold
    if kind == 1:
        return value < threshold
    if kind == 2:
        return value >= threshold
    if kind == 3:
        return value > threshold
    return value == threshold if kind == 4 else value != threshold
