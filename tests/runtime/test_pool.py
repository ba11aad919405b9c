"""The thread pool: every thread runs once, barriers hold, callers share, forks and exits are clean, idle threads cost nothing."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tgen.cache import Cache
from tgen.codegen import llvm, runtime
from tgen.codegen.llvm import Machine

HOST = Machine(llvm.host_triple())
HINT = "call void @llvm.x86.sse2.pause()" if HOST.triple.startswith("x86_64") else ""
HEADER = 256

# Frames of these bodies: 256 bytes of the runtime, then words of 8 bytes: rounds, errors; from 512 on a cell of 64 bytes a thread.
BODIES = """
declare void @tgen_barrier(ptr)
declare void @tgen_parallel(ptr, ptr, i64)
declare i32 @usleep(i32)

define internal ptr @cell(ptr %frame, i64 %thread) {
  %cells = getelementptr i8, ptr %frame, i64 512
  %p = getelementptr [64 x i8], ptr %cells, i64 %thread
  ret ptr %p
}

; cell[thread] += 1; the next word holds the number of threads
define void @count(i64 %thread, i64 %threads, ptr %frame) {
  %p = call ptr @cell(ptr %frame, i64 %thread)
  %x = load i64, ptr %p
  %y = add i64 %x, 1
  store i64 %y, ptr %p
  %q = getelementptr i64, ptr %p, i64 1
  store i64 %threads, ptr %q
  ret void
}

define void @doze(i64 %thread, i64 %threads, ptr %frame) {
  %s = call i32 @usleep(i32 20000)
  call void @count(i64 %thread, i64 %threads, ptr %frame)
  ret void
}

; each round: write the round to the own cell, meet, compare everybody's cell with the round, meet
define void @meet(i64 %thread, i64 %threads, ptr %frame) {
entry:
  %rounds.p = getelementptr i8, ptr %frame, i64 256
  %errors.p = getelementptr i8, ptr %frame, i64 264
  %rounds = load i64, ptr %rounds.p
  %own = call ptr @cell(ptr %frame, i64 %thread)
  br label %round
round:
  %r = phi i64 [ 0, %entry ], [ %r2, %met ]
  %more = icmp slt i64 %r, %rounds
  br i1 %more, label %write, label %done
write:
  store i64 %r, ptr %own
  call void @tgen_barrier(ptr %frame)
  br label %look
look:
  %k = phi i64 [ 0, %write ], [ %k2, %look ]
  %p = call ptr @cell(ptr %frame, i64 %k)
  %x = load i64, ptr %p
  %wrong = icmp ne i64 %x, %r
  %w = zext i1 %wrong to i64
  %e = atomicrmw add ptr %errors.p, i64 %w monotonic
  %k2 = add i64 %k, 1
  %next = icmp slt i64 %k2, %threads
  br i1 %next, label %look, label %met
met:
  call void @tgen_barrier(ptr %frame)
  %r2 = add i64 %r, 1
  br label %round
done:
  ret void
}

; twice a subnormal: 0 where subnormals are flushed
define void @subnormal(i64 %thread, i64 %threads, ptr %frame) {
  %p = call ptr @cell(ptr %frame, i64 %thread)
  %x = load volatile double, ptr %p
  %y = fadd double %x, %x
  %q = getelementptr i64, ptr %p, i64 1
  store volatile double %y, ptr %q
  ret void
}

; the whole of another call within this one, on a frame at 8192 * (thread + 1)
define void @nest(i64 %thread, i64 %threads, ptr %frame) {
  %k = add i64 %thread, 1
  %inner = getelementptr [8192 x i8], ptr %frame, i64 %k
  call void @tgen_parallel(ptr @meet, ptr %inner, i64 3)
  call void @count(i64 %thread, i64 %threads, ptr %frame)
  ret void
}

define void @many(ptr %body, ptr %frame, i64 %threads, i64 %calls) {
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k2, %next ]
  call void @tgen_parallel(ptr %body, ptr %frame, i64 %threads)
  %k2 = add i64 %k, 1
  %more = icmp slt i64 %k2, %calls
  br i1 %more, label %next, label %done
