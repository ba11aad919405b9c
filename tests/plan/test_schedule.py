"""Phases: steps of one may run in any order and at the same time; memory of one is not used twice; how few there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import feeds
from tests.meetings import meetings
from tests.native import host
from tests.sharing import everything_shared, executables
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dims import DimLike, symbol
from tgen.ir.dtypes import F32
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Load, index
from tgen.ir.graph import Graph, Value
from tgen.ir.loops import Stage
from tgen.kernels.specs import Kernel, LoopKernel
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan import schedule
from tgen.plan.build import build
from tgen.plan.schedule import dependences, lifetimes, scheduled
from tgen.plan.types import Buffer, Operand, Plan, Step

N = symbol("n")
rarely = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def branches(draw: Any) -> Graph:
    """Graphs of many branches over [n, 8]: products, norms, joins of parts, halves, transposed reads."""
    b = Builder()
    values = [b.input(name, "f32", (N, 8)) for name in ("x", "y")]
    for k in range(draw(st.integers(3, 10))):
        values.append(_value(b, draw(st.integers(0, 5)), draw(st.sampled_from(values)), draw(st.sampled_from(values)), k))
    read = {v for value in values for v in value.node.inputs}
    for k, value in enumerate(v for v in values if v not in read):
        b.output(f"out{k}", value)
    return b.build()


def _value(b: Builder, kind: int, x: Value, y: Value, seed: int) -> Value:
    weight = np.random.default_rng(seed).standard_normal((8, 8)).astype(np.float32) / 4
    if kind == 0:
        return b.softmax(b.add(x, y), axis=-1)
    if kind == 1:  # halves of two values side by side: their producers write into one buffer
        halves = [b.slice(v, axes=(1,), starts=(s,), sizes=(4,), steps=(1,)) for v, s in ((x, 0), (y, 4))]
        return b.concat(*(b.matmul(h, weight[:4, :4]) for h in halves), axis=1)
    if kind == 2:
        both = b.concat(b.matmul(x, weight), b.tanh(y), axis=0)
        return b.reduce_max(b.reshape(both, shape=(2, N, 8)), axes=(0,), keepdims=False)
    if kind == 3:
        return b.matmul(b.matmul(x, b.transpose(y, perm=(1, 0))), b.mul(x, 0.01))
    return b.add(b.matmul(x, weight), y)


def conflicts(plan: Plan, sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Operands of different steps of a phase that share bytes, one of them written."""
    return [found for phase in plan.phases for one, other in combinations(phase, 2) for found in meetings(plan, one, other, sizes)]


def reversed_phases(plan: Plan) -> Plan:
    return dataclasses.replace(plan, steps=tuple(step for phase in plan.phases for step in reversed(phase)))


@pytest.mark.parametrize("growth", [0.0, 1e9], ids=["in order", "fewest"])
@rarely
@given(graph=branches())
def test_steps_of_a_phase_do_not_meet(growth: float, graph: Graph) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "GROWTH", growth)
        plan = build(run_pipeline(graph, pipeline(host())))
    for n in (0, 1, 7, 300):
        assert conflicts(plan, {"n": n}) == []
    assert [step.phase for step in plan.steps] == sorted(step.phase for step in plan.steps)


@rarely
@given(graph=branches(), least=st.sampled_from([1, 1000, 8000]))
def test_any_order_and_any_number_of_threads_give_the_same_bits(graph: Graph, least: int) -> None:
    """In the plan's order and the reverse of each phase; with phases of all threads, of the first alone, and of both kinds."""
    with everything_shared(least) as patch:
        in_order = executables(graph, (1, 4))
        patch.setattr("tgen.compiler.build", lambda g, equal: reversed_phases(build(g, equal)))
        in_reverse = executables(graph, (2, 3))
        for n in (1, 5, 40):
            inputs = feeds(graph, n=n)
            results = [executable.run(inputs) for executable in (*in_order, *in_reverse) for _ in range(5)]

            for name, wanted in evaluate(graph, inputs).items():
                np.testing.assert_allclose(results[0][name], wanted, rtol=1e-3, atol=1e-4)
                assert all(np.array_equal(r[name], results[0][name], equal_nan=True) for r in results)


