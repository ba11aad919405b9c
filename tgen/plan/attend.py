"""The kernel of a tiled attention: strides of its operands, flat bodies."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dtypes import DType
from ..ir.expr import index
from ..ir.ops.attend import TiledAttend, Tiling, weight_parts
from ..ir.types import TensorType
from ..kernels.flat import flat_offset, flatten_loads
from ..kernels.specs import AttendKernel, Product
from .contract import spread
from .types import Place
from .visible import visible


def attend_kernel(
    op: TiledAttend, types: Sequence[TensorType], places: Sequence[Place], results: Sequence[Place], dtypes: Sequence[DType]
) -> AttendKernel:
    """types, places: of the operands; results, dtypes: of the outputs. Expressions come out over axes (batch..., m, n or e)."""
    attend, count = op.attend, op.attend.parts
    strides = {k: p.strides for k, p in enumerate(places)}
    axes = [index(k) for k in range(len(op.lead) + 1)]
    batch = op.lead[:-1]
    scores = flatten_loads(attend.scores, strides)
    k_strides, v_strides = (
        (*spread((*types[first].shape[:-6], 1, 1), (*places[first].strides[:-6], 0, 0), batch)[:-2], *places[first].strides[-6:-3])
        for first in (count, 2 * count)
    )
    return AttendKernel(
        batch, op.lead[-1], op.columns, op.depth, op.width, op.rows, op.block,
        _product(op, op.qk), _product(op, op.pv), op.qk.depth_block,
        spread(types[0].shape, places[0].strides, batch), k_strides, v_strides,
        scores, weight_parts(count, op.operand, attend.accumulate), attend.undefined,
        tuple(flatten_loads(e, strides) for e in attend.epilogues), tuple(flat_offset(axes, p.strides) for p in results),
        tuple(t.dtype for t in types), tuple(dtypes), (op.qk.packing.panel, op.pv.packing.panel),
        None if attend.limit is None else flatten_loads(attend.limit, strides),
        visible(scores, len(op.lead)),
    )  # fmt: skip


def _product(op: TiledAttend, tiling: Tiling) -> Product:
    parts = op.attend.parts
    return Product(tiling.tile, tiling.block, op.attend.products, parts, parts, op.operand, op.attend.accumulate)
