"""An `AttendKernel` as a function over units of work: attention with a streamed softmax.

for each unit (batch entry, block of rows):
  for each block of columns that a row of it can see:
    scores     micro-kernels: q·k → scratch (see attend_products)
    weights    row by row: the body; the greatest so far; exp(score - greatest); their sum; earlier results are scaled down to it
    results    micro-kernels: weights·v, added to what earlier blocks left
  results / sum → epilogues → memory
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ll

from ..ir import mathlib
from ..ir.expr import Kept
from ..ir.mathlib.exponential import exp_weight
from ..kernels.specs import AttendKernel
from ..targets.emit import splat
from ..targets.tile import MacTile
from .attend_products import AttendProducts, Scratch
from .context import I64, KERNEL_ARGUMENTS, PTR, FunctionContext
from .lanes import horizontal
from .scalar import Emitter, Lanes, Scope
from .values import constant, from_memory, memory_type, register_type, to_memory, widen


def emit_attend_kernel(
    module: ll.Module,
    name: str,
    kernel: AttendKernel,
    tiles: tuple[MacTile, MacTile],
    symbols: Sequence[str],
    lanes: int,
    features: str,
) -> ll.Function:
    """tiles: of q·k and of weights·v; lanes: of float32 in a vector of the target."""
    return _AttendEmitter(module, name, kernel, tiles, symbols, lanes, features).emit()


class _AttendEmitter:
    def __init__(
        self,
        module: ll.Module,
        name: str,
        kernel: AttendKernel,
        tiles: tuple[MacTile, MacTile],
        symbols: Sequence[str],
        lanes: int,
        features: str,
    ) -> None:
        self.kernel, self.tiles = kernel, tiles
        self.dtype = kernel.qk.accumulate
        self.lanes = lanes * 4 // self.dtype.size
        self.c = FunctionContext(module, name, KERNEL_ARGUMENTS, symbols, features)
        self.begin, self.end, operands, self.c.symbol_array, scratch = self.c.function.args
        entry = self.c.entry
        count = len(kernel.inputs) + len(kernel.outputs)
        self.pointers = [entry.load(entry.gep(operands, [I64(k)], source_etype=PTR), typ=PTR) for k in range(count)]
        self.s = Scratch.of(self.c, kernel, scratch)
        self.products = AttendProducts(self.c, kernel, tiles, self.s, self.lanes)

    @property
    def b(self) -> Any:
        return self.c.b

    def emit(self) -> ll.Function:
        kernel, c = self.kernel, self.c
        e = c.entry
        rows, columns = c.dim(kernel.rows), c.dim(kernel.columns)
        row_blocks = e.sdiv(e.add(rows, I64(kernel.row_block - 1)), I64(kernel.row_block))
        with c.loop(self.begin, self.end) as unit:
            *position, row_block = c.decompose(unit, [*(c.dim(d) for d in kernel.batch), row_blocks])
            limit = self._limit(position)
            first = self.b.mul(row_block, I64(kernel.row_block))
            count = c.minimum(self.b.sub(self._at_most(rows, limit), first), I64(kernel.row_block))
            q, k, v = (self._operands(side, position) for side in range(3))
            begin, last = self._visible(position, first, count, self._at_most(columns, limit))
            with c.loop(begin, c.maximum(last, self.b.add(begin, I64(1))), kernel.column_block) as start:
                width = c.minimum(self.b.sub(last, start), I64(kernel.column_block))
                done = self.b.sub(start, begin)
                self.products.scores(q, k, first, count, start, width)
                self._weights(position, first, count, start, width, done)
                self.products.results(v, count, start, width, done)
            self._finish(position, first, count)
        return c.finish()

    def _limit(self, position: Sequence[Any]) -> Any:
        """How many rows and columns of this batch entry count; None: all."""
        if self.kernel.limit is None:
            return None
        scope = Scope(dict(enumerate(position)), None, 1, self.pointers, lambda _: (I64(0), 1))
        return Emitter(self.c, scope).vector(self.kernel.limit, 1)

    def _at_most(self, extent: Any, limit: Any) -> Any:
        return extent if limit is None else self.c.minimum(extent, limit)

    def _visible(self, position: Sequence[Any], first: Any, count: Any, columns: Any) -> tuple[Any, Any]:
        """(begin, end) of the columns that some row of a block can see; begin is where panels and k steps begin."""
        c, bounds = self.c, self.kernel.visible
        if bounds == (None, None):
            return I64(0), columns
        slots = [c.slot(I64, start) for start in (columns if bounds[0] else I64(0), I64(0) if bounds[1] else columns)]
        with c.loop(I64(0), count) as row:
            axes = dict(enumerate([*position, self.b.add(first, row)]))
            for bound, slot, better in zip(bounds, slots, (c.minimum, c.maximum)):
                if bound is not None:
                    scope = Scope(axes, None, 1, self.pointers, lambda _: (I64(0), 1))
                    self.b.store(better(self.b.load(slot, typ=I64), Emitter(c, scope).vector(bound, 1)), slot)
        low, high = (self.b.load(slot, typ=I64) for slot in slots)
        end = c.minimum(c.maximum(high, I64(0)), columns)
        begin = c.maximum(c.minimum(low, end), I64(0))
        return self.b.sub(begin, self.b.srem(begin, I64(self._column_unit()))), end

    def _column_unit(self) -> int:
        """Columns that are whole panels of the first product, whole k steps of the second and whole vectors."""
        return math.lcm(self.kernel.panels[0], self.lanes, self.tiles[1].k)

    def _operands(self, side: int, position: Sequence[Any]) -> list[Any]:
        """Pointers of all parts of q, k or v at this batch entry."""
        kernel, b = self.kernel, self.b
        parts, strides = kernel.qk.a_parts, (kernel.q_strides, kernel.k_strides, kernel.v_strides)[side]
        offset = I64(0)
        for at, stride in zip(position, strides):
            offset = b.add(offset, b.mul(at, self.c.dim(stride)))
        type_ = memory_type(kernel.inputs[side * parts])
        return [b.gep(self.pointers[side * parts + k], [offset], source_etype=type_) for k in range(parts)]

    # -- softmax -----------------------------------------------------------------------------------------------------------

    def _weights(self, position: Sequence[Any], first: Any, count: Any, start: Any, width: Any, done: Any) -> None:
        c = self.c
        unit = math.lcm(self.lanes, self.tiles[1].k)  # of weights that are read
        padded = self.b.mul(self.b.sdiv(self.b.add(width, I64(unit - 1)), I64(unit)), I64(unit))
        later = self.b.icmp_signed(">", done, I64(0))
        with c.loop(I64(0), count) as row:
            scores = c.at(self.s.scores, self.b.mul(row, I64(self.s.score_stride)))
            axes = dict(enumerate([*position, self.b.add(first, row)]))
            block_top = self._finished(axes, scores, start, width, padded)
            top_at, sum_at = (c.at(p, self.b.mul(row, I64(self.dtype.size))) for p in (self.s.greatest, self.s.sums))
            before = self.b.select(later, self._load(top_at, 1), self._number(float("-inf")))
            top = self._greater(before, block_top)
            self._put(top, top_at)
            nothing = self.b.fcmp_ordered("==", top, self._number(float("-inf")))
            safe = self.b.select(nothing, self._number(0.0), top)
            total = self._exponentials(scores, row, safe, padded)
            earlier = self._earlier(later, row, before, safe, sum_at)
            self._put(self.b.fadd(total, earlier), sum_at)

    def _finished(self, axes: dict[int, Any], scores: Any, start: Any, width: Any, padded: Any) -> Any:
        """The row's scores by the body, -inf behind its end; the greatest of them (NaN does not count)."""
        kernel, c = self.kernel, self.c
        body, n = mathlib.expand(kernel.scores), len(kernel.batch) + 1
        tops = {count: c.slot(widen(register_type(self.dtype), count)) for count in (1, self.lanes)}
        for count, slot in tops.items():
            self.b.store(self._splat(self._number(float("-inf")), count), slot)

        def column(j: Any, lanes: int) -> None:
            value: Lanes = (self._load(self._element(scores, j), lanes), lanes)
            scope = Scope({**axes, n: self.b.add(start, j)}, n if lanes > 1 else None, lanes, self.pointers, lambda _: value)
            score = Emitter(c, scope).vector(body, lanes)
            self._put(score, self._element(scores, j))
            slot = tops[lanes]
            self.b.store(self._greater(self.b.load(slot, typ=score.type), score), slot)

        whole = self.b.and_(width, I64(-self.lanes))
        with c.loop(I64(0), whole, self.lanes) as j:
            column(j, self.lanes)
        with c.loop(whole, width) as j:
            column(j, 1)
        with c.loop(width, padded) as j:
            self._put(self._number(float("-inf")), self._element(scores, j))
        wide, one = (self.b.load(tops[count], typ=widen(register_type(self.dtype), count)) for count in (self.lanes, 1))
        return self._greater(horizontal(self.b, wide, self._greater), one)

    def _exponentials(self, scores: Any, row: Any, top: Any, padded: Any) -> Any:
        """The row's weights, stored as the second product takes them; their sum."""
        c, lanes = self.c, self.lanes
        total = c.slot(widen(register_type(self.dtype), lanes))
        self.b.store(self._splat(self._number(0.0), lanes), total)
        top = self._splat(top, lanes)
        along = self.b.mul(row, I64(self.s.weight_stride))
        with c.loop(I64(0), padded, lanes) as j:
            weight = self._exp(self._load(self._element(scores, j), lanes), top, lanes)
            self.b.store(self.b.fadd(self.b.load(total, typ=weight.type), weight), total)
            emitter = Emitter(c, Scope({}, None, lanes, self.pointers, lambda _: (weight, lanes)))
            for part, body in zip(self.s.weights, self.kernel.weights):
                self._put_part(emitter.vector(mathlib.expand(body), lanes), c.at(part, along), j, lanes)
        return horizontal(self.b, self.b.load(total, typ=top.type), self.b.fadd)

    def _earlier(self, later: Any, row: Any, before: Any, top: Any, sum_at: Any) -> Any:
        """What earlier blocks of columns leave of the sum, now that the greatest is `top`; their results are scaled likewise."""
        c = self.c
        earlier = c.slot(register_type(self.dtype))
        self.b.store(self._number(0.0), earlier)
        with c.when(self.b.and_(later, self.b.fcmp_unordered("!=", before, top))):
            factor = self._exp(before, top, 1)
            self.b.store(self.b.fmul(self._load(sum_at, 1), factor), earlier)
            results = c.at(self.s.results, self.b.mul(row, self.s.result_stride))

            def scale(j: Any, lanes: int) -> None:
                where = self._element(results, j)
                self._put(self.b.fmul(self._load(where, lanes), self._splat(factor, lanes)), where)

            self._columns(c.dim(self.kernel.result_columns), scale)
        with c.when(self.b.and_(later, self.b.fcmp_ordered("==", before, top))):
            self.b.store(self._load(sum_at, 1), earlier)
        return self.b.load(earlier, typ=register_type(self.dtype))

    def _exp(self, x: Any, top: Any, lanes: int) -> Any:
        body = exp_weight(Kept(self.dtype, 0) - Kept(self.dtype, 1))
        values = (x, top)
        return Emitter(self.c, Scope({}, None, lanes, [], lambda k: (values[k], lanes))).vector(body, lanes)

    # -- results -----------------------------------------------------------------------------------------------------------

    def _finish(self, position: Sequence[Any], first: Any, count: Any) -> None:
        kernel, c = self.kernel, self.c
        bodies, n = [mathlib.expand(e) for e in kernel.epilogues], len(kernel.batch) + 1
        with c.loop(I64(0), count) as row:
            axes = dict(enumerate([*position, self.b.add(first, row)]))
            results = c.at(self.s.results, self.b.mul(row, self.s.result_stride))
            total = self._load(c.at(self.s.sums, self.b.mul(row, I64(self.dtype.size))), 1)
            factor, valid = self._factor(total)

            def column(j: Any, lanes: int) -> None:
                product = self.b.fmul(self._load(self._element(results, j), lanes), self._splat(factor, lanes))
                value = self.b.select(valid, product, self._splat(self._number(0.0), lanes)) if valid is not None else product
                scope = Scope({**axes, n: j}, n if lanes > 1 else None, lanes, self.pointers, lambda _: (value, lanes))
                emitter = Emitter(c, scope)
                for k, (body, store) in enumerate(zip(bodies, kernel.stores)):
                    emitter.store(emitter.value(body), kernel.outputs[k], self.pointers[len(kernel.inputs) + k], store)

            self._columns(c.dim(kernel.width), column)

    def _factor(self, total: Any) -> tuple[Any, Any]:
        """What a row of results is multiplied by, and whether it is valid (None: always; else the row is 0 where it is not)."""
        b = self.b
        factor = b.fdiv(self._number(1.0), total)
        if self.kernel.undefined == "empty":
            return factor, b.fcmp_unordered("!=", total, self._number(0.0))
        if self.kernel.undefined == "zero":
            return factor, b.fcmp_ordered(">", total, self._number(0.0))
        if isinstance(self.kernel.columns, int) and self.kernel.columns > 0:
            return factor, None
        return factor, b.icmp_signed(">", self.c.dim(self.kernel.columns), I64(0))  # a sum over nothing is 0

    # -- parts -------------------------------------------------------------------------------------------------------------

    def _columns(self, extent: Any, body: Callable[[Any, int], None]) -> None:
        """Whole vectors, then one by one."""
        whole = self.b.and_(extent, I64(-self.lanes))
        with self.c.loop(I64(0), whole, self.lanes) as j:
            body(j, self.lanes)
        with self.c.loop(whole, extent) as j:
            body(j, 1)

    def _element(self, row: Any, j: Any) -> Any:
        return self.b.gep(row, [j], source_etype=memory_type(self.dtype))

    def _load(self, where: Any, lanes: int) -> Any:
        loaded = self.b.load(where, typ=widen(memory_type(self.dtype), lanes))
        loaded.align = self.dtype.size
        return from_memory(self.b, loaded, self.dtype, lanes)

    def _put(self, value: Any, where: Any) -> None:
        self.b.store(value, where, align=self.dtype.size)

    def _put_part(self, value: Any, row: Any, j: Any, lanes: int) -> None:
        dtype = self.kernel.pv.operand
        where = self.b.gep(row, [j], source_etype=memory_type(dtype))
        self.b.store(to_memory(self.b, value, dtype, lanes), where, align=dtype.size)

    def _number(self, value: float) -> Any:
        return constant(self.dtype, value)

    def _splat(self, value: Any, lanes: int) -> Any:
        return value if lanes == 1 else splat(self.b, value, lanes)

    def _greater(self, x: Any, y: Any) -> Any:
        """The greater one; x where y is NaN. One instruction on x86."""
        return self.b.select(self.b.fcmp_ordered(">", y, x), y, x)
