"""Kernels of few rows beside those of many: one executable of symbolic rows against those of known ones and against float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from tests.native import Guarded, build_executable, host, is_native, runnable_targets
from tests.sharing import everything_shared, executables
from tgen.bench.native import NativeRun
from tgen.bench.work import work_of_step
from tgen.codegen.llvm import machine_of
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dims import DimLike, evaluate_dim, floordiv, product
from tgen.ir.dtypes import BF16, I32
from tgen.ir.graph import Graph
from tgen.kernels.specs import ContractKernel
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan.build import build
from tgen.plan.types import Plan
from tgen.targets.find import all_targets
from tgen.targets.target import Target

ROWS = (1, 2, 4, 5, 16, 17, 63, 64, 300)
TARGETS = runnable_targets(every=True)
NATIVE = {name: t for name, t in TARGETS.items() if is_native(t)}
DECLARED = {t.name: t for t in all_targets()}


def products(rows: Sequence[DimLike | str], weight: np.ndarray, dtype: str) -> Graph:
    """The product of several matrices with one weight."""
    b = Builder()
    for m in rows:
        x = b.input(f"x{m}", dtype, (m, weight.shape[0]))
        y = b.mat_mul_integer(x, b.constant(weight)) if dtype == "u8" else b.matmul(x, b.constant(weight))
        b.output(f"y{m}", b.add(y, b.constant(np.arange(weight.shape[1]).astype(y.type.dtype.numpy))))
    return b.build()


def windows(weight: np.ndarray, taps: int, stride: int) -> Graph:
    """The product of a weight with windows of `taps` neighbours, every `stride` steps of the sequences x [n, t, …]."""
    b = Builder()
    x = b.input("x", "f32", ("n", "t", weight.shape[0] // taps))
    count = floordiv(x.type.shape[1] - taps, stride) + 1
    where = {"kernel": (taps,), "sizes": (count,), "strides": (stride,), "dilations": (1,), "pads": (0,)}
    found = b.windows(b.transpose(x, perm=(0, 2, 1)), b.constant(np.float32(0)), inside=True, **where)
    last = b.transpose(found, perm=(0, 3, 2, 1))
    b.output("y", b.window_product(last, b.constant(weight), row_axes=2, depth_axes=2))
    return b.build()


def operands(dtype: str, m: int, n: int, k: int, rng) -> tuple[np.ndarray, np.ndarray]:
    if dtype == "u8":
        return rng.integers(0, 256, (m, k), np.uint8), rng.integers(-128, 128, (k, n), np.int8)
    kind = BF16.numpy if dtype == "bf16" else np.float32
    return rng.standard_normal((m, k), np.float32).astype(kind), rng.standard_normal((k, n), np.float32).astype(kind)


def planned(graph: Graph, target: Target) -> Plan:
    return build(run_pipeline(graph, pipeline(target, "highest")))


def tiles(plan: Plan, **values: int) -> list[str]:
    """The instructions of a run's contractions, step by step."""
    kernels = (plan.kernels[step.chosen(values)] for step in plan.steps)
    return [k.tile for k in kernels if isinstance(k, ContractKernel)]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "bf16", "u8"])
def test_one_executable_for_all_rows(target: Target, dtype: str, rng) -> None:
    """The same bits as those of known rows, where these multiply by the same instruction; right in any case."""
    n, k = 70, 700  # neither whole panels nor one block of k
    x, weight = operands(dtype, max(ROWS), n, k, rng)
    symbolic, known = products(["m"], weight, dtype), products(ROWS, weight, dtype)
    plan, fixed = planned(symbolic, target), tiles(planned(known, target))
    run = build_executable(symbolic, target)
    expected = build_executable(known, target).run({f"x{m}": x[:m] for m in ROWS})
    exact = x.astype(float) @ weight.astype(float) + np.arange(n)
    scale = np.abs(x.astype(float)) @ np.abs(weight.astype(float)) + n
    for m, tile in zip(ROWS, fixed, strict=True):
        got = run(x[:m])[0]
        tolerance = 0 if got.dtype == I32.numpy else 2**-8 if dtype == "bf16" else 1e-6
        assert np.max(np.abs(got.astype(float) - exact[:m]) / scale[:m]) <= tolerance
        assert tiles(plan, m=m) != [tile] or np.array_equal(got, expected[f"y{m}"])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_number_of_rows(target: Target, rng) -> None:
    """Last blocks of every size, over several blocks of k: each row has the bits it has alone."""
    x, weight = operands("f32", 30, 40, 600, rng)
    graph = products(["m"], weight, "f32")
    plan, run = planned(graph, target), build_executable(graph, target)
    everything = run(x)[0]
    for m in range(1, len(x) + 1):
        if tiles(plan, m=m) == tiles(plan, m=len(x)):
            assert np.array_equal(run(x[:m])[0], everything[:m]), m


@pytest.mark.parametrize("target", runnable_targets().values(), ids=runnable_targets())
def test_windows_of_few_rows(target: Target, rng) -> None:
    """As `test_one_executable_for_all_rows`; A read where its windows lie, a tap of them more than one block of k."""
    taps, stride, channels, n = 3, 2, 410, 70
    _, weight = operands("f32", 1, n, taps * channels, rng)
    graph = windows(weight, taps, stride)
    run = build_executable(graph, target)
    for batch, length in ((1, 3), (1, 5), (2, 6), (3, 13), (2, 90)):
        x = rng.standard_normal((batch, length, channels), np.float32)
        rows = np.lib.stride_tricks.sliding_window_view(x.astype(float), taps, 1)[:, ::stride].swapaxes(2, 3)
        rows = rows.reshape(*rows.shape[:2], -1)
        scale = np.abs(rows) @ np.abs(weight.astype(float))
        assert np.max(np.abs(run(x)[0] - rows @ weight.astype(float)) / scale) <= 1e-6, (batch, length)


