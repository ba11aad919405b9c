"""Samples of non-maximum suppression: boxes on a grid, so that scores and overlaps are often equal, against whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample

GRID = 6


def _area(box: list[float]) -> int:
    """In cells of the grid."""
    return int(max(box[2] - box[0], 0)) * int(max(box[3] - box[1], 0))


def _kept(most: int, thresholded: bool) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def overlaps(a: list[float], b: list[float], limit: np.ndarray) -> bool:
        both = _area([*map(max, a[:2], b[:2]), *map(min, a[2:], b[2:])])
        return both > 0 and _area(a) * _area(b) > 0 and Fraction(both, _area(a) + _area(b) - both) > Fraction(float(limit))

    def run(
        boxes: np.ndarray, scores: np.ndarray, limit: np.ndarray, overlap: np.ndarray, threshold: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        kept, counts = np.zeros((*scores.shape[:2], most), np.int64), np.zeros(scores.shape[:2], np.int64)
        for entry, kind in np.ndindex(*counts.shape):
            listed, row = boxes[entry].tolist(), scores[entry, kind].tolist()
            chosen: list[int] = []
            for i in sorted(range(len(row)), key=lambda i: (row[i] != row[i], -row[i], i)):
                if thresholded and not row[i] > threshold:
                    continue
                if len(chosen) < min(most, limit) and not any(overlaps(listed[i], listed[j], overlap) for j in chosen):
                    chosen.append(i)
            kept[entry, kind, : len(chosen)], counts[entry, kind] = chosen, len(chosen)
        return kept, counts

    return run


def _listed(kept: np.ndarray, counts: np.ndarray) -> np.ndarray:
    mask = np.arange(kept.shape[2]) < counts[..., None]
    return np.concatenate([np.argwhere(mask)[:, :2], kept[mask][:, None]], axis=1)


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for (batch, classes, n), most, limit, overlap, thresholded in [
        ((2, 3, 30), 30, 10**12, 0.5, True),
        ((1, 2, 25), 25, 4, 0.0, False),
        ((3, 1, 17), 5, 5, 0.25, True),
        ((1, 1, 9), 9, -3, 0.5, False),
        ((2, 2, 0), 0, 5, 0.5, True),
    ]:
        corners = np.sort(rng.integers(0, GRID, (batch, n, 2, 2)), axis=2).astype(np.float32)
        scores = (rng.integers(0, 8, (batch, classes, n)) / 8).astype(np.float32)
        scores.reshape(-1)[rng.integers(0, max(scores.size, 1), 3 * (scores.size > 0))] = -np.inf
        limits = np.array(limit), np.array(overlap, np.float32), np.array(0.2, np.float32)
        fields = {"most": most, "thresholded": thresholded}
        yield Sample(OPS["kept_boxes"](**fields), (corners.reshape(batch, n, 4), scores, *limits), _kept(**fields))
    counts = rng.integers(0, 5, (2, 3))
    counts[0, 1] = 0
    kept = np.where(np.arange(4) < counts[..., None], rng.integers(0, 9, (2, 3, 4)), 0)
    yield Sample(OPS["listed_boxes"](size=int(counts.sum())), (kept, counts), _listed)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(101)))
