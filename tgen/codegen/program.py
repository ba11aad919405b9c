"""The module of a model: its kernels, the program that every thread runs, and one entry point.

    void run(ptr frame, i64 threads)          frame: see `Frame`

Threads claim chunks of a step (see `share`), so a thread slowed by a neighbour does not hold up the others; a barrier stands between
phases. A phase of little work is thread 0's alone, and between two of these there is no barrier; a section is one thread's. A run on
one thread has neither counters nor barriers. All threads round to nearest, and keep subnormals or take them for zeros as the program
says, whatever the caller's mode is.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import llvmlite.ir as ll

from ..frame import INTERRUPTED, RUNTIME_BYTES, Frame
from ..ir.dims import DimLike
from ..kernels.specs import Kernel, RoutineKernel, tiles_of
from ..plan.types import Buffer, Definition, Fork, Loop, Operand, Plan, Range, Sections, Step, segment_of
from ..targets.emit import declare
from ..targets.target import Target
from . import llvm
from .context import I8, I64, PTR, VOID, FunctionContext
from .cut import clear
from .extents import emit_definition, scratch_start
from .half import HALF_IR
from .kernels import declare_kernels, emit_kernels, kernel_modules, new_module
from .routine_kernel import routine_ir
from .share import LEAST_WORK, LEAST_WORK_OF_A_TURN, share

LEAST_KERNELS = 24  # of a model that is cut into modules: LLVM needs half a second and more for so many


def frame_of(plan: Plan) -> Frame:
    return Frame(
        len(plan.inputs),
        len(plan.outputs),
        len(plan.symbols),
        len(plan.steps),
        len(plan.extents),
        len(plan.messages) - len(plan.extents),
    )


def _symbols(plan: Plan) -> tuple[str, ...]:
    """All symbols, in the order of the array of their values."""
    return (*plan.symbols, *plan.extents, *(loop.symbol for loop in plan.loops))


def emit_program(plan: Plan, target: Target, profile: bool = False, entry: str = "run", flush: bool = False) -> str:
    """LLVM IR of the whole model. profile: threads note the target's clock at begin and end of their work in each step, as i64 times
    [threads, steps, 2]. entry: the entry point's name. flush: subnormals are zeros (see `float_mode`).
    """
    module = new_module(target)
    return _completed(module, plan, target, emit_kernels(module, plan.kernels, _symbols(plan), target), profile, entry, flush)


def emit_modules(plan: Plan, target: Target, profile: bool = False, flush: bool = False) -> Iterator[str]:
    """The same as modules that are loaded together, each as soon as it is made: the program, which is the longest function of large
    models, then the kernels; of small models one module is all.
    """
    if len(plan.kernels) < LEAST_KERNELS:
        yield emit_program(plan, target, profile, flush=flush)
        return
    symbols, module = _symbols(plan), new_module(target)
    yield _completed(module, plan, target, declare_kernels(module, plan.kernels, symbols, target), profile, "run", flush)
    yield from kernel_modules(plan.kernels, symbols, target)


def _completed(
    module: ll.Module, plan: Plan, target: Target, kernels: Sequence[ll.Function], profile: bool, entry: str, flush: bool
) -> str:
    """The text of a module that has the kernels, with all that calls them and that they call; the module is emptied."""
    body = _Program(module, plan, target, kernels, profile).emit()
    _entry(module, entry, body, frame_of(plan), target, plan.unbounded, flush)
    text = str(module) + ("" if target.converts_f16 else HALF_IR)
    for function in module.functions:
        clear(function)
    routines = dict.fromkeys(routine_ir(kernel) for kernel in plan.kernels if isinstance(kernel, RoutineKernel))
    return llvm.linked([text, *routines], target.triple) if routines else text


def _entry(module: ll.Module, name: str, body: ll.Function, frame: Frame, target: Target, unbounded: bool, flush: bool) -> None:
    """unbounded: whether the run may have no end."""
    c = FunctionContext(module, name, [PTR, I64], (), target.feature_string, internal=False)
    pointer, threads = c.function.args
    mode = c.b.call(declare(module, "tgen_enter_float_mode", I64, [I64]), [I64(int(flush))])
    if frame.extents or frame.checks or unbounded:
        c.b.store(I64(0), c.b.gep(pointer, [I64(RUNTIME_BYTES // 8 + Frame.STATUS)], source_etype=I64))
    if unbounded:
        now = c.b.call(declare(module, "tgen_watch_interrupts", I64, []), [])
        c.b.store(now, c.b.gep(pointer, [I64(RUNTIME_BYTES // 8 + Frame.INTERRUPTS)], source_etype=I64))
    alone = c.b.icmp_signed("<=", threads, I64(1))
    with c.when(alone):
        c.b.call(body, [I64(0), I64(1), pointer])
    with c.when(c.b.not_(alone)):
        for step in range(frame.steps):
            counter = c.b.gep(pointer, [I64(RUNTIME_BYTES // 8 + frame.first_counter + step)], source_etype=I64)
            c.b.store(I64(0), counter)
        c.b.call(declare(module, "tgen_parallel", VOID, [PTR, PTR, I64]), [body, pointer, threads])
    if frame.checks:
        _look_at_flags(c, pointer, frame)
    c.b.call(declare(module, "tgen_leave_float_mode", VOID, [I64]), [mode])
    c.finish()


def _look_at_flags(c: FunctionContext, pointer: Any, frame: Frame) -> None:
    """The status is the message of the last check that does not hold, if the run came to its end."""
    status = c.b.gep(pointer, [I64(RUNTIME_BYTES // 8 + Frame.STATUS)], source_etype=I64)
    with c.when(c.b.icmp_signed("==", c.b.load(status, typ=I64), I64(0))), c.loop(I64(0), I64(frame.checks)) as check:
        place = c.b.add(check, I64(RUNTIME_BYTES // 8 + frame.first_flag))
        holds = c.b.load(c.b.gep(pointer, [place], source_etype=I64), typ=I8)
        with c.when(c.b.icmp_signed("==", holds, I8(0))):
            c.b.store(c.b.add(check, I64(1 + frame.extents)), status)


class _Program:
    def __init__(self, module: ll.Module, plan: Plan, target: Target, kernels: Sequence[ll.Function], profile: bool) -> None:
        self.profile = profile
        self.module, self.plan, self.target, self.kernels = module, plan, target, kernels
        self.alone = False  # whether what is emitted is one thread's, so it waits for nobody
        self.frame = frame_of(plan)
        symbols = _symbols(plan)
        self.c = FunctionContext(module, "program", [I64, I64, PTR], symbols, target.feature_string)
        self.c.moving = frozenset(symbols[len(plan.symbols) :])
        self.end = self.c.function.append_basic_block("end")
        self.thread, self.threads, self.pointer = self.c.function.args
        self.c.symbol_array = self._symbols(symbols)
        self.arena, self.weights, scratch = (self._load(k) for k in (Frame.ARENA, Frame.WEIGHTS, Frame.SCRATCH))
        stride = self.c.entry.load(self._word(self.c.entry, Frame.SCRATCH_BYTES), typ=I64)
        self.scratch = self.c.entry.gep(scratch, [self.c.entry.mul(stride, self.thread)], source_etype=ll.IntType(8))
        self.arguments = [self._load(Frame.HEADER + k) for k in range(self.frame.inputs + self.frame.outputs)]
        self.several = self.c.entry.icmp_signed("!=", self.threads, I64(1))
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
        numbered = itertools.groupby(enumerate(self.plan.steps), key=lambda each: each[1].phase)
        self.phases = [list(steps) for _, steps in numbered]
        self.small = [self._small(phase, [step for _, step in steps]) for phase, steps in enumerate(self.phases)]
        before = self._phases(0, len(self.small), self.plan.ranges, frozenset())
        self._define(len(self.small), before)
        self._hand_over()
        self.c.b.branch(self.end)
        self.c.b.position_at_end(self.end)
        for tile in used.values():
            tile.leave(self.c.b)
        return self.c.finish()

    def _symbols(self, names: Sequence[str]) -> Any:
        """Values of the symbols; a copy of this thread's own where some change, since threads need not be in the same turn."""
        e, given = self.c.entry, self._word(self.c.entry, self.frame.first_symbol)
        if not self.c.moving:
            return given
        array = e.alloca(I64, size=len(names))
        for k in range(len(self.plan.symbols)):
            value = e.load(e.gep(given, [I64(k)], source_etype=I64), typ=I64)
            e.store(value, e.gep(array, [I64(k)], source_etype=I64))
        return array

    def _phases(self, first: int, end: int, ranges: Sequence[Range], before: frozenset[int]) -> frozenset[int]:
        """Phases from `first` up to `end`, of which `ranges` are loops and forks. before: phases that may have been the last one when this
        begins; the result: those that may have been when it is over.
        """
        phase = first
        with contextlib.ExitStack() as settled:
            while phase < end:
                outer = next((each for each in ranges if each.first == phase), None)
                if outer is None:
                    if names := self._define(phase, before):
                        settled.enter_context(self.c.settled(names))
                        before = frozenset()
                    self._barrier(before, phase)
                    self._phase(self.phases[phase], self.small[phase])
                    before, phase = frozenset({phase}), phase + 1
                else:
                    inside = [
                        each for each in ranges if each is not outer and outer.first <= each.first and each.last <= outer.last
                    ]
                    before = self._range(outer, inside, before)
                    phase = outer.last + 1
        return before

    def _range(self, outer: Range, inside: Sequence[Range], before: frozenset[int]) -> frozenset[int]:
        if isinstance(outer, Loop):
            return self._loop(outer, inside, before)
        return self._fork(outer, inside, before) if isinstance(outer, Fork) else self._sections(outer, inside, before)

    def _sections(self, sections: Sections, inside: Sequence[Range], before: frozenset[int]) -> frozenset[int]:
        """Thread k does sections k, k + threads, …"""
        c = self.c
        if before:
            self._wait()
        self.alone = True
        for number, (first, end) in enumerate(itertools.pairwise((*sections.starts, sections.last + 1))):
            within = [each for each in inside if first <= each.first and each.last < end]
            with c.when(c.b.icmp_signed("==", c.b.urem(I64(number), self.threads), self.thread)):
                self._phases(first, end, within, frozenset())
        self.alone = False
        return frozenset(range(sections.first, sections.last + 1))

    def _loop(self, loop: Loop, inside: Sequence[Range], before: frozenset[int]) -> frozenset[int]:
        c = self.c
        ends = frozenset(range(loop.first, loop.last + 1) if inside else (loop.last,))  # what is inside may be passed over
        place = self._own(loop.symbol)
        if loop.condition is not None:
            self._while(loop, loop.condition, place, inside)
            return before | ends
        with c.loop(I64(0), c.dim(loop.count)) as turn:
            c.b.store(turn, place)
            with c.settled([loop.symbol]):
                self._phases(loop.first, loop.last + 1, inside, before | ends)
        return before | ends

    def _while(self, loop: Loop, condition: Operand, place: Any, inside: Sequence[Range]) -> None:
        """Turns as long as the condition holds, which all threads read when all is done that may write it."""
        c = self.c
        head, look, body, done = (c.function.append_basic_block(name) for name in ("head", "look", "turn", "done"))
        c.b.store(I64(0), place)
        c.b.branch(head)
        c.b.position_at_end(head)
        turn = c.b.load(place, typ=I64)
        c.b.cbranch(c.b.icmp_signed("<", turn, c.dim(loop.count)), look, done)
        c.b.position_at_end(look)
        self._stop_if_interrupted()
        c.b.cbranch(self._holds(condition), body, done)
        c.b.position_at_end(body)
        with c.settled([loop.symbol]):
            self._phases(loop.first, loop.last + 1, inside, frozenset())
        c.b.store(c.b.add(turn, I64(1)), place)
        c.b.branch(head)
        c.b.position_at_end(done)

    def _stop_if_interrupted(self) -> None:
        """Waits for all threads; all of them see the same: whether there was an interrupt since the run began. Then the run is over."""
        c = self.c
        status = self._word(c.b, Frame.STATUS)
        self._wait()
        with c.when(self.first):
            now = c.b.call(declare(self.module, "tgen_interrupts", I64, []), [])
            before = c.b.load(self._word(c.b, Frame.INTERRUPTS), typ=I64)
            with c.when(c.b.icmp_signed("!=", now, before)):
                c.b.store(I64(INTERRUPTED), status)
        self._wait()
        following = c.function.append_basic_block("uninterrupted")
        c.b.cbranch(c.b.icmp_signed("==", c.b.load(status, typ=I64), I64(0)), following, self.end)
        c.b.position_at_end(following)

    def _holds(self, condition: Operand) -> Any:
        return self.c.b.icmp_signed("!=", self.c.b.load(self._place(condition), typ=I8), I8(0))

    def _fork(self, fork: Fork, inside: Sequence[Range], before: frozenset[int]) -> frozenset[int]:
        """All threads look at the condition when all is done that may write it; so nothing is under way where either way begins."""
        c = self.c
        self._wait()
        holds = self._holds(fork.operand)
        ways = [(holds, fork.first, fork.middle), (c.b.not_(holds), fork.middle, fork.last + 1)]
        after: frozenset[int] = frozenset()
        for taken, first, end in ways:
            with c.when(taken):
                after |= self._phases(first, end, [each for each in inside if first <= each.first and each.last < end], frozenset())
        return after

    def _define(self, phase: int, before: frozenset[int]) -> tuple[str, ...]:
        """The extents that are known when phases `before` are over; their symbols. A run that cannot go on goes to its end."""
        definitions = self.plan.defined_at(phase)
        if not definitions:
            return ()
        c, status = self.c, self._word(self.c.b, Frame.STATUS)
        self._wait(self._all_small(before))
        with c.when(self.first):
            for definition in definitions:
                with c.when(c.b.icmp_signed("==", c.b.load(status, typ=I64), I64(0))):
                    self._found(definition, status)
        self._wait()
        following = c.function.append_basic_block("defined")
        c.b.cbranch(c.b.icmp_signed("==", c.b.load(status, typ=I64), I64(0)), following, self.end)
        c.b.position_at_end(following)
        for definition in definitions:
            value = c.b.load(self._word(c.b, self.frame.first_extent + definition.segment - 1), typ=I64)
            c.b.store(value, self._own(definition.symbol))
        return tuple(definition.symbol for definition in definitions)

    def _found(self, definition: Definition, status: Any) -> None:
        c, number = self.c, definition.segment - 1
        source = self._place(definition.operand)
        segment, words = self.plan.segments[number], self._word(c.b, self.frame.first_segment + 2 * number)
        fine = emit_definition(c, definition, segment, source, self._own(definition.symbol), words, self.threads)
        c.b.store(c.b.load(self._own(definition.symbol), typ=I64), self._word(c.b, self.frame.first_extent + number))
        with c.when(c.b.not_(fine)):
            c.b.store(I64(definition.segment), status)

    def _own(self, symbol: str) -> Any:
        """Where this thread has the value of a symbol that changes."""
        return self.c.b.gep(self.c.symbol_array, [I64(self.c.symbols.index(symbol))], source_etype=I64)

    def _hand_over(self) -> None:
        """Pointers to outputs whose sizes were found out."""
        c = self.c
        for output, buffer in self.plan.made:
            with c.when(self.first):
                c.b.store(self._base(buffer), self._word(c.b, Frame.HEADER + self.frame.inputs + output))

    def _small(self, phase: int, steps: Sequence[Step]) -> bool | ll.Value:
        """Whether a phase is not worth sharing, known or an i1; where that depends on what a run finds out it is taken to be. Phases of
        sections are not thread 0's, so who comes after them waits.
        """
        if any(sections.first <= phase <= sections.last for sections in self.plan.sections):
            return False
        work = sum((self.plan.kernels[step.kernel].work for step in steps), 0)
        if segment_of(self.plan.extents, work):
            return False
        repeated = any(loop.first <= phase <= loop.last for loop in self.plan.loops)
        least = LEAST_WORK_OF_A_TURN if repeated else LEAST_WORK
        return work < least if isinstance(work, int) else self.c.entry.icmp_signed("<", self.c.dim(work), I64(least))

    def _all_small(self, phases: Iterable[int]) -> bool | ll.Value:
        small = [self.small[k] for k in sorted(phases)]
        if any(x is False for x in small):
            return False
        asked = [x for x in small if x is not True]
        return functools.reduce(self.c.b.and_, asked) if asked else True

    def _barrier(self, before: Iterable[int], phase: int) -> None:
        """Between phases that may come one after the other; needless where all are small: thread 0 does those in order."""
        if before:
            self._wait(self._all_small({*before, phase}))

    def _wait(self, needless: bool | ll.Value = False) -> None:
        """A barrier, unless there is but one thread or it is needless."""
        if needless is True or self.alone:
            return
        c = self.c
        with c.when(self.several if needless is False else c.b.and_(self.several, c.b.not_(needless))):
            c.b.call(declare(self.module, "tgen_barrier", VOID, [PTR]), [self.pointer])

    def _phase(self, steps: Iterable[tuple[int, Step]], small: bool | ll.Value) -> None:
        b = self.c.b
        if self.alone:
            threads, mine = I64(1), None
        elif isinstance(small, bool):
            threads, mine = (I64(1), self.first) if small else (self.threads, None)
        else:
            threads, mine = b.select(small, I64(1), self.threads), b.or_(self.first, b.not_(small))
        for number, step in steps:
            self._note(number, 0)
            with self.c.when(mine) if mine is not None else contextlib.nullcontext():
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
            pointer = self._place(operand)
            c.b.store(pointer, c.b.gep(array, [I64(k)], source_etype=PTR))
        kernel, units = self._chosen(step)
        work = c.dim(self.plan.kernels[step.kernel].work)
        counter = self._word(c.b, self.frame.first_counter + number)
        scratch = self._scratch(self.plan.kernels[step.kernel])
        c.b.call(share(self.module, self.target), [kernel, units, work, counter, threads, array, c.symbol_array, scratch])

    def _scratch(self, kernel: Kernel) -> Any:
        """This thread's: of the call, or in the segment of the extent that tells its size."""
        c, number = self.c, segment_of(self.plan.extents, kernel.scratch)
        if not number:
            return self.scratch
        segment = self.plan.segments[number - 1]
        mine = c.b.add(scratch_start(c, segment), c.b.mul(c.dim(segment.scratch), self.thread))
        return c.at(self._segment(number), mine)

    def _segment(self, number: int) -> Any:
        return self.c.b.load(self._word(self.c.b, self.frame.first_segment + 2 * (number - 1)), typ=PTR)

    def _chosen(self, step: Step) -> tuple[Any, Any]:
        """The kernel of this run and its units of work."""
        c = self.c
        kernel, units = self.kernels[step.kernel], c.dim(self.plan.kernels[step.kernel].units)
        for case in reversed(step.cases):
            few = c.b.icmp_signed("<=", c.dim(case.extent), I64(case.most))
            kernel = c.b.select(few, self.kernels[case.kernel], kernel)
            units = c.b.select(few, c.dim(self.plan.kernels[case.kernel].units), units)
        return kernel, units

    def _place(self, operand: Operand) -> Any:
        """Pointer to an operand."""
        buffer = self.plan.buffers[operand.buffer]
        if buffer.kind in ("input", "output", "flag"):
            return self._from(self._base(operand.buffer), operand.offset)
        return self._from(self._start(buffer), buffer.offset + operand.offset)

    def _base(self, number: int) -> Any:
        buffer = self.plan.buffers[number]
        if buffer.kind == "input":
            return self.arguments[buffer.index]
        if buffer.kind == "output":
            return self.arguments[self.frame.inputs + buffer.index]
        if buffer.kind == "flag":
            return self._word(self.c.b, self.frame.first_flag + buffer.index)
        return self._from(self._start(buffer), buffer.offset)

    def _start(self, buffer: Buffer) -> Any:
        """Of the memory that a buffer lies in."""
        return self.weights if buffer.kind == "weight" else self._segment(buffer.index) if buffer.index else self.arena

    def _from(self, pointer: Any, offset: DimLike) -> Any:
        return self.c.at(pointer, self.c.dim(offset)) if offset != 0 else pointer
