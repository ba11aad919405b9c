"""Loads under a condition: which clamps are moot, and that kernels read nothing outside."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dtypes import F32
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Expr, Load, const, index, maximum, minimum, select, size
from tgen.ir.graph import Graph
from tgen.kernels.guards import with_free_indices

place = index(0) + index(1) - size(1)
clamped = maximum(minimum(place, size(9)), const(0, place.dtype))
inside = (place >= const(0, place.dtype)) & (place < size(10))


def guarded(condition: Expr, at: Expr) -> Expr:
    return select(condition, Load(F32, 0, (at,)), const(0, F32))


def test_clamps_that_the_condition_makes_moot() -> None:
    (load,) = (x for x in with_free_indices(guarded(inside, clamped)).args if isinstance(x, Load))
    assert load.index == (clamped, place, inside)
    upper = minimum(place, size(9))
    (load,) = (x for x in with_free_indices(guarded(place < size(10), upper)).args if isinstance(x, Load))
    assert load.index == (upper, place, place < size(10))


@pytest.mark.parametrize("condition", (place < size(10), place >= const(0, place.dtype), place < size(11), index(0) < size(10)))
def test_clamps_that_it_does_not(condition: Expr) -> None:
    body = guarded(condition, clamped)
    assert with_free_indices(body) is body


def windows(stride: int, dtype: str) -> Graph:
    """Windows with padding on both sides, of a symbolic extent, reduced and as they are."""
    b = Builder()
    x = b.input("x", dtype, ("n", 3, "h", 37))
    count = (37 + 2 - 3) // stride + 1
    found = b.windows(
        x, b.constant(-5, dtype), kernel=(1, 3), sizes=(x.type.shape[2], count), strides=(1, stride), dilations=(1, 1), pads=(0, 1)
    )
    b.output("greatest", b.reduce_max(found, axes=(2, 3), keepdims=False))
    b.output("windows", found)
    return b.build()


@pytest.mark.parametrize("target", runnable_targets().values(), ids=lambda t: t.name)
@pytest.mark.parametrize("stride", (1, 2, 3))
@pytest.mark.parametrize("dtype", ("f32", "i8"))
def test_padded_windows(target, stride: int, dtype: str, rng: np.random.Generator) -> None:
    graph = windows(stride, dtype)
    executable = build_executable(graph, target)
    for n, h in ((1, 1), (2, 5), (0, 3)):
        x = (rng.standard_normal((n, 3, h, 37)) * 50).astype(graph.inputs[0].types[0].dtype.numpy)
        got, wanted = executable.run({"x": x}), evaluate(graph, {"x": x})
        for name, array in wanted.items():
            np.testing.assert_array_equal(got[name], array)
