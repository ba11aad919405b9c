"""The measurement: contestants in turn, in short bursts, everybody else stopped by SIGSTOP.

An idle pool of threads that spins slows whoever runs beside it, and a noisy machine changes from minute to minute: stopped processes and
turns within one run take both out of the comparison. What is compared is paired by round.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ..ir.errors import InvalidInput, TgenError
from ..ir.graph import Graph
from .inputs import random_feeds, sizes, work_of

ROUNDS, BURST, WARMUP = 15, 0.15, 3
LOAD_SECONDS = 600.0


@dataclass(frozen=True)
class Row:
    """One contestant. Times in milliseconds a run; ratio: its median over tgen's, with the interval of nine rounds in ten.

    gflops: of the model's contractions, per second. roofline: the fraction of this machine's measured ceilings that is.
    error: greatest difference from the first contestant's outputs of the same name and shape, over the greatest magnitude there.
    """

    name: str
    median: float | None = None
    p10: float | None = None
    p99: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    gflops: float | None = None
    roofline: float | None = None
    error: float | None = None
    load_seconds: float | None = None
    megabytes: float | None = None
    failed: str = ""


@dataclass(frozen=True)
class Report:
    """rows: tgen first. facts: what the rows hold for (model, shapes, threads, precision)."""

    rows: tuple[Row, ...]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"facts": dict(self.facts), "rows": [asdict(r) for r in self.rows]}


class _Worker:
    def __init__(self, job: Mapping[str, Any], feeds: Path) -> None:
        self.name = job["contestant"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tgen.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.times: list[list[float]] = []
        self.facts = self.ask({"job": dict(job), "feeds": str(feeds)})
        if "error" not in self.facts:
            self.stop()

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a command; {"error": …} when the process died."""
        try:
            cast(IO[str], self.process.stdin).write(json.dumps(command) + "\n")
            cast(IO[str], self.process.stdin).flush()
            line = cast(IO[str], self.process.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"the process ended with code {self.process.wait()}"}
        return cast(dict[str, Any], json.loads(line))

    def turn(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """A command while this one alone runs."""
        os.kill(self.process.pid, signal.SIGCONT)
        answer = self.ask(command)
        self.stop()
        return answer

    def stop(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGSTOP)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            cast(IO[str], stream).close()


def compare(
    model: str | os.PathLike[str],
    contestants: Sequence[str] = (),
    *,
    shapes: Mapping[str, int] | None = None,
    threads: int | None = None,
    precision: str = "highest",
    target: str = "host",
    rounds: int = ROUNDS,
    burst: float = BURST,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """tgen beside `contestants` on a model file or folder, all with the same inputs and number of threads.

    burst: seconds of a turn. progress: told what is going on. A contestant that cannot load is reported, not fatal.
    Raises InvalidInput for a contestant that nobody knows, and what loading the model raises.
    """
    from ..frontends import load
    from ..runtime.threads import budget
    from .contestants import NAMES

    unknown = [c for c in contestants if c not in NAMES]
    if unknown:
        raise InvalidInput(f"no contestant is named {unknown[0]!r}; known: {', '.join(NAMES)}")
    tell = progress or (lambda _: None)
    graph = load(model)
    values = sizes(graph, shapes or {})
    count = threads or budget()
    names = ["tgen", *(c for c in contestants if c != "tgen")]
    with tempfile.TemporaryDirectory(prefix="tgen-bench-") as folder:
        feeds = Path(folder) / "inputs.npz"
        np.savez(feeds, **random_feeds(graph, values, seed))  # type: ignore[arg-type]
        onnx = _onnx_file(Path(model), Path(folder), names)
        common = {"model": str(model), "onnx": onnx, "shapes": {}, "threads": count, "precision": precision, "target": target}
        workers: list[_Worker] = []
        try:
            for name in names:
                tell(f"loading {name}")
                workers.append(_Worker({**common, "contestant": name}, feeds))
            rows = _measure(workers, Path(folder), rounds, burst, tell)
            tell("measuring this machine's ceilings")
            rows = _against_ceilings(rows, graph, values, target, count)
        finally:
            for worker in workers:
                worker.close()
    facts = {"model": str(model), "shapes": values, "threads": count, "precision": precision, "target": target, "rounds": rounds}
    return Report(tuple(rows), facts)


def _against_ceilings(rows: Sequence[Row], graph: Graph, values: Mapping[str, int], target: str, threads: int) -> list[Row]:
    """Rows with GFLOP/s and the fraction of the roofline; the contestants are stopped meanwhile."""
    from ..codegen import llvm
    from ..targets.find import find_target
    from .calibrate import measure

    flops, weights = work_of(graph, values)
    ceilings = measure(find_target(target, llvm.host_features(), llvm.host_triple()), threads)
    floor = ceilings.floor_seconds(flops, weights)
    return [
        row if row.median is None else replace(row, gflops=flops / row.median / 1e6, roofline=floor / (row.median / 1e3))
        for row in rows
    ]


def _onnx_file(model: Path, folder: Path, names: Sequence[str]) -> str:
    """The .onnx file for those who need one: the model itself, or an export of a folder ("" if that is impossible)."""
    if not model.is_dir():
        return str(model)
    if (model / "model.onnx").is_file():
        return str(model / "model.onnx")
    if not any(n.startswith(("onnx", "openvino")) for n in names):
        return ""
    path = folder / "model.onnx"
    code = "import sys; from tgen.bench.contestants import export_folder; export_folder(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, str(model), str(path)], capture_output=True, check=False)
    return str(path) if done.returncode == 0 and path.is_file() else ""


def _measure(workers: Sequence[_Worker], folder: Path, rounds: int, burst: float, tell: Callable[[str], None]) -> list[Row]:
    alive = [w for w in workers if "error" not in w.facts]
    if workers and workers[0] not in alive:
        raise TgenError(f"tgen itself failed: {workers[0].facts['error']}")
    outputs = {}
    for worker in alive:
        path = folder / f"{worker.name}.npz"
        worker.turn({"save": str(path)})
        with np.load(path) as data:
            outputs[worker.name] = {k: data[k] for k in data.files}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for k in range(len(alive)):
            worker = alive[(k + number) % len(alive)]
            worker.times.append(worker.turn({"burst": burst, "warmup": WARMUP}).get("seconds", [float("nan")]))
    base = np.array([np.median(t) for t in workers[0].times])
    return [_row(w, base, _difference(outputs.get(w.name, {}), outputs["tgen"])) for w in workers]


def _difference(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float | None:
    """Greatest difference over outputs of the same name and shape, over the greatest magnitude."""
    found = [
        np.abs(x - theirs[k]).max() / (np.abs(x).max() or 1.0)
        for k, x in mine.items()
        if k in theirs and x.shape == theirs[k].shape and x.size
    ]
    return float(max(found)) if found else None


def _row(worker: _Worker, base: np.ndarray, error: float | None) -> Row:
    if "error" in worker.facts:
        return Row(worker.name, failed=worker.facts["error"])
    everything = np.concatenate([np.asarray(t) for t in worker.times]) * 1e3
    medians = np.array([np.median(t) for t in worker.times])
    low, high = np.quantile(medians / base, (0.05, 0.95))
    p10, p99 = np.quantile(everything, (0.1, 0.99))
    median = float(np.median(medians))
    return Row(
        worker.name, median * 1e3, float(p10), float(p99), median / float(np.median(base)), float(low), float(high),
        error=error, load_seconds=worker.facts["load_seconds"], megabytes=worker.facts["megabytes"],
    )  # fmt: skip
