"""winograd: convolutions of 3×3 windows, one step apart, with fewer products where the target gains by it (see `ir.ops.winograd`).

Results have the rounding errors of float32, not the same ones. An infinity or NaN in x reaches all results of the tiles that read it,
where only those of the windows that read it would have it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import DimLike, ceildiv, product
from ..ir.dtypes import F32, F64
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import WindowProduct
from ..ir.ops.movement import Transpose, channels_first
from ..ir.ops.windows import Windows
from ..ir.ops.winograd import STEP, TILE, WEIGHTS
from ..ir.rewrite import rewrite
from ..targets.target import Target
from .cost import Shape, choose, is_weight
from .precision import PRODUCTS, faster_on

MOVE_CYCLES = 2.0  # for each element that a transform writes or reads: measured on AVX2, where they do not fit L2

Gains = Callable[[Value, Value, tuple[DimLike, ...]], bool]


def winograd(graph: Graph, *, gains: Gains) -> Graph:
    """evaluate is unchanged, but for rounding. gains(x, weights, tiles): see `gains_on`."""

    def tiled(node: Node, *inputs: Value) -> Value | None:
        """Σ windows(x)·g = Aᵀ·Σ((G·g·Gᵀ) ∘ (Bᵀ·d·B))·A for the tiles d of x"""
        x = _read_by(node, inputs)
        if x is None:
            return None
        sizes = node.types[0].shape[1:3]
        tiles = tuple(ceildiv(size, STEP) for size in sizes)
        if not gains(x, inputs[1], tiles):
            return None
        build = Builder()
        with build.origin(node.origin):
            data = build.transpose(build.winograd_data(x, sizes=tiles), perm=(2, 3, 0, 1, 4, 5))
            sums = build.window_product(data, _transformed(build, inputs[1]), row_axes=3, depth_axes=1)
            results: Value = build.winograd_results(sums, sizes=sizes)
            return results

    return rewrite(graph, [tiled])


def _read_by(node: Node, inputs: tuple[Value, ...]) -> Value | None:
    """x [n, h, w, c] if the node is the product of its 3×3 windows, one step apart, and weights."""
    if not isinstance(node.op, WindowProduct) or (node.op.row_axes, node.op.depth_axes) != (3, 3):
        return None
    match inputs[0]:
        case Value(
            node=Node(op=Transpose(perm=(0, 4, 5, 2, 3, 1)), inputs=(Value(node=Node(op=Windows() as op, inputs=(first, _))),))
        ):
            if not op.is_view or op.kernel != (3, 3) or {*op.strides, *op.dilations} != {1} or {*op.pads} != {0}:
                return None
            known = is_weight(inputs[1]) and first.type.dtype is F32
            return first.node.inputs[0] if known and first.op == Transpose(channels_first(4)) else None
    return None


def _transformed(build: Builder, weights: Value) -> Value:
    """[4, 4, c, k] of weights [3·3·c, k]: G·g·Gᵀ, in float64 until the end."""
    depth, k = weights.type.shape
    c, g = depth // 9, build.constant(WEIGHTS.astype(np.float64))
    rows = build.matmul(g, build.reshape(build.cast(weights, to=F64), shape=(3, 3 * c * k)))
    columns = build.matmul(g, build.reshape(rows, shape=(TILE, 3, c * k)))
    out: Value = build.reshape(build.cast(columns, to=F32), shape=(TILE, TILE, c, k))
    return out


def gains_on(target: Target, level: str) -> Gains:
    """Whether products and transforms together take fewer cycles than the windows' product, by the target's cost model; never where
    bfloat16 parts are multiplied at this level (see `precision`), of which tiles would have four times as many.

    The transforms write what is multiplied and read the products, of which there are four for each element and result of x.
    """
    in_parts = faster_on(target)

    def gains(x: Value, weights: Value, tiles: tuple[DimLike, ...]) -> bool:
        small = Shape(product((x.type.shape[0], *tiles)), weights.type.shape[1], x.type.shape[3], weights=True)
        m, n, k = small.typical
        whole = Shape(m * STEP * STEP, n, 9 * k, weights=True)
        if in_parts(whole, PRODUCTS[level]):
            return False
        direct, tiled = (choose(target, (F32, F32, F32), shape) for shape in (whole, Shape(m, n, k, weights=True)))
        if direct is None or tiled is None:
            return False
        moved = TILE * TILE * m * (k + n) * MOVE_CYCLES
        return TILE * TILE * tiled.cycles + moved < direct.cycles

    return gains
