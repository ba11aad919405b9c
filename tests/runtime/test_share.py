"""Chunks of a step: every unit of work is done once, whatever the number of units, threads and operations."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator

import llvmlite.ir as ll
import numpy as np
import pytest

from tests.native import host
from tgen.codegen import llvm
from tgen.codegen.context import I64, KERNEL_ARGUMENTS, PTR, FunctionContext
from tgen.codegen.llvm import machine_of
from tgen.codegen.share import LEAST_WORK, ROUNDS, share

Share = Callable[[int, int, int, np.ndarray, np.ndarray], None]


@pytest.fixture(scope="module")
def counted() -> Iterator[Share]:
    """share(units, work, threads, counter, counts) of a kernel that adds 1 to counts[1 + unit], and to counts[0] once a call."""
    module = ll.Module("tgen")
    module.triple = host().triple
    kernel = FunctionContext(module, "kernel", KERNEL_ARGUMENTS, (), "")
    begin, end, counts = kernel.function.args[:3]
    kernel.b.atomic_rmw("add", counts, I64(1), "monotonic")
    with kernel.loop(begin, end) as unit:
        kernel.b.atomic_rmw("add", kernel.b.gep(counts, [kernel.b.add(unit, I64(1))], source_etype=I64), I64(1), "monotonic")
    called = kernel.finish()
    door = FunctionContext(module, "door", [I64, I64, I64, PTR, PTR], (), "", internal=False)
    units, work, threads, counter, counts = door.function.args
    nothing = ll.Constant(PTR, None)
    door.b.call(share(module, host()), [called, units, work, counter, threads, counts, nothing, nothing])
    door.finish()
    library = llvm.load([llvm.compile_object(str(module), machine_of(host()))], ["door"])
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    function = ctypes.CFUNCTYPE(None, integer, integer, integer, pointer, pointer)(library.address("door"))
    yield lambda u, w, t, counter, counts: function(u, w, t, counter.ctypes.data, counts.ctypes.data)
    del library


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 7, 255])
@pytest.mark.parametrize("work", [0, 1, LEAST_WORK - 1, 3 * LEAST_WORK, 30 * LEAST_WORK, 10**7, 10**12])
def test_each_unit_is_done_once(counted: Share, threads: int, work: int) -> None:
    for units in (0, 1, 2, 3, 4, 5, 8, 9, 31, 64, 100, 1001):
        counter, counts = np.zeros(1, np.int64), np.zeros(units + 1, np.int64)
        counted(units, work, threads, counter, counts)
        assert list(counts[1:]) == [1] * units
        if threads == 1:
            assert (counter[0], counts[0]) == (0, 1)
        else:
            assert counts[0] <= min(units, work // LEAST_WORK + 1, threads * ROUNDS)


def test_threads_that_claim_at_once(counted: Share) -> None:
    units, calls = 5000, 50
    counters, counts = np.zeros(calls, np.int64), np.zeros((calls, units + 1), np.int64)

    def work() -> None:
        for k in range(calls):
            counted(units, 10**9, 3, counters[k:], counts[k])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counts[:, 1:] == 1).all()


def test_chunks_become_smaller(counted: Share) -> None:
    """Of 64 units two threads take 16 each, then 8 and 8."""
    counter, counts = np.zeros(1, np.int64), np.zeros(65, np.int64)
    counter[0] = 4  # as if four chunks were taken
    counted(64, 10**9, 2, counter, counts)
    assert list(counts[1:]) == [0] * 48 + [1] * 16 and counts[0] == 2 and counter[0] == 7
