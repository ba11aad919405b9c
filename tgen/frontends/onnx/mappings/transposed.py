"""ConvTranspose: each element of x adds its multiple of the weights to the result, `stride` places on from the element before.

out[s·q + r] = Σ_t x[q - t]·w[s·t + r]: s results at a time, as channels of one convolution of stride 1 by the weights, cut in steps of s.
Nothing is multiplied with the zeros that a convolution of a spread-out x would meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from ....ir.dims import DimLike, ceildiv, dim_max, floordiv
from ....ir.errors import InvalidModel, TypeMismatch, Unequal, Unsupported
from ....ir.graph import Value
from ....ir.ops.movement import channels_first
from ..call import Call
from ..registry import onnx_op
from .convolution import Geometry, product_of_windows


@dataclass(frozen=True)
class _Spread:
    """By axis of space: extents of the result, where it begins in what is computed, and how many steps of the stride weights are cut into."""

    sizes: tuple[DimLike, ...]
    starts: tuple[DimLike, ...]
    taps: tuple[int, ...]


@onnx_op("ConvTranspose")
def conv_transpose(call: Call, x: Value, weights: Value, bias: Value | None = None) -> Value:
    """x [n, c, space…], weights [c, m / group, kernel…] → [n, m, …]"""
    b, group, rank = call.build, call.attr("group"), x.type.rank
    if rank < 3 or not all(isinstance(d, int) for d in weights.type.shape):
        raise Unsupported(f"{x.type} by {weights.type}: axes of space and known sizes of weights are wanted")
    text = f"{x.type} by {weights.type}: {group} groups"
    if weights.type.rank != rank or weights.type.shape[0] % group:
        raise TypeMismatch(text)
    if weights.type.shape[0] != x.type.shape[1]:
        raise Unequal(text, x.type.shape[1], weights.type.shape[0])
    ones, space = (1,) * (rank - 2), tuple(x.type.shape[2:])
    strides, dilations = tuple(call.attr("strides") or ones), tuple(call.attr("dilations") or ones)
    where = _spread(call, space, tuple(weights.type.shape[2:]), strides, dilations)
    less = tuple(t - 1 for t in where.taps)
    whole = tuple(d + p for d, p in zip(space, less))
    windows = Geometry(where.taps, whole, ones, ones, less, less, less).last(call, x, b.constant(0, x.type.dtype))
    steps = product_of_windows(call, windows, _steps(call, weights, where.taps, strides, dilations, group), None, group)
    out = _interleaved(call, steps, whole, strides)
    axes = tuple(range(1, rank - 1))
    out = b.slice(out, axes=axes, starts=where.starts, sizes=where.sizes, steps=ones)
    out = out if bias is None else b.add(out, bias)
    found: Value = b.transpose(out, perm=channels_first(rank))
    return found


def _spread(call: Call, space: tuple[DimLike, ...], kernel: Any, strides: Any, dilations: Any) -> _Spread:
    """Raises InvalidModel for attributes that do not fit, Unsupported for an `output_shape` where extents of x are symbols."""
    rank, mode = len(space), call.attr("auto_pad", "NOTSET")
    more, pads = tuple(call.attr("output_padding") or (0,) * rank), tuple(call.attr("pads") or (0,) * (2 * rank))
    given = call.attr("output_shape")
    if {len(strides), len(dilations), len(more), len(pads) // 2, len(given or space)} != {rank} or min((*strides, *dilations)) < 1:
        raise InvalidModel(
            f"{call.importer.what}: ConvTranspose {call.name!r}: strides {strides}, pads {pads}, output_shape {given}"
        )
    sizes: list[DimLike] = []
    starts: list[DimLike] = []
    taps: list[int] = []
    for axis, extent in enumerate(space):
        stride, reach = strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
        last = (extent - 1) * stride
        if given or mode in ("SAME_UPPER", "SAME_LOWER"):
            length = given[axis] if given else extent * stride
            total = dim_max(last + more[axis] + reach - length, 0)
            starts.append(floordiv(total, 2) if mode == "SAME_UPPER" else ceildiv(total, 2))
        else:
            before, after = (0, 0) if mode == "VALID" else (pads[axis], pads[axis + rank])
            length = last + more[axis] + reach - before - after
            starts.append(before)
        sizes.append(dim_max(length, 0))
        needed = dim_max(starts[-1] + length - last, reach)
        if not isinstance(needed, int):
            raise Unsupported("output_shape where extents of the input are symbols")
        taps.append(ceildiv(needed, stride))
    return _Spread(tuple(sizes), tuple(starts), tuple(taps))


def _steps(call: Call, weights: Value, taps: Any, strides: Any, dilations: Any, group: int) -> Value:
    """[m·Πs, c / group, taps…] of [c, m / group, kernel…]: places between dilated weights and up to taps·stride are zeros."""
    b, (channels, outer, *kernel) = call.build, (int(d) for d in weights.type.shape)  # type: ignore[arg-type]
    space, zero = range(len(kernel)), b.constant(0, weights.type.dtype)
    apart = b.reshape(weights, shape=(channels, outer, *(e for k in kernel for e in (k, 1))))
    gaps = tuple(e for d in dilations for e in (0, d - 1))
    apart = b.pad(apart, zero, before=(0,) * apart.type.rank, after=(0, 0, *gaps), mode="constant")
    apart = b.reshape(apart, shape=(channels, outer, *(k * d for k, d in zip(kernel, dilations))))
    whole = tuple(t * s for t, s in zip(taps, strides))
    missing = tuple(max(w - k * d, 0) for w, k, d in zip(whole, kernel, dilations))
    apart = b.pad(apart, zero, before=(0,) * apart.type.rank, after=(0, 0, *missing), mode="constant")
    axes, none = tuple(k + 2 for k in space), (0,) * len(kernel)
    apart = b.slice(apart, axes=axes, starts=none, sizes=whole, steps=(1,) * len(kernel))
    cut = b.reshape(apart, shape=(group, channels // group, outer, *(e for t, s in zip(taps, strides) for e in (t, s))))
    tap_axes, step_axes = tuple(3 + 2 * k for k in space), tuple(4 + 2 * k for k in space)
    turned = b.slice(cut, axes=tap_axes, starts=tuple(t - 1 for t in taps), sizes=tuple(taps), steps=(-1,) * len(kernel))
    moved = b.transpose(turned, perm=(0, 2, *step_axes, 1, *tap_axes))
    out: Value = b.reshape(moved, shape=(group * outer * prod(strides), channels // group, *taps))
    return out


def _interleaved(call: Call, steps: Value, whole: tuple[DimLike, ...], strides: Any) -> Value:
    """[n, q…·s…, m] of [n, q…, m·Πs]"""
    b, n, space = call.build, steps.type.shape[0], len(strides)
    outer = floordiv(steps.type.shape[-1], prod(strides))
    apart = b.reshape(steps, shape=(n, *whole, outer, *strides))
    pairs = (axis for k in range(space) for axis in (1 + k, 2 + space + k))
    out: Value = b.reshape(
        b.transpose(apart, perm=(0, *pairs, 1 + space)), shape=(n, *(q * s for q, s in zip(whole, strides)), outer)
    )
    return out
