"""The kernel of a tiled contraction: strides, and the merging of batch axes into m where memory allows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ..ir.dims import DimLike, dim_max, evaluate_dim, nonnegative, product, symbols
from ..ir.dtypes import DType
from ..ir.expr import Expr, index
from ..ir.ops.fused import FewRows, Packing, TiledContraction
from ..ir.types import TensorType, contiguous_strides
from ..kernels.flat import direct_axes, flat_offset, flatten_loads, merge, merge_offset, mergeable
from ..kernels.specs import ContractKernel, ReadWindows
from .types import Place

CACHE_LINE, CACHE_SETS, CACHE_WAYS = 64, 64, 8  # of L1 as every CPU of the last decade has it: 4 KiB a way
USUAL = 128  # what a symbol is taken to be
MOST_READ = 1.4  # times as many rows as matter are multiplied rather than written out one by one: of 14 in a line 2 more, of 7 two

Axis = tuple[DimLike, DimLike]  # extent, stride


def contract_kernel(
    op: TiledContraction,
    types: Sequence[TensorType],
    places: Sequence[Place],
    results: Sequence[Place],
    dtypes: Sequence[DType],
    weights: bool,
) -> ContractKernel:
    """types, places: of the operands; results, dtypes: of the outputs; weights: whether B is known when compiling. Expressions come out over axes (batch..., m, n)."""
    strides = {k: p.strides for k, p in enumerate(places)}
    axes = [index(k) for k in range(len(op.lead) + 1)]
    epilogues = [flatten_loads(e, strides) for e in op.epilogues]
    stores = [flat_offset(axes, p.strides) for p in results]
    a, b = types[0], types[op.a_parts]
    b_place = places[op.a_parts].strides
    batch, rows = op.lead[:-1], op.lead[-1]
    outer = batch[: len(batch) + 1 - op.row_axes]
    b_batch = spread((*b.shape[:-6], 1, 1), (*b_place[:-6], 0, 0), outer)[:-2]
    b_strides = (*b_batch, *[0] * (op.row_axes - 1), *b_place[-6:-3])
    depths = _merged_axes(list(zip(a.shape, places[0].strides))[-op.depth_axes :])
    a_shape, a_strides = ((*x[: a.rank - op.depth_axes], last) for x, last in zip((a.shape, places[0].strides), depths[-1]))
    kernel = ContractKernel(
        batch, rows, op.columns, op.depth, op.tile, op.block, op.depth_block, op.packing.panel, op.products, op.a_parts, op.b_parts,
        spread(a_shape, a_strides, batch), b_strides, tuple(epilogues), tuple(stores), tuple(t.dtype for t in types), tuple(dtypes), op.accumulate,
        weights and places[op.a_parts].contiguous(b.shape),
    )  # fmt: skip
    return (_in_lines if op.whole_rows else _in_windows)(_batch_merged(kernel), len(outer), depths)


def _merged_axes(axes: Sequence[Axis]) -> list[Axis]:
    """(extent, stride) of axes, neighbours that memory does not tell apart as one; at least one axis."""
    merged: list[Axis] = []
    for extent, stride in axes:
        if merged and merged[-1][0] == 1:
            merged.pop()
        if merged and extent == 1:
            continue
        if merged and merged[-1][1] == stride * extent:
            extent = merged.pop()[0] * extent
        merged.append((extent, stride))
    return merged


def _in_windows(kernel: ContractKernel, batch: int, depths: Sequence[Axis]) -> ContractKernel:
    """Axes of rows that are among those of the batch, behind the first `batch`, become what rows consist of."""
    rows = (*zip(kernel.batch[batch:], kernel.a_strides[batch:]), (kernel.rows, kernel.a_strides[-2]))
    if len(rows) == len(depths) == 1:
        return kernel
    extents = tuple(extent for extent, _ in rows)
    *outer, (_, stride) = apart = _merged_axes(rows)
    windows = ReadWindows(tuple(apart) if outer else (), tuple(depths))
    kernel = dataclasses.replace(
        kernel, batch=kernel.batch[:batch], rows=product(extents), row_axes=extents,
        a_strides=(*kernel.a_strides[:batch], stride, kernel.a_strides[-1]), b_strides=(*kernel.b_strides[:batch], *kernel.b_strides[-3:]),
        windows=windows if windows.rows or len(depths) > 1 else None,
    )  # fmt: skip
    return _rows_merged(kernel)


def _in_lines(kernel: ContractKernel, batch: int, depths: Sequence[Axis]) -> ContractKernel:
    """The same for tiles, whose rows are one stride apart: lines of them are read from one to the next, with what lies between."""
    rows = (*zip(kernel.batch[batch:], kernel.a_strides[batch:]), (kernel.rows, kernel.a_strides[-2]))
    windows = ReadWindows((), tuple(depths)) if len(depths) > 1 else None
    apart = rows_apart(rows[-2:])
    if len(rows) == 1 or apart is None:
        return dataclasses.replace(kernel, windows=windows)
    (lines, _), (width, _) = rows[-2:]
    alone = len(kernel.batch) - 1  # axes that stay with the batch
    kernel = dataclasses.replace(
        kernel, batch=kernel.batch[:alone], rows=dim_max(0, (lines - 1) * apart + width), row_axes=(lines, apart), windows=windows,
        wanted=None if apart == width else width,
        a_strides=(*kernel.a_strides[:alone], row_stride(rows), kernel.a_strides[-1]),
        b_strides=(*kernel.b_strides[:alone], *kernel.b_strides[-3:]),
    )  # fmt: skip
    return _rows_merged(kernel)


def rows_apart(rows: Sequence[Axis]) -> DimLike | None:
    """How many rows lie from the first of one line to the first of the next, given the (extent, stride) of both axes; None where that is
    no number, or so great that reading them all takes longer than writing out those that matter.
    """
    *_, (width, step) = rows
    if len(rows) < 2 or rows[-2][0] == 1 or width == 1:
        return width
    line = rows[-2][1]
    apart = line // step if nonnegative(step - 1) else 0
    if apart * step != line or not nonnegative(apart - width):
        return None
    read, wanted = (evaluate_dim(d, dict.fromkeys(symbols(d), USUAL)) for d in (apart, width))
    return apart if read <= MOST_READ * wanted else None


def row_stride(rows: Sequence[Axis]) -> DimLike:
    """Of the innermost axis that has more than one row."""
    return next((stride for extent, stride in reversed(rows) if extent != 1), rows[-1][1])


def _rows_merged(kernel: ContractKernel) -> ContractKernel:
    """Neighbours among the axes that expressions have for rows are one where every access steps through both as one."""
    first = len(kernel.batch)
    for axis in reversed(range(first, first + len(kernel.row_axes) - 1)):
        outer, inner = kernel.row_axes[axis - first : axis - first + 2]
        if not mergeable(axis, axis + 1, inner, kernel.epilogues, kernel.stores):
            continue
        epilogues, stores = _without_axis(kernel, axis, first + len(kernel.row_axes))
        before, behind = kernel.row_axes[: axis - first], kernel.row_axes[axis - first + 2 :]
        kernel = dataclasses.replace(kernel, row_axes=(*before, outer * inner, *behind), epilogues=epilogues, stores=stores)
    return kernel


def _without_axis(kernel: ContractKernel, gone: int, last: int) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """(epilogues, stores) where the axis behind `gone`, of axes up to `last`, stands for both."""
    rename = {k: k - 1 for k in range(gone + 1, last + 1)}
    epilogues = tuple(merge(e, gone, rename) for e in kernel.epilogues)
    return epilogues, tuple(merge_offset(s, gone, rename) for s in kernel.stores)


def with_few_rows(op: TiledContraction, kernel: ContractKernel) -> tuple[ContractKernel, list[tuple[DimLike, int, ContractKernel]]]:
    """The kernel for most numbers of rows, and cases of fewer: (rows, most of them, kernel), ascending; none where the number is known."""
    rows, cases = kernel.rows, [(kernel.rows, few.most, _of_few_rows(few, op.packing.panel, kernel)) for few in op.few]
    if isinstance(rows, int):
        return next((other for _, most, other in cases if rows <= most), kernel), []
    return kernel, cases


def _of_few_rows(few: FewRows, panel: int, kernel: ContractKernel) -> ContractKernel:
    """panel: columns of a panel of B's layout."""
    return dataclasses.replace(
        kernel, tile=few.tile, block=few.block, depth_block=few.depth_block, panel=few.panels * panel,
        ahead=kernel.ahead and few.inner == few.panels == 1, inner=few.inner, panels=few.panels,
    )  # fmt: skip


