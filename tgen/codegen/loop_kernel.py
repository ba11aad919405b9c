"""A `LoopKernel` as a function: `void kernel(i64 begin, i64 end, ptr operands, ptr symbols, ptr scratch)` over units of work.

Here is what a unit of work is, and how it is done where lanes run along rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import llvmlite.ir as ll

from ..ir.expr import Call, Kept, walk
from ..ir.loops import Stage
from ..kernels.specs import ACROSS_BLOCK, STRIP, VECTOR_BLOCK, LoopKernel
from .bounds import Bounds
from .context import I64
from .lanes import interleaved, turned
from .loops import LoopEmitter
from .strips import strip
from .values import memory_type, register_type, to_memory, widen

LONG_CHAIN = 12  # operations on floats, from which on a kernel waits for results rather than for memory


def emit_loop_kernel(
    module: ll.Module,
    name: str,
    kernel: LoopKernel,
    symbols: Sequence[str],
    lanes: int,
    features: str,
    numbers: Sequence[str] = (),
    masks: bool = False,
) -> ll.Function:
    """lanes: of float32 in a vector of the target. numbers: symbols that are arguments, behind the others (see `shared`). masks: see
    `Target`.
    """
    return _UnitEmitter(module, name, kernel, symbols, lanes, features, numbers, masks).emit()


class _UnitEmitter(LoopEmitter):
    def emit(self) -> ll.Function:
        kernel, c = self.kernel, self.c
        by_row = kernel.vector is not None and kernel.vector < kernel.rows
        extents = self.extents[: kernel.rows]
        if kernel.across:
            extents = [*extents[:-2], self._blocks(extents[-2], ACROSS_BLOCK), self._blocks(extents[-1], VECTOR_BLOCK)]
        elif kernel.in_strips:
            extents = [*extents[:-2], self._blocks(extents[-2], STRIP), self._blocks(extents[-1], VECTOR_BLOCK)]
        elif by_row:
            extents = [*extents[:-1], self._blocks(extents[-1], kernel.lane_block)]
        with c.positions(self.begin, self.end, extents) as position:
            if kernel.across:
                self._turned_rows(position)
            elif kernel.in_strips:
                self._strips(position)
            elif by_row:
                self._row_lanes(position)
            else:
                self._row(dict(enumerate(position)))
        return c.finish()

    def _blocks(self, extent: Any, size: int) -> Any:
        return self.c.entry.sdiv(self.c.entry.add(extent, I64(size - 1)), I64(size))

    # -- lanes along one row axis, results along another --------------------------------------------------------------------

    def _turned_rows(self, position: list[Any]) -> None:
        """Blocks of vectors that are turned in registers, then the rest one by one."""
        c, lane_axis = self.c, self.kernel.rows - 1
        across = lane_axis - 1
        group = 2 if self.kernel.extents[across] == 2 else self.lanes
        first = self.b.mul(position[-2], I64(ACROSS_BLOCK))
        last = c.minimum(self.b.add(first, I64(ACROSS_BLOCK)), self.extents[across])
        start = self.b.mul(position[-1], I64(VECTOR_BLOCK))
        stop = c.minimum(self.b.add(start, I64(VECTOR_BLOCK)), self.extents[lane_axis])
        whole = self.b.add(start, self.b.and_(self.b.sub(stop, start), I64(-self.lanes)))
        outer = dict(enumerate(position[:-2]))
        grouped = self.b.add(first, self.b.and_(self.b.sub(last, first), I64(-group)))
        with c.loop(first, grouped, group) as u, c.loop(start, whole, self.lanes) as j:
            self._turned_block({**outer, across: u, lane_axis: j}, across, lane_axis, group)
        with c.loop(first, last) as u:
            begin = self.b.select(self.b.icmp_signed("<", u, grouped), whole, start)
            with c.loop(begin, stop) as j:
                self._stages({**outer, across: u, lane_axis: j}, 1)

    def _turned_block(self, axes: dict[int, Any], across: int, lane_axis: int, group: int) -> None:
        stage, dtype = self.stages[0], self.kernel.outputs[0]
        rows = []
        for k in range(group):
            emitter = self._emitter({**axes, across: self.b.add(axes[across], I64(k))}, self.lanes)
            rows.append(to_memory(self.b, emitter.vector(stage.body, self.lanes), dtype, self.lanes))
        vectors = [interleaved(self.b, *rows)] if group == 2 else turned(self.b, rows)
        for k, vector in enumerate(vectors):
            emitter = self._emitter({**axes, lane_axis: self.b.add(axes[lane_axis], I64(k))}, 1)
            place, _, _ = emitter.offset(stage.index[0])
            where = self.b.gep(self._output(0), [place], source_etype=memory_type(dtype))
            self.b.store(vector, where, align=dtype.size)

    # -- lanes along a row axis --------------------------------------------------------------------------------------------

    def _row_lanes(self, position: list[Any]) -> None:
        """A block of neighbouring rows: whole vectors of them, then the rest.

        Where bodies are long chains of operations, two vectors at a time come first: while one waits for a result the other works.
        """
        axis, extent, block = self.kernel.rows - 1, self.extents[self.kernel.rows - 1], I64(self.kernel.lane_block)
        start = self.b.mul(position[-1], block)
        stop = self.c.minimum(self.b.add(start, block), extent)
        outer = dict(enumerate(position[:-1]))
        widths = (2 * self.lanes, self.lanes) if self._has_long_chains() else (self.lanes,)
        self._along(start, stop, widths, lambda j, lanes: self._stages({**outer, axis: j}, lanes))

    def _has_long_chains(self) -> bool:
        lengths: list[int] = []
        for stage in self.stages:
            parts = list(walk(stage.body))
            before = max((lengths[x.stage] for x in parts if isinstance(x, Kept)), default=0)
            lengths.append(before + sum(isinstance(x, Call) and x.dtype.is_float for x in parts))
        return max(lengths) >= LONG_CHAIN

    def _stages(self, axes: dict[int, Any], lanes: int) -> None:
        self.scalars = {}
        for k, stage in enumerate(self.stages):
            if stage.kind == "once":
                self._once(k, stage, axes, lanes)
            elif stage.kind == "reduce":
                self._keep(k, self._total(stage, axes, lanes, self.bounds[k]), lanes)
            else:
                self._columns(axes, self.kernel.rows, len(self.extents), partial(self._store, stage, lanes=lanes))

    # -- the same for several neighbours along the axis before that ---------------------------------------------------------

    def _strips(self, position: list[Any]) -> None:
        """Whole strips, two vectors and one at a time, what is left of them as far as masks do it; then what is left, row by row."""
        c, lane_axis = self.c, self.kernel.rows - 1
        across = lane_axis - 1
        first = self.b.mul(position[-2], I64(STRIP))
        last = c.minimum(self.b.add(first, I64(STRIP)), self.extents[across])
        start = self.b.mul(position[-1], I64(VECTOR_BLOCK))
        stop = c.minimum(self.b.add(start, I64(VECTOR_BLOCK)), self.extents[lane_axis])
        outer = dict(enumerate(position[:-2]))
        whole = self.b.icmp_signed("==", self.b.sub(last, first), I64(STRIP))
        end = self.b.select(whole, stop, start)
        in_strips = lambda j, lanes: self._strip({**outer, across: first, lane_axis: j}, lanes)
        done = self._whole(start, end, (2 * self.lanes, self.lanes), in_strips)
        if self.masks:
            self._rest(done, end, in_strips)
            done = end
        with c.loop(first, last) as row:
            self._along(done, stop, (self.lanes,), lambda j, lanes: self._stages({**outer, across: row, lane_axis: j}, lanes))

    def _strip(self, axes: dict[int, Any], lanes: int) -> None:
        across = self.kernel.rows - 2
        rows = [{**axes, across: self.b.add(axes[across], I64(k))} for k in range(STRIP)]
        scalars: list[dict[int, Any]] = [{} for _ in rows]
        for k, stage in enumerate(self.stages):
            totals = self._strip_totals(stage, axes, lanes, self.bounds[k]) if stage.kind == "reduce" else None
            for number, at in enumerate(rows):
                self.scalars = scalars[number]
                if totals is None:
                    self._once(k, stage, at, lanes)
                else:
                    self._keep(k, totals[number], lanes)

    def _strip_totals(self, stage: Stage, axes: dict[int, Any], lanes: int, bounds: Bounds) -> list[Any]:
        """What the columns of each row of a strip come to, within bounds; those along the last axis are written out."""
        across, last = self.kernel.rows - 2, len(self.extents) - 1
        taps = self.kernel.extents[last]
        assert isinstance(taps, int)
        type_ = widen(register_type(stage.body.dtype), lanes)
        slots = [self.c.slot(type_, self._identity(stage, lanes)) for _ in range(STRIP)]
        bodies = strip(stage.body, across, last, taps)

        def add(at: dict[int, Any]) -> None:
            emitter = self._emitter(at, lanes)
            sums = [self.b.load(slot, typ=type_) for slot in slots]
            for k in range(taps):
                sums = [self._combined(stage, emitter, row[k], total, lanes) for row, total in zip(bodies, sums)]
            for slot, total in zip(slots, sums):
                self.b.store(total, slot)

        self._columns(axes, self.kernel.rows, last, add, bounds)
        return [self.b.load(slot, typ=type_) for slot in slots]
