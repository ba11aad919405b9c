"""Samples of counted n-grams: trees of n-grams drawn at random, counted by comparing every choice of places with every n-gram."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample

TERMS, WIDTH = 4, 9


def _tree(grams: dict[tuple[int, ...], int]) -> list[np.ndarray]:
    """Nodes in the order in which their parents come: level by level."""
    nodes: list[tuple[int, ...]] = [()]
    terms, spans = [], [0]
    for prefix in nodes:
        steps = sorted({gram[len(prefix)] for gram in grams if gram[: len(prefix)] == prefix and len(gram) > len(prefix)})
        nodes += [(*prefix, step) for step in steps]
        terms += steps
        spans.append(len(terms))
    columns = [grams.get(node, -1) for node in nodes]
    return [np.array(terms, np.int64), np.array(spans, np.int32), np.array(columns, np.int32)]


def _oracle(grams: dict[tuple[int, ...], int], least: int, most: int, skips: int) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, *_: Any) -> np.ndarray:
        out = np.zeros((len(x), WIDTH), np.float32)
        for gram, column in grams.items():
            distances = [1] if len(gram) == 1 else range(1, skips + 2)
            for step in distances if least <= len(gram) <= most else ():
                reach = (len(gram) - 1) * step
                for start in range(x.shape[1] - reach):
                    out[:, column] += (x[:, start : start + reach + 1 : step] == gram).all(axis=1)
        return out

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for shape, least, most, skips in [
        ((3, 12), 1, 3, 0),
        ((2, 9), 1, 2, 3),
        ((4, 7), 2, 3, 20),
        ((1, 0), 1, 1, 0),
        ((2, 5), 1, 1, 2),
    ]:
        lengths = rng.integers(1, 4, 12)
        grams = {tuple(rng.integers(0, TERMS, n).tolist()): int(rng.integers(0, WIDTH)) for n in lengths}
        fields = {"least": least, "most": most, "skips": skips}
        x = rng.integers(0, TERMS, shape)
        yield Sample(OPS["term_counts"](width=WIDTH, **fields), (x, *_tree(grams)), _oracle(grams, **fields))


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(83)))
