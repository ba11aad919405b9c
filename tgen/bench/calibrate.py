"""This machine's ceilings, measured: float32 multiply-adds a second, and bytes read a second from memory larger than caches.

Kernels are made for the target's own vectors and run on as many threads as the models do; the best of several short runs counts.
"""

from __future__ import annotations

import ctypes
import functools
import time
from dataclasses import dataclass

import numpy as np

from ..codegen import llvm
from ..codegen.program import RUNTIME_BYTES
from ..codegen.runtime import process_runtime
from ..compiler import machine_of
from ..targets.target import Target

CHAINS = 12  # independent sums: more than latency × units of any CPU in use
ROUNDS = 1 << 16
READ_BYTES = 64 << 20  # a thread
REPEATS = 7


@dataclass(frozen=True)
class Ceilings:
    """flops: float32 operations a second (a multiply-add is two); bytes: read a second; both of all threads together."""

    flops: float
    bytes: float

    def floor_seconds(self, flops: float, bytes_read: float) -> float:
        """The least time for so much arithmetic over so many bytes: the roofline."""
        return max(flops / self.flops, bytes_read / self.bytes)


def _peak_ir(target: Target) -> str:
    """ROUNDS times CHAINS multiply-adds; a thread's result goes into its own cache line, so that none can be left out."""
    vector = f"<{target.lanes} x float>"
    splat = ", ".join(["float 0x3FEFFFFFE0000000"] * target.lanes)
    fma = f"llvm.fma.v{target.lanes}f32"
    phis = "\n".join(f"  %a{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in range(CHAINS))
    macs = "\n".join(f"  %b{k} = call {vector} @{fma}({vector} %a{k}, {vector} %x, {vector} %x)" for k in range(CHAINS))
    sums = "\n".join(f"  %s{k + 1} = fadd {vector} {'%b0' if k == 0 else f'%s{k}'}, %b{k + 1}" for k in range(CHAINS - 1))
    return f"""
declare {vector} @{fma}({vector}, {vector}, {vector})
define void @peak(i64 %thread, i64 %threads, ptr %frame) "target-features"="{target.feature_string}" {{
entry:
  %x = fadd {vector} zeroinitializer, <{splat}>
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phis}
{macs}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, {ROUNDS}
  br i1 %more, label %loop, label %done
done:
{sums}
  %at = add i64 %thread, {RUNTIME_BYTES // 64 + 1}
  %p = getelementptr [64 x i8], ptr %frame, i64 %at
  store {vector} %s{CHAINS - 1}, ptr %p, align 4
  ret void
}}"""


def _read_ir(target: Target) -> str:
    """Each thread adds up READ_BYTES of its own; the address stands in the frame after the runtime's bytes."""
    vector, size = f"<{target.lanes} x float>", target.lanes * 4
    loads = "\n".join(
        f"  %p{k} = getelementptr i8, ptr %here, i64 {k * size}\n  %v{k} = load {vector}, ptr %p{k}, align 4\n"
        f"  %b{k} = fadd {vector} %a{k}, %v{k}"
        for k in range(8)
    )
    phis = "\n".join(f"  %a{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in range(8))
    sums = "\n".join(f"  %s{k + 1} = fadd {vector} {'%b0' if k == 0 else f'%s{k}'}, %b{k + 1}" for k in range(7))
    return f"""
define void @read(i64 %thread, i64 %threads, ptr %frame) "target-features"="{target.feature_string}" {{
entry:
  %where = getelementptr i8, ptr %frame, i64 {RUNTIME_BYTES}
  %base = load ptr, ptr %where
  %offset = mul i64 %thread, {READ_BYTES}
  %mine = getelementptr i8, ptr %base, i64 %offset
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phis}
  %here = getelementptr i8, ptr %mine, i64 %i
{loads}
  %j = add i64 %i, {8 * size}
  %more = icmp ult i64 %j, {READ_BYTES}
  br i1 %more, label %loop, label %done
done:
{sums}
  %at = add i64 %thread, {RUNTIME_BYTES // 64 + 1}
  %p = getelementptr [64 x i8], ptr %frame, i64 %at
  store {vector} %s7, ptr %p, align 4
  ret void
}}"""


@functools.cache
def measure(target: Target, threads: int) -> Ceilings:
    """The ceilings of `threads` threads on this machine; takes about half a second."""
    machine = machine_of(target)
    runtime = process_runtime(machine, target.spin_hint)
    library = llvm.load(
        [llvm.compile_object(ir, machine) for ir in (_peak_ir(target), _read_ir(target))], ["peak", "read"], runtime
    )
    parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(runtime["tgen_parallel"])
    data = np.ones(READ_BYTES * threads // 4, np.float32)
    frame = np.zeros(RUNTIME_BYTES + 64 * (threads + 3), np.uint8)
    start = -frame.ctypes.data % 64
    address = frame.ctypes.data + start
    frame[start + RUNTIME_BYTES :][:8].view(np.uint64)[0] = data.ctypes.data

    def best(name: str) -> float:
        times = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            parallel(library.address(name), address, threads)
            times.append(time.perf_counter() - begin)
        return min(times)

    flops = 2.0 * CHAINS * ROUNDS * target.lanes * threads / best("peak")
    return Ceilings(flops, READ_BYTES * threads / best("read"))
