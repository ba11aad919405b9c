"""Attention by products of bfloat16 parts: infinities, NaN and the ends of the range give what float32 gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.native import build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dtypes import F32
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Kept
from tgen.ir.graph import Graph
from tgen.ir.ops.attend import Attend
from tgen.passes.precision import PRODUCTS

TARGETS = runnable_targets()
LEVELS = {"high": 1e-4, "highest": 4e-6}
ROWS, COLUMNS, DEPTH, WIDTH = 70, 300, 35, 21  # several blocks of columns, and tails
HUGE = 0.999 * float(np.finfo(np.float32).max)  # two parts of the very greatest may add up to more than it
SCALE = DEPTH**-0.5


def graph_of(level: str | None) -> Graph:
    """softmax(q·k·SCALE)·v by the products of a level; None: of whole numbers."""
    b = Builder()
    operands = b.input("q", "f32", (ROWS, DEPTH)), b.input("k", "f32", (DEPTH, COLUMNS)), b.input("v", "f32", (COLUMNS, WIDTH))
    op = Attend(Kept(F32, 0) * SCALE)
    if level is not None:
        op = op.in_parts(PRODUCTS[level])
        operands = tuple(b.bf16_part(x, part=p) for x, p in itertools.product(operands, range(op.parts)))  # type: ignore[assignment]
    b.output("y", b.apply(op, *operands))
    return b.build()


def check(target, level: str, f: dict[str, np.ndarray]) -> np.ndarray:
    """Compares with the interpreter; gives what it expects."""
    with np.errstate(all="ignore"):
        want = evaluate(graph_of(None), f)["y"]
    got = build_executable(graph_of(level), target).run(f)["y"]
    greatest = np.abs(np.where(np.isfinite(want), want, 0)).max(axis=0)  # of a column of v: they differ by 38 powers of ten
    assert np.array_equal(np.isfinite(got), np.isfinite(want))
    finite = np.isfinite(want)
    assert np.all(np.abs(np.where(finite, got, 0) - np.where(finite, want, 0)) <= LEVELS[level] * np.maximum(greatest, 1))
    np.testing.assert_array_equal(got[~finite], want[~finite])
    return want


def feeds(rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {"q": (ROWS, DEPTH), "k": (DEPTH, COLUMNS), "v": (COLUMNS, WIDTH)}
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("level", LEVELS)
def test_infinities_and_nan(target, level, rng) -> None:
    """A key of -inf is not seen; an infinity of v is one of every row; both of them, and those of q, leave the rest as it is."""
    f = feeds(rng)
    f["q"][:, 4] = np.abs(f["q"][:, 4]) + 0.5
    f["k"][4, [5, 170, 299]] = -np.inf
    f["q"][9, 2], f["q"][33, 3] = np.inf, np.nan
    f["v"][0, 1], f["v"][290, 2], f["v"][140, 3] = np.inf, -np.inf, np.nan
    f["v"][10, 4], f["v"][280, 4] = np.inf, -np.inf
    want = check(target, level, f)
    rest = np.delete(want, [9, 33], axis=0)
    assert np.isnan(want[[9, 33]]).all() and np.isfinite(np.delete(rest, [1, 2, 3, 4], axis=1)).all()
    assert (rest[:, 1] == np.inf).all() and (rest[:, 2] == -np.inf).all() and np.isnan(rest[:, 3:5]).all()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("level", LEVELS)
def test_ends_of_the_range(target, level, rng) -> None:
    """The greatest numbers are no infinities, what cancels comes back; scores too great for float32 are infinite."""
    f = feeds(rng)
    f["q"][0], f["q"][1], f["q"][2] = 0, 0, 0
    f["k"][:2, :] = 0.5
    f["q"][0, :2] = 1.5 * 2.0**127, -1.5 * 2.0**127  # all scores are 0
    f["k"][2, :] = np.linspace(-0.5, 0.5, COLUMNS)
    f["q"][1, 2] = HUGE  # only the last column is seen
    f["k"][3, 7] = 4
    f["q"][2, 3] = HUGE  # an infinite score
    f["v"][100, 0], f["v"][101, 1], f["v"][250, 1], f["v"][299, 2] = HUGE, 3.395e38, -3.395e38, HUGE
    want = check(target, level, f)
    assert np.isnan(want[2]).all() and np.isfinite(np.delete(want, 2, axis=0)).all()
    assert np.allclose(want[1], f["v"][299])
