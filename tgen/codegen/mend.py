"""Sums of products of parts that came out infinite or NaN, done again in plain float32.

    Σ_(i, j) a_i·b_j is NaN where Σ_i a_i · Σ_j b_j is infinite: an infinity meets the parts of the other side that are zero, and what is
    near the end of the range overflows in one product and comes back in the next
The parts of an operand add up to it, so nothing but they is needed. Accumulators are looked at a vector at a time; the rest is rare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll

from ..kernels.specs import Product
from ..targets.tile import MacTile
from .context import I64, PTR, FunctionContext
from .lanes import horizontal
from .values import constant, from_memory, memory_type, register_type, widen


def mend(
    c: FunctionContext,
    tile: MacTile,
    product: Product,
    lanes: int,
    rows: Any,
    columns: Any,
    depth: Any,
    operands: Sequence[Any],
    earlier: Any = None,
    segments: Sequence[tuple[Any, Any]] = (),
) -> None:
    """Where a micro-kernel's sums over k are not finite, they are what plain arithmetic gives; others stay as they are.

    rows, columns: of the block that count; columns rounded up to `lanes` must exist. operands: pointers to each part of A (at the
    block's first row) and of B (at its panel), row_stride, k_stride, b_step, b_tile, out, out_stride as of `micro_kernel`. earlier: what
    sums began with, laid out as `out`; None: 0. segments: (how many, bytes of A between them), outermost first, where k runs `depth` far
    along A from several places.
    """
    if len(product.products) == 1:
        return
    *_, out, out_stride = operands
    dtype = product.accumulate
    total = c.slot(widen(register_type(dtype), lanes))
    c.b.store(constant(dtype, 0.0, lanes), total)
    with c.loop(I64(0), rows) as i:
        row = c.at(out, c.b.mul(i, out_stride))
        with c.loop(I64(0), columns, lanes) as j:
            here = c.b.gep(row, [j], source_etype=memory_type(dtype))
            x = c.b.load(here, typ=widen(memory_type(dtype), lanes))
            x.align = dtype.size
            nothing = c.b.fmul(x, constant(dtype, 0.0, lanes))  # NaN where x is not finite
            c.b.store(c.b.fadd(nothing, c.b.load(total, typ=x.type)), total)
    found = horizontal(c.b, c.b.load(total, typ=widen(register_type(dtype), lanes)), c.b.fadd)
    with c.when(c.b.fcmp_unordered("uno", found, found)):
        earlier = ll.Constant(PTR, None) if earlier is None else earlier
        again = _again(c.module, tile, product, len(segments), c.features)
        c.b.call(again, [*operands, rows, columns, depth, earlier, *(x for segment in segments for x in segment)])


def _again(module: ll.Module, tile: MacTile, product: Product, segments: int, features: str) -> ll.Function:
    """The function that goes through a block and does again what is not finite; `earlier` is null for sums that began with 0.

    Made once a module, for each number of axes of segments.
    """
    name = f"again.{tile.name}.{product.a_parts}.{product.b_parts}" + (f".segments{segments}" if segments else "")
    found = module.globals.get(name)
    return found if found is not None else _AgainEmitter(module, name, tile, product, segments, features).emit()


class _AgainEmitter:
    def __init__(self, module: ll.Module, name: str, tile: MacTile, product: Product, segments: int, features: str) -> None:
        self.tile, self.product = tile, product
        parts = product.a_parts + product.b_parts
        self.c = FunctionContext(
            module, name, [PTR] * parts + [I64] * 4 + [PTR] + [I64] * 4 + [PTR] + [I64] * (2 * segments), (), features
        )
        self.c.function.attributes.add("noinline")
        arguments = self.c.function.args
        self.a, self.bs = arguments[: product.a_parts], arguments[product.a_parts : parts]
        self.row_stride, self.k_stride, self.b_step, self.b_tile, self.out, self.out_stride = arguments[parts : parts + 6]
        self.rows, self.columns, self.depth, self.earlier, *rest = arguments[parts + 6 :]
        self.segments = list(zip(rest[::2], rest[1::2]))

    def emit(self) -> ll.Function:
        c, dtype = self.c, self.product.accumulate
        with c.loop(I64(0), self.rows) as i, c.loop(I64(0), self.columns) as j:
            row = c.at(self.out, c.b.mul(i, self.out_stride))
            here = c.b.gep(row, [j], source_etype=memory_type(dtype))
            x = c.b.load(here, typ=memory_type(dtype))
            off = c.b.fsub(x, x)
            with c.when(c.b.fcmp_unordered("uno", off, off)):
                c.b.store(self._sum(i, j), here)
        return c.finish()

    def _sum(self, i: Any, j: Any) -> Any:
        c, dtype = self.c, self.product.accumulate
        acc = c.slot(register_type(dtype))
        c.b.store(constant(dtype, 0.0), acc)
        with c.when(c.b.icmp_unsigned("!=", self.earlier, ll.Constant(PTR, None))):
            before = c.b.gep(c.at(self.earlier, c.b.mul(i, self.out_stride)), [j], source_etype=memory_type(dtype))
            c.b.store(c.b.load(before, typ=register_type(dtype)), acc)
        with contextlib.ExitStack() as loops:
            along_a, before = c.b.mul(i, self.row_stride), I64(0)
            for count, stride in self.segments:
                at = loops.enter_context(c.loop(I64(0), count))
                along_a, before = c.b.add(along_a, c.b.mul(at, stride)), c.b.add(c.b.mul(before, count), at)
            k = loops.enter_context(c.loop(I64(0), self.depth))
            left = self._whole(self.a, c.b.add(along_a, c.b.mul(k, self.k_stride)))
            right = self._whole(self.bs, self._place(c.b.add(c.b.mul(before, self.depth), k), j))
            c.b.store(c.b.fma(left, right, c.b.load(acc, typ=register_type(dtype))), acc)
        return c.b.load(acc, typ=register_type(dtype))

    def _place(self, k: Any, j: Any) -> Any:
        """Bytes from the panel's start to B[k, j]; see `Packing`."""
        b, tile = self.c.b, self.tile
        step, inner = b.udiv(k, I64(tile.k)), b.urem(k, I64(tile.k))
        column, lane = b.udiv(j, I64(tile.n)), b.urem(j, I64(tile.n))
        pack = I64(tile.k_pack)
        word = b.add(b.mul(b.udiv(inner, pack), I64(tile.n)), lane)
        inside = b.mul(b.add(b.mul(word, pack), b.urem(inner, pack)), I64(self.product.operand.size))
        return b.add(b.add(b.mul(step, self.b_step), b.mul(column, self.b_tile)), inside)

    def _whole(self, parts: Sequence[Any], offset: Any) -> Any:
        """The float32 that the parts add up to, exactly."""
        c, operand = self.c, self.product.operand
        total = None
        for pointer in parts:
            part = from_memory(c.b, c.b.load(c.at(pointer, offset), typ=memory_type(operand)), operand, 1)
            total = part if total is None else c.b.fadd(total, part)
        return total
