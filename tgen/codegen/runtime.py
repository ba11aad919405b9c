"""The thread pool of a process, as LLVM IR over pthread and libc alone: the same code serves JIT and ahead-of-time libraries.

    void tgen_parallel(ptr body, ptr frame, i64 threads)    body(thread, threads, frame) on up to `threads` threads; the caller is 0
    void tgen_barrier(ptr frame)                            all threads of this call meet
    i64  tgen_pool_workers()                                workers alive
    void tgen_set_spin(i64 rounds)                          how long an idle worker looks for work before it sleeps

Idle workers are claimed one by one, so calls made at the same time share the pool: who finds none runs alone. Nothing is started before
the first call that asks for more than one thread. A forked child has no pool until it asks for one.
`__register_atfork` (Linux Standard Base) is what glibc's pthread_atfork calls; only it is a dynamic symbol.
The first 256 bytes of a frame: threads at 0, arrived at 64, generation at 128, workers still running at 192.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .llvm import Machine

MOST_WORKERS = 255
SPIN_ROUNDS = 3000  # about 50 µs of polite waiting
BARRIER_ROUNDS = 4000  # before a waiting thread gives its CPU away

EXPORTS = ("tgen_parallel", "tgen_barrier", "tgen_pool_workers", "tgen_set_spin")

# A slot (128 bytes) is a worker's letter box: state at 0 (0 idle, 1 claimed, 2 work), body 8, frame 16, thread 24, threads 32.
_IR = """
target triple = "{triple}"

@lock = internal global [64 x i8] zeroinitializer, align 64
@wake = internal global [64 x i8] zeroinitializer, align 64
@workers = internal global i64 0, align 64
@sleepers = internal global i64 0, align 64
@spin = internal global i64 {spin}, align 64
@registered = internal global i64 0, align 8
@slots = internal global [{slots} x [128 x i8]] zeroinitializer, align 128

declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @__register_atfork(ptr, ptr, ptr, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_yield()
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
{declarations}

define internal ptr @slot(i64 %k) alwaysinline {{
  %p = getelementptr [128 x i8], ptr @slots, i64 %k
  ret ptr %p
}}

define void @tgen_barrier(ptr %frame) {{
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
  br i1 %opened, label %done, label %patience
patience:
  %long = icmp ugt i64 %round, {barrier_rounds}
  br i1 %long, label %yield, label %hint
hint:
  {spin_hint}
  br label %again
yield:
  %y = call i32 @sched_yield()
  br label %again
again:
  %round2 = add i64 %round, 1
  br label %wait
done:
  ret void
}}

define internal ptr @worker(ptr %slot) {{
entry:
  %all = alloca [128 x i8], align 16
  call void @llvm.memset.p0.i64(ptr %all, i8 -1, i64 128, i1 false)
  %s = call i32 @pthread_sigmask(i32 0, ptr %all, ptr null)
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
  {spin_hint}
  %round2 = add i64 %round, 1
  br label %look
sleep:
  %l = call i32 @pthread_mutex_lock(ptr @lock)
  %i = atomicrmw add ptr @sleepers, i64 1 seq_cst
  br label %asleep
asleep:
  %state2 = load atomic i64, ptr %slot seq_cst, align 64
  %work2 = icmp eq i64 %state2, 2
  br i1 %work2, label %awake, label %cond
cond:
  %w = call i32 @pthread_cond_wait(ptr @wake, ptr @lock)
  br label %asleep
awake:
  %d = atomicrmw sub ptr @sleepers, i64 1 seq_cst
  %u = call i32 @pthread_mutex_unlock(ptr @lock)
  br label %run
run:
  %body.p = getelementptr i8, ptr %slot, i64 8
  %frame.p = getelementptr i8, ptr %slot, i64 16
  %thread.p = getelementptr i8, ptr %slot, i64 24
  %threads.p = getelementptr i8, ptr %slot, i64 32
  %body = load ptr, ptr %body.p, align 8
  %frame = load ptr, ptr %frame.p, align 8
  %thread = load i64, ptr %thread.p, align 8
  %threads = load i64, ptr %threads.p, align 8
  call void %body(i64 %thread, i64 %threads, ptr %frame)
  store atomic i64 0, ptr %slot release, align 64
  %running = getelementptr i8, ptr %frame, i64 192
  %r = atomicrmw sub ptr %running, i64 1 release
  br label %idle
}}

define internal void @forked() {{
  call void @llvm.memset.p0.i64(ptr @lock, i8 0, i64 64, i1 false)
  call void @llvm.memset.p0.i64(ptr @wake, i8 0, i64 64, i1 false)
  call void @llvm.memset.p0.i64(ptr @slots, i8 0, i64 {slot_bytes}, i1 false)
  store atomic i64 0, ptr @sleepers seq_cst, align 8
  store atomic i64 0, ptr @workers seq_cst, align 8
  ret void
}}

define internal void @start(i64 %wanted) noinline {{
entry:
  %handle = alloca i64, align 8
  %most = icmp ugt i64 %wanted, {slots}
  %target = select i1 %most, i64 {slots}, i64 %wanted
  %l = call i32 @pthread_mutex_lock(ptr @lock)
  %seen = load i64, ptr @registered, align 8
  %known = icmp ne i64 %seen, 0
  br i1 %known, label %more, label %register
register:
  %f = call i32 @__register_atfork(ptr null, ptr null, ptr @forked, ptr null)
  store i64 1, ptr @registered, align 8
  br label %more
more:
  %count = load atomic i64, ptr @workers monotonic, align 8
  %enough = icmp uge i64 %count, %target
  br i1 %enough, label %done, label %create
create:
  %slot = call ptr @slot(i64 %count)
  %c = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %slot)
  %failed = icmp ne i32 %c, 0
  br i1 %failed, label %done, label %created
created:
  %h = load i64, ptr %handle, align 8
  %d = call i32 @pthread_detach(i64 %h)
  %next = add i64 %count, 1
  store atomic i64 %next, ptr @workers release, align 8
  br label %more
done:
  %u = call i32 @pthread_mutex_unlock(ptr @lock)
  ret void
}}

