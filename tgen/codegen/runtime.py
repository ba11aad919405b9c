"""The thread pool of a process, as LLVM IR over pthread and libc alone: the same code serves JIT and ahead-of-time libraries.

    void tgen_parallel(ptr body, ptr frame, i64 threads)    body(thread, threads, frame) on up to `threads` threads; the caller is 0
    void tgen_barrier(ptr frame)                            all threads of this call meet
    i64  tgen_pool_workers()                                workers alive
    void tgen_set_spin(i64 rounds)                          how long an idle worker looks for work before it sleeps
    tgen_enter_float_mode, tgen_leave_float_mode            see `float_mode`
    tgen_watch_interrupts, tgen_interrupts                  see `interrupts`

Idle workers are claimed one by one, so calls made at the same time share the pool: who finds none runs alone. Nothing is started before
the first call that asks for more than one thread; where a thread cannot be started, calls make do with those there are. A forked child
has no pool until it asks for one. Workers take no signals but those of their own faults, and compute in the caller's floating-point mode
(rounding, flushing of subnormals), which is that of the run, so a result does not depend on which thread computed it.

A frame is aligned to 64 bytes, and its first 256 are the runtime's: threads at 0, arrived at 64, generation at 128, workers still
running at 192; a name of the CPU set that workers of this call run on (0: where they are) at 200, a pointer to the set at 208. `__register_atfork` (Linux Standard Base) is what glibc's pthread_atfork calls; only it is a dynamic symbol.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import llvm
from .float_mode import float_mode_ir
from .interrupts import INTERRUPTS_IR
from .llvm import Machine

if TYPE_CHECKING:
    from ..cache import Cache

MOST_WORKERS = 255
SPIN_ROUNDS = 3000  # an idle worker's, before it sleeps: some 40 µs of polite waiting
# A waiting thread's, before it offers its CPU to others: some 13 µs. With more threads than CPUs a barrier takes about two such waits
# (measured: 30 µs at 1000, 120 µs at 4000), with a CPU for each it takes 0.1 µs whatever this is.
BARRIER_ROUNDS = 1000
CPU_SET_NAME, CPU_SET = 200, 208  # in a frame
CPU_SET_BYTES = 128
PATIENCE = 1000  # calls that do not try to start a thread again after the system refused one

EXPORTS = (
    "tgen_parallel",
    "tgen_barrier",
    "tgen_pool_workers",
    "tgen_set_spin",
    "tgen_enter_float_mode",
    "tgen_leave_float_mode",
    "tgen_watch_interrupts",
    "tgen_interrupts",
)

# A slot (256 bytes) is a worker's letter box: state at 0 (0 idle, 1 claimed, 2 work), then the letter: body 8, frame 16, thread 24,
# threads 32, float mode 40; the name of the CPU set that the worker is on at 48; asleep at 64; mutex at 128 and condition at 192, of
# which glibc and musl take up to 48 bytes each and for which zeros are a fresh one.
_GLOBALS = """
target triple = "$triple"

@lock = internal global [64 x i8] zeroinitializer, align 64
@workers = internal global i64 0, align 64
@spin = internal global i64 $spin, align 64
@registered = internal global i64 0, align 8
@patience = internal global i64 0, align 8
@slots = internal global [$slots x [256 x i8]] zeroinitializer, align 256

declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @__register_atfork(ptr, ptr, ptr, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_yield()
declare i32 @sched_setaffinity(i32, i64, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
$declarations
"""

# linger: one round of waiting; first politely, then by letting other threads have the CPU (there may be more threads than CPUs).
_BARRIER = """
define internal void @linger(i64 %round) nounwind {
  %long = icmp ugt i64 %round, $barrier_rounds
  br i1 %long, label %yield, label %hint
hint:
  $spin_hint
  ret void
yield:
  %y = call i32 @sched_yield()
  ret void
}

define void @tgen_barrier(ptr %frame) nounwind {
entry:
  %n = load i64, ptr %frame, align 64
  %alone = icmp sle i64 %n, 1
  br i1 %alone, label %done, label %meet
meet:
  %arrived = getelementptr i8, ptr %frame, i64 64
  %generation = getelementptr i8, ptr %frame, i64 128
  %g = load atomic i64, ptr %generation acquire, align 64
  %before = atomicrmw add ptr %arrived, i64 1 acq_rel
  %count = add i64 %before, 1
  %last = icmp eq i64 %count, %n
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %arrived monotonic, align 64
  %next = add i64 %g, 1
  store atomic i64 %next, ptr %generation release, align 64
  br label %done
wait:
  %round = phi i64 [ 0, %meet ], [ %round2, %again ]
  %now = load atomic i64, ptr %generation acquire, align 64
  %opened = icmp ne i64 %now, %g
  br i1 %opened, label %done, label %again
again:
  call void @linger(i64 %round)
  %round2 = add i64 %round, 1
  br label %wait
done:
  ret void
}
"""

# No wake-up is lost: the sleeper writes `asleep` and then reads `state`, the caller writes `state` and then reads `asleep`, all in
# one total order, so at least one of them sees the other; and the caller signals under the mutex that the sleeper holds until it waits.
# The worker frees its slot before it reports, so that the caller's next call finds it; after the report it knows nothing of the frame.
# move: to the CPU set that a call asks for, unless the worker is there; a set that the system refuses is left alone.
_WORKER = """
define internal void @move(ptr %slot, ptr %frame) nounwind {
  %wanted.p = getelementptr i8, ptr %frame, i64 $cpu_set_name
  %wanted = load i64, ptr %wanted.p, align 8
  %here.p = getelementptr i8, ptr %slot, i64 48
  %here = load i64, ptr %here.p, align 8
  %same = icmp eq i64 %wanted, %here
  %any = icmp eq i64 %wanted, 0
  %stay = or i1 %same, %any
  br i1 %stay, label %done, label %go
go:
  %set.p = getelementptr i8, ptr %frame, i64 $cpu_set
  %set = load ptr, ptr %set.p, align 8
  store i64 %wanted, ptr %here.p, align 8
  %r = call i32 @sched_setaffinity(i32 0, i64 $cpu_set_bytes, ptr %set)
  br label %done
done:
  ret void
}

define internal ptr @worker(ptr %slot) nounwind {
entry:
  %asleep.p = getelementptr i8, ptr %slot, i64 64
  %mutex = getelementptr i8, ptr %slot, i64 128
  %condition = getelementptr i8, ptr %slot, i64 192
  br label %idle
idle:
  %limit = load atomic i64, ptr @spin monotonic, align 8
  br label %look
look:
  %round = phi i64 [ 0, %idle ], [ %round2, %hint ]
  %state = load atomic i64, ptr %slot acquire, align 64
  %work = icmp eq i64 %state, 2
  br i1 %work, label %run, label %patience
patience:
  %long = icmp uge i64 %round, %limit
  br i1 %long, label %sleep, label %hint
hint:
  $spin_hint
  %round2 = add i64 %round, 1
  br label %look
sleep:
  %l = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %asleep.p seq_cst, align 64
  fence seq_cst
  br label %sleeping
sleeping:
  %state2 = load atomic i64, ptr %slot seq_cst, align 64
  %work2 = icmp eq i64 %state2, 2
  br i1 %work2, label %awake, label %cond
cond:
  %w = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %sleeping
awake:
  store atomic i64 0, ptr %asleep.p monotonic, align 64
  %u = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %run
run:
  %body.p = getelementptr i8, ptr %slot, i64 8
  %frame.p = getelementptr i8, ptr %slot, i64 16
  %thread.p = getelementptr i8, ptr %slot, i64 24
  %threads.p = getelementptr i8, ptr %slot, i64 32
  %mode.p = getelementptr i8, ptr %slot, i64 40
  %body = load ptr, ptr %body.p, align 8
  %frame = load ptr, ptr %frame.p, align 8
  %thread = load i64, ptr %thread.p, align 8
  %threads = load i64, ptr %threads.p, align 8
  %mode = load i64, ptr %mode.p, align 8
  call void @set_float_mode(i64 %mode)
  call void @move(ptr %slot, ptr %frame)
  call void %body(i64 %thread, i64 %threads, ptr %frame)
  store atomic i64 0, ptr %slot release, align 64
  %running = getelementptr i8, ptr %frame, i64 192
  %r = atomicrmw sub ptr %running, i64 1 release
  br label %idle
}
"""

# In a forked child only the forking thread lives on; whatever the others held or were about to do is forgotten. The handler is
# registered before the lock is first taken, so no child inherits a held lock without it; registering twice does no harm.
# Signals are blocked before a thread starts (SIG_BLOCK 0, SIG_SETMASK 2), but for ILL, TRAP, ABRT, BUS, FPE and SEGV (4 to 8, and 11).
_START = """
define internal void @forked() nounwind {
  call void @llvm.memset.p0.i64(ptr @lock, i8 0, i64 64, i1 false)
  call void @llvm.memset.p0.i64(ptr @slots, i8 0, i64 $slot_bytes, i1 false)
  store i64 0, ptr @patience, align 8
  store atomic i64 0, ptr @workers seq_cst, align 8
  ret void
}

define internal i32 @start_one(ptr %slot) nounwind {
  %handle = alloca i64, align 8
  %most = alloca [128 x i8], align 8
  %before = alloca [128 x i8], align 8
  call void @llvm.memset.p0.i64(ptr %most, i8 -1, i64 128, i1 false)
  store i64 $signals, ptr %most, align 8
  %b = call i32 @pthread_sigmask(i32 0, ptr %most, ptr %before)
  %failed = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %slot)
  %s = call i32 @pthread_sigmask(i32 2, ptr %before, ptr null)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %done, label %detach
detach:
  %h = load i64, ptr %handle, align 8
  %d = call i32 @pthread_detach(i64 %h)
  br label %done
done:
  ret i32 %failed
}

define internal void @start(i64 %wanted) noinline nounwind {
entry:
  %seen = load atomic i64, ptr @registered acquire, align 8
  %known = icmp ne i64 %seen, 0
  br i1 %known, label %hold, label %register
register:
  %f = call i32 @__register_atfork(ptr null, ptr null, ptr @forked, ptr null)
  store atomic i64 1, ptr @registered release, align 8
  br label %hold
hold:
  %l = call i32 @pthread_mutex_lock(ptr @lock)
  %refused = load i64, ptr @patience, align 8
  %fewer = sub i64 %refused, 1
  %patient = icmp ne i64 %refused, 0
  br i1 %patient, label %forgive, label %more
forgive:
  store i64 %fewer, ptr @patience, align 8
  br label %done
more:
  %count = load atomic i64, ptr @workers monotonic, align 8
  %enough = icmp uge i64 %count, %wanted
  br i1 %enough, label %done, label %create
create:
  %slot = getelementptr [256 x i8], ptr @slots, i64 %count
  %c = call i32 @start_one(ptr %slot)
  %failed = icmp ne i32 %c, 0
  br i1 %failed, label %refuse, label %created
refuse:
  store i64 $patience, ptr @patience, align 8
  br label %done
created:
  %next = add i64 %count, 1
  store atomic i64 %next, ptr @workers release, align 8
  br label %more
done:
  %u = call i32 @pthread_mutex_unlock(ptr @lock)
  ret void
}
"""

# claim: idle workers, in order, into %claimed; their number. post: a letter to each. wait: until all have reported.
_PARALLEL = """
define internal i64 @claim(ptr %claimed, i64 %wanted) nounwind {
entry:
  %there = load atomic i64, ptr @workers acquire, align 8
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k2, %try ]
  %got = phi i64 [ 0, %entry ], [ %got2, %try ]
  %over = icmp uge i64 %k, %there
  %full = icmp uge i64 %got, %wanted
  %stop = or i1 %over, %full
  br i1 %stop, label %done, label %try
try:
  %slot = getelementptr [256 x i8], ptr @slots, i64 %k
  %pair = cmpxchg ptr %slot, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %pair, 1
  %entry.p = getelementptr ptr, ptr %claimed, i64 %got
  store ptr %slot, ptr %entry.p, align 8
  %one = zext i1 %mine to i64
  %got2 = add i64 %got, %one
  %k2 = add i64 %k, 1
  br label %next
done:
  ret i64 %got
}

