"""How the threads of a run share a step: they claim ever smaller chunks of its units of work from a counter.

    units  |------- half -------|- quarter -|- quarter -|      ROUNDS rounds of as many chunks as threads
    chunk  |    0    |    1     |  2  |  3  |  4  |  5  |      for two threads

Large chunks first keep the number of claims low, small ones last keep the threads from waiting long for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll

from ..targets.target import Target
from .context import I64, KERNEL_ARGUMENTS, PTR, VOID, FunctionContext

ROUNDS = 3
LEAST_WORK = 4096  # element operations: a chunk or a phase smaller than this costs more to hand over than to do
LEAST_WORK_OF_A_TURN = 1 << 16  # the same of a phase in a loop, where a thread that is held up holds up every turn


def share(module: ll.Module, target: Target) -> ll.Function:
    """void share(kernel, units, work, counter, threads, operands, symbols, scratch): runs a step's chunks until none is left.

    For one thread that is a single chunk, and the counter is not touched. Otherwise it is 0 before and after: who finds last that no
    chunk is left sets it back.
    """
    found = module.globals.get("share")
    return found if found is not None else _Share(module, target).emit()


class _Share:
    def __init__(self, module: ll.Module, target: Target) -> None:
        self.c = FunctionContext(module, "share", [PTR, I64, I64, PTR, I64, PTR, PTR, PTR], (), target.feature_string)
        self.c.function.attributes.add("noinline")
        self.kernel, self.units, self.work, self.counter, self.threads, *self.rest = self.c.function.args

    def emit(self) -> ll.Function:
        c, b, function = self.c, self.c.b, self.c.function
        alone, several, claim, run, leave, done = (
            function.append_basic_block(n) for n in ("alone", "several", "claim", "run", "leave", "finished")
        )
        b.cbranch(b.icmp_signed("==", self.threads, I64(1)), alone, several)
        b.position_at_end(alone)
        self._call([I64(0), self.units])
        b.branch(done)
        b.position_at_end(several)
        parts = c.minimum(c.minimum(self.threads, self.units), b.add(b.sdiv(self.work, I64(LEAST_WORK)), I64(1)))
        rounds = self._rounds(parts)
        chunks = b.mul(parts, rounds)  # none where there are no units
        b.branch(claim)
        b.position_at_end(claim)
        chunk = b.atomic_rmw("add", self.counter, I64(1), "monotonic")
        b.cbranch(b.icmp_signed("<", chunk, chunks), run, leave)
        b.position_at_end(leave)
        with c.when(b.icmp_signed("==", chunk, b.sub(b.add(chunks, self.threads), I64(1)))):
            b.store(I64(0), self.counter)
        b.branch(done)
        b.position_at_end(run)
        begin, end = self._bounds(chunk, parts, rounds)
        with c.when(b.icmp_signed("<", begin, end)):
            self._call([begin, end])
        b.branch(claim)
        b.position_at_end(done)
        return c.finish()

    def _rounds(self, parts: Any) -> Any:
        """As many rounds, of at most ROUNDS, as leave a unit and LEAST_WORK for each chunk of the last."""
        b = self.c.b
        most = self.c.minimum(self.units, b.sdiv(self.work, I64(LEAST_WORK)))
        rounds: Any = I64(1)
        for k in range(1, ROUNDS):
            enough = b.icmp_signed(">=", most, b.shl(parts, I64(k)))
            rounds = b.add(rounds, b.zext(enough, I64))
        return rounds

    def _bounds(self, chunk: Any, parts: Any, rounds: Any) -> tuple[Any, Any]:
        """First unit of a chunk, and the one behind its last: round r covers units - (units >> r) on, the last one all there are."""
        b = self.c.b
        number, part = b.udiv(chunk, parts), b.urem(chunk, parts)
        following = b.add(number, I64(1))
        left = b.lshr(self.units, number)
        start = b.sub(self.units, left)
        last = b.icmp_signed("==", following, rounds)
        length = b.sub(left, b.select(last, I64(0), b.lshr(self.units, following)))
        ends = (b.add(start, b.sdiv(b.mul(length, k), parts)) for k in (part, b.add(part, I64(1))))
        return next(ends), next(ends)

    def _call(self, bounds: Sequence[Any]) -> None:
        self.c.b.call(_Typed(self.kernel, ll.FunctionType(VOID, KERNEL_ARGUMENTS)), [*bounds, *self.rest])


class _Typed:
    """An opaque pointer called as a function: what `IRBuilder.call` needs to know of it."""

    def __init__(self, pointer: Any, type_: ll.FunctionType) -> None:
        self.function_type, self.pointer = type_, pointer
        self.type = pointer.type

    def get_reference(self) -> str:
        return self.pointer.get_reference()
