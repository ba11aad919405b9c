"""What may happen to a contestant's process: it refuses, dies, hangs; it is stopped between turns, and gone at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tgen.bench.contestants import Job
from tgen.bench.process import Worker


@pytest.fixture
def worker(model, tmp_path):
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 8), np.float32))
    made = Worker(asdict(Job("tgen", model, "", 1, "highest", "host")), tmp_path / "inputs.npz")
    yield made
    made.close()


def is_stopped(worker: Worker, seconds: float = 10.0) -> bool:
    """Whether it is stopped, now or soon: a signal takes a moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return True
    return False


def test_turns(worker) -> None:
    assert worker.failed == "" and is_stopped(worker)
    answer = worker.turn({"burst": 0.0, "warmup": 0})
    assert len(answer["seconds"]) >= 3 and is_stopped(worker)
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.process.pid, 0)


def test_death_is_a_reason(worker) -> None:
    os.kill(worker.process.pid, signal.SIGKILL)
    assert "error" in worker.turn({"burst": 0.0, "warmup": 0})
    assert worker.failed == "the process was ended by SIGKILL"


def test_silence_is_a_reason(worker) -> None:
    assert worker.turn({"burst": 60.0, "warmup": 0}, seconds=0.2) == {"error": "no answer in 0.2 s"}
    assert worker.failed and worker.process.returncode == -signal.SIGKILL


def test_refusal_is_a_reason(model, tmp_path) -> None:
    refused = Worker(asdict(Job("onnxruntime", model, "", 1, "highest", "host", why_no_onnx="no exporter")), tmp_path / "none.npz")
    refused.close()
    assert "none.npz" in refused.failed


def test_worker_ends_with_its_asker() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tgen.bench.worker"],
        input='{"job": {}, "feeds": "nowhere.npz"}\n',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "error" in json.loads(done.stdout)
