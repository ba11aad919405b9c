"""A `ContractKernel` as a function over units of work, which calls micro-kernels.

for each unit (batch entry, block of rows, panel of columns):
  for each block of rows:   micro-kernel: zero; for k {load b, load a, mac}; store to scratch
                            sums that are not finite are mended (products of parts)
                            epilogue: scratch → bodies → results, only where rows and columns exist
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import llvmlite.ir as ll

from ..ir import mathlib
from ..ir.dims import product
from ..kernels.specs import ContractKernel
from ..targets.tile import MacTile
from .context import I1, I64, KERNEL_ARGUMENTS, PTR, FunctionContext
from .mend import mend
from .micro_kernel import Access, call_micro_kernel, row_variants
from .scalar import Emitter, Lanes, Scope
from .values import from_memory, memory_type, widen


def emit_contract_kernel(
    module: ll.Module,
    name: str,
    kernel: ContractKernel,
    tile: MacTile,
    symbols: Sequence[str],
    lanes: int,
    features: str,
    numbers: Sequence[str] = (),
    masks: bool = False,
) -> ll.Function:
    """lanes: of float32 in a vector of the target (for the epilogue), and masks: see `Target`. numbers: symbols that are arguments, behind
    the others (see `shared`).
    """
    c = FunctionContext(module, name, [*KERNEL_ARGUMENTS, *[I64] * len(numbers)], symbols, features)
    return _ContractEmitter(c, kernel, tile, lanes, numbers, masks).emit()


def _rows(kernel: ContractKernel, tile: MacTile) -> tuple[int, list[int]]:
    """(the least rows of a last block, where there are more; rows of tiles of the micro-kernels)."""
    least = tile.least_rows(kernel.block)
    variants = row_variants(tile, kernel.block[0], kernel.rows, least)
    if least == 1:
        return 1, variants
    if not isinstance(kernel.rows, int):  # a micro-kernel of just so many is not made
        least = next(v for v in variants if v >= least)
    return least * tile.m, variants


class _ContractEmitter:
    def __init__(
        self, c: FunctionContext, kernel: ContractKernel, tile: MacTile, lanes: int, numbers: Sequence[str], masks: bool
    ) -> None:
        self.c, self.kernel, self.tile, self.lanes, self.masks = c, kernel, tile, lanes, masks
        self.begin, self.end, operands, self.c.symbol_array, self.accumulators, *given = self.c.function.args
        self.c.given = dict(zip(numbers, given))
        entry = self.c.entry
        count = len(kernel.inputs) + len(kernel.outputs)
        self.pointers = [entry.load(entry.gep(operands, [I64(k)], source_etype=PTR), typ=PTR) for k in range(count)]
        self.block_rows = kernel.block[0] * tile.m
        self.least_rows, self.variants = _rows(kernel, tile)
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
        self.found = c.slot(I64, I64(-1))  # the row whose block's offsets are in scratch
        with c.loop(self.begin, self.end) as unit:
            *position, row_block, panel = c.decompose(unit, [*batch, row_blocks, panels])
            first_row = self.b.mul(row_block, I64(kernel.ROW_BLOCK))
            last_row = c.minimum(self.b.add(first_row, I64(kernel.ROW_BLOCK)), rows)
            a = self._operands(0, kernel.a_parts, position, kernel.a_strides)
            b = self._operands(kernel.a_parts, kernel.b_parts, [*position, self.b.mul(panel, I64(kernel.panels))], kernel.b_strides)
            column = self.b.mul(panel, I64(kernel.panel))
            width = I64(kernel.panel) if self._divides(kernel.panel) else c.minimum(self.b.sub(columns, column), I64(kernel.panel))
            self._find_rows(first_row, last_row)
            with self._depth_blocks() as (k, along, depth, segments, last), c.loop(first_row, last_row, self.block_rows) as at:
                row, count = self._cut(at, first_row, last_row)
                out = self._accumulators(self.b.sub(at, first_row))
                whole = depth if segments is None else self.b.mul(depth, segments)
                ahead = self._ahead(self.b.sub(row, first_row), count, self.b.sub(last_row, first_row), whole)
                start, stride = self._rows_of_a(row, first_row)
                here = [c.at(p, self.b.add(start, along)) for p in a]
                more = [*self._segments(segments), *self._panels(width), *ahead]
                self._multiply(here, stride, b, count, k, depth, out, more)
                with c.when(last):
                    self._mend(a, b, row, count, width, out)
                    self._epilogue(position, row, count, column, width, out)
        return c.finish()

    @contextlib.contextmanager
    def _depth_blocks(self) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
        """For each part of k that is done at a time: its first k, bytes along A to there, how much it is, how many segments of so much
        (None: one), whether it is the last.
        """
        kernel, c, windows = self.kernel, self.c, self.kernel.windows
        size = I64(kernel.depth_block)
        if windows is None:
            depth, stride = c.dim(kernel.depth), self._strides()[1]
            if isinstance(kernel.depth, int) and kernel.depth <= kernel.depth_block:
                yield I64(0), I64(0), depth, None, I1(1)
                return
            with c.loop(I64(0), c.maximum(depth, I64(1)), kernel.depth_block) as k:
                last = self.b.icmp_signed(">=", self.b.add(k, size), depth)
                yield k, self.b.mul(k, stride), c.minimum(self.b.sub(depth, k), size), None, last
            return
        strides = [c.dim(s * kernel.inputs[0].size) for _, s in windows.depths]
        *outer, segments, depth = [I64(1)] * (len(strides) == 1) + [c.dim(extent) for extent, _ in windows.depths]
        count, together = c.dim(product([extent for extent, _ in windows.depths[:-2]])), self._together()
        with (
            c.loop(I64(0), count) as turn,
            c.loop(I64(0), segments, together) as first,
            c.loop(I64(0), depth, kernel.depth_block) as within,
        ):
            last = self.b.icmp_signed(">=", self.b.add(within, size), depth)
            last = self.b.and_(last, self.b.icmp_signed(">=", self.b.add(first, I64(together)), segments))
            last = self.b.and_(last, self.b.icmp_signed("==", turn, self.b.sub(count, I64(1))))
            position = [*c.decompose(turn, outer), first, within][-len(strides) :]
            k = self.b.add(self.b.mul(self.b.add(self.b.mul(turn, segments), first), depth), within)
            here = c.minimum(self.b.sub(segments, first), I64(together)) if len(strides) > 1 else None
            yield k, self._dot(position, strides), c.minimum(self.b.sub(depth, within), size), here, last

    def _together(self) -> int:
        """How many segments a micro-kernel does at a time: as much of k as is done at a time elsewhere."""
        assert self.kernel.windows is not None
        depth = self.kernel.windows.depths[-1][0]
        return max(1, self.kernel.depth_block // depth) if isinstance(depth, int) and depth else 1

    def _segments(self, count: Any) -> list[Any]:
        """Bytes between segments of A and how many there are (see `micro_kernel`)."""
        if count is None or self.kernel.windows is None:
            return []
        return [self.c.dim(self.kernel.windows.depths[-2][1] * self.kernel.inputs[0].size), count]

    def _dot(self, position: Sequence[Any], strides: Sequence[Any]) -> Any:
        total = I64(0)
        for at, stride in zip(position, strides, strict=True):
            total = self.b.add(total, self.b.mul(at, stride))
        return total

    def _find_rows(self, first: Any, last: Any) -> None:
        """Where windows are read: how many bytes into A the rows of this unit lie, to scratch behind the accumulators; once for all
        panels of the block of rows.
        """
        kernel, c, windows = self.kernel, self.c, self.kernel.windows
        if windows is None or not windows.rows:
            return
        extents, strides = zip(*((c.dim(d), c.dim(s * kernel.inputs[0].size)) for d, s in windows.rows))
        with c.when(self.b.icmp_signed("!=", first, self.b.load(self.found, typ=I64))):
            self.b.store(first, self.found)
            with c.numbered_positions(first, last, extents) as (row, at):
                self.b.store(self._dot(at, strides), self._row_place(self.b.sub(row, first)))

    def _row_place(self, row: Any) -> Any:
        """Where the offset of a unit's row is."""
        offsets = self.c.at(self.accumulators, I64(self.kernel.accumulator_bytes))
        return self.b.gep(offsets, [row], source_etype=I64)

    def _rows_of_a(self, row: Any, first: Any) -> tuple[Any, Any]:
        """(bytes to A's row, what tells a micro-kernel where the next ones are: the stride, or where their offsets are)."""
        if not self.kernel.rows_apart:
            stride = self._strides()[0]
            return self.b.mul(row, stride), stride
        return I64(0), self.b.ptrtoint(self._row_place(self.b.sub(row, first)), I64)

    def _cut(self, at: Any, first: Any, last: Any) -> tuple[Any, Any]:
        """First row of the block that would begin at `at`, and how many it has: see `row_blocks`."""
        b, c, size, least = self.b, self.c, I64(self.block_rows), I64(self.least_rows)
        if self.least_rows == 1:
            return at, c.minimum(b.sub(last, at), size)
        edge = b.sub(last, least)
        following = b.add(at, size)
        row = c.maximum(first, c.minimum(at, edge))
        end = b.select(b.icmp_signed("<", following, last), c.minimum(following, edge), last)
        return row, b.sub(end, row)

    def _accumulators(self, row: Any) -> Any:
        """Scratch of the block of rows that would begin at `row` of this unit's: a micro-kernel may store a whole one."""
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
        *outer, (depth, _) = kernel.windows.depths if kernel.windows else [(kernel.depth, 1)]
        segments = [(self.c.dim(extent), self.c.dim(stride * kernel.inputs[0].size)) for extent, stride in outer]
        mend(self.c, self.tile, kernel.product, lanes, count, width, self.c.dim(depth), operands, segments=segments)

    def _steps(self, depth: Any) -> Any:
        k = self.tile.k
        return self.b.sdiv(self.b.add(depth, I64(k - 1)), I64(k)) if k > 1 else depth

    def _panels(self, width: Any) -> list[Any]:
        """Bytes between panels of B's layout and the number of the last that `width` columns reach (see `micro_kernel`)."""
        kernel = self.kernel
        if kernel.panels == 1:
            return []
        stride = self.c.dim(kernel.b_strides[-3] * kernel.inputs[kernel.a_parts].size)
        return [stride, self.b.sdiv(self.b.sub(width, I64(1)), I64(kernel.panel // kernel.panels))]

    def _ahead(self, done: Any, count: Any, rows: Any, depth: Any) -> list[Any]:
        """What a micro-kernel on `count` of a unit's rows, `done` before it, fetches (see `micro_kernel`): its share of what follows
        in B, which is as large as what all rows multiply now.
        """
        if not self.kernel.ahead:
            return []
        b_step = self._strides()[2]
        whole = self.b.mul(self._steps(depth), b_step)
        start = self.b.add(whole, self.b.sdiv(self.b.mul(whole, done), rows))
        return [start, self.b.sdiv(self.b.mul(b_step, count), rows)]

    def _multiply(
        self, a: Sequence[Any], row_stride: Any, b: Sequence[Any], count: Any, k: Any, depth: Any, out: Any, more: Sequence[Any]
    ) -> None:
        """a: at the first row and k. row_stride: see `_rows_of_a`. more: what `micro_kernel` takes behind out_stride."""
        kernel, tile, c = self.kernel, self.tile, self.c
        _, k_stride, b_step, b_tile = self._strides()
        step = tile.k * kernel.inner
        first_step = self.b.sdiv(k, I64(step)) if step > 1 else k
        b = [c.at(p, self.b.mul(first_step, b_step)) for p in b]
        steps = self._steps(depth)
        bytes_apart = (stride * kernel.inputs[kernel.a_parts].size for stride in kernel.b_strides[-2:])
        known_step, known_tile = (n if isinstance(n, int) else None for n in bytes_apart)
        windows = kernel.windows
        access = Access(
            kernel.a_strides[-1] == 1, known_step, known_tile, kernel.ahead, kernel.inner, kernel.panels,
            kernel.rows_apart, windows is not None and len(windows.depths) > 1,
        )  # fmt: skip
        out_stride = I64(kernel.panel * kernel.accumulate.size)
        arguments = [*a, *b, row_stride, k_stride, b_step, b_tile, self.b.sub(count, I64(1)), steps, k, out, out_stride, *more]
        call_micro_kernel(c, tile, kernel.product, self.variants, access, count, arguments)

    def _epilogue(self, position: Sequence[Any], row: Any, count: Any, column: Any, width: Any, out: Any) -> None:
        """Row by row; a whole panel without a loop over its vectors."""
        panel, lanes = self.kernel.panel, self.lanes
        with self._wanted_rows(row, count) as (number, at):
            axes = dict(enumerate([*position, *at]))
            start = self.b.mul(self.b.sub(number, row), I64(panel))
            if panel % lanes:
                self._tail(axes, out, start, column, I64(0), width)
            else:
                self._whole_or_part(axes, out, start, column, width)

    @contextlib.contextmanager
    def _wanted_rows(self, first: Any, count: Any) -> Iterator[tuple[Any, list[Any]]]:
        """Rows for which there are results: their numbers, and positions along the axes of rows."""
        extents = [self.c.dim(d) for d in self.kernel.row_extents]
        with self.c.numbered_positions(first, self.b.add(first, count), extents) as (row, at):
            if self.kernel.wanted is None:
                yield row, at
                return
            with self.c.when(self.b.icmp_signed("<", at[-1], self.c.dim(self.kernel.wanted))):
                yield row, at

    def _divides(self, size: int) -> bool:
        """Whether the columns are whole pieces of `size`, as far as known: then no code is made for a last piece that is smaller."""
        return isinstance(self.kernel.columns, int) and self.kernel.columns % size == 0

    def _whole_or_part(self, axes: dict[int, Any], out: Any, start: Any, column: Any, width: Any) -> None:
        if self._divides(self.kernel.panel):
            self._whole(axes, out, start, column)
            return
        with self.b.if_else(self.b.icmp_signed("==", width, I64(self.kernel.panel))) as (full, part):
            with full:
                self._whole(axes, out, start, column)
            with part:
                whole = self.b.and_(width, I64(-self.lanes))
                with self.c.loop(I64(0), whole, self.lanes) as j:
                    self._finish(axes, out, start, column, j, self.lanes)
                if not self._divides(self.lanes):
                    self._tail(axes, out, start, column, whole, width)

    def _whole(self, axes: dict[int, Any], out: Any, start: Any, column: Any) -> None:
        for j in range(0, self.kernel.panel, self.lanes):
            self._finish(axes, out, start, column, I64(j), self.lanes)

    def _tail(self, axes: dict[int, Any], out: Any, start: Any, column: Any, first: Any, last: Any) -> None:
        """Less than a vector, where panels are whole vectors: at once by masks, if the target has them."""
        if self.masks and self.kernel.panel % self.lanes == 0:
            with self.c.when(self.b.icmp_signed("<", first, last)):
                self._finish(axes, out, start, column, first, self.lanes, self.b.sub(last, first))
            return
        with self.c.loop(first, last) as j:
            self._finish(axes, out, start, column, j, 1)

    def _finish(self, axes: dict[int, Any], out: Any, start: Any, column: Any, j: Any, lanes: int, active: Any = None) -> None:
        """Results of `lanes` columns from column j of the panel on, of which the first `active` exist, for one row."""
        kernel = self.kernel
        dtype = kernel.accumulate
        where = self.b.gep(out, [self.b.add(start, j)], source_etype=memory_type(dtype))
        loaded = self.b.load(where, typ=widen(memory_type(dtype), lanes))
        loaded.align = dtype.size
        value: Lanes = (from_memory(self.b, loaded, dtype, lanes), lanes)
        n = len(kernel.batch) + len(kernel.row_extents)
        scope = Scope({**axes, n: self.b.add(column, j)}, n if lanes > 1 else None, lanes, self.pointers, lambda _: value, active)
        emitter = Emitter(self.c, scope)
        for k, (body, store) in enumerate(zip(self.epilogues, kernel.stores)):
            emitter.store(emitter.value(body), kernel.outputs[k], self.pointers[len(kernel.inputs) + k], store)