done:
  ret void
}
"""
NAMES = ("count", "doze", "meet", "subnormal", "nest", "many")


class Pool:
    """A pool and the bodies above, callable from Python; calls release the GIL."""

    def __init__(self, symbols: Mapping[str, int]) -> None:
        self.library = llvm.load([llvm.compile_object(BODIES, HOST)], NAMES, symbols)
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        self._many = ctypes.CFUNCTYPE(None, pointer, pointer, integer, integer)(self.library.address("many"))
        self.workers = ctypes.CFUNCTYPE(integer)(symbols["tgen_pool_workers"])
        self.set_spin = ctypes.CFUNCTYPE(None, integer)(symbols["tgen_set_spin"])

    def run(self, body: str, frame: np.ndarray, threads: int, calls: int = 1) -> None:
        assert frame.ctypes.data % 64 == 0
        self._many(self.library.address(body), frame.ctypes.data, threads, calls)


def new_frame(rounds: int = 0, size: int = 512 + 300 * 64) -> np.ndarray:
    memory = np.full(size + 64, 0xAB, np.uint8)  # a call must not rely on zeros in what it is given
    start = -memory.ctypes.data % 64
    frame = memory[start : start + size]
    frame[HEADER:] = 0
    frame[HEADER : HEADER + 8].view(np.int64)[0] = rounds
    return frame


def errors(frame: np.ndarray) -> int:
    return int(frame[HEADER + 8 : HEADER + 16].view(np.int64)[0])


def cells(frame: np.ndarray, word: int = 0) -> np.ndarray:
    """A word of every thread's cell, as integers."""
    return frame[512 : 512 + 300 * 64].view(np.int64).reshape(-1, 8)[:, word]


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(runtime.process_runtime(HOST, HINT))


@pytest.fixture
def fresh() -> Iterator[Pool]:
    """A pool that nobody has used: a second copy of the code, which is never unloaded since its workers stay in it."""
    library = llvm.load([llvm.compile_object(runtime.runtime_ir(HOST.triple, HINT), HOST)], runtime.EXPORTS)
    library.pin()
    yield Pool({name: library.address(name) for name in runtime.EXPORTS})


@pytest.mark.parametrize("threads", [-1, 0, 1, 2, 3, 4, 9])
def test_each_thread_runs_once(pool: Pool, threads: int) -> None:
    frame = new_frame()
    pool.run("count", frame, threads)
    there = max(1, threads)
    assert list(cells(frame)[:there]) == [1] * there
    assert not cells(frame)[there:].any()
    assert set(cells(frame, 1)[:there]) == {there}


def test_no_thread_before_the_first_call_for_two(fresh: Pool) -> None:
    fresh.run("count", new_frame(), 1)
    assert fresh.workers() == 0
    fresh.run("count", new_frame(), 2)
    assert fresh.workers() == 1
    fresh.run("count", new_frame(), 4)
    fresh.run("count", new_frame(), 2)
    assert fresh.workers() == 3


@pytest.mark.parametrize("threads, calls", [(1, 100_000), (2, 100_000), (3, 1000), (4, 1000)])
def test_many_calls(pool: Pool, threads: int, calls: int) -> None:
    frame = new_frame()
    pool.run("count", frame, threads, calls)
    assert cells(frame).sum() == cells(frame)[0] * threads == calls * threads


@pytest.mark.parametrize("threads, rounds", [(1, 50_000), (2, 50_000), (3, 10_000), (4, 10_000)])
def test_barriers_hold(pool: Pool, threads: int, rounds: int) -> None:
    """Two barriers a round."""
    frame = new_frame(rounds)
    pool.run("meet", frame, threads)
    assert errors(frame) == 0
    assert list(cells(frame)[:threads]) == [rounds - 1] * threads


@pytest.mark.parametrize("threads", [2, 4])
def test_barriers_hold_when_workers_had_fallen_asleep(pool: Pool, threads: int) -> None:
    frame = new_frame(3)
    pool.set_spin(0)
    try:
        for _ in range(300):
            pool.run("meet", frame, threads)
        pool.run("meet", frame, threads, 300)
    finally:
        pool.set_spin(runtime.SPIN_ROUNDS)
    assert errors(frame) == 0