def tiles_whole(b: Place, shape: Sequence[DimLike]) -> bool:
    """Whether each tile of B lies in one piece, as instructions load it; panels, k steps and tiles may lie anywhere."""
    wanted = contiguous_strides(tuple(shape[-3:]))
    return all(d == 1 or s == w for d, s, w in zip(shape[-3:], b.strides[-3:], wanted))


def stays_in_cache(packing: Packing, depth: DimLike, b: Place, element: int) -> bool:
    """Whether `depth` rows of a panel of B, read where it lies, fit L1 together: rows that are nearly a multiple of 4 KiB apart share
    a few cache sets and drive each other out. A stride that is not known counts as bad.
    """
    stride = b.strides[-5]
    if not isinstance(stride, int):
        return False
    lines = -(-stride * element // CACHE_LINE)
    places = CACHE_SETS // math.gcd(lines, CACHE_SETS) * CACHE_WAYS
    rows = depth if isinstance(depth, int) else USUAL
    return rows // packing.k * -(-packing.panel * element // CACHE_LINE) <= places


def least(depth: DimLike, block: int) -> DimLike:
    """How much of a depth is done at a time; a symbolic one stays what it is."""
    return min(depth, block) if isinstance(depth, int) else depth


def spread(shape: Sequence[DimLike], strides: Sequence[DimLike], batch: Sequence[DimLike]) -> tuple[DimLike, ...]:
    """Strides for (batch..., two more axes): 0 where the operand is broadcast over a batch axis."""
    lead = [0 if d == 1 else s for d, s in zip(shape[:-2], strides[:-2])]
    return (*([0] * (len(batch) - len(lead))), *lead, *strides[-2:])


def _batch_merged(kernel: ContractKernel) -> ContractKernel:
    """The last batch axis joins m when A, B and every access of the epilogue step through both as one; a single row, whatever its
    stride is, leaves m to it.
    """
    while kernel.batch:
        last = len(kernel.batch) - 1
        gone = last + 1 if kernel.rows == 1 and kernel.batch[last] != 1 else last
        if not _one_axis(kernel, last, gone):
            break
        a, b = kernel.a_strides, kernel.b_strides
        epilogues, stores = _without_axis(kernel, gone, last + 2)
        kernel = dataclasses.replace(
            kernel,
            batch=kernel.batch[:last],
            rows=kernel.batch[last] * kernel.rows,
            a_strides=(*a[:gone], *a[gone + 1 :]),
            b_strides=(*b[:last], *b[last + 1 :]),
            epilogues=epilogues,
            stores=stores,
        )
    return kernel


def _one_axis(kernel: ContractKernel, last: int, gone: int) -> bool:
    """Whether batch axis `last` and m can be one axis, without the number `gone` of theirs."""
    if kernel.batch[last] == 1:
        return True
    if kernel.b_strides[last] != 0:
        return False
    if kernel.rows == 1:
        return not any(gone in direct_axes(e) for e in kernel.epilogues)
    a = kernel.a_strides
    return a[last] == a[last + 1] * kernel.rows and mergeable(last, last + 1, kernel.rows, kernel.epilogues, kernel.stores)
