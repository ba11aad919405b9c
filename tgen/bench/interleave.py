"""The measurement: contestants in turn, in short bursts, everybody else stopped by SIGSTOP.

An idle pool of threads that spins slows whoever runs beside it, and a noisy machine changes from minute to minute: stopped processes and
turns within one run take both out of the comparison. What is compared is paired by round.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..ir.errors import TgenError
from ..ir.strings import decoded
from .contestants import NEED_ONNX, Job, base_name
from .export import onnx_file
from .inputs import random_feeds, sizes, storable, work_of
from .process import Worker
from .rows import Report, Row, difference, timed_row

ROUNDS, BURST, WARMUP = 15, 0.15, 3

Tell = Callable[[str], None]


def compare(
    model: str | os.PathLike[str],
    contestants: Sequence[str] = (),
    *,
    shapes: Mapping[str, int] | None = None,
    given: Mapping[str, np.ndarray] | None = None,
    threads: int | None = None,
    precision: str = "highest",
    subnormals: str = "auto",
    target: str = "host",
    cache: bool = True,
    rounds: int = ROUNDS,
    burst: float = BURST,
    seed: int = 0,
    progress: Tell | None = None,
) -> Report:
    """tgen beside `contestants` on a model file or folder, all with the same inputs and number of threads.

    given: inputs that are not to be random. burst: seconds of a turn. cache: whether tgen may load what it compiled before. progress:
    told what is going on. A contestant that fails is a row that says why. Raises InvalidInput for one that nobody knows, what loading the
    model raises, and TgenError if tgen itself fails.
    """
    from ..frontends import load
    from ..runtime.threads import budget

    names = list(dict.fromkeys(["tgen", *contestants]))
    families = {base_name(name) for name in names}
    tell = progress or (lambda _: None)
    graph = load(model)
    values = sizes(graph, shapes or {})
    count = threads or budget()
    with tempfile.TemporaryDirectory(prefix="tgen-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        feeds = decoded({**random_feeds(graph, values, seed), **(given or {})}, graph.texts)
        np.savez(folder / "inputs.npz", **{k: storable(v) for k, v in feeds.items()})  # type: ignore[arg-type]
        onnx, why = onnx_file(Path(model), folder) if families & set(NEED_ONNX) else ("", "")
        workers: list[Worker] = []
        for contestant in names:
            tell(f"loading {contestant}")
            job = Job(contestant, str(model), onnx, count, precision, target, subnormals, cache, why)
            workers.append(Worker(asdict(job), folder / "inputs.npz"))
            stack.callback(workers[-1].close)
        errors = _errors(workers, folder)
        _take_turns(workers, rounds, burst, tell)
        tell("measuring this machine's ceilings")
        work = work_of(graph, values)
        flops, floor = (work[0], _floor(work, precision, target, count)) if work else (None, None)
        rows = _rows(workers, errors, flops, floor)
    facts = {"model": str(model), "shapes": values, "threads": count, "precision": precision, "subnormals": subnormals}
    return Report(tuple(rows), {**facts, "target": target, "rounds": rounds})


def _floor(work: tuple[float, float], precision: str, target: str, threads: int) -> float:
    """The least seconds of a run by the roofline; the contestants are stopped meanwhile."""
    from ..codegen import llvm
    from ..targets.find import find_target
    from .calibrate import measure, product_peak

    chosen = find_target(target, llvm.host_features(), llvm.host_triple())
    ceilings = measure(chosen, threads)
    return ceilings.floor_seconds(*work, peak=product_peak(ceilings, chosen, precision))


def _errors(workers: Sequence[Worker], folder: Path) -> list[float | None]:
    """How far each one's outputs are from those of the first, tgen."""
    found: list[dict[str, np.ndarray]] = []
    for number, worker in enumerate(workers):
        path = folder / f"{number}.npz"
        outputs = {}
        if not worker.failed and "error" not in worker.turn({"save": str(path)}):
            with np.load(path) as data:
                outputs = {k: data[k] for k in data.files}
        found.append(outputs)
    return [difference(outputs, found[0]) for outputs in found]


def _take_turns(workers: Sequence[Worker], rounds: int, burst: float, tell: Tell) -> None:
    """Fills the workers' times. The first of a round changes from round to round; who fails takes no further part, and without tgen
    there is nothing to compare.
    """
    for number in range(rounds):
        if workers[0].failed:
            return
        tell(f"round {number + 1} of {rounds}")
        for k in range(len(workers)):
            worker = workers[(k + number) % len(workers)]
            if not worker.failed:
                worker.times.append(worker.turn({"burst": burst, "warmup": WARMUP}).get("seconds", []))


def _rows(workers: Sequence[Worker], errors: Sequence[float | None], flops: float | None, floor: float | None) -> list[Row]:
    base = workers[0]
    if base.failed:
        raise TgenError(f"tgen itself failed: {base.failed}")
    rows = []
    for worker, error in zip(workers, errors):
        if worker.failed:
            rows.append(Row(worker.name, failed=worker.failed))
            continue
        facts = {key: worker.facts[key] for key in ("load_seconds", "megabytes", "note")}
        rows.append(timed_row(worker.name, worker.times, base.times, flops, floor, error=error, **facts))
    return rows
