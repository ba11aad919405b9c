"""A contestant's process: `python -m tgen.bench.worker`. Reads one JSON command a line, answers with one JSON line.

{"job": {...}, "feeds": "inputs.npz"}    → {"ready": true, "load_seconds": s, "megabytes": m} or {"error": text}
{"burst": seconds, "warmup": runs}       → {"seconds": [one for each run]}
{"save": "outputs.npz"}                  → {"saved": true}
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import numpy as np

LEAST_RUNS = 3
_PR_SET_PDEATHSIG = 1


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # never outlive the one who asks
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a peer prints goes to stderr
    first = json.loads(sys.stdin.readline())
    try:
        run, feeds, ready = _load(first)
    except Exception as error:  # any failure of a peer is a fact about the peer, not ours
        _answer(answers, {"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    _answer(answers, ready)
    for line in sys.stdin:
        command = json.loads(line)
        if "burst" in command:
            answer: dict[str, object] = {"seconds": burst(run, feeds, command["burst"], command["warmup"])}
        else:
            np.savez(command["save"], **{k: np.asarray(v, np.float64) for k, v in run(feeds).items()})
            answer = {"saved": True}
        _answer(answers, answer)


def _answer(answers: TextIO, answer: Mapping[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _load(first: dict) -> tuple:  # type: ignore[type-arg]
    from .contestants import Job, load

    with np.load(first["feeds"]) as data:
        feeds = {name: data[name] for name in data.files}
    start = time.perf_counter()
    run = load(Job(**first["job"]))
    run(feeds)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return run, feeds, {"ready": True, "load_seconds": seconds, "megabytes": peak}


def burst(run, feeds, seconds: float, warmup: int) -> list[float]:  # type: ignore[no-untyped-def]
    """Times of single runs for about so long, at least LEAST_RUNS of them, after some that are not counted."""
    for _ in range(warmup):
        run(feeds)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run(feeds)
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
