"""Float32 products made of bfloat16 parts: as exact as float32, and the same over the whole range."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable, runnable_targets
from tgen.executable import Executable
from tgen.ir.builder import Builder
from tgen.passes.precision import PRODUCTS, split_product
from tgen.targets.x86 import AVX2

AMX = next(t for name, t in runnable_targets().items() if name.startswith("amx"))
GREATEST = np.finfo(np.float32).max
ROWS, COLUMNS = 35, 66


def product(k: int, level: str, weight: np.ndarray | None = None) -> Executable:
    """Of bfloat16 parts, whatever is fastest for the shape."""
    b = Builder()
    x = b.input("x", "f32", (ROWS, k))
    y = b.input("y", "f32", (k, COLUMNS)) if weight is None else b.constant(weight)
    b.output("z", split_product(b, x, y, level))
    return build_executable(b.build(), AMX)


def plain(weight: np.ndarray) -> Executable:
    b = Builder()
    b.output("z", b.matmul(b.input("x", "f32", (ROWS, len(weight))), b.constant(weight)))
    return build_executable(b.build(), AVX2)


@pytest.mark.parametrize("k", [64, 384, 1536])
def test_error(k, rng) -> None:
    """Against float64, relative to the greatest result: `highest` is no worse than float32, `high` within 2e-5."""
    x = rng.standard_normal((ROWS, k), dtype=np.float32)
    weight = rng.standard_normal((k, COLUMNS), dtype=np.float32)
    want = x.astype(float) @ weight.astype(float)

    def error(executable: Executable) -> float:
        return float(np.abs(executable(x)[0] - want).max() / np.abs(want).max())

    assert error(product(k, "highest", weight)) <= error(plain(weight))
    assert error(product(k, "high", weight)) <= 2e-5


@pytest.mark.parametrize("level", ["high", "highest"])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("k", [64, 70, 700])
def test_infinities_and_nan(level, constant, k, rng) -> None:
    """Infinities meet finite numbers, zeros and each other; the rest of their rows and columns is as ever."""
    x = rng.standard_normal((ROWS, k), dtype=np.float32)
    weight = rng.standard_normal((k, COLUMNS), dtype=np.float32)
    weight[5, 7] = 0
    x[3, 5], x[11, 0], x[20, k - 1], x[34, 9] = np.inf, -np.inf, np.nan, np.inf
    x[34, 10] = -np.inf
    weight[2, 65], weight[k - 1, 17], weight[9, 33] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        want = x.astype(float) @ weight.astype(float)
    executable = product(k, level, weight if constant else None)
    got = executable(*((x,) if constant else (x, weight)))[0]
    assert np.isinf(want).any() and np.isnan(want).any() and np.isnan(want[3, 7])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.sqrt(k))


@pytest.mark.parametrize("level", ["high", "highest"])
def test_ends_of_the_range(level, rng) -> None:
    """The greatest numbers round to no infinity, what cancels comes back, overflow is an infinity."""
    k = 64
    x, weight = np.zeros((ROWS, k), np.float32), rng.standard_normal((k, COLUMNS)).astype(np.float32)
    x[0, 0], x[1, 1], x[2, 2], x[3, 3] = GREATEST, -GREATEST, 3.395e38, np.nextafter(GREATEST, np.float32(0))
    x[4, :] = rng.standard_normal(k) * 1e30
    x[5, :2] = 1.5 * 2.0**127, -1.5 * 2.0**127
    weight[:2, :8] = 0.5
    weight[:2, 8:16] = 1.75
    weight[0, 20], weight[1, 20] = 1, 2.0**-10
    exact = x.astype(float) @ weight.astype(float)
    with np.errstate(over="ignore"):
        want = exact.astype(np.float32)
    got = product(k, level, weight)(x)[0]
    tolerance = 3e-7 if level == "highest" else 3e-5
    clear = np.abs(np.abs(exact) / GREATEST - 1) > (0 if level == "highest" else tolerance)
    clear[4:] = False  # rows before have one product each: no order of sums to differ by
    assert np.isinf(want[clear]).any() and np.isfinite(want[clear]).any()
    np.testing.assert_allclose(got[clear], want[clear], rtol=tolerance)
    np.testing.assert_allclose(got[4], want[4], atol=tolerance * float(np.abs(want[4]).max()))
    assert np.all(got[5, :8] == 0)
    assert np.all(got[6:] == 0)


@pytest.mark.parametrize("level", ["high", "highest"])
def test_subnormals(level, rng) -> None:
    """Parts below the least normal number may count as zero: an error of that size times the other side."""
    k = 64
    x = (rng.standard_normal((ROWS, k)) * 2.0 ** rng.integers(-140, -100, (ROWS, k))).astype(np.float32)
    weight = (rng.standard_normal((k, COLUMNS)) * 2.0 ** rng.integers(-20, 20, (k, COLUMNS))).astype(np.float32)
    got = product(k, level, weight)(x)[0]
    want = x.astype(float) @ weight.astype(float)
    bound = 2.0**-126 * len(PRODUCTS[level]) * (k + np.abs(weight).astype(float).sum(axis=0))
    bound = bound + (3e-7 if level == "highest" else 3e-5) * (np.abs(x).astype(float) @ np.abs(weight))
    assert np.all(np.abs(got - want) <= bound)
