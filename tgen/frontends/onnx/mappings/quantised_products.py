"""ONNX Runtime's products by quantised weights: of numbers that are quantised in the run, of quantised numbers, of float32."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import F32, I32, U8
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.ops.dynamic import dynamic_product
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, signature

DYNAMIC = ("a", "b", "b_scale", "b_zero", "bias")
WHOLE = ("a", "b", "a_scale", "b_scale", "a_zero", "b_zero", "bias")
PACKED = ("a", "b", "scales", "zero_points", "g_idx", "bias")
PACKED_ATTRIBUTES = ("K", "N", "accuracy_level", "bits", "block_size")


@onnx_op("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantised_matmul(call: Call, *operands: Value | None) -> Value:
    """a·(b - b_zero)·b_scale + bias, a quantised in the run; b_scale and b_zero: one number, or one for each column"""
    a, b, scale, zero, bias = signature(call, operands, DYNAMIC, (), needed=DYNAMIC[:3])
    return _shifted(call, dynamic_product(call.build, a, b, scale, zero), bias)


@onnx_op("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(call: Call, *operands: Value | None) -> Value:
    """(a - a_zero)·(b - b_zero)·a_scale·b_scale + bias"""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = signature(call, operands, WHOLE, (), needed=WHOLE[:4])
    build = call.build
    zeros = [] if a_zero is None and b_zero is None else [build.constant(0, a.type.dtype) if a_zero is None else a_zero]
    zeros += [] if b_zero is None else [b_zero]
    total = build.cast(build.mat_mul_integer(a, b, *zeros), to=F32)
    return _shifted(call, build.mul(total, build.mul(a_scale, b_scale)), bias)


@onnx_op("MatMulNBits", domain=MICROSOFT)
def matmul_of_bits(call: Call, *operands: Value | None) -> Value:
    """a [..., K] by weights [N, K] of 2, 4 or 8 bits: (b - zero)·scale, a scale and a zero point for every block along K."""
    a, b, scales, zeros, group, bias = signature(call, operands, PACKED, PACKED_ATTRIBUTES, needed=PACKED[:3])
    bits, block, depth, columns = (int(call.required(name)) for name in ("bits", "block_size", "K", "N"))
    if bits not in (2, 4, 8) or block < 16 or block & (block - 1) or min(depth, columns) < 1:
        raise Unsupported(f"{bits} bits in blocks of {block}, K {depth}, N {columns}")
    blocks, build = -(-depth // block), call.build
    if b.type.dtype is not U8 or b.type.shape != (columns, blocks, block * bits // 8):
        raise InvalidModel(
            f"{call.importer.what}: {call.op_type} {call.name!r}: {b.type} is not N {columns}, K {depth} of {bits} bits"
        )
    numbers = _unpacked(call, build.reshape(b, shape=(columns, blocks * block * bits // 8)), bits, blocks * block)
    scale, zero = _of_blocks(call, scales, columns, blocks), _zeros(call, zeros, columns, blocks, bits)
    whole = build.reshape(_decoded(call, numbers, scale, zero, group, (columns, blocks, block)), shape=(columns, blocks * block))
    weights = build.slice(whole, axes=(1,), starts=(0,), sizes=(depth,), steps=(1,))
    product = build.matmul(a, build.cast(build.transpose(weights, perm=(1, 0)), to=a.type.dtype))
    return _shifted(call, product, bias)


def _decoded(call: Call, numbers: Value, scale: Value, zero: Value, group: Value | None, shape: tuple[int, int, int]) -> Value:
    """(number - zero)·scale of numbers [N, K], by blocks along K, or by those that `group` names. shape: N, blocks, block."""
    b, (_, blocks, block) = call.build, shape
    if group is None:
        numbers = b.reshape(numbers, shape=shape)
        zero, scale = (b.unsqueeze(v, axes=(2,)) for v in (zero, scale))
    else:
        found = call.array(group)
        if found.ndim != 1 or not 0 < found.size <= blocks * block or found.min() < 0 or found.max() >= blocks:
            raise InvalidModel(
                f"{call.importer.what}: {call.op_type} {call.name!r}: g_idx {group.type} names more than {blocks} blocks"
            )
        where = b.constant(np.concatenate([found, np.zeros(blocks * block - found.size, found.dtype)]))
        zero, scale = (b.gather(v, where, axis=1) for v in (zero, scale))
    out: Value = b.mul(b.sub(b.cast(numbers, to=F32), zero), scale)
    return out


def _zeros(call: Call, zeros: Value | None, columns: int, blocks: int, bits: int) -> Value:
    """Zero points [N, blocks] in float32: the middle if there are none, else packed as weights are, or numbers of their own."""
    b = call.build
    if zeros is None:
        return b.constant(np.full((columns, blocks), 1 << (bits - 1), np.float32))
    if zeros.type.dtype is not U8:
        return _of_blocks(call, zeros, columns, blocks)
    size = -(-blocks * bits // 8)
    if zeros.type.elements != columns * size:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: {zeros.type} of {columns} × {blocks} blocks")
    out: Value = b.cast(_unpacked(call, b.reshape(zeros, shape=(columns, size)), bits, blocks), to=F32)
    return out


def _of_blocks(call: Call, x: Value, columns: int, blocks: int) -> Value:
    """Scales or zero points as [N, blocks] in float32."""
    if x.type.elements != columns * blocks:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: {x.type} of {columns} × {blocks} blocks")
    out: Value = call.build.cast(call.build.reshape(x, shape=(columns, blocks)), to=F32)
    return out


def _unpacked(call: Call, x: Value, bits: int, count: int) -> Value:
    """The first `count` numbers of each row of bytes, in int32; the lowest bits of a byte come first."""
    b, (rows, size) = call.build, x.type.shape
    shifts = b.constant(np.arange(0, 8, bits, dtype=np.uint8))
    parts = b.bitwise_and(b.bit_shift(b.unsqueeze(x, axes=(2,)), shifts, direction="RIGHT"), np.uint8((1 << bits) - 1))
    flat = b.reshape(parts, shape=(rows, size * (8 // bits)))
    out: Value = b.cast(b.slice(flat, axes=(1,), starts=(0,), sizes=(count,), steps=(1,)), to=I32)
    return out


def _shifted(call: Call, x: Value, bias: Value | None) -> Value:
    out: Value = x if bias is None else call.build.add(x, bias)
    return out