def test_windows_have_cases(rng) -> None:
    """Blocks for few positions beside those for many, also where a sequence of the typical length has none."""
    _, weight = operands("f32", 1, 64, 200 * 4, rng)
    plan = planned(windows(weight, 200, 160), DECLARED["avx2"])
    (step,) = (s for s in plan.steps if s.cases)
    many, *few = (plan.kernels[k] for k in (step.kernel, *(case.kernel for case in step.cases)))
    assert isinstance(many, ContractKernel) and many.windows is not None and many.block[0] > 1
    assert all(isinstance(k, ContractKernel) and k.windows == many.windows and k.tile == many.tile for k in few)


@pytest.mark.parametrize("target", NATIVE.values(), ids=NATIVE)
@pytest.mark.parametrize("dtype", ["f32", "u8"])
def test_reads_no_weights_that_are_not_there(target: Target, dtype: str, rng) -> None:
    """Columns that end inside a block of several panels: the page behind the last one may not be read."""
    x, weight = operands(dtype, 2, 70, 700, rng)
    compiled = compile_graph(products(["m"], weight, dtype), target, "highest")
    guard = Guarded(compiled.artefact.weights)
    artefact = dataclasses.replace(compiled.artefact, weights=guard.array)
    guarded = dataclasses.replace(compiled, artefact=artefact, machine=machine_of(host()))
    for m in (1, 2):
        NativeRun(guarded, host(), 1, {"xm": x[:m]}, {"m": m}).run()
    guard.release()


def test_any_number_of_threads_gives_the_same_bits(rng) -> None:
    """Cases differ in their units of work, which threads share; columns end inside a block."""
    x, weight = operands("f32", max(ROWS), 300, 200, rng)
    with everything_shared():
        alone, *shared = executables(products(["m"], weight, "f32"), (1, 2, 3))
        for m in ROWS:
            expected = alone(x[:m])[0]
            assert all(np.array_equal(run(x[:m])[0], expected) for run in shared), m


def test_a_plan_says_which_kernel_runs(rng) -> None:
    """Weights that L2 holds: one or two rows take more columns at once, with the same operands."""
    _, weight = operands("f32", 3, 64, 64, rng)
    plan = planned(products(["m"], weight, "f32"), DECLARED["avx2"])
    (step,) = plan.steps
    (case,) = step.cases
    wide, narrow = plan.kernels[case.kernel], plan.kernels[step.kernel]
    assert isinstance(wide, ContractKernel) and isinstance(narrow, ContractKernel)
    assert wide.panel == wide.panels * narrow.panel and wide.outputs == narrow.outputs
    assert [step.chosen({"m": m}) for m in (1, case.most, case.most + 1)] == [case.kernel, case.kernel, step.kernel]
    assert f"kernel {step.kernel}, kernel {case.kernel} where m <= {case.most} (input 0, " in str(plan)
    assert evaluate_dim(plan.scratch, {}) == max(evaluate_dim(k.scratch, {}) for k in (wide, narrow))
    work = work_of_step(plan, step, {"m": 1})
    assert (work.tile, work.operations) == (wide.tile, 2 * 64 * 64)
    assert planned(products([1], weight, "f32"), DECLARED["avx2"]).steps[0].cases == ()


@pytest.mark.parametrize("rows", [("batch", 3), (2, "seq")])
def test_batches_of_rows_count_together(rows: tuple[DimLike | str, ...], rng) -> None:
    """Batch axes that merge into rows are rows; where they do not, a known number of rows decides when compiling."""
    _, weight = operands("f32", 1, 64, 64, rng)
    b = Builder()
    x = b.input("x", "f32", (*rows, 64))
    b.output("y", b.matmul(x, b.constant(weight)))
    plan = planned(b.build(), DECLARED["avx2"])
    (case,) = plan.steps[0].cases
    assert case.extent == product(x.type.shape[:-1])


def test_single_rows_of_a_batch_are_rows(rng) -> None:
    """Steps of a sequence [t, 1, k] are one matrix, whatever stride the axis of one has; what is added may differ from step to step."""
    _, weight = operands("f32", 1, 40, 64, rng)
    b = Builder()
    x, more = b.unsqueeze(b.input("x", "f32", ("t", 64)), axes=(1,)), b.input("more", "f32", ("t", 1, 40))
    b.output("y", b.add(b.matmul(x, b.constant(weight)), more))
    graph = b.build()
    (kernel, *_) = (k for k in planned(graph, host()).kernels if isinstance(k, ContractKernel))
    assert kernel.batch == () and str(kernel.rows) == "t"
    run = build_executable(graph)
    for t in (1, 7):
        given = [rng.standard_normal(shape, np.float32) for shape in ((t, 64), (t, 1, 40))]
        wanted = (given[0].astype(float) @ weight)[:, None] + given[1]
        np.testing.assert_allclose(run(*given)[0], wanted, rtol=1e-5, atol=1e-5)
