"""Fusion by composing bodies: what becomes one kernel, and that nothing changes in value."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import run_native
from tgen.codegen import llvm
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.fused import Loops, TiledContraction
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.targets.find import find_target

TARGET = find_target("host", llvm.host_features(), llvm.host_triple())


def softmax() -> Graph:
    b = Builder()
    b.output("y", b.softmax(b.input("x", "f32", ("batch", "n")), axis=-1))
    return b.build()


def layer_norm_after_residual() -> Graph:
    b = Builder()
    x, r = (b.input(name, "f32", ("batch", "seq", 40)) for name in "xr")
    total = b.add(x, r)
    mean = b.reduce_mean(total, axes=(-1,))
    centred = b.sub(total, mean)
    variance = b.reduce_mean(b.mul(centred, centred), axes=(-1,))
    normal = b.div(centred, b.sqrt(b.add(variance, 1e-5)))
    b.output("y", b.add(b.mul(normal, np.linspace(1, 2, 40, dtype=np.float32)), np.ones(40, np.float32)))
    b.output("sum", total)
    return b.build()


def mlp() -> Graph:
    b = Builder()
    x = b.input("x", "f32", ("batch", 24))
    for width in (32, 24):
        w = np.random.default_rng(width).standard_normal((x.type.shape[-1], width)).astype(np.float32)
        x = b.relu(b.add(b.matmul(x, w), np.ones(width, np.float32)))
    b.output("y", x)
    return b.build()


def heads() -> Graph:
    """q·kᵀ over heads: reshape and transpose are views, so nothing but the contraction (and packing of k) runs."""
    b = Builder()
    x = b.input("x", "f32", ("batch", "seq", 24))
    y = b.input("y", "f32", ("batch", "seq", 24))
    split = [
        b.transpose(b.reshape(v, shape=(*v.type.shape[:2], 3, 8)), perm=perm) for v, perm in ((x, (0, 2, 1, 3)), (y, (0, 2, 3, 1)))
    ]
    b.output("z", b.mul(b.matmul(*split), 0.5))
    return b.build()


CASES = {"softmax": (softmax, 1), "layer_norm_after_residual": (layer_norm_after_residual, 1), "mlp": (mlp, 2), "heads": (heads, 2)}


@pytest.mark.parametrize("make,steps", CASES.values(), ids=CASES)
def test_number_of_kernels(make, steps) -> None:
    assert len(compile_graph(make(), TARGET, "highest").plan.steps) == steps


@pytest.mark.parametrize("make,steps", CASES.values(), ids=CASES)
def test_values_after_every_pass(make, steps, rng) -> None:
    graph = make()
    sizes = {"batch": 3, "seq": 5, "n": 37}
    feeds = {
        n.op.label: rng.standard_normal([sizes.get(str(d), d) for d in n.types[0].shape], dtype=np.float32) for n in graph.inputs
    }
    want = evaluate(graph, feeds)

    def observe(name: str, after: Graph, seconds: float) -> None:
        for key, value in evaluate(after, feeds).items():
            np.testing.assert_allclose(value, want[key], rtol=2e-5, atol=1e-6 * np.abs(want[key]).max(), err_msg=f"after {name}")

    run_pipeline(graph, pipeline(TARGET, "highest"), observe=observe)
    for key, value in run_native(graph, feeds).items():
        np.testing.assert_allclose(value, want[key], rtol=2e-5, atol=1e-6 * np.abs(want[key]).max(), err_msg="compiled")


def test_bias_and_activation_are_in_the_contraction() -> None:
    fused = run_pipeline(mlp(), pipeline(TARGET, "highest"))
    contractions = [n for n in fused.nodes if isinstance(n.op, TiledContraction)]
    assert len(contractions) == 2 and not any(isinstance(n.op, Loops) for n in fused.nodes)
    assert [str(n.op.epilogues[0]) for n in contractions] == ["max(add(s0:f32, %2:f32[i1]), 0.0:f32)"] * 2


def test_a_value_with_two_readers_is_computed_once() -> None:
    b = Builder()
    x = b.input("x", "f32", ("n", 16))
    e = b.exp(b.exp(x))
    b.output("a", b.reduce_sum(e, axes=(1,)))
    b.output("b", b.transpose(e, perm=(1, 0)))
    fused = run_pipeline(b.build(), pipeline(TARGET, "highest"))
    bodies = " ".join(str(n.op) for n in fused.nodes)
    assert bodies.count("exp(exp(") == 1


def test_no_cycle_through_a_merged_group(rng) -> None:
    """a → contraction → c, and a → c: a and c have the same rows but may not merge around the contraction."""
    b = Builder()
    x = b.input("x", "f32", ("n", 8))
    s = b.softmax(x, axis=-1)
    y = b.matmul(s, np.eye(8, dtype=np.float32))
    b.output("z", b.softmax(b.add(b.exp(y), s), axis=-1))
    graph, feeds = b.build(), {"x": rng.standard_normal((5, 8), dtype=np.float32)}
    np.testing.assert_allclose(run_native(graph, feeds)["z"], evaluate(graph, feeds)["z"], rtol=1e-5)
    assert isinstance(graph.outputs[0][1], Value)