def test_concurrent_callers_share_the_workers(pool: Pool) -> None:
    """Some find no idle worker and run alone; every call is whole."""
    frames = [new_frame(40) for _ in range(6)]

    def work(frame: np.ndarray) -> None:
        for _ in range(100):
            pool.run("meet", frame, 3)

    callers = [threading.Thread(target=work, args=(frame,)) for frame in frames]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [errors(frame) for frame in frames] == [0] * 6


def test_a_caller_gets_fewer_while_another_has_the_workers(fresh: Pool) -> None:
    """Tried until the second call falls into the 20 ms of the first: on a busy machine that may take a few tries."""
    fresh.run("count", new_frame(), 2)
    for _ in range(100):
        first, second = new_frame(), new_frame()
        caller = threading.Thread(target=fresh.run, args=("doze", first, 2))
        caller.start()
        while not cells(first)[0] and cells(second, 1)[0] != 1:
            fresh.run("count", second, 2)
        caller.join()
        if cells(second, 1)[0] == 1 and list(cells(first, 1)[:2]) == [2, 2]:
            return
    pytest.fail("no call ever found the worker taken")


def test_nested_calls(pool: Pool) -> None:
    frame = new_frame(size=8192 * 8)
    for thread in range(4):
        frame[8192 * (thread + 1) + HEADER :][:8].view(np.int64)[0] = 20
    for _ in range(20):
        pool.run("nest", frame, 4)
    assert list(cells(frame)[:4]) == [20] * 4
    assert all(errors(frame[8192 * (thread + 1) :]) == 0 for thread in range(4))


def test_more_threads_than_the_pool_may_have(fresh: Pool) -> None:
    frame = new_frame()
    fresh.run("count", frame, 1000)
    there = int(cells(frame, 1)[0])
    assert fresh.workers() == there - 1 <= runtime.MOST_WORKERS
    assert list(cells(frame)[:there]) == [1] * there


@pytest.mark.skipif(not HOST.triple.startswith("x86_64"), reason="sets the mode as an x86-64 does")
def test_workers_compute_in_the_callers_float_mode(pool: Pool) -> None:
    code = """
define void @set(i32 %mode) {
  %p = alloca i32
  store i32 %mode, ptr %p
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
declare void @llvm.x86.sse.ldmxcsr(ptr)
"""
    library = llvm.load([llvm.compile_object(code, HOST)], ["set"])
    set_mode = ctypes.CFUNCTYPE(None, ctypes.c_int32)(library.address("set"))
    frame = new_frame()
    for mode, wanted in ((0x1F80, 2), (0x1F80 | 0x8040, 0), (0x1F80, 2)):
        cells(frame)[:2] = 1  # as a double: the least subnormal
        set_mode(mode)
        pool.run("subnormal", frame, 2)
        set_mode(0x1F80)
        assert list(cells(frame, 1)[:2]) == [wanted] * 2


