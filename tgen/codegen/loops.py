"""What all loop kernels are made of: rows one after another with lanes along their columns, stages, sums, kept columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import llvmlite.ir as ll

from ..ir import mathlib
from ..ir.dims import DimLike, ceildiv, product
from ..ir.dtypes import BOOL, F32, F64, DType
from ..ir.expr import Call, Expr, Kept
from ..ir.loops import Stage, identity
from ..kernels.specs import LoopKernel
from .bounds import Bounds, bounded
from .context import I8, I64, KERNEL_ARGUMENTS, PTR, FunctionContext
from .lanes import horizontal
from .primitives import emit_call, intrinsic
from .scalar import Emitter, Lanes, Scope
from .values import constant, memory_type, register_type, widen

NONE = Bounds()
SUMMED = 256  # floats of a block, of which a long sum is made: its rounding errors grow with how many are added one after another
ACCUMULATORS = 4  # vectors that a reduction keeps apart: the next one need not wait for the sum of the last


class LoopEmitter:
    def __init__(
        self,
        module: ll.Module,
        name: str,
        kernel: LoopKernel,
        symbols: Sequence[str],
        lanes: int,
        features: str,
        numbers: Sequence[str],
        masks: bool,
    ) -> None:
        self.kernel, self.lanes, self.masks = kernel, lanes, masks
        self.active: Any = None  # lanes of a last vector that exist
        self.stages = [Stage(s.kind, mathlib.expand(s.body), s.combine, s.output, s.index) for s in kernel.stages]
        self.c = FunctionContext(module, name, [*KERNEL_ARGUMENTS, *[I64] * len(numbers)], symbols, features)
        self.begin, self.end, operands, self.c.symbol_array, self.scratch, *given = self.c.function.args
        self.c.given = dict(zip(numbers, given))
        self.bounds: list[Bounds] = []
        side_by_side = {axis for axis in (kernel.vector, kernel.rows - 2 if kernel.in_strips else None) if axis is not None}
        for k, stage in enumerate(self.stages):
            self.stages[k], found = bounded(stage, range(kernel.rows, len(kernel.extents) - 1), side_by_side)
            self.bounds.append(found)
        count = len(kernel.inputs) + len(kernel.outputs)
        entry = self.c.entry
        self.pointers = [entry.load(entry.gep(operands, [I64(k)], source_etype=PTR), typ=PTR) for k in range(count)]
        self.extents = [self.c.dim(e) for e in kernel.extents]
        self.kept_memory = self._kept_memory()
        self.scalars: dict[int, Any] = {}  # slots of rows' scalars

    @property
    def b(self) -> Any:
        return self.c.b

    # -- lanes along the last column axis (or no lanes) ----------------------------------------------------------------------

    def _row(self, axes: dict[int, Any]) -> None:
        self.scalars = {}
        for k, stage in enumerate(self.stages):
            if stage.kind == "once":
                self._once(k, stage, axes, 1)
            elif stage.kind == "reduce":
                self._reduce(k, stage, axes)
            else:
                self._columns(axes, self.kernel.rows, len(self.extents) - 1, partial(self._each, k, stage))

    def _each(self, k: int, stage: Stage, axes: dict[int, Any]) -> None:
        def body(at: dict[int, Any], lanes: int) -> None:
            emitter = self._emitter(at, lanes)
            value = emitter.value(stage.body)
            if k in self.kept_memory:
                emitter.write(emitter.spread(value, lanes), stage.body.dtype, self._kept_address(k, at), lanes)
            if stage.output is not None:
                emitter.store(value, self.kernel.outputs[stage.output], self._output(stage.output), stage.index[0])

        self._along_last(axes, body)

    def _reduce(self, k: int, stage: Stage, axes: dict[int, Any]) -> None:
        """Lanes of several vectors are combined separately, then with each other in a fixed order, then with the tail."""
        if self.kernel.vector != len(self.extents) - 1:
            self._keep(k, self._total(stage, axes, 1, self.bounds[k]), 1)
            return
        type_, combine = register_type(stage.body.dtype), partial(self._combine, stage)
        slots = {lanes: self.c.slot(widen(type_, lanes)) for lanes in self._widths(ACCUMULATORS)}
        for lanes, slot in slots.items():
            self.b.store(self._identity(stage, lanes), slot)

        def body(at: dict[int, Any], lanes: int) -> None:
            self._accumulate(stage, slots[lanes], at, lanes)

        along = partial(self._along_last, body=body, vectors=ACCUMULATORS)
        self._columns(axes, self.kernel.rows, len(self.extents) - 1, along, self.bounds[k])
        total, *rest = (self.b.load(slots[lanes], typ=widen(type_, lanes)) for lanes in sorted(slots, reverse=True))
        for value, lanes in zip(rest, sorted(slots, reverse=True)[1:]):
            total = combine(value, horizontal(self.b, total, combine, lanes))
        self._keep(k, horizontal(self.b, total, combine), 1)

    def _along_last(self, axes: dict[int, Any], body: Callable[[dict[int, Any], int], None], vectors: int = 1) -> None:
        """body over the last axis: so many vectors at a time, then one, then what is left."""
        if len(self.extents) == self.kernel.rows:
            body(axes, 1)
            return
        last = len(self.extents) - 1
        widths = [lanes for lanes in self._widths(vectors) if lanes > 1]
        self._along(I64(0), self.extents[last], widths, lambda j, lanes: body({**axes, last: j}, lanes))

    def _widths(self, vectors: int) -> list[int]:
        """Lanes of what is done at a time along the last axis, descending."""
        if self.kernel.vector != len(self.extents) - 1:
            return [1]
        return sorted({vectors * self.lanes, self.lanes} | ({1} - {int(self.masks)}), reverse=True)

    # -- parts -------------------------------------------------------------------------------------------------------------

    def _along(self, start: Any, stop: Any, widths: Sequence[int], body: Callable[[Any, int], None]) -> None:
        """body(index of the first lane, lanes) over what lies between: as many lanes at a time as `widths` (descending) say, then the
        rest: in one, of which only some lanes are active, where the target has masks; else one by one.
        """
        done = self._whole(start, stop, widths, body)
        if widths and self.masks:
            self._rest(done, stop, body)
        else:
            with self.c.loop(done, stop) as j:
                body(j, 1)

    def _whole(self, start: Any, stop: Any, widths: Sequence[int], body: Callable[[Any, int], None]) -> Any:
        """Without the rest: where that begins."""
        done, size = start, self.b.sub(stop, start)
        for lanes in widths:
            end = self.b.add(start, self.b.and_(size, I64(-lanes)))
            with self.c.loop(done, end, lanes) as j:
                body(j, lanes)
            done = end
        return done

    def _rest(self, start: Any, stop: Any, body: Callable[[Any, int], None]) -> None:
        """Less than a vector, all at once."""
        with self.c.when(self.b.icmp_signed("<", start, stop)):
            self.active = self.b.sub(stop, start)
            body(start, self.lanes)
            self.active = None

    def _columns(
        self, axes: dict[int, Any], first: int, last: int, body: Callable[[dict[int, Any]], None], bounds: Bounds = NONE
    ) -> None:
        """One lane at a time over axes first … last-1, within bounds."""
        if first >= last:
            body(axes)
            return
        with self.c.loop(*bounds.range(self.c, axes, first, self.extents[first])) as j:
            self._columns({**axes, first: j}, first + 1, last, body, bounds)

    def _once(self, k: int, stage: Stage, axes: dict[int, Any], lanes: int) -> None:
        emitter = self._emitter(axes, lanes)
        value = emitter.value(stage.body)
        self._keep(k, value[0], value[1])
        if stage.output is not None:
            emitter.store(value, self.kernel.outputs[stage.output], self._output(stage.output), stage.index[0])

    def _store(self, stage: Stage, axes: dict[int, Any], lanes: int) -> None:
        assert stage.output is not None
        emitter = self._emitter(axes, lanes)
        emitter.store(emitter.value(stage.body), self.kernel.outputs[stage.output], self._output(stage.output), stage.index[0])

    def _output(self, number: int) -> Any:
        return self.pointers[len(self.kernel.inputs) + number]

    def _emitter(self, axes: dict[int, Any], lanes: int) -> Emitter:
        vector = self.kernel.vector if lanes > 1 else None
        return Emitter(self.c, Scope(axes, vector, lanes, self.pointers, lambda stage: self._kept(stage, axes, lanes), self.active))

    def _keep(self, stage: int, value: Any, lanes: int) -> None:
        slot = self.c.slot(value.type)
        self.b.store(value, slot)
        self.scalars[stage] = (slot, value.type, lanes)

    def _kept(self, stage: int, axes: dict[int, Any], lanes: int) -> Lanes:
        if stage in self.scalars:
            slot, type_, count = self.scalars[stage]
            return self.b.load(slot, typ=type_), count
        return self._read_kept(stage, axes, lanes), lanes

    # -- reductions --------------------------------------------------------------------------------------------------------

    def _identity(self, stage: Stage, lanes: int) -> Any:
        dtype = stage.body.dtype
        numpy = F32.numpy if dtype.is_float and dtype.bits < 32 else dtype.numpy
        return constant(dtype, identity(stage.combine or "add", numpy).item(), lanes)

    def _total(self, stage: Stage, axes: dict[int, Any], lanes: int, bounds: Bounds) -> Any:
        """What all columns come to, one after another.

        A long sum of floats is one of blocks, so that no more than a block's elements and the number of blocks are added one after another.
        """
        type_, first, end = widen(register_type(stage.body.dtype), lanes), self.kernel.rows, len(self.extents)
        total = self.c.slot(type_, self._identity(stage, lanes))
        axis = self._long_axis(stage)
        if axis is None:
            self._columns(axes, first, end, partial(self._accumulate, stage, total, lanes=lanes), bounds)
            return self.b.load(total, typ=type_)
        part = self.c.slot(type_)
        each = partial(self._accumulate, stage, part, lanes=lanes)

        def in_blocks(at: dict[int, Any]) -> None:
            start, stop = bounds.range(self.c, at, axis, self.extents[axis])
            with self.c.loop(start, stop, SUMMED) as begin:
                self.b.store(self._identity(stage, lanes), part)
                with self.c.loop(begin, self.c.minimum(self.b.add(begin, I64(SUMMED)), stop)) as j:
                    self._columns({**at, axis: j}, axis + 1, end, each, bounds)
                self.b.store(self._combine(stage, self.b.load(total, typ=type_), self.b.load(part, typ=type_)), total)

        self._columns(axes, first, axis, in_blocks, bounds)
        return self.b.load(total, typ=type_)

    def _long_axis(self, stage: Stage) -> int | None:
        """The last column axis that may be longer than a block, for sums of floats."""
        if stage.combine != "add" or not stage.body.dtype.is_float:
            return None
        columns = list(enumerate(self.kernel.extents))[self.kernel.rows :]
        return max((k for k, extent in columns if not isinstance(extent, int) or extent > SUMMED), default=None)

    def _accumulate(self, stage: Stage, slot: Any, axes: dict[int, Any], lanes: int) -> None:
        before = self.b.load(slot, typ=widen(register_type(stage.body.dtype), lanes))
        emitter = self._emitter(axes, lanes)
        after = self._combined(stage, emitter, stage.body, before, lanes)
        self.b.store(after if emitter.active is None else self.b.select(emitter.mask(), after, before), slot)

    def _combined(self, stage: Stage, emitter: Emitter, body: Expr, before: Any, lanes: int) -> Any:
        """`before` and one more element. A product is added with one rounding where the target can do so."""
        if stage.combine == "add" and isinstance(body, Call) and body.fn == "mul" and body.dtype in (F32, F64):
            x, y = (emitter.vector(operand, lanes) for operand in body.operands)
            return intrinsic(self.b, "fmuladd", [x, y, before])
        return self._combine(stage, before, emitter.vector(body, lanes))

    def _combine(self, stage: Stage, x: Any, y: Any) -> Any:
        lanes = x.type.count if isinstance(x.type, ll.VectorType) else 1
        narrow = stage.body.dtype.is_float and stage.body.dtype.bits < 32
        dtype: DType = F32 if narrow else stage.body.dtype
        call = Call(dtype if dtype is not BOOL else BOOL, stage.combine or "add", (Kept(dtype, 0), Kept(dtype, 1)))
        return emit_call(self.b, call, [x, y], lanes)

    # -- kept columns ------------------------------------------------------------------------------------------------------

    def _kept_memory(self) -> dict[int, Any]:
        """Scratch address of each kept stage's row."""
        memory: dict[int, Any] = {}
        offset: DimLike = 0
        columns = product(self.kernel.extents[self.kernel.rows :])
        for k in self.kernel.kept:
            memory[k] = self.c.entry.gep(self.scratch, [self.c.dim(offset)], source_etype=I8)
            offset = offset + ceildiv(columns * self.kernel.stages[k].body.dtype.size, 64) * 64
        return memory

    def _kept_address(self, stage: int, axes: dict[int, Any]) -> Any:
        flat = I64(0)
        for axis in range(self.kernel.rows, len(self.extents)):
            flat = self.b.add(self.b.mul(flat, self.extents[axis]), axes[axis])
        return self.b.gep(self.kept_memory[stage], [flat], source_etype=memory_type(self.stages[stage].body.dtype))

    def _read_kept(self, stage: int, axes: dict[int, Any], lanes: int) -> Any:
        emitter = self._emitter(axes, lanes)
        return emitter.read(self.stages[stage].body.dtype, self._kept_address(stage, axes), lanes, emitter.active)
