"""Reductions along the lanes keep several vectors apart: every way an extent can be cut into groups of vectors, vectors and elements."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable, host, runnable_targets
from tgen.codegen.loops import ACCUMULATORS, SUMMED
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate

LANES = host().lanes
GROUP = ACCUMULATORS * LANES
EXTENTS = [
    0,
    1,
    LANES - 1,
    LANES,
    LANES + 1,
    GROUP - 1,
    GROUP,
    GROUP + 1,
    GROUP + LANES,
    GROUP + LANES + 3,
    5 * GROUP,
    5 * GROUP + 2 * LANES + 1,
]

LONG = [(0, 3), (1, 1), (SUMMED - 1, 2), (SUMMED, 1), (SUMMED + 1, 1), (2, SUMMED), (3, 2 * SUMMED + 1)]


@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max", "reduce_prod"])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_every_cut(name, dtype, rng) -> None:
    b = Builder()
    b.output("y", getattr(b, name)(b.input("x", dtype, (3, "n")), axes=(1,)))
    graph = b.build()
    executable = build_executable(graph)
    for extent in EXTENTS[name == "reduce_max" :]:
        x = rng.uniform(0.8, 1.2, (3, extent)) if dtype != "i32" else rng.integers(-3, 4, (3, extent))
        f = {"x": x.astype(graph.inputs[0].types[0].dtype.numpy)}
        np.testing.assert_allclose(
            executable.run(f)["y"], evaluate(graph, f)["y"], rtol=3e-6 if dtype == "f32" else 1e-13, err_msg=str(extent)
        )


@pytest.mark.parametrize("axes", [(0,), (0, 1), (1, 2)])
@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max"])
def test_blocks_of_a_long_column(name: str, axes: tuple[int, ...], rng: np.random.Generator) -> None:
    """Lanes along what is left; the columns are cut into blocks of SUMMED."""
    b = Builder()
    b.output("y", getattr(b, name)(b.input("x", "f32", ("n", "m", 3, 20)), axes=axes))
    graph = b.build()
    executable = build_executable(graph)
    for n, m in LONG[name == "reduce_max" :]:
        f = {"x": rng.uniform(0.8, 1.2, (n, m, 3, 20)).astype(np.float32)}
        np.testing.assert_allclose(executable.run(f)["y"], evaluate(graph, f)["y"], rtol=3e-6, err_msg=f"{n} {m}")


@pytest.mark.parametrize("name", runnable_targets())
@pytest.mark.parametrize("columns", [1, 40])
def test_long_sums_are_as_good_as_short_ones(name: str, columns: int, rng: np.random.Generator) -> None:
    """Nearly equal numbers, of which sums in order are off by 1e-5 of themselves."""
    b = Builder()
    b.output("y", b.reduce_mean(b.input("x", "f32", ("n", columns)), axes=(0,)))
    x = rng.normal(1, 0.01, (100_000, columns)).astype(np.float32)
    found = build_executable(b.build(), runnable_targets()[name]).run({"x": x})["y"]
    np.testing.assert_allclose(found, x.mean(0, dtype=np.float64, keepdims=True), rtol=2e-6)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i2", "u2"])
@pytest.mark.parametrize("how", ["arg_max", "arg_min"])
def test_extremes_of_narrow_integers(how: str, dtype: str, rng: np.random.Generator) -> None:
    b = Builder()
    b.output("y", getattr(b, how)(b.input("x", dtype, ("n", 7)), axis=1))
    graph = b.build()
    low = -2 if dtype[0] == "i" else 0
    x = rng.integers(low, low + 4, (5, 7)).astype(graph.input_types["x"].dtype.numpy)
    wanted = getattr(np, how.replace("_", ""))(x.astype(np.int64), axis=1, keepdims=True)
    np.testing.assert_array_equal(build_executable(graph).run({"x": x})["y"], wanted)
