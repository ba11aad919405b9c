"""Ahead-of-time libraries: how large, how soon there, what a call costs beside the kernels, and whether they are as fast as just-in-time code."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tgen
from tgen.aot.build import Built
from tgen.bench.inputs import random_feeds, sizes
from tgen.codegen import llvm
from tgen.frontends import load

from .calls import REPEATS, WIDTH, mlp_model
from .report import Measurement, Settings, Table, ratio_text
from .turns import in_turns

FLEET = ("x86-64-v3", "x86-64-v4", "amx")
PROCESSES = 8

# Calls run(context, inputs, outputs) or run(frame, threads, anything) again and again, as a native program would.
_REPEAT = """
define void @repeat(ptr %run, ptr %first, i64 %second, ptr %third, i64 %times) {
start:
  br label %loop
loop:
  %k = phi i64 [ 0, %start ], [ %next, %loop ]
  call void %run(ptr %first, i64 %second, ptr %third)
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""

# A process that has only ctypes: MiniLM's library loaded, a context made, one sentence of 16 tokens run. With a number of processes:
# as many children run it at the same time, and the memory of the weights is counted, each page divided by those who share it.
_CALLER = """
import ctypes, os, sys, time
path, weights, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])
class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p), ("rank", ctypes.c_int64)]
kept = []
def tensor(kind, *shape):
    size = 1
    for extent in shape:
        size *= extent
    kept.extend([(kind * size)(*[1] * size) if kind is ctypes.c_int64 else (kind * size)(), (ctypes.c_int64 * len(shape))(*shape)])
    return Tensor(ctypes.addressof(kept[-2]), ctypes.addressof(kept[-1]), None, len(shape))
ids = (Tensor * 3)(*[tensor(ctypes.c_int64, 1, 16) for _ in range(3)])
out = (Tensor * 3)(tensor(ctypes.c_float, 1, 16, 384), tensor(ctypes.c_float, 1, 384), tensor(ctypes.c_float, 1, 384))
start = time.perf_counter()
library = ctypes.CDLL(path)
if processes:
    gate = os.pipe()
    children = []
    for _ in range(processes):
        told = os.pipe()
        child = os.fork()
        if child == 0:
            context = ctypes.c_void_p()
            ok = library.minilm_create(None, ctypes.byref(context)) == 0 and library.minilm_run(context, ids, out) == 0
            os.write(told[1], b"x" if ok else b"-")
            os.read(gate[0], 1)
            os._exit(0)
        assert os.read(told[0], 1) == b"x"
        children.append(child)
    total = 0
    for child in children:
        here = False
        for line in open(f"/proc/{child}/smaps"):
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                here = weights in line
            elif here and first == "Pss:":
                total += int(line.split()[1]) * 1024
    os.write(gate[1], b"x" * processes)
    print(total)
else:
    context = ctypes.c_void_p()
    assert library.minilm_create(None, ctypes.byref(context)) == 0
    assert library.minilm_run(context, ids, out) == 0
    print(time.perf_counter() - start)
"""


def measurements() -> list[Measurement]:
    return [
        Measurement("library-build", "three x86-64 versions of MiniLM ≤ 10 s, without weights ≤ 1 MB a version", _build),
        Measurement("library-call", "≤ 1 µs beyond the kernels", _call),
        Measurement(
            "library-start", "load to first answer ≤ 10 ms with mapped weights; eight processes hold the weights once", _start
        ),
        Measurement("library-speed", "within 2 % of just-in-time code", _speed),
    ]


def _minilm(settings: Settings, folder: str, **options: Any) -> Built:
    return tgen.build(settings.folder, Path(folder) / "minilm", name="minilm", weights_file=True, **options)


def _build(settings: Settings) -> Table:
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            built = _minilm(settings, folder, targets=FLEET)
            seconds.append(time.perf_counter() - start)
            library = built.files[0].stat().st_size
    rows = [[f"built for {', '.join(FLEET)}, median of {len(seconds)}", f"{np.median(seconds):.2f} s"]]
    rows += [["library without weights", f"{library:,} bytes"]]
    rows += [[f"code for {target}", f"{size:,} bytes"] for target, size in built.code_bytes.items()]
    return Table(("what", "measured"), [*rows, ["weights", f"{built.weight_bytes:,} bytes"]])


def _call(settings: Settings) -> Table:
    """64-64-64 at batch 1: the library's run, checks of pointers and shapes included, beside its entry point."""
    from tests.aot.c_interface import CLibrary, options, tensors

    with tempfile.TemporaryDirectory() as folder:
        built = tgen.build(mlp_model(), folder, name="mlp")
        library, loaded = CLibrary(built.files[0], "mlp"), tgen.load(built.files[0], threads=1)
        x, y = (np.random.default_rng(k).standard_normal((1, WIDTH)).astype(np.float32) for k in range(2))
        loaded(x)
        given, results, context = tensors(x), tensors(y), library.context(options(threads=1))
        run = ctypes.cast(library["run"], ctypes.c_void_p).value or 0
        frame, entry = loaded._contexts[0].address.value or 0, loaded._library.address("run")
        calls = {
            f"{REPEATS} calls of the interface": _repeated(
                run, context.value or 0, ctypes.addressof(given), ctypes.addressof(results)
            ),
            f"{REPEATS} runs of the kernels": _repeated(entry, frame, 1, 0),
        }
        times = in_turns(calls, settings)
    medians = {n: float(np.median(np.concatenate([np.asarray(t) for t in r]))) * 1e6 / REPEATS for n, r in times.items()}
    rows = [[name.removeprefix(f"{REPEATS} "), f"{value:.2f}"] for name, value in medians.items()]
    first, second = medians.values()
    return Table(("what", "median µs of one"), rows, [f"Beyond the kernels: {first - second:.2f} µs"])


def _repeated(run: int, first: int, second: int, third: int) -> Callable[[], None]:
    library = llvm.load([llvm.compile_object(_REPEAT, llvm.Machine(llvm.host_triple()))], ["repeat"])
    words = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
    repeat = ctypes.CFUNCTYPE(None, *words)(library.address("repeat"))

    def call(kept: Any = library) -> None:
        repeat(run, first, second, third, REPEATS)

    return call


def _start(settings: Settings) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        built = _minilm(settings, folder)
        command = [sys.executable, "-c", _CALLER, str(built.files[0]), "minilm.weights"]
        env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        starts = [float(subprocess.check_output([*command, "0"], env=env)) for _ in range(settings.rounds + 1)][1:]
        held = int(subprocess.check_output([*command, str(PROCESSES)], env=env))
    rows = [
        ["dlopen, context and one sentence of 16 tokens, in a new process: median", f"{np.median(starts) * 1e3:.2f} ms"],
        [f"weights held by {PROCESSES} processes together, after a run in each", f"{held:,} bytes of {built.weight_bytes:,}"],
    ]
    return Table(("what", "measured"), rows)


def _speed(settings: Settings) -> Table:
    """One thread each, in turns: the pools of two of them would be in each other's way."""
    rows, graph = [], load(settings.folder)
    with tempfile.TemporaryDirectory() as folder:
        jit, aot = tgen.compile(settings.folder, threads=1), tgen.load(_minilm(settings, folder).files[0], threads=1)
        for length in (16, 128):
            feeds = random_feeds(graph, sizes(graph, {"batch": 1, "seq": length}))
            arrays = [feeds[spec.name] for spec in jit.inputs]
            times = in_turns({"jit": lambda a=arrays: jit(*a), "aot": lambda a=arrays: aot(*a)}, settings)
            medians = {name: [float(np.median(t)) for t in rounds] for name, rounds in times.items()}
            ratio = ratio_text([a / j for a, j in zip(medians["aot"], medians["jit"])])
            rows.append([str(length), *(f"{np.median(medians[name]) * 1e3:.3f}" for name in ("jit", "aot")), ratio])
    return Table(("tokens", "just in time, ms", "library, ms", "library over just in time, by round"), rows)
