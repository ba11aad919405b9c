"""A contestant's process: `python -m tgen.bench.worker`. Reads one JSON command a line, answers with one JSON line.

{"job": {...}, "feeds": "inputs.npz"}    → {"ready": true, "load_seconds": s, "megabytes": m, "note": text} or {"error": text}
{"burst": seconds, "warmup": runs}       → {"seconds": [one for each run]} or {"error": text}
{"save": "outputs.npz"}                  → {"saved": true} or {"error": text}
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import numpy as np

from .contestants import Job, Ready, import_for, load
from .inputs import storable

LEAST_RUNS = 3
_PR_SET_PDEATHSIG = 1


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # never outlive the one who asks
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a peer prints goes to stderr
    ready: Ready | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if ready is None:
                ready, answer = _load(command)
            else:
                answer = _obey(ready, command)
        except Exception as error:  # any failure of a peer is a fact about the peer, not ours
            text = str(error).strip().splitlines()
            _answer(answers, {"error": f"{type(error).__name__}: {text[0] if text else ''}"})
            return
        _answer(answers, answer)


def _answer(answers: TextIO, answer: Mapping[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _load(first: Mapping[str, Any]) -> tuple[Ready, dict[str, object]]:
    """load_seconds: from the model's file to the end of the first run, without imports."""
    job = Job(**first["job"])
    with np.load(first["feeds"]) as data:
        feeds = {name: data[name] for name in data.files}
    import_for(job)
    start = time.perf_counter()
    ready = load(job, feeds)
    ready.call()
    seconds = time.perf_counter() - start
    return ready, {"ready": True, "load_seconds": seconds, "megabytes": peak_megabytes(), "note": ready.note}


def _obey(ready: Ready, command: Mapping[str, Any]) -> dict[str, object]:
    if "burst" in command:
        return {"seconds": burst(ready.call, command["burst"], command["warmup"])}
    outputs = {k: storable(np.asarray(v)) for k, v in ready.outputs(ready.call()).items()}
    np.savez(command["save"], **{k: v if v.dtype.kind == "U" else v.astype(np.float64) for k, v in outputs.items()})  # type: ignore[arg-type]
    return {"saved": True}


def burst(call: Callable[[], Any], seconds: float, warmup: int) -> list[float]:
    """Seconds of single runs for about so long, at least LEAST_RUNS of them, after some that are not counted."""
    for _ in range(warmup):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def peak_megabytes() -> float:
    """The most memory this program has had resident.

    From VmHWM: `getrusage` also counts what the process was before it became this program, a fork of the one who asks.
    """
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status names no VmHWM")


if __name__ == "__main__":
    main()
