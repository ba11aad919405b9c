"""Non-maximum suppression: of boxes that overlap, the one with the best score stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dims import DimLike, evaluate_dim
from ..dtypes import F32, I64
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType

TYPICAL_BOXES = 100  # that a class keeps, of which each candidate is compared with some


@op
class KeptBoxes(Op):
    """(kept i64[batch, classes, most], counts i64[batch, classes]): for each class the boxes that stay, best first; zeros follow

    Operands: boxes f32[batch, n, 4], the lesser corner and the greater one; scores f32[batch, classes, n]; limit i64[] of boxes of a
    class; overlap f32[]; threshold f32[]. Boxes whose score is more than the threshold (all, unless `thresholded`) are taken from the
    best on, of equal scores the first one first. One stays unless it intersects one that stayed by more than `overlap` of their
    union. NaN is the least score, and an overlap that is NaN is none.
    """

    most: DimLike
    thresholded: bool

    def infer(self, boxes: TensorType, scores: TensorType, *limits: TensorType) -> tuple[TensorType, TensorType]:
        fits = boxes.rank == scores.rank == 3 and boxes.shape == (scores.shape[0], scores.shape[2], 4)
        if not fits or {boxes.dtype, scores.dtype} != {F32} or limits != tuple(TensorType(d, ()) for d in (I64, F32, F32)):
            raise TypeMismatch(f"{self.name}: boxes {boxes}, scores {scores}, limits {', '.join(map(str, limits))}")
        return TensorType(I64, (*scores.shape[:2], self.most)), TensorType(I64, scores.shape[:2])

    def form(self, boxes: TensorType, scores: TensorType, *_: TensorType) -> Routine:
        batch, classes, n = scores.shape
        sizes = (n, classes, self.most, int(self.thresholded))
        return Routine(kept_boxes, batch * classes, sizes, work=batch * classes * n * TYPICAL_BOXES, scratch=n * 8)

    def reference(self, boxes: np.ndarray, scores: np.ndarray, *limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        limit, overlap, threshold = limits
        kept = np.zeros((*scores.shape[:2], evaluate_dim(self.most, {})), np.int64)
        counts = np.zeros(scores.shape[:2], np.int64)
        for at in np.ndindex(*scores.shape[:2]):
            row, found = scores[at], list[int]()
            worst = np.where(np.isnan(row), np.inf, -row)
            for i in np.lexsort([worst, np.isnan(row)]).tolist():
                wanted = len(found) < min(int(limit), kept.shape[2]) and (not self.thresholded or row[i] > threshold)
                if wanted and not _overlaps(boxes[at[0]], i, found, overlap).any():
                    found.append(i)
            kept[at][: len(found)], counts[at] = found, len(found)
        return kept, counts


def _overlaps(boxes: np.ndarray, i: int, others: list[int], limit: np.ndarray) -> np.ndarray:
    """For each of the others whether its intersection with box i is more than `limit` of their union."""
    low, high = np.split(boxes, 2, axis=1)
    sides = np.minimum(high[others], high[i]) - np.maximum(low[others], low[i])
    areas, both = (high - low).prod(axis=1), sides.prod(axis=1)
    union = areas[i] + areas[others] - both
    real = (sides > 0).all(axis=1) & (both > 0) & (areas[i] > 0) & (areas[others] > 0) & (union > 0)
    return real & (both / union > limit)


def kept_boxes(
    first: int, last: int, boxes: Any, scores: Any, limit: Any, overlap: Any, threshold: Any, kept: Any, counts: Any, n: int,
    classes: int, most: int, thresholded: int, scratch: Any,
) -> None:  # fmt: skip
    """See `KeptBoxes`; a unit is a class of an entry. scratch: a heap of the candidates, the best one at its root."""
    for unit in range(first, last):
        row, base, out = unit * n, unit // classes * n * 4, unit * most
        size, found = 0, 0
        for i in range(n):
            if not thresholded or scores[row + i] > threshold[0]:
                scratch[size] = i
                size += 1
        for root in range(size // 2 - 1, -1, -1):
            sift(scratch, root, size, scores, row)
        while size > 0 and found < most and found < limit[0]:
            best = scratch[0]
            size -= 1
            scratch[0] = scratch[size]
            sift(scratch, 0, size, scores, row)
            k = 0
            while k < found and not overlaps(boxes, base + 4 * best, base + 4 * kept[out + k], overlap[0]):
                k += 1
            if k == found:
                kept[out + found] = best
                found += 1
        counts[unit] = found
        for k in range(found, most):
            kept[out + k] = 0


def sift(heap: Any, root: int, size: int, scores: Any, row: int) -> None:
    """Moves the candidate at `root` down, below all that come before it: greater scores, NaN last; of equal ones the first."""
    while 2 * root + 1 < size:
        child, item = 2 * root + 1, heap[root]
        for other in (child + 1, root):
            i, j = heap[child], heap[other if other < size else child]
            a, b = scores[row + i], scores[row + j]
            if b > a or (b == b and a != a) or ((a == b or (a != a and b != b)) and j < i):
                child = other
        if child == root:
            break
        heap[root] = heap[child]
        heap[child] = item
        root = child


def overlaps(boxes: Any, i: int, j: int, limit: Any) -> bool:
    """Whether the intersection of two boxes (their places in memory) is more than `limit` of their union."""
    height = min(boxes[i + 2], boxes[j + 2]) - max(boxes[i], boxes[j])
    if not height > 0:
        return False
    width = min(boxes[i + 3], boxes[j + 3]) - max(boxes[i + 1], boxes[j + 1])
    if not width > 0:
        return False
    both = height * width
    one = (boxes[i + 2] - boxes[i]) * (boxes[i + 3] - boxes[i + 1])
    other = (boxes[j + 2] - boxes[j]) * (boxes[j + 3] - boxes[j + 1])
    union = one + other - both
    return both > 0 and one > 0 and other > 0 and union > 0 and both / union > limit


@op
class ListedBoxes(Op):
    """i64[size, 3]: (entry, class, box) of all that are kept (see `KeptBoxes`), which are as many as `size`"""

    size: DimLike

    def infer(self, kept: TensorType, counts: TensorType) -> TensorType:
        if kept.rank != 3 or counts != TensorType(I64, kept.shape[:2]) or kept.dtype is not I64:
            raise TypeMismatch(f"{self.name}: kept {kept}, counts {counts}")
        return TensorType(I64, (self.size, 3))

    def form(self, kept: TensorType, counts: TensorType) -> Routine:
        batch, classes, most = kept.shape
        return Routine(listed_boxes, 1, (batch, classes, most, self.size), work=batch * classes + self.size * 4)

    def reference(self, kept: np.ndarray, counts: np.ndarray) -> np.ndarray:
        rows = [(e, c, kept[e, c, k]) for e, c in np.ndindex(*counts.shape) for k in range(counts[e, c])]
        return np.array(rows, np.int64).reshape(-1, 3)


def listed_boxes(
    first: int, last: int, kept: Any, counts: Any, out: Any, batch: int, classes: int, most: int, size: int, scratch: Any
) -> None:
    """See `ListedBoxes`; one unit."""
    at = 0
    for unit in range(batch * classes if last > first else 0):
        for k in range(counts[unit]):
            if at < size and k < most:
                out[3 * at] = unit // classes
                out[3 * at + 1] = unit % classes
                out[3 * at + 2] = kept[unit * most + k]
                at += 1
