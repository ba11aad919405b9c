"""`import tgen` is quick, and brings in nothing that is not used yet."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numba", "onnx", "llvmlite", "networkx", "rich", "safetensors", "tokenizers", "torch")
LIMIT = 0.25  # seconds, beyond what the interpreter and NumPy take
TIMED = """
import time
import numpy
start = time.perf_counter()
import tgen
print(time.perf_counter() - start)
"""


def in_a_fresh_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_is_quick() -> None:
    best = min(float(in_a_fresh_process(TIMED)) for _ in range(5))
    assert best < LIMIT, f"import tgen takes {best:.2f} s; python -X importtime -c 'import tgen' shows where"


def test_import_brings_in_nothing_heavy() -> None:
    found = in_a_fresh_process(f"import sys, tgen; print(*(name for name in {HEAVY} if name in sys.modules))").split()
    assert not found, f"import tgen imports {', '.join(found)}: import it where it is used"
