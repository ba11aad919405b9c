"""One model, step by step: where its time goes and what the machine would allow.

The profiled program is compiled for itself, with code that notes the threads' times, and never put into the cache.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..codegen import llvm
from ..compiler import compile_graph
from ..ir.dims import evaluate_dim
from ..ir.dtypes import F32
from ..ir.graph import Graph
from ..kernels.specs import tiles_of
from ..plan.types import Plan
from ..targets.target import Target
from .calibrate import Ceilings, measure
from .inputs import random_feeds, sizes
from .native import NativeRun
from .timeline import complete, shares, spans, typical
from .work import describe_step, work_of_step

UNNAMED = "(made by a pass)"  # where no node or layer of the model is behind a step
RUN_SECONDS, WARMUP, LEAST_RUNS, MOST_RUNS = 2.0, 5, 11, 2000


@dataclass(frozen=True)
class StepRow:
    """Seconds: of the run's time (medians); busy, idle: of all threads together, idle at the barrier that ends the phase.

    steps: how many steps the row sums up. origin: the model's node or layer; what: kind and extents. floor: the least seconds by the
    roofline. operations, bytes: what is computed, and touched at least once.
    """

    number: int
    steps: int
    kernel: int
    phase: int
    origin: str
    what: str
    seconds: float
    share: float
    busy: float
    idle: float
    dead: float
    operations: float
    bytes: float
    floor: float

    @property
    def gflops(self) -> float:
        return self.operations / max(self.seconds, 1e-12) / 1e9

    @property
    def gigabytes(self) -> float:
        """A second."""
        return self.bytes / max(self.seconds, 1e-12) / 1e9

    @property
    def roofline(self) -> float:
        """The fraction of the machine's ceiling that the step reaches."""
        return self.floor / max(self.seconds, 1e-12)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "gflops": self.gflops, "gigabytes_per_second": self.gigabytes, "roofline": self.roofline}


@dataclass(frozen=True)
class Profile:
    """facts: model, shapes, threads, …; memory: bytes of arena, weights and scratch (of all threads).

    seconds: of a call, as its caller sees it; span: from the first step's begin to the last one's end; plain: of a call of the same
    program without counters. intervals: seconds [threads, steps, 2] of one typical run, for a drawing.
    """

    facts: Mapping[str, Any]
    memory: Mapping[str, int]
    ceilings: Ceilings
    seconds: float
    span: float
    plain: float
    rows: tuple[StepRow, ...]
    intervals: np.ndarray

    @property
    def idle(self) -> float:
        return sum(row.idle for row in self.rows)

    @property
    def dead(self) -> float:
        return sum(row.dead for row in self.rows)

    @property
    def floor(self) -> float:
        return sum(row.floor for row in self.rows)

    def by_kernel(self) -> tuple[StepRow, ...]:
        """Steps of the same kernel as one row, dearest first; origin is the first one's, with how many more there are."""
        groups: dict[int, list[StepRow]] = {}
        for row in self.rows:
            groups.setdefault(row.kernel, []).append(row)
        return tuple(sorted(map(_summed, groups.values()), key=lambda row: -row.seconds))

    def to_json(self) -> dict[str, Any]:
        fields = {"seconds": self.seconds, "span": self.span, "plain_seconds": self.plain, "idle": self.idle, "dead": self.dead}
        ceilings = {"flops": dict(self.ceilings.flops), "levels": [asdict(level) for level in self.ceilings.levels]}
        steps = [row.to_json() for row in self.rows]
        return {
            "facts": dict(self.facts), **fields, "floor": self.floor, "memory": dict(self.memory), "ceilings": ceilings,
            "steps": steps, "intervals": self.intervals.tolist(),
        }  # fmt: skip


