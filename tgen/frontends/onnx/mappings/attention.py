"""Attention: ONNX's own, and the operators that ONNX Runtime's optimiser makes of transformers."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import Any

from onnx import TensorProto

from ....ir.dims import DimLike, product
from ....ir.dtypes import BOOL, F32, F64, I64
from ....ir.errors import InvalidModel, TypeMismatch, Unsupported
from ....ir.graph import Value
from ....ir.ops.attend import accumulator
from ....ir.ops.comparison import And
from ..call import Call
from ..registry import onnx_op

SCORES = 3  # the output that shows the scores
PADDED = 24  # opset from which on a mask may be shorter than the keys

MICROSOFT = "com.microsoft"
MASK_FILTER = -10000.0  # ONNX Runtime's default of mask_filter_value
ATTRIBUTES = ("num_heads", "scale", "mask_filter_value", "unidirectional")
APART = (
    "query", "key", "value", "bias", "key_padding_mask", "attention_bias", "past_key", "past_value",
    "past_sequence_length", "cache_indirection",
)  # fmt: skip
BYTES = ("input", "weights", "bias", "input_scale", "scale", "mask_index", "input_zero_point", "zero_point", "past")
PROJECTED = ("input", "weights", "bias", "mask_index", "past", "attention_bias", "past_sequence_length")


@onnx_op("Attention", since=23)
def attention(
    call: Call,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    lengths: Value | None = None,
) -> Any:
    """scaled_dot_product_attention; by ONNX's definition where the scores are a result, or for a mask of integers.

    A softmax_precision of less than the accumulator's is computed in the accumulator's.
    """
    if (past_key is None) != (past_value is None):
        raise InvalidModel(f"{call.importer.what}: Attention {call.name!r} has one of past_key and past_value")
    odd_mask = mask is not None and not (mask.type.dtype is BOOL or mask.type.dtype.is_float)
    two_caches = lengths is not None and past_key is not None
    if any(call.node.output[SCORES:]) or odd_mask or two_caches:
        return NotImplemented
    b, narrow = call.build, q.type.dtype
    query, key, value = (_by_head(call, x, n) for x, n in ((q, "q_num_heads"), (k, "kv_num_heads"), (v, "kv_num_heads")))
    present_key, present_value = _after_past(call, past_key, key), _after_past(call, past_value, value)
    wide = F64 if call.attr("softmax_precision") == TensorProto.DOUBLE else narrow
    masks = [] if mask is None else [_as_long(call, mask, present_key.type.shape[2])]
    y = b.scaled_dot_product_attention(
        *(b.cast(x, to=wide) for x in (query, present_key, present_value)),
        *masks,
        *([] if lengths is None else [b.cast(lengths, to=I64)]),
        scale=call.attr("scale"),
        softcap=call.attr("softcap"),
        is_causal=bool(call.attr("is_causal")),
        past=0 if past_key is None else past_key.type.shape[2],
        left_window=call.attr("left_window_size", -1),
        right_window=call.attr("right_window_size", -1),
    )
    y = b.cast(y, to=narrow)
    return (side_by_side(call, y) if q.type.rank == 3 else y), present_key, present_value


def _by_head(call: Call, x: Value, attribute: str) -> Value:
    """[b, s, n·d] → [b, n, s, d]; a tensor of rank 4 is that already."""
    return x if x.type.rank == 4 else heads_first(call, x, int(call.required(attribute)))


def _as_long(call: Call, mask: Value, total: DimLike) -> Value:
    """The mask for `total` keys: those it says nothing about are not seen."""
    last = mask.type.shape[-1] if mask.type.rank else 1
    if last == total or (call.opset < PADDED and isinstance(last, int)):
        return mask
    missing, rank = total - last, mask.type.rank
    if isinstance(missing, int) and missing < 0:
        raise TypeMismatch(f"attn_mask {mask.type} for {total} keys")
    hidden = call.build.constant(False if mask.type.dtype is BOOL else -math.inf, mask.type.dtype)
    return call.build.pad(mask, hidden, before=(0,) * rank, after=(*(0,) * (rank - 1), missing))


@onnx_op("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(call: Call, *operands: Value | None) -> Any:
    """Attention of q, k and v that are projected already: apart, k and v packed, all three packed, or k and v by head."""
    query, key, value, bias, mask, added, *past, length, beams = signature(call, operands, APART, ATTRIBUTES, needed=APART[:1])
    refuse(past_sequence_length=length, cache_indirection=beams)
    parts = _unpacked(call, query, key, value)
    if bias is not None:
        parts = _biased(call, parts, bias)
    q, k, v = (x if by_head else heads_first(call, x, _count(call)) for x, by_head in parts)
    return _attend(call, (q, k, v), mask, added, past)


@onnx_op("Attention", domain=MICROSOFT)
def projected_attention(call: Call, *operands: Value | None) -> Any:
    """Attention of q, k and v = x·weights + bias, side by side."""
    attributes = (*ATTRIBUTES, "qkv_hidden_sizes", "rotary_embedding_dim")
    x, weights, bias, mask, past, added, length = signature(call, operands, PROJECTED, attributes, needed=PROJECTED[:2])
    refuse(past_sequence_length=length)
    b = call.build
    product = b.matmul(x, weights)
    return _attend_projected(call, product if bias is None else b.add(product, bias), mask, added, past)


@onnx_op("QAttention", domain=MICROSOFT)
def quantised_attention(call: Call, *operands: Value | None) -> Any:
    """`projected_attention` of bytes: q, k and v = (x - x_zero)·(weights - zero)·x_scale·scale + bias, side by side."""
    x, weights, bias, x_scale, scale, mask, x_zero, zero, past = signature(call, operands, BYTES, ATTRIBUTES, needed=BYTES[:5])
    b = call.build
    zeros = [z or b.constant(0, v.type.dtype) for z, v in ((x_zero, x), (zero, weights))]
    total = b.cast(b.mat_mul_integer(x, weights, *zeros), to=F32)
    return _attend_projected(call, b.add(b.mul(total, b.mul(x_scale, scale)), bias), mask, None, past)


def _attend_projected(call: Call, projected: Value, mask: Value | None, added: Value | None, past: Value | None) -> Any:
    """(y, present) of q, k and v side by side; past and present: [2, b, n, t, d]."""
    b, hidden = call.build, projected.type.shape[-1]
    sizes = tuple(call.attr("qkv_hidden_sizes") or (hidden // 3,) * 3)
    if len(sizes) != 3 or sum(sizes) != hidden:
        raise TypeMismatch(f"qkv_hidden_sizes {sizes} of a projection {projected.type}")
    q, k, v = (heads_first(call, part, _count(call)) for part in b.split(projected, axis=2, sizes=sizes))
    pasts = [None, None] if past is None else [b.squeeze(p, axes=(0,)) for p in b.split(past, axis=0, sizes=(1, 1))]
    y, *present = _attend(call, (q, k, v), mask, added, pasts)
    if not any(call.node.output[1:]):
        return y
    return y, b.concat(*(b.unsqueeze(p, axes=(0,)) for p in present), axis=0)


def signature(
    call: Call, operands: tuple[Value | None, ...], names: tuple[str, ...], attributes: tuple[str, ...], needed: tuple[str, ...]
) -> list[Any]:
    """The operands, as many as `names`; those `needed` are there. ONNX does not know the operator's schema, so it is checked here.

    Raises InvalidModel for too few or too many, Unsupported for an attribute that is set but not among those that are understood.
    """
    given = dict(zip_longest(names, operands))
    absent = [name for name in needed if given.get(name) is None]
    if len(operands) > len(names) or absent:
        what = f"lacks input {absent[0]!r}" if absent else f"has {len(operands)} inputs, of {len(names)}"
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} {what}")
    for name, value in call.attributes.items():
        if name not in attributes and value != 0:
            raise Unsupported(f"attribute {name} = {value!r}")
    return [given[name] for name in names]


def refuse(**given: Value | None) -> None:
    for name, value in given.items():
        if value is not None:
            raise Unsupported(f"input {name}")


def _count(call: Call) -> int:
    return int(call.required("num_heads"))


def _unpacked(call: Call, query: Value, key: Value | None, value: Value | None) -> list[tuple[Value, bool]]:
    """q, k and v as [b, s, n·d] or [b, s, n, d] (False), or [b, n, s, d] (True)."""
    ranks = tuple(None if x is None else x.type.rank for x in (query, key, value))
    if ranks == (3, 3, 3) or ranks == (3, 4, 4):
        return [(x, x.type.rank == 4) for x in (query, key, value) if x is not None]
    if ranks == (5, None, None):
        return [(x, False) for x in _layers(call, query, 3)]
    if ranks == (3, 5, None) and key is not None:
        return [(query, False), *((x, False) for x in _layers(call, key, 2))]
    types = ", ".join("none" if x is None else str(x.type) for x in (query, key, value))
    raise Unsupported(f"query, key and value of {types}")


def _layers(call: Call, packed: Value, count: int) -> list[Value]:
    """[b, s, n, count, d] → that many tensors [b, s, n, d]."""
    parts = call.build.split(packed, axis=3, sizes=(1,) * count)
    return [call.build.squeeze(x, axes=(3,)) for x in parts]


def _biased(call: Call, parts: list[tuple[Value, bool]], bias: Value) -> list[tuple[Value, bool]]:
    """Bias, for q, k and v one after another, is added before heads come first; what comes by head has it already."""
    b = call.build
    extents = [(x.type.shape[1], x.type.shape[3]) if by_head else x.type.shape[2:] for x, by_head in parts]
    pieces = b.split(bias, axis=0, sizes=tuple(map(product, extents)))
    done = (x if by_head else b.add(x, b.reshape(p, shape=e)) for (x, by_head), p, e in zip(parts, pieces, extents))
    return [(x, by_head) for x, (_, by_head) in zip(done, parts)]


def _attend(call: Call, qkv: tuple[Value, Value, Value], mask: Value | None, added: Value | None, past: list[Any]) -> Any:
    """(y [b, s, n·e], present key, present value) of q, k, v [b, n, s, d]."""
    if (past[0] is None) != (past[1] is None):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has one of past_key and past_value")
    q, *now = qkv
    key, value = (_after_past(call, p, x) for p, x in zip(past, now))
    masks = [] if mask is None else [_padding(call, mask, q, key)]
    y = call.build.scaled_dot_product_attention(
        *(q, key, value),
        *([] if added is None else [added]),
        *masks,
        scale=call.attr("scale") or None,
        is_causal=bool(call.attr("unidirectional", 0)),
        past=0 if past[0] is None else past[0].type.shape[2],
    )
    return side_by_side(call, y), key, value


def _padding(call: Call, mask: Value, q: Value, key: Value) -> Value:
    """What is added to the scores [b, n, s, t]: 0 for keys that count, else mask_filter_value.

    mask: how many keys count [b]; the same with other lengths behind [3b + 2]; ends and starts of what counts [2b]; or by key, 1
    where it counts: [b, t] or [b, s, t].
    """
    b, batch, total = call.build, q.type.shape[0], key.type.shape[2]
    if mask.type.rank == 1:
        seen = _between(call, mask, batch, total)
    elif mask.type.rank in (2, 3):
        seen = b.unsqueeze(b.greater(mask, 0), axes=(1, 2) if mask.type.rank == 2 else (1,))
    else:
        raise Unsupported(f"a mask of {mask.type}")
    wide = accumulator(q.type.dtype)
    fill = call.attr("mask_filter_value", MASK_FILTER)
    return b.where(seen, b.constant(0.0, wide), b.constant(fill, wide))


def _between(call: Call, mask: Value, batch: DimLike, total: DimLike) -> Value:
    """Which keys lie before an entry's end and behind its start: [b, 1, 1, t]."""
    b, extent = call.build, mask.type.shape[0]
    if extent not in (batch, 2 * batch, 3 * batch + 2):
        raise Unsupported(f"a mask of {mask.type} for a batch of {batch}")
    column = b.range(b.constant(0, I64), b.constant(1, I64), size=total)

    def limits(part: int) -> Value:
        cut = b.slice(b.cast(mask, to=I64), axes=(0,), starts=(part * batch,), sizes=(batch,), steps=(1,))
        return b.reshape(cut, shape=(batch, 1, 1, 1))

    seen = b.less(column, limits(0))
    return b.apply(And(), seen, b.greater_or_equal(column, limits(1))) if extent == 2 * batch else seen


def heads_first(call: Call, x: Value, count: int) -> Value:
    """[b, s, n·d] or [b, s, n, d] → [b, n, s, d]"""
    if x.type.rank == 3:
        batch, length, hidden = x.type.shape
        if count < 1 or not isinstance(hidden, int) or hidden % count:
            raise TypeMismatch(f"{x.type} in {count} heads")
        x = call.build.reshape(x, shape=(batch, length, count, hidden // count))
    return call.build.transpose(x, perm=(0, 2, 1, 3))


def side_by_side(call: Call, y: Value) -> Value:
    """[b, n, s, e] → [b, s, n·e]"""
    batch, count, length, width = y.type.shape
    return call.build.reshape(call.build.transpose(y, perm=(0, 2, 1, 3)), shape=(batch, length, count * width))


def _after_past(call: Call, past: Value | None, x: Value) -> Value:
    """Keys or values by head, those of the past first."""
    return x if past is None else call.build.concat(past, x, axis=2)