def children(pool: Pool, count: int) -> list[int]:
    """Exit codes of forked children, each of which runs and counts errors; -14 for one that hangs."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            frame = new_frame(50)
            inherited = pool.workers()
            pool.run("meet", frame, 3)
            os._exit(10 * (inherited != 0) + (pool.workers() != 2) + 2 * (errors(frame) != 0))
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def test_forked_children_have_pools_of_their_own(pool: Pool) -> None:
    frame = new_frame(100)
    pool.run("meet", frame, 3)
    assert children(pool, 8) == [0] * 8
    pool.run("meet", frame, 3)
    assert errors(frame) == 0


def test_fork_while_other_threads_run(pool: Pool) -> None:
    """Children are made in the middle of runs, of starts and of wake-ups of other threads."""
    stop, frames = threading.Event(), [new_frame(20) for _ in range(2)]

    def work(frame: np.ndarray) -> None:
        while not stop.is_set():
            pool.run("meet", frame, 3)

    pool.set_spin(10)
    callers = [threading.Thread(target=work, args=(frame,)) for frame in frames]
    for caller in callers:
        caller.start()
    try:
        assert [code for _ in range(10) for code in children(pool, 2)] == [0] * 20
    finally:
        stop.set()
        pool.set_spin(runtime.SPIN_ROUNDS)
        for caller in callers:
            caller.join()
    assert [errors(frame) for frame in frames] == [0, 0]


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def test_idle_workers_cost_nothing(pool: Pool) -> None:
    pool.run("count", new_frame(), 4)
    time.sleep(0.1)
    before, start = cpu_seconds(), time.monotonic()
    time.sleep(1.0)
    share = (cpu_seconds() - before) / (time.monotonic() - start)
    assert share < 0.02, f"{share:.1%} of a CPU"


def test_workers_take_no_signals_but_their_own_faults(pool: Pool) -> None:
    pool.run("count", new_frame(), 3)
    masks = []
    for status in Path("/proc/self/task").glob("*/status"):
        blocked = next(line for line in status.read_text().splitlines() if line.startswith("SigBlk"))
        masks.append(int(blocked.split()[1], 16))

    def blocks(mask: int, number: signal.Signals) -> bool:
        return bool(mask >> (number - 1) & 1)

    def is_worker(mask: int) -> bool:
        taken = (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGABRT, signal.SIGTRAP)
        blocked = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPROF, signal.SIGALRM)
        return all(blocks(mask, n) for n in blocked) and not any(blocks(mask, n) for n in taken)

    assert sum(map(is_worker, masks)) >= pool.workers() >= 2
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


ALONE = """
import sys
sys.path.insert(0, {folder!r})
import test_pool as t
pool = t.Pool(t.runtime.process_runtime(t.HOST, t.HINT))
"""


def in_a_fresh_process(code: str) -> str:
    whole = ALONE.format(folder=str(Path(__file__).parent)) + code
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("rest", ["time.sleep(0.2)", "pass", "pool.set_spin(1 << 40); pool.run('count', frame, 4)"])
def test_clean_exit_with_workers_asleep_or_awake(rest: str) -> None:
    in_a_fresh_process(f"import time; frame = t.new_frame(); pool.run('count', frame, 4); {rest}")


def test_clean_exit_in_the_middle_of_a_daemons_run() -> None:
    in_a_fresh_process(
        "import threading, time\n"
        "threading.Thread(target=pool.run, args=('count', t.new_frame(), 3, 1 << 40), daemon=True).start()\n"
        "time.sleep(0.1)"
    )


def test_where_threads_are_refused_calls_make_do() -> None:
    """No address space for stacks: pthread_create fails."""
    printed = in_a_fresh_process("""
import resource
size = int(open('/proc/self/statm').read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), resource.RLIM_INFINITY))
frame = t.new_frame()
pool.run('count', frame, 4, 3000)
print(pool.workers(), t.cells(frame)[0], t.cells(frame, 1)[0])
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pool.run('count', frame, 4, 2000)
print(pool.workers())
""")
    assert printed == "0 3000 1\n3\n"


def test_one_pool_a_process_its_code_from_the_cache(tmp_path: Path) -> None:
    assert runtime.process_runtime(HOST) is runtime.process_runtime(HOST, HINT)
    cache = Cache(tmp_path)
    code = runtime._machine_code(HOST, HINT, cache)
    assert cache.get(llvm.object_key(runtime.runtime_ir(HOST.triple, HINT), HOST)) == code
    assert runtime._machine_code(HOST, HINT, cache) == code


@pytest.mark.parametrize("hint", ["", "call void @llvm.aarch64.isb(i32 15)", "call void @llvm.aarch64.hint(i32 1)"])
def test_the_pool_for_arm(hint: str) -> None:
    text = llvm.assembly(runtime.runtime_ir("aarch64-unknown-linux-gnu", hint), Machine("aarch64-unknown-linux-gnu"))
    assert "FPCR" in text
    assert ("isb" in text) == ("isb" in hint)


@pytest.mark.parametrize("triple", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "riscv64-unknown-linux-gnu"])
def test_the_pool_needs_libc_alone(triple: str) -> None:
    """Symbols that the object leaves to others are functions of libc (glibc 2.34 or musl), also on other machines."""
    features = "+a" if triple.startswith("riscv") else ""
    text = llvm.assembly(runtime.runtime_ir(triple), Machine(triple, features=features))
    names = {word.strip(",@PLT()") for line in text.splitlines() for word in line.split()}
    assert not [name for name in names if name.startswith("__atomic") or name in ("fesetenv", "fegetmode", "futex", "syscall")]