def test_projections_share_a_phase(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", "f32", ("n", 32))
    q, k, v = (b.relu(b.matmul(x, rng.standard_normal((32, 32)).astype(np.float32))) for _ in range(3))
    b.output("y", b.matmul(b.softmax(b.matmul(q, b.transpose(k, perm=(1, 0))), axis=-1), v))
    plan = compile_graph(b.build(), host(), "highest").plan
    assert len(plan.phases) == 3 < len(plan.steps)
    assert "3 phases" in str(plan) and "phase 1 step 2: " in str(plan)


def test_parts_of_a_join_are_written_in_one_phase(rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", "f32", ("n", 32))
    parts = [b.matmul(x, rng.standard_normal((32, width)).astype(np.float32)) for width in (16, 8, 40)]
    b.output("y", b.concat(*parts, axis=1))
    plan = compile_graph(b.build(), host(), "highest").plan
    assert [len(phase) for phase in plan.phases] == [3]


# -- the schedule alone: kernels of so many outputs, operands of so many buffers -------------------------------------------


def kernel(inputs: int, outputs: int) -> Kernel:
    body = Load(F32, 0, (index(0),))
    stages = tuple(Stage("each", body, output=k, index=(index(0),)) for k in range(outputs))
    return LoopKernel((8,), 1, stages, (F32,) * inputs, (F32,) * outputs, 0)


def steps_of(accesses: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[list[Step], list[Kernel]]:
    """Steps that read and write the buffers named."""
    kernels = [kernel(len(reads), len(writes)) for reads, writes in accesses]
    return [Step(k, tuple(Operand(b, 0) for b in (*reads, *writes))) for k, (reads, writes) in enumerate(accesses)], kernels


def arena(count: int, size: DimLike = 64) -> list[Buffer]:
    return [Buffer("arena", bytes=size) for _ in range(count)]


BUFFERS = st.lists(st.integers(0, 6), max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BUFFERS, BUFFERS), max_size=15), st.sampled_from([0.0, 1e9]))
def test_dependent_steps_keep_their_order(accesses: list[Any], growth: float) -> None:
    steps, kernels = steps_of(accesses)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "GROWTH", growth)
        phase = {step.kernel: step.phase for step in scheduled(steps, kernels, arena(7)).steps}
    for later, (reads, writes) in enumerate(accesses):
        for earlier, (reads_before, writes_before) in enumerate(accesses[:later]):
            if {*writes} & {*reads_before, *writes_before} or {*reads} & {*writes_before}:
                assert phase[earlier] < phase[later]
    longest = 1 + max(_longest(dependences(steps, kernels)), default=-1)
    assert set(phase.values()) == set(range(len(set(phase.values()))))
    assert len(set(phase.values())) == longest or growth == 0.0


def _longest(before: list[set[int]]) -> list[int]:
    length: list[int] = []
    for needed in before:
        length.append(max((length[k] + 1 for k in needed), default=0))
    return length


def test_memory_is_not_spent_on_fewer_phases() -> None:
    """Ten chains of two steps, whose middle is large and results small: all middles at once would take ten times the memory."""
    chains = [access for k in range(10) for access in (((), (2 * k,)), ((2 * k,), (2 * k + 1,)))]
    steps, kernels = steps_of(chains)
    wide = [Buffer("arena", bytes=64 if k % 2 else 1000 * N) for k in range(20)]
    ordered = scheduled(steps, kernels, wide).steps
    assert [step.kernel for step in ordered] == list(range(20)) and ordered[-1].phase == 10
    assert lifetimes(ordered, wide)[0] == dataclasses.replace(lifetimes(ordered, wide)[0], first=0, last=1)
    narrow = arena(20)
    assert {step.phase for step in scheduled(steps, kernels, narrow).steps} == set(range(11))
    outputs = [Buffer("output", k) if k % 2 else Buffer("weight") for k in range(20)]
    assert {step.phase for step in scheduled(steps, kernels, outputs).steps} == {0, 1}
