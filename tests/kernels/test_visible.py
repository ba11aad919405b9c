"""Columns of scores that no row of a block can see: found in the body, and not computed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dtypes import BOOL, F32, I64
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Expr, Kept, Load, call, cast, evaluate_expr, index, select, size
from tgen.ir.graph import Graph
from tgen.plan.visible import visible

TARGETS = runnable_targets()
SIZES = [(1, 1, 1), (2, 5, 7), (1, 49, 129), (1, 131, 400), (1, 300, 130), (1, 0, 4), (2, 3, 0)]
WINDOWS = {
    "causal": {"is_causal": True},
    "causal past": {"is_causal": True, "past": 70},
    "nothing at first": {"is_causal": True, "past": -60},
    "both windows": {"left_window": 20, "right_window": 5},
    "causal window": {"is_causal": True, "left_window": 150},
}
SCORE, ROW, COLUMN = Kept(F32, 0), index(2), index(3)
BODIES = {
    "causal": select(COLUMN <= ROW + 2, SCORE, -np.inf),
    "turned round": select(ROW > COLUMN, SCORE, -np.inf),
    "offset on both sides": select(COLUMN - 3 < ROW - COLUMN * 0, SCORE, -np.inf),
    "column subtracted": select(call("rem", ROW, size(4)) - COLUMN <= 1, SCORE, -np.inf),
    "both": select((COLUMN <= ROW) & (COLUMN > ROW - 3), SCORE, -np.inf),
    "nested": cast(select(COLUMN >= 2, select(COLUMN < ROW, SCORE * 2, -np.inf), -np.inf), F32),
    "two ends": select(COLUMN < ROW, select(COLUMN < 4, SCORE, -np.inf), -np.inf),
}


def graph_of(**windows: object) -> Graph:
    b = Builder()
    q, k, v = b.input("q", "f32", ("b", 4, "s", 19)), b.input("k", "f32", ("b", 2, "t", 19)), b.input("v", "f32", ("b", 2, "t", 21))
    b.output("y", b.scaled_dot_product_attention(q, k, v, **windows))
    return b.build()


def feeds(graph: Graph, size: tuple[int, int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    extent = dict(zip("bst", size))
    types = {node.op.label: node.types[0] for node in graph.inputs}  # type: ignore[attr-defined]
    return {n: rng.standard_normal([extent.get(str(d), d) for d in t.shape], dtype=np.float32) for n, t in types.items()}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bounds_are_those_of_the_body(body: Expr) -> None:
    grid = {2: np.arange(9)[:, None], 3: np.arange(12)}
    seen = evaluate_expr(body, lambda x: grid[x.axis] if hasattr(x, "axis") else np.ones((9, 12), np.float32), {}) > -np.inf
    begin, end = (None if x is None else evaluate_expr(x, lambda i: grid[i.axis], {}) for x in visible(body, 3))
    within = (grid[3] >= (0 if begin is None else begin)) & (grid[3] < (12 if end is None else end))
    assert np.array_equal(within, np.broadcast_to(seen, within.shape)) and not within.all()


def test_other_bodies_have_no_bounds() -> None:
    mask = Load(BOOL, 3, (ROW, COLUMN))
    length = Load(I64, 3, (COLUMN,))
    for body in (
        SCORE,
        select(mask, SCORE, -np.inf),
        select(COLUMN <= ROW, SCORE, -1e9),
        select(COLUMN <= ROW, SCORE, -np.inf) + 1,
        select(length > COLUMN, SCORE, -np.inf),
        select(COLUMN + COLUMN < ROW, SCORE, -np.inf),
        select((COLUMN <= ROW) | mask, SCORE, -np.inf),
    ):
        assert visible(body, 3) == (None, None)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_every_tail(target, windows, rng) -> None:
    graph = graph_of(**windows)
    executable = build_executable(graph, target)
    for extents in SIZES:
        f = feeds(graph, extents, rng)
        with np.errstate(all="ignore"):
            want = evaluate(graph, f)["y"]
        np.testing.assert_allclose(executable.run(f)["y"], want, rtol=1e-5, atol=4e-6, err_msg=str(extents))


def test_lengths_end_the_columns(rng) -> None:
    b = Builder()
    q, k, v = b.input("q", "f32", ("b", 2, "s", 8)), b.input("k", "f32", ("b", 2, "t", 8)), b.input("v", "f32", ("b", 2, "t", 8))
    b.output("y", b.scaled_dot_product_attention(q, k, v, b.input("lengths", "i64", ("b",)), is_causal=True))
    graph = b.build()
    f = {n: rng.standard_normal((4, 2, e, 8), dtype=np.float32) for n, e in (("q", 50), ("k", 200), ("v", 200))}
    f["lengths"] = np.array([200, 137, 1, 0])
    want = evaluate(graph, f)["y"]
    np.testing.assert_allclose(build_executable(graph).run(f)["y"], want, rtol=1e-5, atol=4e-6)


def test_what_no_row_of_a_block_sees_is_not_touched(rng) -> None:
    """A NaN in v would show in every row that it is multiplied by 0 for: at most a block of rows, a panel of columns and the window away."""
    graph = graph_of(is_causal=True, left_window=20)
    f = feeds(graph, (1, 400, 400), rng)
    f["v"][:, :, 399] = f["v"][:, :, 0] = np.nan
    got = build_executable(graph).run(f)["y"]
    assert np.isnan(got[:, :, 0]).all() and np.isnan(got[:, :, 399]).all()
    assert np.isfinite(got[:, :, 160:260]).all()
