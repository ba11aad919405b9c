"""Windows read by tiles: rows in lines, with what lies between them, and no copy of the windows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dims import DimLike, symbol
from tgen.ir.dtypes import F32, I32, U8
from tgen.ir.graph import Graph
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan.build import build
from tgen.plan.contract import rows_apart
from tgen.targets.target import Target

TARGETS = [t for t in runnable_targets().values() if any(not tile.broadcast for tile in t.tiles)]
RNG = np.random.default_rng(17)


def _convolution(
    shape: tuple[DimLike, ...], weights: np.ndarray, size: tuple[DimLike, DimLike], pads: int, step: int = 1, spread: int = 1
) -> Graph:
    """x[n, h, w, c] padded, in windows `spread` apart, times weights [kh, kw, c, m], and 1 more."""
    b = Builder("lines")
    kernel, out = weights.shape[:2], weights.shape[-1]
    x = b.input("x", F32 if weights.dtype == np.float32 else U8, shape)
    zero = b.constant(np.zeros((), x.type.dtype.numpy))
    padded = b.pad(x, zero, before=(0, pads, pads, 0), after=(0, pads, pads, 0))
    first = b.transpose(padded, perm=(0, 3, 1, 2))
    seen = b.windows(first, zero, kernel=kernel, sizes=size, strides=(step,) * 2, dilations=(spread,) * 2, pads=(0, 0), inside=True)
    last = b.transpose(seen, perm=(0, 4, 5, 2, 3, 1))
    factors = b.constant(weights.reshape(-1, out))
    if weights.dtype == np.float32:
        y = b.window_product(last, factors, row_axes=3, depth_axes=3)
    else:
        wide = (b.cast(v, to=I32) for v in (last, factors))
        y = b.window_product(*wide, row_axes=3, depth_axes=3)
    b.output("y", b.add(y, b.constant(np.ones((), y.type.dtype.numpy))))
    return b.build()


def _steps(graph: Graph, target: Target, level: str = "medium") -> int:
    return len(build(run_pipeline(graph, pipeline(target, level))).steps)


def _wanted(x: np.ndarray, weights: np.ndarray, pads: int = 0, step: int = 1, spread: int = 1) -> np.ndarray:
    padded = np.pad(x.astype(np.float64), ((0, 0), (pads, pads), (pads, pads), (0, 0)))
    reach = tuple((k - 1) * spread + 1 for k in weights.shape[:2])
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, (1, 2))[:, ::step, ::step, :, ::spread, ::spread]
    return np.einsum("nhwcij,ijcm->nhwm", seen, weights.astype(np.float64)) + 1


def _whole_numbers(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """All of which bfloat16 holds, and whose sums float32 holds."""
    return RNG.integers(0 if dtype == "uint8" else -8, 9, shape).astype(dtype)


CASES = {  # [n, h, w, c], weights, how; whether windows lie in line
    "in line": ((1, 9, 14, 32), (3, 3, 32, 48), {"pads": 1}, True),
    "two pictures": ((2, 7, 10, 32), (3, 3, 32, 17), {"pads": 1}, True),
    "one line": ((1, 1, 37, 64), (1, 3, 64, 33), {}, True),
    "one column": ((3, 20, 1, 32), (3, 1, 32, 16), {}, True),
    "apart": ((1, 12, 21, 32), (3, 3, 32, 16), {"pads": 2, "spread": 2}, True),
    "two a step": ((1, 9, 16, 32), (3, 3, 32, 16), {"pads": 1, "step": 2}, False),
    "much between": ((1, 8, 4, 32), (3, 3, 32, 16), {"pads": 1}, False),
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES)
def test_convolution(target: Target, case: str) -> None:
    shape, kernel, how, in_line = CASES[case]
    weights = _whole_numbers(kernel)
    pads, step, spread = (how.get(key, value) for key, value in (("pads", 0), ("step", 1), ("spread", 1)))
    size = tuple((extent + 2 * pads - (k - 1) * spread - 1) // step + 1 for extent, k in zip(shape[1:3], kernel))
    graph = _convolution(shape, weights, size, pads, step, spread)
    compiled = build_executable(graph, target, "medium")
    x = _whole_numbers(shape)
    np.testing.assert_array_equal(compiled.run({"x": x})["y"], _wanted(x, weights, **how))
    assert _steps(graph, target) == (2 if in_line else 3)  # the padded picture, its windows if they must be, the product


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_symbolic_sizes(target: Target) -> None:
    n, h, w = (symbol(s) for s in "nhw")
    weights = _whole_numbers((3, 3, 32, 20))
    graph = _convolution((n, h, w, 32), weights, (h, w), 1)
    assert _steps(graph, target) == 2
    compiled = build_executable(graph, target, "medium")
    for shape in ((1, 5, 5, 32), (2, 16, 31, 32), (1, 1, 1, 32), (3, 40, 2, 32), (0, 4, 4, 32)):
        x = _whole_numbers(shape)
        np.testing.assert_array_equal(compiled.run({"x": x})["y"], _wanted(x, weights, pads=1))


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("spread", [1, 2])
def test_parts(target: Target, spread: int) -> None:
    """Three bfloat16 parts of float32; what meets an infinity is done again, window by window."""
    weights = RNG.standard_normal((3, 3, 32, 40)).astype(np.float32)
    graph = _convolution((2, 9, 14, 32), weights, (9, 14), spread, spread=spread)
    assert _steps(graph, target, "highest") == 2
    compiled = build_executable(graph, target, "highest")
    x = RNG.standard_normal((2, 9, 14, 32)).astype(np.float32)
    wanted = _wanted(x, weights, spread, spread=spread)
    np.testing.assert_allclose(compiled.run({"x": x})["y"], wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    x[0, 3, 13, 5], x[1, 8, 0, 31] = np.inf, np.nan
    wanted, got = _wanted(x, weights, spread, spread=spread), compiled.run({"x": x})["y"]
    assert 0 < np.isfinite(wanted).mean() < 1
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * np.abs(wanted[np.isfinite(wanted)]).max())


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_bytes(target: Target) -> None:
    weights = _whole_numbers((3, 3, 64, 24), "int8")
    graph = _convolution((1, 6, 14, 64), weights, (6, 14), 1)
    assert _steps(graph, target) == 2
    compiled = build_executable(graph, target)
    x = _whole_numbers((1, 6, 14, 64), "uint8")
    np.testing.assert_array_equal(compiled.run({"x": x})["y"], _wanted(x, weights, pads=1))


def test_rows_apart() -> None:
    w = symbol("w")
    assert rows_apart([(14, 160), (14, 10)]) == 16
    assert rows_apart([(14, 140), (14, 10)]) == 14
    assert rows_apart([(h := symbol("h"), (w + 2) * 10), (w, 10)]) == w + 2
    assert rows_apart([(h, 165), (14, 10)]) is None  # no whole number
    assert rows_apart([(h, 100), (14, 10)]) is None  # lines overlap
    assert rows_apart([(h, 560), (14, 10)]) is None  # too much between
    assert rows_apart([(h, 560), (14, 0)]) is None
    assert rows_apart([(1, 560), (14, 10)]) == 14
    assert rows_apart([(h, 560), (1, 10)]) == 1
