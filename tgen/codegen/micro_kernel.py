"""Micro-kernels: one block of tiles over any number of k steps, shared by all contractions of a module and by attention.

zero or earlier sums; for k {load b, load a, mac}; store. One that reads ahead fetches, while it multiplies, a part of the panel of B
that is needed next: where weights come from memory, reading them then hides behind the rows that reuse the present panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..kernels.specs import Product, row_blocks
from ..targets.emit import prefetch
from ..targets.tile import MacTile
from .context import I64, PTR, FunctionContext

LINE = 64  # bytes that a prefetch brings
FETCH_CYCLES = 0.5  # it takes a place among the loads: two a cycle


@dataclass(frozen=True)
class Access:
    """What is known of the operands' places when a micro-kernel is made.

    unit_k: elements of A lie side by side along k. b_step, b_tile: bytes from step to step and from tile to tile of B; None: known
    in each call only. Known ones are part of addresses: the loop needs no registers for them. ahead: B is worth reading ahead.
    inner, panels: see `ContractKernel`. by_offset: in place of a stride between rows of A comes where their offsets in bytes are.
    segments: k runs along A several times, each from another place on.
    """

    unit_k: bool
    b_step: int | None = None
    b_tile: int | None = None
    ahead: bool = False
    inner: int = 1
    panels: int = 1
    by_offset: bool = False
    segments: bool = False

    def __str__(self) -> str:
        known = "".join(f".{name}{value}" for name, value in (("step", self.b_step), ("tile", self.b_tile)) if value is not None)
        layout = "".join(f".{name}{value}" for name, value in (("inner", self.inner), ("panels", self.panels)) if value > 1)
        along = (
            ("" if self.unit_k else ".strided") + (".by_offset" if self.by_offset else "") + (".segments" if self.segments else "")
        )
        return along + known + layout + (".ahead" if self.ahead else "")


def row_variants(tile: MacTile, rows: int, extent: Any, least: int = 1) -> list[int]:
    """Rows of tiles that micro-kernels are made for, ascending: just those needed when m is known, else a few. least: see `row_blocks`."""
    if isinstance(extent, int):
        full, last = row_blocks(-(-extent // tile.m), rows, least)
        return sorted({*last, *([rows] if full else [])}) or [rows]
    return sorted({1, 2, 4, 6, 8, rows} & set(range(1, rows + 1)))


def call_micro_kernel(
    c: FunctionContext,
    tile: MacTile,
    product: Product,
    variants: Sequence[int],
    access: Access,
    count: Any,
    arguments: Sequence[Any],
) -> None:
    """Calls the least of `variants` (see `row_variants`) that does `count` rows; arguments: see `micro_kernel`."""
    done = c.function.append_basic_block("multiplied")
    for variant in variants:
        function = micro_kernel(c.module, tile, variant, product, access, c.features)
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


def micro_kernel(module: ll.Module, tile: MacTile, rows: int, product: Product, access: Access, features: str) -> ll.Function:
    """One block: `rows` by product.block[1] tiles over any number of k steps. Made once a module.

        void micro(a…, b…, i64 row_stride, i64 k_stride, i64 b_step, i64 b_tile, i64 last_row, i64 steps, i64 k, ptr out, i64 out_stride,
                   i64 a_segment, i64 segments,                                                       (these two: if access.segments)
                   i64 b_panel, i64 last_panel,                                                      (these two: if access.panels > 1)
                   i64 ahead, i64 ahead_step)                                                              (these two: if access.ahead)

    out = (k == 0 ? 0 : out) + Σ; all strides in bytes. A pointer for each part of A (at the block's first row and k) and of B (at the
    panel's first step). Rows past last_row read it again; whole tiles of them are written all the same, to be ignored; so it is with
    panels of B's layout past last_panel. With segments, the steps are done for each of them, a_segment bytes apart in A; B goes on. Step
    s fetches what lies `ahead + s·ahead_step` bytes after B's pointers; it need not exist.
    """
    columns = product.block[1]
    products = "".join(f"{i}{j}" for i, j in product.products)
    name = f"micro.{tile.name}.{rows}x{columns}.{products}{access}"
    found = module.globals.get(name)
    if found is not None:
        return found
    return _MicroEmitter(module, name, tile, rows, columns, product, access, features).emit()


class _MicroEmitter:
    def __init__(
        self,
        module: ll.Module,
        name: str,
        tile: MacTile,
        rows: int,
        columns: int,
        product: Product,
        access: Access,
        features: str,
    ) -> None:
        self.tile, self.rows, self.columns, self.product, self.access = tile, rows, columns, product, access
        parts = product.a_parts + product.b_parts
        known = [PTR] * parts + [I64] * 7 + [PTR, I64]
        pairs = access.segments + (access.panels > 1) + access.ahead
        self.c = FunctionContext(module, name, known + [I64, I64] * pairs, (), features)
        self.c.function.attributes.add("noinline")
        arguments = self.c.function.args
        self.a, self.bs = arguments[: product.a_parts], arguments[product.a_parts : parts]
        self.row_stride, self.k_stride, b_step, b_tile, self.last_row, self.steps, self.k = arguments[parts : parts + 7]
        self.out, self.out_stride, *rest = arguments[parts + 7 :]
        self.segments = rest[: 2 * access.segments]
        rest = rest[2 * access.segments :]
        self.panel_offsets, self.ahead = self._panels(rest[:2]), rest[2 * (access.panels > 1) :]
        self.b_step = b_step if access.b_step is None else I64(access.b_step)
        self.b_tile = b_tile if access.b_tile is None else I64(access.b_tile)
        size = tile.a.size
        self.a_step = I64(tile.k * size)

    def emit(self) -> ll.Function:
        c, tile = self.c, self.tile
        slots = [c.slot(tile.vector) for _ in range(self.rows * self.columns)] if tile.broadcast else None  # type: ignore[attr-defined]
        self._start(slots)
        a_rows = [(self._row_offset(i * tile.m), self._stride(i)) for i in range(self.rows)]
        if self.access.segments:
            stride, count = self.segments
            with c.loop(I64(0), count) as segment:
                self._go_to(segment, stride)
                self._depth(a_rows, slots)
        else:
            self._depth(a_rows, slots)
        self._store(slots)
        return c.finish()

    def _go_to(self, segment: Any, stride: Any) -> None:
        """Pointers and what is fetched as at the first step of a segment, which comes behind all steps of those before."""
        b, before = self.c.b, self.c.b.mul(segment, self.steps)
        along_b = b.mul(before, self.b_step)
        self.a = [self.c.at(p, b.mul(segment, stride)) for p in self.a]
        self.bs = [self.c.at(p, along_b) for p in self.bs]
        if self.ahead:
            first, step = self.ahead
            self.ahead = [b.sub(b.add(first, b.mul(before, step)), along_b), step]

    def _depth(self, a_rows: Sequence[tuple[Any, Any]], slots: list[Any] | None) -> None:
        c, unroll = self.c, self.tile.unroll(self.rows * self.columns)
        whole = c.b.and_(self.steps, I64(-unroll))
        if unroll > 1:
            with c.loop(I64(0), whole, unroll) as step:
                self._steps([c.b.add(step, I64(u)) for u in range(unroll)], a_rows, slots)
        with c.loop(whole if unroll > 1 else I64(0), self.steps) as step:
            self._steps([step], a_rows, slots)

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

    def _row_offset(self, row: int) -> Any:
        there = self.c.minimum(I64(row), self.last_row) if self.tile.broadcast else I64(row)
        if self.access.by_offset:
            offsets = self.c.b.inttoptr(self.row_stride, PTR)
            return self.c.b.load(self.c.b.gep(offsets, [there], source_etype=I64), typ=I64)
        return self.c.b.mul(there, self.row_stride)

    def _stride(self, i: int) -> Any:
        """Bytes from the first row of A's tile i to the second, which may be the first again where no more rows are left."""
        tile = self.tile
        if not tile.broadcast or tile.m == 1:
            return self.row_stride
        return self.c.b.sub(self._row_offset(i * tile.m + 1), self._row_offset(i * tile.m))

    def _steps(self, steps: Sequence[Any], a_rows: Sequence[tuple[Any, Any]], slots: list[Any] | None) -> None:
        """Consecutive k steps; between them accumulators are values, around them they are in slots."""
        values = self._values(slots)
        for step in steps:
            self._step(step, a_rows, values)

        self._keep(slots, values)

    def _values(self, slots: list[Any] | None) -> list[Any]:
        if slots is None:
            return list(range(self.rows * self.columns))
        return [self.c.b.load(slot, typ=self.tile.vector) for slot in slots]  # type: ignore[attr-defined]

    def _step(self, step: Any, a_rows: Sequence[tuple[Any, Any]], values: list[Any]) -> None:
        """All products of one k step; parts are loaded when a product first needs them."""
        c, tile = self.c, self.tile
        along_b = self._along_b(step)
        along_a = c.b.mul(step, self.a_step if self.access.unit_k or not tile.broadcast else self.k_stride)
        loaded_a = loaded_b = -1
        xs: list[Any] = []
        ys: list[Any] = []
        count = self.rows * self.columns
        fetches = self._fetches(step)
        macs = count * len(self.product.products)
        done = 0
        for i, j in self.product.products:
            if j != loaded_b:
                ys = [self._load_b(j, along_b, n, count + self.rows + n) for n in range(self.columns)]
                loaded_b = j
            if i != loaded_a:
                xs, loaded_a = [], i
            for m, (row, stride) in enumerate(a_rows):
                if len(xs) == m:
                    xs.append(tile.load_a(c.b, c.at(c.at(self.a[i], row), along_a), stride, count + m))
                for n, y in enumerate(ys):
                    k = m * self.columns + n
                    values[k] = tile.mac(c.b, values[k], xs[m], y)
                    for where in fetches[done * len(fetches) // macs : (done + 1) * len(fetches) // macs]:
                        prefetch(c.b, where)
                    done += 1

    def _fetches(self, step: Any) -> list[Any]:
        """Addresses of the lines this step fetches: as many as it reads of B."""
        if not self.ahead or not self._spare():
            return []
        ahead, ahead_step = self.ahead
        first = self.c.b.add(ahead, self.c.b.mul(step, ahead_step))
        return [self.c.at(self.c.at(part, first), I64(LINE * n)) for part in self.bs for n in range(self._lines())]

    def _lines(self) -> int:
        """Lines of a part of B in a step."""
        return -(-self.columns * self.tile.n * self.tile.k * self.tile.b.size // LINE)

    def _spare(self) -> bool:
        """Whether multiplying leaves time for more loads: where loads bind, reading B is what this waits for already."""
        tile, products = self.tile, len(self.product.products)
        loads = (self.rows + self.columns) * tile.load_cycles + self._lines() * len(self.bs) * FETCH_CYCLES
        return self.rows * self.columns * products * tile.cycles >= loads

    def _panels(self, arguments: Sequence[Any]) -> list[Any]:
        """Bytes from the first panel of B's layout to each that the block spans; arguments: b_panel, last_panel."""
        if self.access.panels == 1:
            return [I64(0)]
        b_panel, last = arguments
        return [self.c.b.mul(self.c.minimum(I64(k), last), b_panel) for k in range(self.access.panels)]

    def _along_b(self, step: Any) -> Any:
        """Bytes from B's first step to this one."""
        b, inner, tile = self.c.b, I64(self.access.inner), self.tile
        if self.access.inner == 1:
            return b.mul(step, self.b_step)
        size = I64(tile.k * tile.n * tile.b.size)
        return b.add(b.mul(b.udiv(step, inner), self.b_step), b.mul(b.urem(step, inner), size))

    def _load_b(self, part: int, along: Any, n: int, slot: int) -> Any:
        b = self.c.b
        where = self.c.at(self.bs[part], along)
        panel, column = divmod(n, self.columns // self.access.panels)
        where = self.c.at(where, self.panel_offsets[panel]) if panel else where
        return self.tile.load_b(b, self.c.at(where, b.mul(self.b_tile, I64(column))) if column else where, slot)

    def _store(self, slots: list[Any] | None) -> None:
        """Accumulators to `out`."""
        for value, where in zip(self._values(slots), self._places()):
            self.tile.store(self.c.b, value, where, self.out_stride)

    def _places(self) -> list[Any]:
        """Where each accumulator's first row lies in `out`."""
        b, step = self.c.b, self.tile.n * self.product.accumulate.size
        rows = [self.c.at(self.out, b.mul(self.out_stride, I64(m * self.tile.m))) for m in range(self.rows)]
        return [self.c.at(row, I64(n * step)) for row in rows for n in range(self.columns)]
