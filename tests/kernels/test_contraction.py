"""Contractions on every target, every kind of tail, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import Guarded, build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dtypes import BF16
from tgen.ir.graph import Graph
from tgen.passes.precision import split_product

TARGETS = runnable_targets()
EVERY_TARGET = runnable_targets(every=True)
NARROW = {name: t for name, t in EVERY_TARGET.items() if any(tile.a is BF16 for tile in t.tiles)}
SHAPES = [
    (1, 1, 1),
    (1, 64, 64),
    (2, 17, 31),
    (3, 16, 8),
    (5, 33, 70),
    (6, 15, 7),
    (7, 48, 129),
    (13, 100, 64),
    (17, 31, 33),
    (65, 66, 67),
    (200, 40, 1030),
]


def matmul(m: object, n: int, k: int, weight: np.ndarray) -> Graph:
    b = Builder()
    x = b.input("x", "f32", (m, k))  # type: ignore[arg-type]
    b.output("y", b.relu(b.add(b.matmul(x, b.constant(weight)), b.constant(np.arange(n, dtype=np.float32)))))
    return b.build()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("m,n,k", SHAPES)
@pytest.mark.parametrize("symbolic", [False, True])
def test_constant_weight(target, m, n, k, symbolic, rng) -> None:
    weight = rng.standard_normal((k, n), dtype=np.float32)
    executable = build_executable(matmul("m" if symbolic else m, n, k, weight), target)
    x = rng.standard_normal((m, k), dtype=np.float32)
    want = np.maximum(x.astype(float) @ weight + np.arange(n), 0)
    scale = np.abs(x).astype(float) @ np.abs(weight) + n
    assert np.max(np.abs(executable(x)[0] - want) / scale) < 1e-6


@pytest.mark.parametrize("target", NARROW.values(), ids=NARROW)
@pytest.mark.parametrize("m,n,k", SHAPES)
def test_medium(target, m, n, k, rng) -> None:
    """Products of operands rounded to bfloat16, sums in float32."""
    weight = rng.standard_normal((k, n), dtype=np.float32)
    b = Builder()
    x = b.input("x", "f32", ("m", k))
    product = split_product(b, x, b.constant(weight), "medium")  # whatever is fastest for the shape
    b.output("y", b.relu(b.add(product, b.constant(np.arange(n, dtype=np.float32)))))
    executable = build_executable(b.build(), target)
    guard = Guarded(rng.standard_normal((m, k), dtype=np.float32))
    left, right = (x.astype(BF16.numpy).astype(float) for x in (guard.array, weight))
    want = np.maximum(left @ right + np.arange(n), 0)
    got = executable(guard.array)[0]
    guard.release()
    assert np.max(np.abs(got - want) / (np.abs(left) @ np.abs(right) + n)) < 1e-6


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", ["f64", "i32", "i64", "f16", "bf16"])
def test_dtypes(target, dtype, rng) -> None:
    b = Builder()
    x, y = b.input("x", dtype, ("m", 19)), b.input("y", dtype, (19, 21))
    b.output("z", b.matmul(x, y))
    executable = build_executable(b.build(), target)
    kind = x.type.dtype.numpy
    left, right = (rng.integers(-9, 9, s).astype(kind) for s in ((11, 19), (19, 21)))
    assert np.array_equal(
        executable(left, right)[0].astype(float), (left.astype(float) @ right.astype(float)).astype(kind).astype(float)
    )


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("transpose_a,transpose_b", [(False, False), (True, False), (False, True), (True, True)])
def test_batches_views_and_transposes(target, transpose_a, transpose_b, rng) -> None:
    b = Builder()
    x = b.input("x", "f32", ("batch", 3, 7, "s") if transpose_a else ("batch", 3, "s", 7))
    y = b.input("y", "f32", (3, "t", 7) if transpose_b else (3, 7, "t"))
    left = b.transpose(x, perm=(0, 1, 3, 2)) if transpose_a else x
    right = b.transpose(y, perm=(0, 2, 1)) if transpose_b else y
    b.output("z", b.matmul(left, right))
    executable = build_executable(b.build(), target)
    for s, t, batch in ((5, 18, 2), (1, 1, 1), (33, 40, 1), (0, 4, 2), (4, 0, 2), (3, 3, 0)):
        a = rng.standard_normal((batch, 3, s, 7), dtype=np.float32)
        c = rng.standard_normal((3, 7, t), dtype=np.float32)
        feeds = {"x": a.swapaxes(2, 3).copy() if transpose_a else a, "y": c.swapaxes(1, 2).copy() if transpose_b else c}
        np.testing.assert_allclose(executable.run(feeds)["z"], a.astype(float) @ c, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("after", [True, False])
def test_touches_nothing_outside(target, after, rng) -> None:
    for m, n, k in ((1, 1, 1), (7, 17, 13), (6, 16, 32), (33, 31, 65)):
        weight = rng.standard_normal((k, n), dtype=np.float32)
        executable = build_executable(matmul("m", n, k, weight), target)
        guard = Guarded(rng.standard_normal((m, k), dtype=np.float32), after)
        executable(guard.array)
        guard.release()


def test_depth_zero_is_the_epilogue_of_zero(rng) -> None:
    b = Builder()
    x, y = b.input("x", "f32", (3, "k")), b.input("y", "f32", ("k", 4))
    b.output("z", b.add(b.matmul(x, y), 2.0))
    executable = build_executable(b.build())
    assert np.array_equal(executable(np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32))[0], np.full((3, 4), 2, np.float32))


@pytest.mark.parametrize("target", EVERY_TARGET.values(), ids=EVERY_TARGET)
@pytest.mark.parametrize("view", ["plain", "transposed", "reversed", "sliced"])
def test_bfloat16_read_in_place(target, view, rng) -> None:
    """A as a view of the model's input or of an intermediate value: rows that follow are not there, k does not lie side by side."""
    for computed in (False, True):
        b = Builder()
        x = b.input("x", "bf16", ("k", "m") if view == "transposed" else ("m", 64 if view == "plain" else 80))
        a = b.neg(x) if computed else x
        if view == "transposed":
            a = b.transpose(a, perm=(1, 0))
        elif view == "reversed":
            a = b.slice(a, axes=(0, 1), starts=(x.type.shape[0] - 1, 0), sizes=(x.type.shape[0], 64), steps=(-1, 1))
        elif view == "sliced":
            a = b.slice(a, axes=(1,), starts=(16,), sizes=(64,), steps=(1,))
        weight = rng.integers(-4, 5, (64, 33)).astype(np.float32) if view != "transposed" else None
        y = b.constant(weight, "bf16") if weight is not None else b.input("y", "bf16", ("k", 33))
        b.output("z", b.matmul(a, y))
        executable = build_executable(b.build(), target)
        for m in (1, 7, 33):
            array = rng.integers(-4, 5, (64, m) if view == "transposed" else (m, 64 if view == "plain" else 80)).astype(np.float32)
            feeds = {"x": array.astype(x.type.dtype.numpy)}
            if weight is None:
                feeds["y"] = rng.integers(-4, 5, (64, 33)).astype(x.type.dtype.numpy)
            left = {"plain": array, "transposed": array.T, "reversed": array[::-1, :64], "sliced": array[:, 16:]}[view]
            left = -left if computed else left
            want = left @ (weight if weight is not None else feeds["y"].astype(np.float32))
            got = executable.run(feeds)["z"].astype(np.float32)
            np.testing.assert_array_equal(got, want.astype(x.type.dtype.numpy).astype(np.float32))