define void @tgen_parallel(ptr %body, ptr %frame, i64 %threads) {{
entry:
  %claimed = alloca [{slots} x i64], align 8
  %arrived = getelementptr i8, ptr %frame, i64 64
  %generation = getelementptr i8, ptr %frame, i64 128
  %running = getelementptr i8, ptr %frame, i64 192
  store atomic i64 0, ptr %arrived monotonic, align 64
  store atomic i64 0, ptr %generation monotonic, align 64
  %single = icmp sle i64 %threads, 1
  br i1 %single, label %alone, label %several
alone:
  store i64 1, ptr %frame, align 64
  call void %body(i64 0, i64 1, ptr %frame)
  ret void
several:
  %wanted = sub i64 %threads, 1
  %alive = load atomic i64, ptr @workers acquire, align 8
  %few = icmp ult i64 %alive, %wanted
  br i1 %few, label %grow, label %claim
grow:
  call void @start(i64 %wanted)
  br label %claim
claim:
  %there = load atomic i64, ptr @workers acquire, align 8
  br label %next
next:
  %k = phi i64 [ 0, %claim ], [ %k2, %tried ]
  %got = phi i64 [ 0, %claim ], [ %got2, %tried ]
  %over = icmp uge i64 %k, %there
  %full = icmp uge i64 %got, %wanted
  %stop = or i1 %over, %full
  br i1 %stop, label %hand, label %try
try:
  %box = call ptr @slot(i64 %k)
  %pair = cmpxchg ptr %box, i64 0, i64 1 acquire monotonic
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  %entry.p = getelementptr i64, ptr %claimed, i64 %got
  store i64 %k, ptr %entry.p, align 8
  %one = zext i1 %mine to i64
  br label %tried
tried:
  %got2 = add i64 %got, %one
  %k2 = add i64 %k, 1
  br label %next
hand:
  %n = add i64 %got, 1
  store i64 %n, ptr %frame, align 64
  store atomic i64 %got, ptr %running release, align 64
  br label %post
post:
  %j = phi i64 [ 0, %hand ], [ %j2, %letter ]
  %posted = icmp uge i64 %j, %got
  br i1 %posted, label %rouse, label %letter
letter:
  %which.p = getelementptr i64, ptr %claimed, i64 %j
  %which = load i64, ptr %which.p, align 8
  %b = call ptr @slot(i64 %which)
  %body.p = getelementptr i8, ptr %b, i64 8
  %frame.p = getelementptr i8, ptr %b, i64 16
  %thread.p = getelementptr i8, ptr %b, i64 24
  %threads.p = getelementptr i8, ptr %b, i64 32
  %j2 = add i64 %j, 1
  store ptr %body, ptr %body.p, align 8
  store ptr %frame, ptr %frame.p, align 8
  store i64 %j2, ptr %thread.p, align 8
  store i64 %n, ptr %threads.p, align 8
  store atomic i64 2, ptr %b seq_cst, align 64
  br label %post
rouse:
  fence seq_cst
  %asleep = load atomic i64, ptr @sleepers seq_cst, align 8
  %some = icmp ne i64 %asleep, 0
  br i1 %some, label %call, label %work
call:
  %l = call i32 @pthread_mutex_lock(ptr @lock)
  %w = call i32 @pthread_cond_broadcast(ptr @wake)
  %u = call i32 @pthread_mutex_unlock(ptr @lock)
  br label %work
work:
  call void %body(i64 0, i64 %n, ptr %frame)
  br label %wait
wait:
  %round = phi i64 [ 0, %work ], [ %round2, %again ]
  %left = load atomic i64, ptr %running acquire, align 64
  %finished = icmp eq i64 %left, 0
  br i1 %finished, label %done, label %patience
patience:
  %long = icmp ugt i64 %round, {barrier_rounds}
  br i1 %long, label %yield, label %hint
hint:
  {spin_hint}
  br label %again
yield:
  %y = call i32 @sched_yield()
  br label %again
again:
  %round2 = add i64 %round, 1
  br label %wait
done:
  ret void
}}

define i64 @tgen_pool_workers() {{
  %n = load atomic i64, ptr @workers acquire, align 8
  ret i64 %n
}}

define void @tgen_set_spin(i64 %rounds) {{
  store atomic i64 %rounds, ptr @spin monotonic, align 8
  ret void
}}
"""


def runtime_ir(triple: str, spin_hint: str = "") -> str:
    """LLVM IR of the pool. spin_hint: an instruction of the target that waits politely, as a line of LLVM IR ("" for none)."""
    intrinsic = spin_hint.split("@", 1)[1].split("(", 1)[0] if "@" in spin_hint else ""
    return _IR.format(
        triple=triple,
        spin=SPIN_ROUNDS,
        slots=MOST_WORKERS,
        slot_bytes=MOST_WORKERS * 128,
        barrier_rounds=BARRIER_ROUNDS,
        spin_hint=spin_hint,
        declarations=f"declare void @{intrinsic}()" if intrinsic else "",
    )


_lock = threading.Lock()
_addresses: dict[str, int] = {}
_kept: list[object] = []  # the code of the pool stays for as long as the process


def process_runtime(machine: Machine, spin_hint: str = "") -> Mapping[str, int]:
    """Addresses of the exports of this process's one pool; compiled at the first call, shared by all models."""
    from . import llvm

    with _lock:
        if not _addresses:
            library = llvm.load([llvm.compile_object(runtime_ir(machine.triple, spin_hint), machine)], EXPORTS)
            _kept.append(library)
            _addresses.update({name: library.address(name) for name in EXPORTS})
        return _addresses
