"""frames, outside and divisions: padding is written apart or left out, known divisors are multiplied by."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.native import build_executable, host
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Call
from tgen.ir.graph import Graph
from tgen.ir.ops.elementwise import Div, Quotient
from tgen.ir.ops.fused import Loops
from tgen.ir.ops.generate import Pad
from tgen.ir.ops.movement import Concat
from tgen.ir.verify import verify
from tgen.kernels.specs import LoopKernel
from tgen.passes.divisions import divisions
from tgen.passes.frames import frames
from tgen.passes.inline import inline
from tgen.passes.lower import lower
from tgen.passes.outside import outside
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan.build import build

WIDTHS = {
    "all around": ((0, 1, 2, 0), (0, 1, 3, 0)),
    "one side": ((0, 0, 0, 0), (0, 2, 0, 0)),
    "batch too": ((1, 0, 1, 0), (0, 0, 0, 0)),
}


def padded(before: tuple[int, ...], after: tuple[int, ...], fill: float = 0.5, mode: str = "constant") -> Graph:
    b = Builder()
    x = b.input("x", "f32", ("n", "h", 5, 3))
    b.output("y", b.pad(b.relu(x), b.constant(fill, "f32"), before=before, after=after, mode=mode))
    return b.build()


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_frames_join_what_lies_around(widths, rng) -> None:
    graph = padded(*widths)
    framed = frames(graph)
    verify(framed)
    assert not any(isinstance(n.op, Pad) for n in framed.nodes) and any(isinstance(n.op, Concat) for n in framed.nodes)
    assert frames(framed) is framed
    for h in (1, 4):
        f = {"x": rng.standard_normal((2, h, 5, 3), np.float32)}
        np.testing.assert_array_equal(evaluate(framed, f)["y"], evaluate(graph, f)["y"])
        np.testing.assert_array_equal(build_executable(graph).run(f)["y"], evaluate(graph, f)["y"])


@pytest.mark.parametrize(
    "before,mode", [((0, 0, 0, 1), "constant"), ((0, 0, -1, 0), "constant"), ((0, 0, 1, 0), "edge"), ((0,) * 4, "constant")]
)
def test_other_paddings_stay(before, mode) -> None:
    graph = padded(before, (0,) * 4, mode=mode)
    assert frames(graph) is graph


def test_a_frame_costs_no_copy() -> None:
    """What is padded, itself a join of two, is written where it belongs; besides it only what lies around."""
    b = Builder()
    x = b.input("x", "f32", (1, 6, 5, 8))
    joined = b.concat(b.exp(x), b.tanh(x), axis=3)
    b.output("y", b.pad(joined, b.constant(0.0, "f32"), before=(0, 1, 1, 0), after=(0, 1, 1, 0)))
    plan = build(inline(lower(frames(b.build()))))
    loads = [x for s in plan.steps if isinstance(k := plan.kernels[s.kernel], LoopKernel) for x in k.stages[0].body.args]
    assert len(plan.steps) == 6  # exp, tanh; left, right, above, below
    assert len(loads) >= 2


def windows(combine: str, sizes: tuple[int, int], kernel: int, stride: int, pad: int, weights: float | None = None) -> Graph:
    """A reduction of windows that reach outside along the first axis of space."""
    b = Builder()
    x = b.input("x", "f32", (1, *sizes, 37))
    first = b.transpose(b.pad(x, b.constant(0.0, "f32"), before=(0, 0, pad, 0), after=(0, 0, pad, 0)), perm=(0, 3, 1, 2))
    fill = b.constant(np.float32(0 if combine == "sum" else -np.inf))
    counts = tuple((d + 2 * pad - kernel) // stride + 1 for d in sizes)
    found = b.windows(
        first,
        fill,
        kernel=(kernel,) * 2,
        sizes=counts,
        strides=(stride,) * 2,
        dilations=(1, 1),
        pads=(pad, 0),
        inside=True,
        outer=1,
    )
    last = b.transpose(found, perm=(0, 4, 5, 2, 3, 1))
    if weights is not None:
        last = b.mul(last, np.full((kernel, kernel, 37), weights, np.float32))
    b.output("y", getattr(b, f"reduce_{combine}")(last, axes=(3, 4), keepdims=False))
    return b.build()


def fused(graph: Graph) -> Graph:
    """As it comes to the pass."""
    return run_pipeline(graph, list(itertools.takewhile(lambda p: p.name != "outside", pipeline(host()))))


def guarded(graph: Graph) -> bool:
    """Whether some reduction starts with what it starts from wherever a condition does not hold."""
    programs = [n.op.program for n in graph.nodes if isinstance(n.op, Loops)]
    return any(isinstance(s.body, Call) and s.body.fn == "select" for p in programs for s in p.stages if s.kind == "reduce")


@pytest.mark.parametrize("sizes,kernel,stride,pad", [((2, 9), 5, 1, 2), ((7, 6), 3, 2, 1), ((1, 4), 3, 1, 1), ((9, 4), 4, 3, 3)])
@pytest.mark.parametrize("combine,weights", [("sum", 1.5), ("max", None)])
def test_windows_leave_out_what_is_outside(combine, weights, sizes, kernel, stride, pad, rng) -> None:
    graph = windows(combine, sizes, kernel, stride, pad, weights)
    after = outside(before := fused(graph))
    verify(after)
    assert after is not before and guarded(after) and outside(after) is after
    f = {"x": rng.standard_normal((1, *sizes, 37), np.float32)}
    want = evaluate(graph, f)["y"]
    np.testing.assert_allclose(evaluate(after, f)["y"], want, rtol=1e-6)
    np.testing.assert_allclose(build_executable(graph).run(f)["y"], want, rtol=2e-6, atol=2e-6)


def test_infinite_weights_meet_their_padding() -> None:
    """0·∞ is NaN: nothing is left out."""
    graph = fused(windows("sum", (2, 9), 5, 1, 2, np.inf))
    assert outside(graph) is graph


@pytest.mark.parametrize("divisor", [6.0, 255.0, 3.1415927, -7.0, 1.1, 2.0**59 * 1.3])
def test_known_divisors_are_multiplied_by(divisor, rng) -> None:
    """The same bits, as far as results are normal numbers and remainders, too."""
    b = Builder()
    b.output("y", b.div(b.input("x", "f32", ("n",)), b.constant(np.float32(divisor))))
    graph = b.build()
    after = divisions(graph)
    assert [type(n.op) for n in after.nodes if isinstance(n.op, (Div, Quotient))] == [Quotient] and divisions(after) is after
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(np.float32).max, divisor, 49 * divisor]
    x = np.concatenate([special, rng.standard_normal(20000) * 2.0 ** rng.integers(-20, 120, 20000), rng.integers(-999, 999, 5000)])
    f = {"x": x.astype(np.float32)}
    got, want = build_executable(graph).run(f)["y"], f["x"] / np.float32(divisor)
    np.testing.assert_array_equal(got.view(np.uint32)[~np.isnan(want)], want.view(np.uint32)[~np.isnan(want)])
    assert np.isnan(got[np.isnan(want)]).all()


@pytest.mark.parametrize("divisor", [0.0, 0.3, 2.0**61, np.inf, np.nan])
def test_other_divisors_stay(divisor) -> None:
    b = Builder()
    b.output("y", b.div(b.input("x", "f32", (symbol("n"),)), b.constant(np.float32(divisor))))
    graph = b.build()
    assert divisions(graph) is graph