def profile(
    model: str | os.PathLike[str] | Graph,
    *,
    shapes: Mapping[str, int] | None = None,
    threads: int | None = None,
    precision: str = "highest",
    subnormals: str = "auto",
    target: str = "host",
    seconds: float = RUN_SECONDS,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Profile:
    """Runs a model file, folder or graph for about `seconds` and says where the time goes. Raises what loading and compiling raise."""
    from ..frontends import load
    from ..runtime.threads import budget
    from ..targets.find import find_target

    tell = progress or (lambda _: None)
    graph = model if isinstance(model, Graph) else load(model)
    values = sizes(graph, shapes or {})
    chosen = find_target(target, llvm.host_features(), llvm.host_triple())
    count = threads or budget()
    tell("compiling")
    compiled = compile_graph(graph, chosen, precision, subnormals, profile=True)
    feeds = random_feeds(graph, values, seed)
    counted = NativeRun(compiled, chosen, count, feeds, values)
    plain = NativeRun(compile_graph(graph, chosen, precision, subnormals), chosen, count, feeds, values)
    tell("running")
    runs = _run(counted, plain, seconds)
    values = {**values, **counted.extents()}
    tell("measuring this machine's ceilings")
    used = runs.times.shape[1]
    ceilings = measure(chosen, used, tuple(sorted({t for k in compiled.plan.kernels for t in tiles_of(k)})))
    facts = {"model": graph.name if isinstance(model, Graph) else str(model), "shapes": values, "threads": used}
    facts |= {"precision": precision, "subnormals": subnormals, "target": chosen.name, "runs": len(runs.times)}
    return Profile(
        facts, _memory(compiled.plan, values, used), ceilings, runs.seconds, float(np.median(spans(runs.times))), runs.plain,
        _rows(compiled.plan, values, runs.times, chosen, ceilings), typical(runs.times),
    )  # fmt: skip


@dataclass(frozen=True)
class _Runs:
    """times: seconds [runs, threads, steps, 2]; seconds, plain: medians of a call, with and without counters."""

    times: np.ndarray
    seconds: float
    plain: float


def _run(counted: NativeRun, plain: NativeRun, seconds: float) -> _Runs:
    """Both in turns. A run that fewer threads took part in than in others (the pool was busy) does not count.

    Cycles are those of a clock that ticks evenly: its rate is that of the whole measurement against the system's clock.
    """
    for _ in range(WARMUP):
        counted.run()
        plain.run()
    times: list[np.ndarray] = []
    walls: list[float] = []
    alone: list[float] = []
    starts: list[float] = []
    end = time.perf_counter() + seconds
    while len(walls) < LEAST_RUNS or (time.perf_counter() < end and len(walls) < MOST_RUNS):
        counted.times[:] = 0
        starts.append(time.perf_counter())
        walls.append(_seconds(counted))
        times.append(counted.times.copy())
        alone.append(_seconds(plain))
    cycles = complete(np.stack(times))
    per_second = (cycles[-1, 0, 0, 0] - cycles[0, 0, 0, 0]) / (starts[-1] - starts[0])
    parts = np.array([run.any((1, 2)).sum() for run in times])
    whole = parts == parts.max()
    chosen = cycles[whole, : parts.max()]
    since = (chosen - chosen[:, :1, :1, :1]).astype(np.float64)
    return _Runs(since / per_second, float(np.median(np.asarray(walls)[whole])), float(np.median(alone)))


def _seconds(run: NativeRun) -> float:
    start = time.perf_counter()
    run.run()
    return time.perf_counter() - start


def _memory(plan: Plan, values: Mapping[str, int], threads: int) -> dict[str, int]:
    """Bytes of a run."""
    arena, scratch = evaluate_dim(plan.arena, values), evaluate_dim(plan.scratch, values)
    return {"arena": arena, "weights": plan.weight_bytes, "scratch": scratch * threads}


def _rows(plan: Plan, values: Mapping[str, int], times: np.ndarray, target: Target, ceilings: Ceilings) -> tuple[StepRow, ...]:
    threads = times.shape[1]
    heads = {loop.first for loop in plan.loops}
    beside = {k: min(threads, len(each.starts)) for each in plan.sections for k in range(each.first, each.last + 1)}
    found = shares(times, [step.phase for step in plan.steps], heads, beside)
    turns = [evaluate_dim(plan.times(step.phase), values) for step in plan.steps]  # a step in a loop is measured in its last turn
    whole = ((found.seconds + found.dead) * turns).sum()
    vector = next(t.name for t in target.tiles if t.a is F32 and t.accumulate is F32)
    rows = []
    for number, step in enumerate(plan.steps):
        work, kernel = work_of_step(plan, step, values), step.chosen(values)
        peak = ceilings.flops[work.tile or vector]
        floor = ceilings.floor_seconds(work.done, work.weights, work.near, peak=peak, held=plan.weight_bytes)
        n = turns[number]
        took, busy, dead = (float(x[number]) * n for x in (found.seconds, found.busy, found.dead))
        what, idle = describe_step(plan.kernels[kernel], values), max(0.0, threads * took - busy)
        rows.append(
            StepRow(
                number, 1, kernel, step.phase, step.origin, what, took, took / whole, busy, idle, dead,
                work.operations * n, (work.weights + work.near) * n, floor * n,
            )
        )  # fmt: skip
    return tuple(rows)


def _summed(rows: Sequence[StepRow]) -> StepRow:
    """Rows of the same kernel as one."""
    first, more = rows[0], len(rows) - 1
    added = ("seconds", "share", "busy", "idle", "dead", "operations", "bytes", "floor")
    totals = {name: sum(getattr(row, name) for row in rows) for name in added}
    return replace(first, steps=len(rows), origin=f"{first.origin or UNNAMED} and {more} more" if more else first.origin, **totals)
