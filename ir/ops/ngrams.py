"""Counting n-grams: a scalar algorithm, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import F32, I32, I64
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType


@op
class TermCounts(Op):
    """out[row, column] = how often the n-grams of that column are found in x[row, :]; 1 to skips + 1 places lie between their terms

    Operands: x i64[rows, terms]; a tree of the n-grams: terms i64[edges] in ascending order below each node, spans i32[edges + 2] of the
    edges below node 0, the root, and below node e + 1, where edge e ends; columns i32[edges + 1] of the n-gram that ends at a node, -1:
    none. N-grams of `least` to `most` terms count; those of one term with the first distance only. Spans and columns are in range and
    are not checked: importers see to that.
    """

    width: int
    least: int
    most: int
    skips: int

    def infer(self, x: TensorType, terms: TensorType, spans: TensorType, columns: TensorType) -> TensorType:
        tables = (terms.dtype, spans.dtype, columns.dtype) == (I64, I32, I32) and spans.shape == (terms.elements + 2,)
        if x.rank != 2 or x.dtype is not I64 or not tables or columns.shape != (terms.elements + 1,):
            raise TypeMismatch(f"{self.name}: takes matrices of i64 and a tree, given {x}, {terms}, {spans}, {columns}")
        if not 0 < self.least <= self.most or self.skips < 0 or self.width < 0:
            raise TypeMismatch(f"{self.name}: n-grams of {self.least} to {self.most} terms, {self.skips} skips")
        return TensorType(F32, (x.shape[0], self.width))

    def form(self, x: TensorType, *_: TensorType) -> Routine:
        rows, terms = x.shape
        return Routine(term_counts, rows, (terms, self.width, self.least, self.most, self.skips), work=rows * terms * 16)

    def reference(self, x: np.ndarray, terms: np.ndarray, spans: np.ndarray, columns: np.ndarray) -> np.ndarray:
        out = np.zeros((len(x), self.width), np.float32)
        for row, line in enumerate(x.tolist()):
            for distance in range(1, min(self.skips, len(line)) + 2):
                least = max(self.least, 1 if distance == 1 else 2)
                for start in range(len(line)):
                    node = 0
                    for size, term in enumerate(line[start::distance][: self.most], 1):
                        below = range(spans[node], spans[node + 1])
                        node = next((e + 1 for e in below if terms[e] == term), -1)
                        if node < 0:
                            break
                        if size >= least and columns[node] >= 0:
                            out[row, columns[node]] += 1
        return out


def term_counts(
    first: int, last: int, x: Any, terms: Any, spans: Any, columns: Any, out: Any, count: int, width: int, least: int, most: int,
    skips: int, scratch: Any,
) -> None:  # fmt: skip
    """See `TermCounts`; a unit is a row."""
    for row in range(first, last):
        for column in range(width):
            out[row * width + column] = 0
        for distance in range(1, min(skips, count) + 2):
            shortest = least if distance == 1 else max(least, 2)
            for start in range(count):
                node, size, at = 0, 0, start
                while size < most and at < count:
                    node = below(terms, spans[node], spans[node + 1], x[row * count + at])
                    if node == 0:
                        break
                    size += 1
                    at += distance
                    if size >= shortest and columns[node] >= 0:
                        out[row * width + columns[node]] += 1


def below(terms: Any, low: int, high: int, term: int) -> int:
    """The node that an edge of this term leads to, of the edges from `low` to `high`; 0 if there is none."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if terms[middle] < term:
            low = middle + 1
        else:
            high = middle
    return low + 1 if low < end and terms[low] == term else 0
