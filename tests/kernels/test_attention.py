"""Attention as one kernel: every kind of tail and mask on every target against float64; what is recognised, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.native import Guarded, build_executable, host, runnable_targets
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dims import evaluate_dim
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.attend import Attend
from tgen.passes.attention import attention

TARGETS = runnable_targets()
SIZES = [
    (1, 1, 1),
    (2, 5, 7),
    (1, 48, 128),
    (1, 49, 129),
    (2, 13, 33),
    (1, 100, 300),
    (1, 2, 1030),
    (1, 0, 4),
    (2, 3, 0),
    (0, 3, 3),
]
HEADS, DEPTH, WIDTH = 3, 19, 21
Body = Callable[[Builder, Value, Value], Value]


def parts(dtype: str = "f32", depth: int = DEPTH, width: int = WIDTH) -> tuple[Builder, Value, Value, Value]:
    b = Builder()
    q = b.input("q", dtype, ("b", HEADS, "s", depth))
    k = b.input("k", dtype, ("b", HEADS, "t", depth))
    return b, q, b.transpose(k, perm=(0, 1, 3, 2)), b.input("v", dtype, ("b", HEADS, "t", width))


def graph_of(body: Body, dtype: str = "f32") -> Graph:
    """softmax(body(q·kᵀ))·v; body is given the builder, q and kᵀ."""
    b, q, k, v = parts(dtype)
    b.output("y", b.matmul(b.softmax(body(b, q, k), axis=-1), v))
    return b.build()


def plain(b: Builder, q: Value, k: Value) -> Value:
    return b.mul(b.matmul(q, k), DEPTH**-0.5)


def scaled_before(b: Builder, q: Value, k: Value) -> Value:
    return b.matmul(b.mul(q, DEPTH**-0.25), b.mul(k, DEPTH**-0.25))


def mask_added(b: Builder, q: Value, k: Value) -> Value:
    return b.add(b.div(b.matmul(q, k), DEPTH**0.5), b.input("added", "f32", ("b", 1, 1, "t")))


def mask_first(b: Builder, q: Value, k: Value) -> Value:
    return b.add(b.input("added", "f32", ("b", 1, 1, "t")), b.mul(DEPTH**-0.5, b.matmul(q, k)))


def mask_selected(b: Builder, q: Value, k: Value) -> Value:
    return b.where(b.input("seen", "bool", (1, 1, "s", "t")), plain(b, q, k), -1e9)


def position_bias(b: Builder, q: Value, k: Value) -> Value:
    bias = b.input("bias", "f32", (HEADS, "s", "t"))
    return b.add(b.add(b.matmul(q, k), bias), b.input("added", "f32", ("b", 1, 1, "t")))


def capped(b: Builder, q: Value, k: Value) -> Value:
    return b.mul(b.tanh(b.div(plain(b, q, k), 5.0)), 5.0)


BODIES = [plain, scaled_before, mask_added, mask_first, mask_selected, position_bias, capped]


def feeds(graph: Graph, size: tuple[int, int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    extent = dict(zip("bst", size))
    out = {}
    for node in graph.inputs:
        type_, name = node.types[0], node.op.label  # type: ignore[attr-defined]
        shape = [d if isinstance(d, int) else extent[str(d)] for d in type_.shape]
        if name == "seen":
            out[name] = rng.random(shape) < 0.7
        elif name == "added":
            out[name] = np.where(rng.random(shape) < 0.3, np.finfo(np.float32).min, 0).astype(np.float32)
        else:
            out[name] = rng.standard_normal(shape).astype(type_.dtype.numpy)
    return out


def oracle(name: str, f: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """In float64, written apart from the product's references; and how far float32 may be off: an error of a score, some units in
    the last place of the greatest, is a relative error of a weight.
    """
    scores = np.einsum("bhsd,bhtd->bhst", f["q"].astype(float), f["k"].astype(float))
    if name != "position_bias":
        scores = scores / np.sqrt(DEPTH)
    if name == "capped":
        scores = 5 * np.tanh(scores / 5)
    if "bias" in f:
        scores = scores + f["bias"]
    if "added" in f:
        scores = scores + f["added"].astype(float)
    if "seen" in f:
        scores = np.where(f["seen"], scores, -1e9)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-1e300))
    out = np.einsum("bhst,bhte->bhse", weights / weights.sum(axis=-1, keepdims=True), f["v"].astype(float))
    greatest = np.abs(scores[scores > -1e8]).max(initial=4.0)
    return out, float(4 * 2**-23 * greatest * np.abs(f["v"]).max(initial=0))


def attends(graph: Graph) -> int:
    return sum(isinstance(n.op, Attend) for n in attention(graph).nodes)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_every_tail(target, body, rng) -> None:
    graph = graph_of(body)
    assert attends(graph) == 1
    executable = build_executable(graph, target)
    for size in SIZES:
        f = feeds(graph, size, rng)
        want, tolerance = oracle(body.__name__, f)
        np.testing.assert_allclose(executable.run(f)["y"], want, rtol=1e-6, atol=tolerance, err_msg=str(size))


@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_the_pass_keeps_the_meaning(body, rng) -> None:
    graph = graph_of(body)
    for size in [(2, 5, 7), (1, 1, 1), (1, 3, 0)]:
        f = feeds(graph, size, rng)
        np.testing.assert_allclose(evaluate(attention(graph), f)["y"], evaluate(graph, f)["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype,tolerance", [("f64", 1e-13), ("f16", 2e-3), ("bf16", 2e-2)])
def test_dtypes(target, dtype, tolerance, rng) -> None:
    graph = graph_of(plain, dtype)
    assert attends(graph) == 1
    executable = build_executable(graph, target)
    f = feeds(graph, (2, 11, 37), rng)
    np.testing.assert_allclose(executable.run(f)["y"].astype(float), oracle("plain", f)[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("precision,tolerance", [("highest", 3e-6), ("high", 1e-4), ("medium", 3e-2)])
def test_precisions(target, precision, tolerance, rng) -> None:
    b, q, k, v = parts(depth=64, width=64)
    b.output("y", b.matmul(b.softmax(b.mul(b.matmul(q, k), 0.125), axis=-1), v))
    graph = b.build()
    executable = build_executable(graph, target, precision)
    f = feeds(graph, (1, 70, 261), rng)
    scores = np.einsum("bhsd,bhtd->bhst", f["q"].astype(float), f["k"].astype(float)) / 8
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    want = np.einsum("bhst,bhte->bhse", weights / weights.sum(axis=-1, keepdims=True), f["v"].astype(float))
    assert np.abs(executable.run(f)["y"] - want).max() / np.abs(want).max() < tolerance


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_rows_that_see_nothing_or_too_much(target, rng) -> None:
    """A softmax of -inf alone, of a NaN or of an infinity is NaN; other rows are not touched. One block of -inf is no row of it."""
    b, q, k, v = parts()
    b.output("y", b.matmul(b.softmax(b.add(b.matmul(q, k), b.input("bias", "f32", ("s", "t"))), axis=-1), v))
    graph = b.build()
    executable = build_executable(graph, target)
    f = feeds(graph, (1, 6, 300), rng)
    f["bias"][0] = -np.inf
    f["bias"][1, 5] = np.nan
    f["bias"][2, 7] = np.inf
    f["bias"][3, :290] = -np.inf
    f["bias"][4, 10:] = -np.inf
    with np.errstate(all="ignore"):
        want = evaluate(graph, f)["y"]
    assert np.isnan(want[0, :, :3]).all() and np.isfinite(want[0, :, 3:]).all()
    np.testing.assert_allclose(executable.run(f)["y"], want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_nan_replaced_by_zero(target, rng) -> None:
    """What exporters write around a softmax whose row may see nothing."""
    b, q, k, v = parts()
    w = b.softmax(b.add(b.matmul(q, k), b.input("bias", "f32", ("s", "t"))), axis=-1)
    b.output("y", b.matmul(b.where(b.is_nan(w), 0.0, w), v))
    graph = b.build()
    assert attends(graph) == 1
    f = feeds(graph, (2, 4, 150), rng)
    f["bias"][1] = -np.inf
    with np.errstate(all="ignore"):
        want = evaluate(graph, f)["y"]
    assert not want[:, :, 1].any()
    np.testing.assert_allclose(build_executable(graph, target).run(f)["y"], want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("after", [True, False])
def test_touches_nothing_outside(target, after, rng) -> None:
    graph = graph_of(mask_selected)
    executable = build_executable(graph, target)
    for size in [(1, 1, 1), (1, 7, 17), (2, 50, 131)]:
        guards = {name: Guarded(array, after) for name, array in feeds(graph, size, rng).items()}
        executable.run({name: guard.array for name, guard in guards.items()})
        for guard in guards.values():
            guard.release()


def test_same_bits_for_any_number_of_threads(rng) -> None:
    graph = graph_of(position_bias)
    f = feeds(graph, (2, 101, 259), rng)
    first = build_executable(graph, threads=1).run(f)["y"]
    for threads in (2, 3):
        assert np.array_equal(build_executable(graph, threads=threads).run(f)["y"], first)


def test_left_alone_where_somebody_else_reads() -> None:
    for seen in ("scores", "weights"):
        b, q, k, v = parts()
        scores = plain(b, q, k)
        weights = b.softmax(scores, axis=-1)
        b.output("y", b.matmul(weights, v))
        b.output("seen", scores if seen == "scores" else weights)
        assert attends(b.build()) == 0


def test_left_alone_where_it_is_no_attention() -> None:
    b, q, k, v = parts()
    b.output("y", b.matmul(b.softmax(plain(b, q, k), axis=2), v))
    assert attends(b.build()) == 0, "softmax along another axis"

    b, q, k, v = parts()
    scores = b.transpose(b.matmul(q, k), perm=(0, 2, 1, 3))
    b.output("y", b.matmul(b.transpose(b.softmax(scores, axis=-1), perm=(0, 2, 1, 3)), v))
    assert attends(b.build()) == 0, "elements that change places"

    b, q, k, v = parts()
    scores = plain(b, q, k)
    b.output("y", b.matmul(b.softmax(b.mul(scores, scores), axis=-1), v))
    assert attends(b.build()) == 0, "scores read twice"


def test_no_matrix_of_scores_in_memory() -> None:
    plan = compile_graph(graph_of(plain), host(), "highest").plan
    sizes = {"b": 1, "s": 4096, "t": 4096}
    assert evaluate_dim(plan.arena, sizes) < 4096 * 4096 and evaluate_dim(plan.scratch, sizes) < 1 << 20
