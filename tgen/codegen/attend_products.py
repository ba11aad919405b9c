"""The two products of an `AttendKernel` – scores of a block of columns, and what they add to the results – by micro-kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.dims import DimLike
from ..kernels.specs import AttendKernel
from ..targets.tile import MacTile
from .context import I8, I64, FunctionContext
from .mend import mend
from .micro_kernel import Access, call_micro_kernel, row_variants
from .values import constant, memory_type, widen


@dataclass(frozen=True)
class Scratch:
    """Where a thread keeps what a block of rows needs; strides are bytes from row to row.

    weights: a pointer for each part of them. earlier: the results before the present block of columns, kept where sums may have to be
    done again.
    """

    scores: Any
    weights: tuple[Any, ...]
    results: Any
    greatest: Any
    sums: Any
    earlier: Any
    score_stride: int
    weight_stride: int
    result_stride: Any

    @staticmethod
    def of(c: FunctionContext, kernel: AttendKernel, memory: Any) -> Scratch:
        """Cuts memory into `kernel.areas`."""
        entry, places = c.entry, []
        offset: DimLike = 0
        for area in kernel.areas:
            places.append(entry.gep(memory, [c.dim(offset)], source_etype=I8))
            offset = offset + area
        scores, weights, results, greatest, sums, earlier = places
        count = len(kernel.weights)
        size, part = kernel.qk.accumulate.size, kernel.areas[1] // count if kernel.areas[1] else 0
        first = weights if kernel.areas[1] else scores
        parts = tuple(entry.gep(first, [I64(k * part)], source_etype=I8) for k in range(count))
        result_stride = entry.mul(c.dim(kernel.result_columns), I64(size))
        strides = (kernel.column_block * size, kernel.column_block * kernel.pv.operand.size, result_stride)
        return Scratch(scores, parts, results, greatest, sums, earlier, *strides)


class AttendProducts:
    """lanes: of the accumulators' dtype in a vector of the target."""

    def __init__(
        self, c: FunctionContext, kernel: AttendKernel, tiles: tuple[MacTile, MacTile], scratch: Scratch, lanes: int
    ) -> None:
        self.c, self.kernel, self.tiles, self.s, self.lanes = c, kernel, tiles, scratch, lanes
        self.dtype = kernel.qk.accumulate

    @property
    def b(self) -> Any:
        return self.c.b

    def scores(self, q: Sequence[Any], k: Sequence[Any], first: Any, count: Any, start: Any, width: Any) -> None:
        """q·k of `count` rows from `first` on and `width` columns from `start` on."""
        kernel, c, tile = self.kernel, self.c, self.tiles[0]
        size, panel = kernel.qk.operand.size, kernel.panels[0]
        row_stride, q_step = (c.dim(s * size) for s in kernel.q_strides[-2:])
        panel_stride, step, inner = (c.dim(s * size) for s in kernel.k_strides[-3:])
        depth = c.dim(kernel.depth)
        block = kernel.qk.block[0] * tile.m
        variants = row_variants(tile, kernel.qk.block[0], kernel.rows)
        access = Access(kernel.q_strides[-1] == 1)
        with c.loop(I64(0), c.maximum(depth, I64(1)), kernel.depth_block) as at:
            steps = self._steps(c.minimum(self.b.sub(depth, at), I64(kernel.depth_block)), tile)
            with c.loop(I64(0), width, panel) as column:
                number = self.b.sdiv(self.b.add(start, column), I64(panel))
                along = self.b.add(self.b.mul(number, panel_stride), self.b.mul(self._steps(at, tile), step))
                right = [c.at(p, along) for p in k]
                with c.loop(I64(0), count, block) as row:
                    b = self.b
                    place = b.add(b.mul(b.add(first, row), row_stride), b.mul(at, q_step))
                    left = [c.at(p, place) for p in q]
                    here = b.sub(count, row)
                    out = b.add(b.mul(row, I64(self.s.score_stride)), b.mul(column, I64(self.dtype.size)))
                    arguments = [
                        *left, *right, row_stride, q_step, step, inner, b.sub(here, I64(1)), steps, at,
                        c.at(self.s.scores, out), I64(self.s.score_stride),
                    ]  # fmt: skip
                    call_micro_kernel(c, tile, kernel.qk, variants, access, here, arguments)
        self._mend_scores(q, k, first, count, start, width)

    def _mend_scores(self, q: Sequence[Any], k: Sequence[Any], first: Any, count: Any, start: Any, width: Any) -> None:
        """What is not finite among the scores, done again."""
        kernel, c, tile = self.kernel, self.c, self.tiles[0]
        if len(kernel.qk.products) == 1:
            return
        size, panel = kernel.qk.operand.size, kernel.panels[0]
        row_stride, q_step = (c.dim(s * size) for s in kernel.q_strides[-2:])
        panel_stride, step, inner = (c.dim(s * size) for s in kernel.k_strides[-3:])
        left = [c.at(p, self.b.mul(first, row_stride)) for p in q]
        with c.loop(I64(0), width, panel) as column:
            number = self.b.sdiv(self.b.add(start, column), I64(panel))
            right = [c.at(p, self.b.mul(number, panel_stride)) for p in k]
            out = c.at(self.s.scores, self.b.mul(column, I64(self.dtype.size)))
            operands = [*left, *right, row_stride, q_step, step, inner, out, I64(self.s.score_stride)]
            columns = c.minimum(self.b.sub(width, column), I64(panel))
            mend(c, tile, kernel.qk, min(self.lanes, panel), count, columns, c.dim(kernel.depth), operands)

    def results(self, v: Sequence[Any], count: Any, start: Any, width: Any, done: Any) -> None:
        """Adds weights·v of the block of columns. done: columns of earlier blocks, whose results this adds to."""
        kernel, c, tile = self.kernel, self.c, self.tiles[1]
        size, panel = kernel.pv.operand.size, kernel.panels[1]
        panel_stride, step, inner = (c.dim(s * size) for s in kernel.v_strides[-3:])
        steps = self._steps(width, tile)
        block = kernel.pv.block[0] * tile.m
        variants = row_variants(tile, kernel.pv.block[0], kernel.rows)
        self._keep_earlier(count, done)
        with c.loop(I64(0), c.dim(kernel.result_columns), panel) as column:
            along = self.b.add(
                self.b.mul(self.b.sdiv(column, I64(panel)), panel_stride), self.b.mul(self._steps(start, tile), step)
            )
            right = [c.at(p, along) for p in v]
            with c.loop(I64(0), count, block) as row:
                b = self.b
                left = [c.at(p, b.mul(row, I64(self.s.weight_stride))) for p in self.s.weights]
                here = b.sub(count, row)
                out = b.add(b.mul(row, self.s.result_stride), b.mul(column, I64(self.dtype.size)))
                arguments = [
                    *left, *right, I64(self.s.weight_stride), I64(size), step, inner, b.sub(here, I64(1)), steps, done,
                    c.at(self.s.results, out), self.s.result_stride,
                ]  # fmt: skip
                call_micro_kernel(c, tile, kernel.pv, variants, Access(True), here, arguments)
            out = self.b.mul(column, I64(self.dtype.size))
            operands = [
                *self.s.weights, *right, I64(self.s.weight_stride), I64(size), step, inner,
                c.at(self.s.results, out), self.s.result_stride,
            ]  # fmt: skip
            columns, lanes = c.minimum(self.b.sub(c.dim(kernel.width), column), I64(panel)), min(self.lanes, panel)
            mend(c, tile, kernel.pv, lanes, count, columns, width, operands, c.at(self.s.earlier, out))

    def _keep_earlier(self, count: Any, done: Any) -> None:
        """Results before this block of columns, zeros before the first: what sums that are done again begin with."""
        c, dtype = self.c, self.dtype
        if len(self.kernel.pv.products) == 1:
            return
        lanes = min(self.lanes, self.kernel.panels[1])
        later = self.b.icmp_signed(">", done, I64(0))
        size = self.b.mul(count, c.dim(self.kernel.result_columns))
        with c.loop(I64(0), size, lanes) as j:
            there, here = (self.b.gep(p, [j], source_etype=memory_type(dtype)) for p in (self.s.results, self.s.earlier))
            value = self.b.load(there, typ=widen(memory_type(dtype), lanes))
            value.align = dtype.size
            self.b.store(self.b.select(later, value, constant(dtype, 0.0, lanes)), here, align=dtype.size)

    def _steps(self, depth: Any, tile: MacTile) -> Any:
        return self.b.sdiv(self.b.add(depth, I64(tile.k - 1)), I64(tile.k)) if tile.k > 1 else depth