define internal void @post(ptr %slot, ptr %body, ptr %frame, i64 %thread, i64 %threads, i64 %mode) nounwind {
  %body.p = getelementptr i8, ptr %slot, i64 8
  %frame.p = getelementptr i8, ptr %slot, i64 16
  %thread.p = getelementptr i8, ptr %slot, i64 24
  %threads.p = getelementptr i8, ptr %slot, i64 32
  %mode.p = getelementptr i8, ptr %slot, i64 40
  store ptr %body, ptr %body.p, align 8
  store ptr %frame, ptr %frame.p, align 8
  store i64 %thread, ptr %thread.p, align 8
  store i64 %threads, ptr %threads.p, align 8
  store i64 %mode, ptr %mode.p, align 8
  store atomic i64 2, ptr %slot seq_cst, align 64
  fence seq_cst
  %asleep.p = getelementptr i8, ptr %slot, i64 64
  %asleep = load atomic i64, ptr %asleep.p seq_cst, align 64
  %rouse = icmp ne i64 %asleep, 0
  br i1 %rouse, label %signal, label %done
signal:
  %mutex = getelementptr i8, ptr %slot, i64 128
  %condition = getelementptr i8, ptr %slot, i64 192
  %l = call i32 @pthread_mutex_lock(ptr %mutex)
  %w = call i32 @pthread_cond_signal(ptr %condition)
  %u = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %done
done:
  ret void
}

