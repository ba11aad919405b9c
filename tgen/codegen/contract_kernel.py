"""A `ContractKernel` as a function over units of work, and the micro-kernels (shared by all contractions) that it calls.

for each unit (batch entry, block of rows, panel of columns):
  for each block of rows:   micro-kernel: zero; for k {load b, load a, mac}; store to scratch
                            sums that are not finite are mended (products of parts)
                            epilogue: scratch → bodies → results, only where rows and columns exist
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll

from ..ir import mathlib
from ..kernels.specs import ContractKernel, Product
from ..targets.tile import MacTile
from .context import I64, PTR, FunctionContext
from .loop_kernel import KERNEL_ARGUMENTS
from .mend import mend
from .scalar import Emitter, Lanes, Scope
from .values import from_memory, memory_type, widen


def emit_contract_kernel(
    module: ll.Module, name: str, kernel: ContractKernel, tile: MacTile, symbols: Sequence[str], lanes: int, features: str
) -> ll.Function:
    """lanes: of float32 in a vector of the target (for the epilogue)."""
    return _ContractEmitter(module, name, kernel, tile, symbols, lanes, features).emit()


class _ContractEmitter:
    def __init__(
        self, module: ll.Module, name: str, kernel: ContractKernel, tile: MacTile, symbols: Sequence[str], lanes: int, features: str
    ) -> None:
        self.kernel, self.tile, self.lanes, self.features = kernel, tile, lanes, features
        self.c = FunctionContext(module, name, KERNEL_ARGUMENTS, symbols, features)
        self.begin, self.end, operands, self.c.symbol_array, self.accumulators = self.c.function.args
        entry = self.c.entry
        count = len(kernel.inputs) + len(kernel.outputs)
        self.pointers = [entry.load(entry.gep(operands, [I64(k)], source_etype=PTR), typ=PTR) for k in range(count)]
        self.block_rows = kernel.block[0] * tile.m
        self.epilogues = [mathlib.expand(e) for e in kernel.epilogues]

    @property
    def b(self) -> Any:
        return self.c.b

    def emit(self) -> ll.Function:
        kernel, c = self.kernel, self.c
        e = c.entry
        rows, columns = c.dim(kernel.rows), c.dim(kernel.columns)
        panels = e.sdiv(e.add(columns, I64(kernel.panel - 1)), I64(kernel.panel))
        row_blocks = e.sdiv(e.add(rows, I64(kernel.ROW_BLOCK - 1)), I64(kernel.ROW_BLOCK))
        batch = [c.dim(d) for d in kernel.batch]
        with c.loop(self.begin, self.end) as unit:
            *position, row_block, panel = c.decompose(unit, [*batch, row_blocks, panels])
            first_row = self.b.mul(row_block, I64(kernel.ROW_BLOCK))
            last_row = c.minimum(self.b.add(first_row, I64(kernel.ROW_BLOCK)), rows)
            a = self._operands(0, kernel.a_parts, position, kernel.a_strides)
            b = self._operands(kernel.a_parts, kernel.b_parts, [*position, panel], kernel.b_strides)
            column = self.b.mul(panel, I64(kernel.panel))
            width = c.minimum(self.b.sub(columns, column), I64(kernel.panel))
            depth = c.dim(kernel.depth)
            with c.loop(I64(0), c.maximum(depth, I64(1)), kernel.depth_block) as k:
                last = self.b.icmp_signed(">=", self.b.add(k, I64(kernel.depth_block)), depth)
                depth_here = c.minimum(self.b.sub(depth, k), I64(kernel.depth_block))
                with c.loop(first_row, last_row, self.block_rows) as row:
                    count = c.minimum(self.b.sub(last_row, row), I64(self.block_rows))
                    out = self._accumulators(self.b.sub(row, first_row))
                    self._multiply(a, b, row, count, k, depth_here, out)
                    with c.when(last):
                        self._mend(a, b, row, count, width, out)
                        self._epilogue(position, row, count, column, width, out)
        return c.finish()

    def _accumulators(self, row: Any) -> Any:
        """Scratch of the rows from `row` of this block of rows on."""
        return self.c.at(self.accumulators, self.b.mul(row, I64(self.kernel.panel * self.kernel.accumulate.size)))

    def _operands(self, first: int, parts: int, position: Sequence[Any], strides: Sequence[Any]) -> list[Any]:
        """Pointers of all parts at this position."""
        offset = I64(0)
        for at, stride in zip(position, strides):
            offset = self.b.add(offset, self.b.mul(at, self.c.dim(stride)))
        dtype = self.kernel.inputs[first]
        return [self.b.gep(self.pointers[first + k], [offset], source_etype=memory_type(dtype)) for k in range(parts)]

    def _strides(self) -> list[Any]:
        """In bytes: of A's rows and k, of B's steps and tiles."""
        a, b = self.kernel.inputs[0].size, self.kernel.inputs[self.kernel.a_parts].size
        pairs = ((self.kernel.a_strides[-2:], a), (self.kernel.b_strides[-2:], b))
        return [self.c.dim(stride * size) for strides, size in pairs for stride in strides]

    def _mend(self, a: Sequence[Any], b: Sequence[Any], row: Any, count: Any, width: Any, out: Any) -> None:
        kernel, strides = self.kernel, self._strides()
        lanes = min(self.lanes, kernel.panel)
        first = [self.c.at(p, self.b.mul(row, strides[0])) for p in a]
        operands = [*first, *b, *strides, out, I64(kernel.panel * kernel.accumulate.size)]
        mend(self.c, self.tile, kernel.product, lanes, count, width, self.c.dim(kernel.depth), operands)

    def _multiply(self, a: Sequence[Any], b: Sequence[Any], row: Any, count: Any, k: Any, depth: Any, out: Any) -> None:
        kernel, tile, c = self.kernel, self.tile, self.c
        row_stride, k_stride, b_step, b_tile = self._strides()
        start = self.b.add(self.b.mul(row, row_stride), self.b.mul(k, k_stride))
        a = [c.at(p, start) for p in a]
        first_step = self.b.sdiv(k, I64(tile.k)) if tile.k > 1 else k
        b = [c.at(p, self.b.mul(first_step, b_step)) for p in b]
        steps = self.b.sdiv(self.b.add(depth, I64(tile.k - 1)), I64(tile.k)) if tile.k > 1 else depth
        variants = row_variants(tile, kernel.block[0], kernel.rows)
        unit_k = kernel.a_strides[-1] == 1
        out_stride = I64(kernel.panel * kernel.accumulate.size)
        arguments = [*a, *b, row_stride, k_stride, b_step, b_tile, self.b.sub(count, I64(1)), steps, k, out, out_stride]
        call_micro_kernel(c, tile, kernel.product, variants, unit_k, count, arguments)

    def _epilogue(self, position: Sequence[Any], row: Any, count: Any, column: Any, width: Any, out: Any) -> None:
        """Row by row; a whole panel without a loop over its vectors."""
        panel, lanes = self.kernel.panel, self.lanes
        with self.c.loop(I64(0), count) as i:
            axes = dict(enumerate([*position, self.b.add(row, i)]))
            start = self.b.mul(i, I64(panel))
            if panel % lanes:
                self._tail(axes, out, start, column, I64(0), width)
            else:
                self._whole_or_part(axes, out, start, column, width)

    def _whole_or_part(self, axes: dict[int, Any], out: Any, start: Any, column: Any, width: Any) -> None:
        panel, lanes = self.kernel.panel, self.lanes
        with self.b.if_else(self.b.icmp_signed("==", width, I64(panel))) as (full, part):
            with full:
                for j in range(0, panel, lanes):
                    self._finish(axes, out, start, column, I64(j), lanes)
            with part:
                whole = self.b.and_(width, I64(-lanes))
                with self.c.loop(I64(0), whole, lanes) as j:
                    self._finish(axes, out, start, column, j, lanes)
                self._tail(axes, out, start, column, whole, width)

    def _tail(self, axes: dict[int, Any], out: Any, start: Any, column: Any, first: Any, last: Any) -> None:
        with self.c.loop(first, last) as j:
            self._finish(axes, out, start, column, j, 1)

    def _finish(self, axes: dict[int, Any], out: Any, start: Any, column: Any, j: Any, lanes: int) -> None:
        """Results of `lanes` columns from column j of the panel on, for one row."""
        kernel = self.kernel
        dtype = kernel.accumulate
        where = self.b.gep(out, [self.b.add(start, j)], source_etype=memory_type(dtype))
        loaded = self.b.load(where, typ=widen(memory_type(dtype), lanes))
        loaded.align = dtype.size
        value: Lanes = (from_memory(self.b, loaded, dtype, lanes), lanes)
        n = len(kernel.batch) + 1
        scope = Scope({**axes, n: self.b.add(column, j)}, n if lanes > 1 else None, lanes, self.pointers, lambda _: value)
        emitter = Emitter(self.c, scope)
        for k, (body, store) in enumerate(zip(self.epilogues, kernel.stores)):
            emitter.store(emitter.value(body), kernel.outputs[k], self.pointers[len(kernel.inputs) + k], store)


def row_variants(tile: MacTile, rows: int, extent: Any) -> list[int]:
    """Rows of tiles that micro-kernels are made for, ascending: just those needed when m is known, else a few."""
    if not tile.broadcast:
        return [rows]
    if isinstance(extent, int):
        full, rest = divmod(extent, rows * tile.m)
        needed = ({rows} if full else set()) | ({-(-rest // tile.m)} if rest else set())
        return sorted(needed) or [rows]
    return sorted({1, 2, 4, 6, 8, rows} & set(range(1, rows + 1)))


def call_micro_kernel(
    c: FunctionContext, tile: MacTile, product: Product, variants: Sequence[int], unit_k: bool, count: Any, arguments: Sequence[Any]
) -> None:
    """Calls the least of `variants` (see `row_variants`) that does `count` rows; arguments: see `micro_kernel`."""
    done = c.function.append_basic_block("multiplied")
    for variant in variants:
        function = micro_kernel(c.module, tile, variant, product, unit_k, c.features)
        if variant == variants[-1]:
            c.b.call(function, arguments)
            c.b.branch(done)
            break
        yes, no = c.function.append_basic_block("rows"), c.function.append_basic_block("more")
        c.b.cbranch(c.b.icmp_signed("<=", count, I64(variant * tile.m)), yes, no)
        c.b.position_at_end(yes)
        c.b.call(function, arguments)
        c.b.branch(done)
        c.b.position_at_end(no)
    c.b.position_at_end(done)


def micro_kernel(module: ll.Module, tile: MacTile, rows: int, product: Product, unit_k: bool, features: str) -> ll.Function:
    """One block: `rows` by product.block[1] tiles over any number of k steps. Made once a module.

        void micro(a…, b…, i64 row_stride, i64 k_stride, i64 b_step, i64 b_tile, i64 last_row, i64 steps, i64 k, ptr out, i64 out_stride)

    out = (k == 0 ? 0 : out) + Σ; all strides in bytes. A pointer for each part of A (at the block's first row and k) and of B (at the
    panel's first step). Rows past last_row read it again; whole tiles of them are written all the same, to be ignored.
    """
    columns = product.block[1]
    products = "".join(f"{i}{j}" for i, j in product.products)
    name = f"micro.{tile.name}.{rows}x{columns}.{products}{'' if unit_k else '.strided'}"
    found = module.globals.get(name)
    if found is not None:
        return found
    return _MicroEmitter(module, name, tile, rows, columns, product, unit_k, features).emit()


class _MicroEmitter:
    def __init__(
        self,
        module: ll.Module,
        name: str,
        tile: MacTile,
        rows: int,
        columns: int,
        product: Product,
        unit_k: bool,
        features: str,
    ) -> None:
        self.tile, self.rows, self.columns, self.product, self.unit_k = tile, rows, columns, product, unit_k
        parts = product.a_parts + product.b_parts
        self.c = FunctionContext(module, name, [PTR] * parts + [I64] * 7 + [PTR, I64], (), features)
        self.c.function.attributes.add("noinline")
        arguments = self.c.function.args
        self.a, self.bs = arguments[: product.a_parts], arguments[product.a_parts : parts]
        self.row_stride, self.k_stride, self.b_step, self.b_tile, self.last_row, self.steps, self.k = arguments[parts:-2]
        self.out, self.out_stride = arguments[-2:]
        size = product.operand.size
        self.a_step = I64(tile.k * size)

    def emit(self) -> ll.Function:
        c, tile = self.c, self.tile
        slots = [c.slot(tile.vector) for _ in range(self.rows * self.columns)] if tile.broadcast else None  # type: ignore[attr-defined]
        self._start(slots)
        row_offsets = [self._row_offset(i) for i in range(self.rows)]
        unroll = tile.unroll
        whole = c.b.and_(self.steps, I64(-unroll))
        if unroll > 1:
            with c.loop(I64(0), whole, unroll) as step:
                self._steps([c.b.add(step, I64(u)) for u in range(unroll)], row_offsets, slots)
        with c.loop(whole if unroll > 1 else I64(0), self.steps) as step:
            self._steps([step], row_offsets, slots)
        self._store(slots)
        return c.finish()

    def _start(self, slots: list[Any] | None) -> None:
        """Zero, or what earlier blocks of k left in `out`."""
        c, tile = self.c, self.tile
        first = c.b.icmp_signed("==", self.k, I64(0))
        with c.b.if_else(first) as (zero, accumulate):
            with zero:
                values = [tile.zero(c.b, k) for k in range(self.rows * self.columns)]
                self._keep(slots, values)
            with accumulate:
                values = [tile.load_c(c.b, where, self.out_stride, k) for k, where in enumerate(self._places())]
                self._keep(slots, values)

    def _keep(self, slots: list[Any] | None, values: Sequence[Any]) -> None:
        if slots is not None:
            for slot, value in zip(slots, values):
                self.c.b.store(value, slot)

    def _row_offset(self, i: int) -> Any:
        row = self.c.minimum(I64(i), self.last_row) if self.tile.broadcast else I64(i * self.tile.m)
        return self.c.b.mul(row, self.row_stride)

    def _steps(self, steps: Sequence[Any], row_offsets: Sequence[Any], slots: list[Any] | None) -> None:
        """Consecutive k steps; between them accumulators are values, around them they are in slots."""
        values = self._values(slots)
        for step in steps:
            self._step(step, row_offsets, values)
        self._keep(slots, values)

    def _values(self, slots: list[Any] | None) -> list[Any]:
        if slots is None:
            return list(range(self.rows * self.columns))
        return [self.c.b.load(slot, typ=self.tile.vector) for slot in slots]  # type: ignore[attr-defined]

    def _step(self, step: Any, row_offsets: Sequence[Any], values: list[Any]) -> None:
        """All products of one k step; parts are loaded when a product first needs them."""
        c, tile = self.c, self.tile
        along_b = c.b.mul(step, self.b_step)
        along_a = c.b.mul(step, self.a_step if self.unit_k or not tile.broadcast else self.k_stride)
        loaded_a = loaded_b = -1
        xs: list[Any] = []
        ys: list[Any] = []
        count = self.rows * self.columns
        for i, j in self.product.products:
            if j != loaded_b:
                ys = [self._load_b(j, along_b, n, count + self.rows + n) for n in range(self.columns)]
                loaded_b = j
            if i != loaded_a:
                xs = [
                    tile.load_a(c.b, c.at(c.at(self.a[i], row), along_a), self.row_stride, count + m)
                    for m, row in enumerate(row_offsets)
                ]
                loaded_a = i
            for m, x in enumerate(xs):
                for n, y in enumerate(ys):
                    k = m * self.columns + n
                    values[k] = tile.mac(c.b, values[k], x, y)

    def _load_b(self, part: int, along: Any, n: int, slot: int) -> Any:
        b = self.c.b
        where = self.c.at(self.bs[part], along)
        return self.tile.load_b(b, self.c.at(where, b.mul(self.b_tile, I64(n))) if n else where, slot)

    def _store(self, slots: list[Any] | None) -> None:
        """Accumulators to `out`."""
        for value, where in zip(self._values(slots), self._places()):
            self.tile.store(self.c.b, value, where, self.out_stride)

    def _places(self) -> list[Any]:
        """Where each accumulator's first row lies in `out`."""
        b, step = self.c.b, self.tile.n * self.product.accumulate.size
        rows = [self.c.at(self.out, b.mul(self.out_stride, I64(m * self.tile.m))) for m in range(self.rows)]
        return [self.c.at(row, I64(n * step)) for row in rows for n in range(self.columns)]
