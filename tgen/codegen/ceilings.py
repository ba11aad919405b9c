"""Programs that do one thing as fast as the machine can: multiply-add with operands in L1, or read. `tgen.bench.calibrate` times them.

Both are bodies for `tgen_parallel`; after the runtime's bytes their frame holds the words of `WORDS`, and each thread has an area of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..frame import RUNTIME_BYTES
from ..kernels.specs import ROW_SLACK, Product
from ..targets.target import Target
from ..targets.tile import MacTile
from .context import I64, PTR, FunctionContext
from .micro_kernel import Access, micro_kernel

WORDS = ("memory", "area", "rounds")  # address, bytes a thread, repetitions
CHAINS = 8  # vectors read before an address is advanced; as many sums
STEP = 64  # bytes from one row or k step to the next: other data in every step, all of it in L1


@dataclass(frozen=True)
class Peak:
    """ir: exports `peak`. flops: of one round of a thread; area: bytes of random operands and of results it works on."""

    ir: str
    flops: float
    area: int


def emit_peak(target: Target, tile: MacTile) -> Peak:
    """Rounds of the micro-kernel that contractions use, with the block that reuses operands most, over half of L1."""
    block = max(tile.blocks(), key=lambda b: b[0] * b[1] / (b[0] + b[1]))
    a_step, b_tile = tile.k * tile.a.size, tile.n * tile.k * tile.b.size
    b_step = min(STEP, b_tile)
    steps = target.caches.l1 // 2 // (a_step + b_step) & -8
    b_start = steps * a_step + STEP * (block[0] * tile.m + 1)
    b_start += -b_start % 64
    out_start = b_start + steps * b_step + b_tile * (block[1] + 1)
    out_start += -out_start % 64
    stride = block[1] * tile.n * tile.accumulate.size
    module = ll.Module("peak")
    module.triple = target.triple
    c, mine, rounds = _body(module, "peak", target)
    product = Product(tile.name, block, ((0, 0),), 1, 1, tile.a, tile.accumulate)
    micro = micro_kernel(module, tile, block[0], product, Access(unit_k=True), target.feature_string)
    strides = (STEP, a_step, b_step, b_tile, block[0] * tile.m - 1, steps, 0)
    tile.enter(c.b)
    with c.loop(I64(0), rounds):
        c.b.call(micro, [mine, c.at(mine, I64(b_start)), *map(I64, strides), c.at(mine, I64(out_start)), I64(stride)])
    tile.leave(c.b)
    c.finish()
    flops = 2.0 * steps * block[0] * block[1] * tile.m * tile.n * tile.k
    return Peak(str(module), flops, out_start + (block[0] * tile.m + ROW_SLACK) * stride)


def emit_read(target: Target) -> str:
    """Exports `read`: each thread adds up its area, `rounds` times. The area is a multiple of read_unit(target)."""
    vector = ll.VectorType(ll.FloatType(), target.lanes)
    module = ll.Module("read")
    module.triple = target.triple
    c, mine, rounds = _body(module, "read", target)
    area = c.entry.load(_word(c, 1), typ=I64)
    sums = [c.slot(vector, ll.Constant(vector, None)) for _ in range(CHAINS)]
    with c.loop(I64(0), rounds), c.loop(I64(0), area, read_unit(target)) as at:
        for k, total in enumerate(sums):
            loaded = c.b.load(c.at(mine, c.b.add(at, I64(k * target.lanes * 4))), typ=vector)
            loaded.align = 4
            c.b.store(c.b.fadd(c.b.load(total, typ=vector), loaded), total)
    total = c.b.load(sums[0], typ=vector)
    for other in sums[1:]:
        total = c.b.fadd(total, c.b.load(other, typ=vector))
    c.b.store(total, mine, align=4)  # so that nothing can be left out
    c.finish()
    return str(module)


def read_unit(target: Target) -> int:
    """Bytes that one turn of the innermost loop of `read` takes."""
    return CHAINS * target.lanes * 4


def _body(module: ll.Module, name: str, target: Target) -> tuple[FunctionContext, Any, Any]:
    """void name(thread, threads, frame), this thread's area, the number of rounds."""
    c = FunctionContext(module, name, [I64, I64, PTR], (), target.feature_string, internal=False)
    base = c.entry.load(_word(c, 0), typ=PTR)
    offset = c.entry.mul(c.function.args[0], c.entry.load(_word(c, 1), typ=I64))
    return c, c.entry.gep(base, [offset], source_etype=ll.IntType(8)), c.entry.load(_word(c, 2), typ=I64)


def _word(c: FunctionContext, number: int) -> Any:
    return c.entry.gep(c.function.args[2], [I64(RUNTIME_BYTES // 8 + number)], source_etype=I64)