define internal void @several(ptr %body, ptr %frame, i64 %wanted) noinline nounwind {
entry:
  %claimed = alloca [$slots x ptr], align 8
  %running = getelementptr i8, ptr %frame, i64 192
  %alive = load atomic i64, ptr @workers acquire, align 8
  %few = icmp ult i64 %alive, %wanted
  br i1 %few, label %grow, label %take
grow:
  call void @start(i64 %wanted)
  br label %take
take:
  %got = call i64 @claim(ptr %claimed, i64 %wanted)
  %n = add i64 %got, 1
  store i64 %n, ptr %frame, align 64
  store atomic i64 %got, ptr %running monotonic, align 64
  %mode = call i64 @float_mode()
  br label %next
next:
  %j = phi i64 [ 0, %take ], [ %j2, %letter ]
  %posted = icmp uge i64 %j, %got
  br i1 %posted, label %work, label %letter
letter:
  %slot.p = getelementptr ptr, ptr %claimed, i64 %j
  %slot = load ptr, ptr %slot.p, align 8
  %j2 = add i64 %j, 1
  call void @post(ptr %slot, ptr %body, ptr %frame, i64 %j2, i64 %n, i64 %mode)
  br label %next
work:
  call void %body(i64 0, i64 %n, ptr %frame)
  br label %wait
wait:
  %round = phi i64 [ 0, %work ], [ %round2, %again ]
  %left = load atomic i64, ptr %running acquire, align 64
  %finished = icmp eq i64 %left, 0
  br i1 %finished, label %done, label %again
again:
  call void @linger(i64 %round)
  %round2 = add i64 %round, 1
  br label %wait
done:
  ret void
}

define void @tgen_parallel(ptr %body, ptr %frame, i64 %threads) nounwind {
entry:
  %arrived = getelementptr i8, ptr %frame, i64 64
  %generation = getelementptr i8, ptr %frame, i64 128
  store atomic i64 0, ptr %arrived monotonic, align 64
  store atomic i64 0, ptr %generation monotonic, align 64
  %single = icmp sle i64 %threads, 1
  br i1 %single, label %alone, label %shared
alone:
  store i64 1, ptr %frame, align 64
  call void %body(i64 0, i64 1, ptr %frame)
  ret void
shared:
  %wanted = sub i64 %threads, 1
  %many = icmp ugt i64 %wanted, $slots
  %most = select i1 %many, i64 $slots, i64 %wanted
  call void @several(ptr %body, ptr %frame, i64 %most)
  ret void
}

define i64 @tgen_pool_workers() nounwind {
  %n = load atomic i64, ptr @workers acquire, align 8
  ret i64 %n
}

define void @tgen_set_spin(i64 %rounds) nounwind {
  store atomic i64 %rounds, ptr @spin monotonic, align 8
  ret void
}
"""

_FAULTS = sum(1 << (signal - 1) for signal in (4, 5, 6, 7, 8, 11))


def runtime_ir(triple: str, spin_hint: str = "") -> str:
    """LLVM IR of the pool. spin_hint: a call of an intrinsic that waits politely, as a line of LLVM IR ("" for none)."""
    pool = string.Template(_GLOBALS + _BARRIER + _WORKER + _START + _PARALLEL).substitute(
        triple=triple,
        spin=SPIN_ROUNDS,
        slots=MOST_WORKERS,
        slot_bytes=MOST_WORKERS * 256,
        barrier_rounds=BARRIER_ROUNDS,
        patience=PATIENCE,
        cpu_set_name=CPU_SET_NAME,
        cpu_set=CPU_SET,
        cpu_set_bytes=CPU_SET_BYTES,
        signals=~_FAULTS,
        spin_hint=spin_hint,
        declarations=_declaration(spin_hint),
    )
    return pool + float_mode_ir(triple) + INTERRUPTS_IR


def _declaration(call: str) -> str:
    """The declaration of the function that a line such as `call void @llvm.aarch64.hint(i32 1)` calls; "" where it calls none."""
    found = re.search(r"(@[\w.]+)\((.*)\)", call)
    if not found:
        return ""
    types = [argument.split()[0] for argument in found[2].split(",") if argument.strip()]
    return f"declare void {found[1]}({', '.join(types)})"


_addresses: dict[str, int] = {}


def process_runtime(machine: Machine, spin_hint: str = "", cache: Cache | None = None) -> Mapping[str, int]:
    """Addresses of the exports of this process's one pool: made at the first call, for that machine; shared by all models.

    cache: where the machine code is looked up and kept. Raises CodegenError if LLVM refuses it.
    """
    with llvm.exclusive:
        if not _addresses:
            library = llvm.load([_machine_code(machine, spin_hint, cache)], EXPORTS)
            library.pin()  # workers may be in it until the process ends
            _addresses.update({name: library.address(name) for name in EXPORTS})
        return _addresses


def _machine_code(machine: Machine, spin_hint: str, cache: Cache | None) -> bytes:
    ir = runtime_ir(machine.triple, spin_hint)
    key = llvm.object_key(ir, machine) if cache else ""
    found = cache.get(key) if cache else None
    if found is not None:
        return bytes(found)
    code = llvm.compile_object(ir, machine)
    if cache:
        cache.put(key, [code])
    return code
