"""Convolutions as products of weights and windows, poolings as reductions of windows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from ....ir.dims import DimLike, ceildiv, dim_max, dim_min, floordiv, product
from ....ir.dtypes import I64
from ....ir.errors import InvalidModel, TypeMismatch, Unequal, Unsupported
from ....ir.graph import Value
from ....ir.ops.movement import channels_first, channels_last
from ..call import Call
from ..registry import onnx_op

WINDOW_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


@dataclass(frozen=True)
class Geometry:
    """Where windows are, by axis of space: see the op `windows`; after: the padding behind the last element; behind: what windows reach of it
    and beyond.
    """

    kernel: tuple[int, ...]
    sizes: tuple[DimLike, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[DimLike, ...]
    after: tuple[DimLike, ...]
    behind: tuple[DimLike, ...]

    def windows(self, call: Call, x: Value, fill: Value, pads: tuple[DimLike, ...] | None = None) -> Value:
        """[n, c, k…, o…] of x [n, c, space…]"""
        where = {"kernel": self.kernel, "sizes": self.sizes, "strides": self.strides, "dilations": self.dilations}
        out: Value = call.build.windows(x, fill, pads=self.pads if pads is None else pads, **where)
        return out

    def last(self, call: Call, x: Value, fill: Value, reduced: bool = False) -> Value:
        """The windows as [n, o…, k…, c]: a view of x [n, c, space…] with its padding, channels last.

        reduced: elements of a window are combined one by one, where fill changes nothing. What lies outside along outer axes of space is
        no part of the picture then: a loop over windows leaves it out.
        """
        b, rank = call.build, x.type.rank
        space = rank - 2
        outer = space - 1 if reduced else 0
        zeros = (0,) * outer
        whole = b.transpose(x, perm=channels_last(rank))
        if any(p != 0 for p in (*self.pads[outer:], *self.behind[outer:])):
            whole = b.pad(whole, fill, before=(0, *zeros, *self.pads[outer:], 0), after=(0, *zeros, *self.behind[outer:], 0))
        first = b.transpose(whole, perm=channels_first(rank))
        where = {"kernel": self.kernel, "sizes": self.sizes, "strides": self.strides, "dilations": self.dilations}
        if all(p == 0 for p in (*self.pads[:outer], *self.behind[:outer])):
            outer = 0
        pads = (*self.pads[:outer], *(0,) * (space - outer))
        found = b.windows(first, fill, pads=pads, inside=True, outer=outer, **where)
        out: Value = b.transpose(found, perm=(0, *range(2 + space, 2 + 2 * space), *range(2, 2 + space), 1))
        return out


def _geometry(call: Call, x: Value, kernel: tuple[int, ...]) -> Geometry:
    """Raises InvalidModel for attributes that do not fit x."""
    space = x.type.shape[2:]
    ones = (1,) * len(space)
    strides, dilations = tuple(call.attr("strides") or ones), tuple(call.attr("dilations") or ones)
    given = tuple(call.attr("pads") or (0,) * (2 * len(space)))
    if {len(kernel), len(strides), len(dilations), len(given) // 2} != {len(space)} or min((*kernel, *strides, *dilations)) < 1:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} of {x.type}: kernel {kernel}, pads {given}")
    mode, rounds_up = call.attr("auto_pad", "NOTSET"), bool(call.attr("ceil_mode", 0))
    sizes: list[DimLike] = []
    pads: list[tuple[DimLike, DimLike]] = []
    behind: list[DimLike] = []
    for axis, extent in enumerate(space):
        reach, stride = (kernel[axis] - 1) * dilations[axis] + 1, strides[axis]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            sizes.append(ceildiv(extent, stride))
            total = dim_max((sizes[-1] - 1) * stride + reach - extent, 0)
            less, more = floordiv(total, 2), ceildiv(total, 2)
            pads.append((less, more) if mode == "SAME_UPPER" else (more, less))
            behind.append(pads[-1][1])
            continue
        before, after = (0, 0) if mode == "VALID" else (given[axis], given[axis + len(space)])
        free = extent + before + after - reach
        count = floordiv(free, stride) + 1
        if rounds_up:  # but no window may begin behind the last element
            count = dim_min(ceildiv(free, stride) + 1, ceildiv(extent + before, stride))
        sizes.append(dim_max(count, 0))
        pads.append((before, after))
        behind.append(dim_max((count - 1) * stride + reach - extent - before, after) if rounds_up else after)
    first, last = (tuple(p[side] for p in pads) for side in (0, 1))
    return Geometry(kernel, tuple(sizes), strides, dilations, first, last, tuple(behind))


def _checked(call: Call, x: Value, weights: Value) -> tuple[int, int, int, tuple[int, ...]]:
    """(groups, channels of the result, channels of a group of x, kernel) of x [n, c, space…] and weights [m, c / group, kernel…]"""
    group = call.attr("group", 1)
    if x.type.rank < 3 or not all(isinstance(d, int) for d in weights.type.shape):
        raise Unsupported(f"{call.op_type} of {x.type} by {weights.type}: axes of space and known sizes of weights are wanted")
    outer, inner, *kernel = (int(d) for d in weights.type.shape)  # type: ignore[arg-type]
    text = f"{x.type} by {weights.type}: {group} groups"
    if outer % group:
        raise TypeMismatch(text)
    if x.type.shape[1] != inner * group:
        raise Unequal(text, x.type.shape[1], inner * group)
    return group, outer, inner, tuple(kernel)


@onnx_op("Conv")
def conv(call: Call, x: Value, weights: Value, bias: Value | None = None) -> Value:
    return convolved(call, x, weights, bias)


def convolved(call: Call, x: Value, weights: Value, bias: Value | None = None) -> Value:
    """Channels last, and handed on as a transpose of that (see the pass `layout`)."""
    b, rank = call.build, x.type.rank
    group, outer, inner, kernel = _checked(call, x, weights)
    where = _geometry(call, x, kernel)
    by_channel = inner == 1 and outer == group > 1
    windows = where.last(call, x, b.constant(0, x.type.dtype), reduced=by_channel)
    space = rank - 2
    if by_channel:
        factors = b.reshape(b.transpose(weights, perm=(*range(2, rank), 1, 0)), shape=(*kernel, group))
        last = b.reduce_sum(b.mul(windows, factors), axes=tuple(range(1 + space, 1 + 2 * space)), keepdims=False)
        last = last if bias is None else b.add(last, bias)
    else:
        last = product_of_windows(call, windows, weights, bias, group)
    out: Value = b.transpose(last, perm=channels_first(rank))
    return out


def product_of_windows(call: Call, windows: Value, weights: Value, bias: Value | None, group: int) -> Value:
    """[n, o…, m] of windows [n, o…, k…, c], weights [m, c / group, k…] and bias [m]"""
    b, (outer, inner, *kernel) = call.build, (int(d) for d in weights.type.shape)  # type: ignore[arg-type]
    space = len(kernel)
    n_and_sizes = windows.type.shape[: 1 + space]
    if group == 1:
        factors = b.reshape(b.transpose(weights, perm=(*range(2, 2 + space), 1, 0)), shape=(prod(kernel) * inner, outer))
        out: Value = b.window_product(windows, factors, row_axes=1 + space, depth_axes=1 + space)
        return out if bias is None else b.add(out, bias)
    split = b.reshape(weights, shape=(group, outer // group, inner, *kernel))
    factors = b.reshape(
        b.transpose(split, perm=(0, *range(3, 3 + space), 2, 1)), shape=(group, prod(kernel) * inner, outer // group)
    )
    grouped = b.reshape(windows, shape=(*windows.type.shape[:-1], group, inner))
    grouped = b.transpose(grouped, perm=(1 + 2 * space, *range(1 + 2 * space), 2 + 2 * space))
    out = b.window_product(grouped, factors, row_axes=1 + space, depth_axes=1 + space)
    if bias is not None:
        out = b.add(out, b.reshape(bias, shape=(group, *[1] * (1 + space), outer // group)))
    return b.reshape(b.transpose(out, perm=(*range(1, 2 + space), 0, 2 + space)), shape=(*n_and_sizes, outer))


def _pooled(call: Call, how: str, windows: Value) -> Value:
    """[n, c, o…] of windows [n, o…, k…, c] (see `Geometry.last`): computed channels last"""
    space = windows.type.rank // 2 - 1
    last = getattr(call.build, how)(windows, axes=tuple(range(1 + space, 1 + 2 * space)), keepdims=False)
    out: Value = call.build.transpose(last, perm=channels_first(space + 2))
    return out


@onnx_op("MaxPool")
def max_pool(call: Call, x: Value) -> Value | tuple[Value, Value]:
    """The second result: where the maximum is, counting elements of the whole x by rows (storage_order 1: columns of a channel first)."""
    b, kernel, dtype = call.build, tuple(call.required("kernel_shape")), x.type.dtype
    where = _geometry(call, x, kernel)
    least = -np.inf if dtype.is_float else np.iinfo(dtype.numpy).min
    if len(call.node.output) < 2:
        return _pooled(call, "reduce_max", where.last(call, x, b.constant(least, dtype), reduced=True))
    found = where.windows(call, x, b.constant(least, dtype))
    greatest: Value = b.reduce_max(found, axes=tuple(range(2, x.type.rank)), keepdims=False)
    n, c = x.type.shape[:2]
    order = [*range(2), *reversed(range(2, x.type.rank))] if call.attr("storage_order", 0) else list(range(x.type.rank))
    counted = b.range(b.constant(0, I64), b.constant(1, I64), size=product(x.type.shape))
    numbers = b.transpose(b.reshape(counted, shape=tuple(x.type.shape[k] for k in order)), perm=tuple(order))
    flat = (n, c, product(kernel), *where.sizes)
    places = b.reshape(where.windows(call, numbers, b.constant(-1, I64)), shape=flat)
    best = b.arg_max(b.reshape(found, shape=flat), axis=2, keepdims=True)
    return greatest, b.squeeze(b.gather_elements(places, best, axis=2), axes=(2,))


@onnx_op("AveragePool")
def average_pool(call: Call, x: Value) -> Value:
    """A window is divided by the number of its places in x; or in x with its padding, if count_include_pad."""
    b, dtype = call.build, x.type.dtype
    where, zero = _geometry(call, x, tuple(call.required("kernel_shape"))), b.constant(0, dtype)
    axes, space, pads = tuple(range(2, x.type.rank)), x.type.shape[2:], where.pads
    if call.attr("count_include_pad", 0):
        space, pads = tuple(p + d + q for p, d, q in zip(where.pads, space, where.after)), (0,) * len(space)
    ones = b.full(b.constant(1, dtype), shape=(1, 1, *space))
    count = b.reduce_sum(where.windows(call, ones, zero, pads), axes=axes, keepdims=False)
    out: Value = b.div(_pooled(call, "reduce_sum", where.last(call, x, zero, reduced=True)), count)
    return out


@onnx_op("LpPool", since=2)
def lp_pool(call: Call, x: Value) -> Value:
    """(Σ |x|^p)^(1/p)"""
    b, p = call.build, call.attr("p")
    where = _geometry(call, x, tuple(call.required("kernel_shape")))
    powers = b.pow(b.abs(where.last(call, x, b.constant(0, x.type.dtype))), b.constant(float(p), x.type.dtype))
    total = _pooled(call, "reduce_sum", powers)
    out: Value = b.pow(total, b.constant(1.0 / p, x.type.dtype))
    return out


@onnx_op("GlobalLpPool", since=2)
def global_lp_pool(call: Call, x: Value) -> Value:
    """(Σ |x|^p)^(1/p) over all of space"""
    b, p, dtype = call.build, call.attr("p"), x.type.dtype
    total = b.reduce_sum(b.pow(b.abs(x), b.constant(float(p), dtype)), axes=tuple(range(2, x.type.rank)))
    out: Value = b.pow(total, b.constant(1.0 / p, dtype))
    return out
