"""Bad weather: whatever happens around a run delays it and never changes its results. Every step is shared by all threads."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.native import host
from tests.sharing import encoder, everything_shared, executables
from tgen.codegen import llvm
from tgen.codegen.llvm import machine_of
from tgen.executable import Executable
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate

THREADS = (1, 2, 3, 4, 9)
DEFAULT = 0x1F80  # MXCSR: round to nearest, keep subnormals, trap nothing
CONTROL = 0xFFC0  # its bits that are not sticky flags


@pytest.fixture(scope="module")
def encoders() -> Iterator[list[Executable]]:
    with everything_shared():
        yield executables(encoder(), THREADS)


def test_same_bits_for_any_number_of_threads(encoders: list[Executable], rng: np.random.Generator) -> None:
    for n in (1, 7, 33, 130):
        x = rng.standard_normal((n, 32), dtype=np.float32)
        (wanted,) = encoders[0](x)
        np.testing.assert_allclose(wanted, evaluate(encoder(), {"x": x})["y"], rtol=1e-3, atol=1e-4)
        assert all(np.array_equal(executable(x)[0], wanted) for executable in encoders for _ in range(5))


def together(work: Callable[[int], None], count: int) -> None:
    """work(0) … work(count - 1) in threads of their own; raises what one of them raised."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_two_models_in_alternation_from_many_threads(encoders: list[Executable], rng: np.random.Generator) -> None:
    with everything_shared():
        (other,) = executables(encoder(width=16, layers=1), (3,))
        pairs = [
            (encoders[3], rng.standard_normal((20, 32), dtype=np.float32)),
            (other, rng.standard_normal((50, 16), dtype=np.float32)),
        ]
        wanted = [executable(x)[0] for executable, x in pairs]

        def work(number: int) -> None:
            for k in range(40):
                executable, x = pairs[(number + k) % 2]
                assert np.array_equal(executable(x)[0], wanted[(number + k) % 2])

        together(work, 5)


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_memory_is_flat_over_callers_and_sizes(encoders: list[Executable], rng: np.random.Generator) -> None:
    """As many contexts as there were callers at once, each as large as its greatest run."""
    x, executable = rng.standard_normal((64, 32), dtype=np.float32), encoders[1]
    sizes = rng.integers(0, 64, 4 * 300)

    def work(number: int) -> None:
        executable(x)
        for n in sizes[300 * number : 300 * (number + 1)]:
            executable(x[:n])

    together(work, 4)
    before = resident()
    for _ in range(3):
        together(work, 4)
    assert resident() - before < 0.02 * before + (1 << 20)
    assert len(executable._contexts) <= 4


# -- the caller's float mode ------------------------------------------------------------------------------------------------

_MODE = """
define void @set(i32 %mode) {
  %p = alloca i32
  store i32 %mode, ptr %p
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
define i32 @get() {
  %p = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  %mode = load i32, ptr %p
  ret i32 %mode
}
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)
"""


@pytest.fixture(scope="module")
def mode() -> Iterator[tuple[Callable[[int], None], Callable[[], int]]]:
    """(set, get) of this thread's MXCSR."""
    if not host().triple.startswith("x86_64"):
        pytest.skip("sets the mode as an x86-64 does")
    library = llvm.load([llvm.compile_object(_MODE, machine_of(host()))], ["set", "get"])
    setter = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(library.address("set"))
    yield setter, ctypes.CFUNCTYPE(ctypes.c_uint32)(library.address("get"))
    del library


