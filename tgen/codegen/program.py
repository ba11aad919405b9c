"""The module of a model: its kernels, the program that every thread runs, and one entry point.

    void run(ptr frame, i64 threads)          frame: see `Frame`

Threads claim chunks of a step (see `share`), so a thread slowed by a neighbour does not hold up the others; a barrier stands between
phases. A phase of little work is thread 0's alone, and between two of these there is no barrier. A run on one thread has neither
counters nor barriers. All threads compute in IEEE 754's default mode (nearest, subnormals kept), whatever the caller's is.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import llvmlite.ir as ll

from ..frame import RUNTIME_BYTES, Frame
from ..kernels.specs import ContractKernel, Kernel, LoopKernel, RoutineKernel, tiles_of
from ..plan.types import Loop, Plan, Step
from ..targets.emit import declare
from ..targets.target import Target
from . import llvm
from .attend_kernel import emit_attend_kernel
from .context import I64, PTR, VOID, FunctionContext
from .contract_kernel import emit_contract_kernel
from .half import HALF_IR
from .loop_kernel import emit_loop_kernel
from .routine_kernel import emit_routine_kernel, routine_ir
from .share import LEAST_WORK, LEAST_WORK_OF_A_TURN, share


def frame_of(plan: Plan) -> Frame:
    return Frame(len(plan.inputs), len(plan.outputs), len(plan.symbols), len(plan.steps))


def emit_program(plan: Plan, target: Target, profile: bool = False, entry: str = "run") -> str:
    """LLVM IR of the whole model. profile: threads note the target's clock at begin and end of their work in each step, as i64 times
    [threads, steps, 2]. entry: the entry point's name.
    """
    module = ll.Module("tgen")
    module.triple = target.triple
    symbols = (*plan.symbols, *(loop.symbol for loop in plan.loops))
    kernels = [_kernel(module, f"kernel.{k}", kernel, symbols, target) for k, kernel in enumerate(plan.kernels)]
    body = _Program(module, plan, target, kernels, profile).emit()
    _entry(module, entry, body, frame_of(plan), target)
    text = str(module) + ("" if target.converts_f16 else HALF_IR)
    routines = dict.fromkeys(routine_ir(kernel) for kernel in plan.kernels if isinstance(kernel, RoutineKernel))
    return llvm.linked([text, *routines], target.triple) if routines else text


def _kernel(module: ll.Module, name: str, kernel: Kernel, symbols: Sequence[str], target: Target) -> ll.Function:
    by_name = {t.name: t for t in target.tiles}
    tiles = [by_name[t] for t in tiles_of(kernel)]
    common = (symbols, target.lanes, target.feature_string)
    if isinstance(kernel, LoopKernel):
        return emit_loop_kernel(module, name, kernel, *common)
    if isinstance(kernel, ContractKernel):
        return emit_contract_kernel(module, name, kernel, tiles[0], *common)
    if isinstance(kernel, RoutineKernel):
        return emit_routine_kernel(module, name, kernel, symbols, target.feature_string)
    return emit_attend_kernel(module, name, kernel, (tiles[0], tiles[1]), *common)


def _entry(module: ll.Module, name: str, body: ll.Function, frame: Frame, target: Target) -> None:
    c = FunctionContext(module, name, [PTR, I64], (), target.feature_string, internal=False)
    pointer, threads = c.function.args
    mode = c.b.call(declare(module, "tgen_enter_float_mode", I64, []), [])
    alone = c.b.icmp_signed("<=", threads, I64(1))
    with c.when(alone):
        c.b.call(body, [I64(0), I64(1), pointer])
    with c.when(c.b.not_(alone)):
        for step in range(frame.steps):
            counter = c.b.gep(pointer, [I64(RUNTIME_BYTES // 8 + frame.first_counter + step)], source_etype=I64)
            c.b.store(I64(0), counter)
        c.b.call(declare(module, "tgen_parallel", VOID, [PTR, PTR, I64]), [body, pointer, threads])
    c.b.call(declare(module, "tgen_leave_float_mode", VOID, [I64]), [mode])
    c.finish()


class _Program:
    def __init__(self, module: ll.Module, plan: Plan, target: Target, kernels: Sequence[ll.Function], profile: bool) -> None:
        self.profile = profile
        self.module, self.plan, self.target, self.kernels = module, plan, target, kernels
        self.frame = frame_of(plan)
        symbols = (*plan.symbols, *(loop.symbol for loop in plan.loops))
        self.c = FunctionContext(module, "program", [I64, I64, PTR], symbols, target.feature_string)
        self.c.moving = frozenset(loop.symbol for loop in plan.loops)
        self.thread, self.threads, self.pointer = self.c.function.args
        self.c.symbol_array = self._symbols(symbols)
        self.arena, self.weights, scratch = (self._load(k) for k in range(3))
        stride = self.c.entry.load(self._word(self.c.entry, 3), typ=I64)
        self.scratch = self.c.entry.gep(scratch, [self.c.entry.mul(stride, self.thread)], source_etype=ll.IntType(8))
        self.arguments = [self._load(Frame.HEADER + k) for k in range(self.frame.inputs + self.frame.outputs)]
        self.alone = self.c.entry.icmp_signed("==", self.threads, I64(1))
        self.first = self.c.entry.icmp_signed("==", self.thread, I64(0))

    def _word(self, b: Any, number: int) -> Any:
        return b.gep(self.pointer, [I64(RUNTIME_BYTES // 8 + number)], source_etype=I64)

    def _load(self, number: int) -> Any:
        return self.c.entry.load(self._word(self.c.entry, number), typ=PTR)

    def emit(self) -> ll.Function:
        tiles = {t.name: t for t in self.target.tiles}
        used = {name: tiles[name] for k in self.plan.kernels for name in tiles_of(k)}
        for tile in used.values():
            tile.enter(self.c.b)
        self.small = [self._small(phase, steps) for phase, steps in enumerate(self.plan.phases)]
        self._phases(0, len(self.small), self.plan.loops, frozenset())
        for tile in used.values():
            tile.leave(self.c.b)
        return self.c.finish()

    def _symbols(self, names: Sequence[str]) -> Any:
        """Values of the symbols; a copy of this thread's own where loops have some too, since threads need not be in the same turn."""
        e, given = self.c.entry, self._word(self.c.entry, self.frame.first_symbol)
        if not self.plan.loops:
            return given
        array = e.alloca(I64, size=len(names))
        for k in range(len(self.plan.symbols)):
            value = e.load(e.gep(given, [I64(k)], source_etype=I64), typ=I64)
            e.store(value, e.gep(array, [I64(k)], source_etype=I64))
        return array

    def _phases(self, first: int, end: int, loops: Sequence[Loop], before: frozenset[int]) -> frozenset[int]:
        """Phases from `first` up to `end`, of which `loops` are loops. before: phases that may have been the last one when this begins;
        the result: those that may have been when it is over.
        """
        phase = first
        while phase < end:
            loop = next((loop for loop in loops if loop.first == phase), None)
            if loop is None:
                self._barrier(before, phase)
                start = sum(len(steps) for steps in self.plan.phases[:phase])
                self._phase(zip(self.plan.phases[phase], itertools.count(start)), self.small[phase])
                before, phase = frozenset({phase}), phase + 1
            else:
                inside = [inner for inner in loops if inner is not loop and loop.first <= inner.first and inner.last <= loop.last]
                self._loop(loop, inside, before)
                before, phase = before | {loop.last}, loop.last + 1
        return before

    def _loop(self, loop: Loop, inside: Sequence[Loop], before: frozenset[int]) -> None:
        c = self.c
        place = c.b.gep(c.symbol_array, [I64(c.symbols.index(loop.symbol))], source_etype=I64)
        with c.loop(I64(0), c.dim(loop.count)) as turn:
            c.b.store(turn, place)
            self._phases(loop.first, loop.last + 1, inside, before | {loop.last})

    def _small(self, phase: int, steps: Sequence[Step]) -> Any:
        """Whether a phase is not worth sharing."""
        work = sum((self.plan.kernels[step.kernel].work for step in steps), 0)
        repeated = any(loop.first <= phase <= loop.last for loop in self.plan.loops)
        return self.c.entry.icmp_signed("<", self.c.dim(work), I64(LEAST_WORK_OF_A_TURN if repeated else LEAST_WORK))

    def _barrier(self, before: Iterable[int], phase: int) -> None:
        """Between phases that may come one after the other; needless where all are small: thread 0 does those in order."""
        c = self.c
        if not before:
            return
        small = functools.reduce(c.b.and_, (self.small[k] for k in sorted({*before, phase})))
        needless = c.b.or_(self.alone, small)
        with c.when(c.b.not_(needless)):
            c.b.call(declare(self.module, "tgen_barrier", VOID, [PTR]), [self.pointer])

    def _phase(self, steps: Iterable[tuple[Step, int]], small: Any) -> None:
        b = self.c.b
        threads = b.select(small, I64(1), self.threads)
        for step, number in steps:
            self._note(number, 0)
            with self.c.when(b.or_(self.first, b.not_(small))):
                self._step(number, step, threads)
            self._note(number, 1)

    def _note(self, step: int, end: int) -> None:
        """Profiling: this thread's begin (0) or end (1) of its work in a step."""
        if not self.profile:
            return
        b = self.c.b
        at = b.add(b.mul(self.thread, I64(2 * self.frame.steps)), I64(2 * step + end))
        b.store(self._now(), b.gep(self._load(Frame.TIMES), [at], source_etype=I64))

    def _now(self) -> Any:
        b, clock = self.c.b, self.target.clock
        if not clock:
            return b.call(declare(self.module, "llvm.readcyclecounter", I64, []), [])
        read = declare(self.module, "llvm.read_volatile_register.i64", I64, [ll.MetaDataType()])
        return b.call(read, [self.module.add_metadata([clock])])

    def _step(self, number: int, step: Step, threads: Any) -> None:
        c = self.c
        array = c.entry.alloca(PTR, size=len(step.operands))
        for k, operand in enumerate(step.operands):
            pointer = c.at(self._base(operand.buffer), c.dim(operand.offset))
            c.b.store(pointer, c.b.gep(array, [I64(k)], source_etype=PTR))
        kernel, units = self._chosen(step)
        work = c.dim(self.plan.kernels[step.kernel].work)
        counter = self._word(c.b, self.frame.first_counter + number)
        c.b.call(share(self.module, self.target), [kernel, units, work, counter, threads, array, c.symbol_array, self.scratch])

    def _chosen(self, step: Step) -> tuple[Any, Any]:
        """The kernel of this run and its units of work."""
        c = self.c
        kernel, units = self.kernels[step.kernel], c.dim(self.plan.kernels[step.kernel].units)
        for case in reversed(step.cases):
            few = c.b.icmp_signed("<=", c.dim(case.extent), I64(case.most))
            kernel = c.b.select(few, self.kernels[case.kernel], kernel)
            units = c.b.select(few, c.dim(self.plan.kernels[case.kernel].units), units)
        return kernel, units

    def _base(self, number: int) -> Any:
        buffer = self.plan.buffers[number]
        if buffer.kind == "input":
            return self.arguments[buffer.index]
        if buffer.kind == "output":
            return self.arguments[self.frame.inputs + buffer.index]
        return self.c.at(self.arena if buffer.kind == "arena" else self.weights, self.c.dim(buffer.offset))
