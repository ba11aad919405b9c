"""winograd: convolutions of small windows, one step apart, with fewer products where the target gains by it (see `ir.ops.winograd`).

Results have the rounding errors of float32, not the same ones. An infinity or NaN in x reaches all results of the tiles that read it,
where only those of the windows that read it would have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import DimLike, ceildiv, concrete, product
from ..ir.dtypes import F32, F64
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import WindowProduct
from ..ir.ops.movement import Transpose, channels_first
from ..ir.ops.windows import Windows
from ..ir.ops.winograd import matrices
from ..ir.rewrite import rewrite
from ..targets.target import Target
from .cost import Shape, choose, is_weight
from .precision import PRODUCTS, faster_on

MOVE_CYCLES = 2.0  # for each element that transforms write or read: of F(2×2, 3×3) in one step, on AVX2, where they do not fit L2
TILES = (4, 6)  # elements of x along each of two axes that a tile reads; of one axis alone, where errors grow less:
TILES_IN_LINE = (4, 6, 8)

PICTURE = 2048  # elements of results, where sizes are known in a run only

Pair = tuple[int, int]
Chooses = Callable[[Value, Value, Pair, tuple[DimLike, DimLike]], "Pair | None"]


def winograd(graph: Graph, *, chooses: Chooses) -> Graph:
    """evaluate is unchanged, but for rounding. chooses(x, weights, windows, sizes): see `chooses_on`."""

    def tiled(node: Node, *inputs: Value) -> Value | None:
        """Σ windows(x)·g = Aᵀ·Σ((G·g·Gᵀ) ∘ (Bᵀ·d·B))·A for the tiles d of x"""
        found = _read_by(node, inputs)
        if found is None:
            return None
        x, windows = found
        sizes = node.types[0].shape[1:3]
        steps = chooses(x, inputs[1], windows, (sizes[0], sizes[1]))
        if steps is None:
            return None
        build = Builder()
        with build.origin(node.origin):
            axes = [(axis, step, window) for axis, step, window in zip((1, 2), steps, windows) if window > 1]
            data = x
            for done, (axis, step, window) in enumerate(axes):
                count = ceildiv(sizes[axis - 1], step)
                parts = build.winograd_data(data, axis=axis + done, step=step, window=window, count=count)
                data = build.concat(*parts, axis=0)
            result: Value = build.window_product(data, _transformed(build, inputs[1], steps, windows), row_axes=3, depth_axes=1)
            for left, (axis, step, window) in reversed([*enumerate(axes)]):
                weights = build.constant(matrices(step, window).results.astype(np.float32))
                result = build.winograd_results(result, weights, axis=axis + left, size=sizes[axis - 1])
            return result

    return rewrite(graph, [tiled])


def _read_by(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, Pair] | None:
    """x [n, h, w, c] and the windows' extents if the node is the product of its windows, one step apart, and weights."""
    if not isinstance(node.op, WindowProduct) or (node.op.row_axes, node.op.depth_axes) != (3, 3):
        return None
    match inputs[0]:
        case Value(
            node=Node(op=Transpose(perm=(0, 4, 5, 2, 3, 1)), inputs=(Value(node=Node(op=Windows() as op, inputs=(first, _))),))
        ):
            if not op.is_view or {*op.strides, *op.dilations} != {1} or {*op.pads} != {0}:
                return None
            known = is_weight(inputs[1]) and first.type.dtype is F32
            height, width = op.kernel
            return (first.node.inputs[0], (height, width)) if known and first.op == Transpose(channels_first(4)) else None
    return None


def steps_of(windows: Pair) -> Iterator[Pair]:
    """How many results of a tile along each axis there may be."""
    tiles = TILES_IN_LINE if 1 in windows else TILES
    for tile in tiles if windows != (1, 1) else ():
        steps = [1 if window == 1 else tile - window + 1 for window in windows]
        if all(step > 1 or window == 1 for step, window in zip(steps, windows)):
            yield steps[0], steps[1]


def _transformed(build: Builder, weights: Value, steps: Pair, windows: Pair) -> Value:
    """[tile along w, tile along h, c, k] of weights [windows·c, k], without an axis along which windows are 1: G·g·Gᵀ, in float64."""
    depth, k = weights.type.shape
    height, width = windows
    c = depth // (height * width)
    tiles: list[int] = []
    found = build.reshape(build.cast(weights, to=F64), shape=(height, width * c * k))
    if height > 1:
        along_rows = matrices(steps[0], height).weights
        tiles = [len(along_rows)]
        found = build.matmul(build.constant(along_rows), found)
    if width > 1:
        along_columns = matrices(steps[1], width).weights
        found = build.matmul(build.constant(along_columns), build.reshape(found, shape=(*tiles, width, c * k)))
        if tiles:
            found = build.transpose(found, perm=(1, 0, 2))
        tiles = [len(along_columns), *tiles]
    out: Value = build.reshape(build.cast(found, to=F32), shape=(*tiles, c, k))
    return out


def chooses_on(target: Target, level: str) -> Chooses:
    """The steps with which products and transforms together take the fewest cycles by the target's cost model; None where the windows'
    product takes fewer, and where bfloat16 parts are multiplied at this level (see `precision`), of which tiles would have more.

    The transforms write what is multiplied and read the products.
    """
    in_parts = faster_on(target)

    def chooses(x: Value, weights: Value, windows: Pair, sizes: tuple[DimLike, DimLike]) -> Pair | None:
        depth, n = concrete(weights.type.shape)
        channels = depth // (windows[0] * windows[1])
        picture = product((x.type.shape[0], *sizes))
        whole = Shape(picture if isinstance(picture, int) else PICTURE, n, depth, weights=True)
        direct = choose(target, (F32, F32, F32), whole)
        if direct is None or in_parts(whole, PRODUCTS[level]):
            return None
        best, fewest = None, direct.cycles
        for steps in steps_of(windows):
            count = product((x.type.shape[0], *map(ceildiv, sizes, steps)))
            tiles = count if isinstance(count, int) else PICTURE // (steps[0] * steps[1])
            one = choose(target, (F32, F32, F32), Shape(tiles, n, channels, weights=True))
            products = (steps[0] + windows[0] - 1) * (steps[1] + windows[1] - 1)
            moved = tiles * (channels + n) * MOVE_CYCLES
            cycles = products * (one.cycles + moved) if one else fewest
            if cycles < fewest:
                best, fewest = steps, cycles
        return best

    return chooses
