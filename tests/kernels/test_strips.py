"""Reductions of few columns by strips of neighbouring rows: whole and broken strips, whole vectors and tails, on every target."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import feeds
from tests.native import Guarded, build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.kernels.specs import STRIP, LoopKernel
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan.build import build
from tgen.targets.target import Target
from tgen.targets.x86 import AVX2

TARGETS = runnable_targets()
CHANNELS = 45  # two vectors at a time, one, and elements: with lanes of 4, 8 and 16


def _graph(kernel: tuple[int, int], stride: int) -> Graph:
    """Weighted sums and maxima over windows of each channel, channels last, of symbolic width."""
    b = Builder("windows")
    last = b.input("x", "f32", (1, 11, "width", CHANNELS))
    x, width = b.transpose(last, perm=(0, 3, 1, 2)), last.type.shape[2]
    sizes = ((11 - kernel[0]) // stride + 1, (width - kernel[1]) // stride + 1)
    ones = {"strides": (stride, stride), "dilations": (1, 1), "pads": (0, 0), "inside": True}
    found: Value = b.windows(x, b.constant(np.float32(0)), kernel=kernel, sizes=sizes, **ones)
    views = b.transpose(found, perm=(0, 4, 5, 2, 3, 1))
    weights = np.random.default_rng(3).standard_normal((*kernel, CHANNELS)).astype(np.float32)
    b.output("sum", b.relu(b.reduce_sum(b.mul(views, b.constant(weights)), axes=(3, 4), keepdims=False)))
    b.output("most", b.reduce_max(views, axes=(3, 4), keepdims=False))
    return b.build()


def test_windows_are_reduced_in_strips() -> None:
    kernels = build(run_pipeline(_graph((3, 3), 1), pipeline(AVX2))).kernels
    assert sum(isinstance(k, LoopKernel) and k.in_strips for k in kernels) == len(("sum", "most"))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((2, 5), 2)])
def test_agrees_with_the_definition(target: Target, kernel: tuple[int, int], stride: int) -> None:
    graph = _graph(kernel, stride)
    compiled = build_executable(graph, target)
    for width in (kernel[1], kernel[1] + stride * STRIP - 1, 3 * STRIP * stride + kernel[1]):
        given = feeds(graph, width=width)
        want = evaluate(graph, given)
        for after in (True, False):
            guarded = Guarded(given["x"], after)
            got = compiled.run({"x": guarded.array})
            guarded.release()
            np.testing.assert_allclose(got["sum"], want["sum"], rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(got["most"], want["most"])
