"""The suite of all figures: `python -m bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("--rounds", "2", "--burst", "0.001", "--threads", "1")


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


OTHERS = ("kokoro", "seizures", "speaker-features", "words-by-letters")


def test_every_aim_has_a_row() -> None:
    names = [line.split()[0] for line in suite("--list").stdout.splitlines()]
    lengths, precisions = ("16", "128", "256"), ("highest", "high", "medium")
    encoders = {f"minilm-{length}-{precision}" for length in lengths for precision in precisions}
    libraries = {f"library-{what}" for what in ("build", "call", "start", "speed")}
    zoo = {f"zoo-{what}" for what in ("ddddocr", "magika", "minilm-int8", "silero-vad", "vit-saliency", *OTHERS)}
    ocr = {f"zoo-ocr-{what}" for what in ("detection", "orientation", "recognition")}
    assert set(names) == {
        *encoders,
        *libraries,
        *zoo,
        *ocr,
        "minilm-128-highest-avx512",
        "contraction-bf16",
        "contraction-f32",
        "tiny-mlp",
        "two-callers",
    }


@pytest.mark.peer("onnxruntime")
def test_a_row() -> None:
    done = suite("--only", "tiny-mlp", *QUICK)
    assert done.returncode == 0, done.stderr
    facts, _, table = done.stdout.partition("### tiny-mlp")
    assert "LLVM" in facts and "load average" in facts and "python -m bench --only tiny-mlp" in facts
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["tgen, Python call", "onnxruntime, Python call", "tgen, native call"]
    assert all(0 < float(row[2]) <= float(row[1]) <= float(row[3]) for row in rows[2:])


def test_a_row_that_cannot_be_says_why(tmp_path) -> None:
    done = suite("--only", "minilm-16-highest", "--model", str(tmp_path / "nowhere"), *QUICK)
    assert done.returncode == 0 and "Not measured here: " in done.stdout and "nowhere" in done.stdout


def test_unknown_row() -> None:
    done = suite("--only", "no such row")
    assert done.returncode == 2 and "no row's name contains 'no such row'" in done.stderr