@pytest.mark.parametrize("flags", [0x8040, 0x8000, 0x2000, 0x4000, 0x6000], ids=["flush", "flush results", "down", "up", "to zero"])
@pytest.mark.parametrize("subnormals", ["keep", "flush"])
def test_the_callers_float_mode_is_neither_used_nor_lost(mode, subnormals: str, flags: int, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", "f32", ("n", 64))
    b.output("scaled", b.mul(x, 0.3))
    b.output("sum", b.reduce_sum(b.mul(x, b.exp(x)), axes=(1,), keepdims=False))
    subnormal = (rng.standard_normal((300, 64)) * 1e-39).astype(np.float32)
    ordinary = rng.standard_normal((300, 64), dtype=np.float32)
    set_mode, get_mode = mode
    with everything_shared():
        for executable, x in itertools.product(executables(b.build(), (1, 4), subnormals), (subnormal, ordinary)):
            wanted, flushed = executable(x), subnormals == "flush" and x is subnormal
            assert np.array_equal(wanted[0], np.float32(0) * x if flushed else x * np.float32(0.3)) and wanted[0].any() != flushed
            set_mode(DEFAULT & CONTROL | flags)
            try:
                found = executable(x)
                after = get_mode()
            finally:
                set_mode(DEFAULT)
            assert after & CONTROL == DEFAULT & CONTROL | flags
            assert all(np.array_equal(f, w) for f, w in zip(found, wanted))


# -- processes of their own --------------------------------------------------------------------------------------------------

_ALONE = """
import os, signal, sys, threading, time
sys.path.insert(0, {root!r})
import numpy as np
from tests.sharing import encoder, everything_shared, executables

with everything_shared():
    alone, several = executables(encoder(layers=1), (1, 4))
    x = np.random.default_rng(0).standard_normal((60, 32), dtype=np.float32)
    wanted = alone(x)[0]

    def right(times):
        return all(np.array_equal(several(x)[0], wanted) for _ in range(times))

    assert right(3)
{code}
"""

HALF_A_CPU = """
import tgen
from tgen.runtime import threads

threads.facts = lambda root="/": threads.Facts(visible=2, affinity=2, quota=0.5)
before = len(os.listdir("/proc/self/task"))
model = tgen.compile(encoder(layers=1), cache=False)
assert model.threads == 1 and np.array_equal(model(x)[0], wanted)
assert len(os.listdir("/proc/self/task")) == before and right(3)
"""
ON_ONE_CPU = """
for task in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(task), {min(os.sched_getaffinity(0))})
assert right(60)
"""
ALARMS = """
seen = []

def rings(*_):
    seen.append(right(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002)  # anew after each run: on a slow machine a run outlasts any fixed interval

signal.signal(signal.SIGALRM, rings)
signal.setitimer(signal.ITIMER_REAL, 0.002)
while len(seen) < 20:
    assert right(3)
signal.setitimer(signal.ITIMER_REAL, 0)
assert all(seen)
"""
INTERRUPTS = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background is started with SIGINT ignored
for _ in range(5):
    timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            several(x)
    except KeyboardInterrupt:
        pass
    timer.join()
    assert right(3)
"""
FORKS_IN_A_THREAD = """
stop = threading.Event()

def runs():
    while not stop.is_set():
        assert right(1)

def forks():
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            os._exit(0 if right(3) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert right(1)

def guarded():
    try:
        forks()
        done.append(True)
    finally:
        stop.set()

done = []
threads = [threading.Thread(target=t) for t in (runs, guarded)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert done
"""
TORCH_BETWEEN_RUNS = """
import torch
torch.set_flush_denormal(True)
left = torch.randn(64, 64)
assert torch.isfinite(left @ left).all() and torch.isfinite(left.bfloat16() @ left.bfloat16()).all()
assert right(20)
"""
EXIT_ASLEEP = "time.sleep(0.1)"
EXIT_IN_A_RUN = """
def forever():
    while True:
        several(x)

threading.Thread(target=forever, daemon=True).start()
time.sleep(0.1)
"""
CASES = {
    "half a CPU": HALF_A_CPU,
    "all threads on one CPU": ON_ONE_CPU,
    "alarms": ALARMS,
    "interrupts": INTERRUPTS,
    "forks in a thread": FORKS_IN_A_THREAD,
    "torch between runs": TORCH_BETWEEN_RUNS,
    "exit with threads asleep": EXIT_ASLEEP,
    "exit in a run": EXIT_IN_A_RUN,
}


def script(code: str) -> list[str]:
    root = str(Path(__file__).parents[2])
    return [sys.executable, "-c", _ALONE.format(root=root, code=textwrap.indent(code, "    "))]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.peer("torch")) if "torch" in n else n for n in CASES])
def test_in_a_process_of_its_own(name: str) -> None:
    done = subprocess.run(script(CASES[name]), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_stopped_and_continued() -> None:
    code = """
print("ready", flush=True)
stop = time.monotonic() + 1.5
while time.monotonic() < stop:
    assert right(1)
"""
    process = subprocess.Popen(script(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    while process.poll() is None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(process.pid, number)
            time.sleep(0.01)
    assert process.returncode == 0, process.communicate()[1]
    process.communicate()
