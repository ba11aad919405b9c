"""Attention of heads that share keys and values, over a cache that the caller keeps, as generated language models have it."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.dims import DimLike, dim_max
from ....ir.dtypes import F32, I64
from ....ir.errors import InvalidModel, TypeMismatch
from ....ir.graph import Value
from ....ir.ops.comparison import And
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, heads_first, refuse, side_by_side, signature
from .places import rows
from .transformer import turned_pairs

OPERANDS = (
    "query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length", "cos_cache", "sin_cache", "position_ids",
    "attention_bias", "head_sink", "k_scale", "v_scale", "q_norm_weight", "k_norm_weight", "query_seqlens",
)  # fmt: skip
NEEDED = ("query", "seqlens_k", "total_sequence_length")
ATTRIBUTES = (
    "num_heads", "kv_num_heads", "scale", "softcap", "do_rotary", "rotary_interleaved", "local_window_size", "smooth_softmax", "causal",
)  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """Where the new entries of each sequence stand: from place first[b] on; then lengths[b] of `total` places in a cache count.

    prompt: whether the new entries are all there are (bool[]).
    """

    first: Value
    lengths: Value
    prompt: Value
    total: DimLike


@onnx_op("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(call: Call, *operands: Value | None) -> tuple[Value, Value, Value]:
    """(y [b, s, heads·d], present key and value [b, groups, t, d]): queries see the keys before them, those of the past too.

    Key and value come beside the query or packed behind it. The present is as long as total_sequence_length says, or as the past if
    that is longer; of entry b, seqlens_k[b] + 1 places are filled. Where all there is is new, entries begin at place 0 and end early.
    """
    query, key, value, *past, seqlens, total, cos, sin, places, bias, sink, k_scale, v_scale, q_norm, k_norm, chunks = signature(
        call, operands, OPERANDS, ATTRIBUTES, needed=NEEDED
    )
    refuse(k_scale=k_scale, v_scale=v_scale, q_norm_weight=q_norm, k_norm_weight=k_norm, query_seqlens=chunks)
    if (past[0] is None) != (past[1] is None):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has one of past_key and past_value")
    q, k, v = _by_head(call, query, key, value)
    step = _step(call, seqlens, _total(call, total, bias), q.type.shape[2], past[0])
    if call.attr("do_rotary", 0):
        q, k = _rotated(call, (q, k), cos, sin, places, step)
    present_key, present_value = (_written(call, p, x, step) for p, x in zip(past, (k, v)))
    y = _attended(call, q, present_key, present_value, bias, sink, step)
    return side_by_side(call, y), present_key, present_value


def _by_head(call: Call, query: Value, key: Value | None, value: Value | None) -> tuple[Value, ...]:
    """q, k and v as [b, heads or groups, s, d]."""
    heads, groups = int(call.required("num_heads")), int(call.required("kv_num_heads"))
    if min(heads, groups) < 1 or heads % groups:
        raise TypeMismatch(f"{heads} heads of {groups} groups")
    if (key is None) != (value is None):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has one of key and value")
    if key is None:
        width = query.type.shape[-1]
        if not isinstance(width, int) or width % (heads + 2 * groups):
            raise TypeMismatch(f"{query.type} of {heads} heads and twice {groups} groups")
        sizes = tuple(n * (width // (heads + 2 * groups)) for n in (heads, groups, groups))
        query, key, value = call.build.split(query, axis=2, sizes=sizes)
    assert value is not None
    return tuple(heads_first(call, x, n) for x, n in ((query, heads), (key, groups), (value, groups)))


def _total(call: Call, total: Value, bias: Value | None) -> DimLike:
    """total_sequence_length, which is an extent of the bias, too. A run in which these differ ends."""
    if bias is None:
        (count,) = call.sizes(total)
        return count
    b, count = call.build, bias.type.shape[-1]
    same = b.equal(b.cast(b.reshape(total, shape=()), to=I64), _number(call, count))
    b.check(same, f"{call.op_type} {call.name!r}: attention_bias does not fit total_sequence_length")
    return count


def _step(call: Call, seqlens: Value, count: DimLike, new: DimLike, past: Value | None) -> _Step:
    """count: total_sequence_length. new: entries that each sequence gets. A run in which seqlens_k fits neither them nor the cache ends."""
    b = call.build
    room = count if past is None else dim_max(count, past.type.shape[2])
    last = b.cast(b.reshape(seqlens, shape=(seqlens.type.elements,)), to=I64)
    filled, here = b.add(last, b.constant(1, I64)), _number(call, new)
    prompt = b.equal(here, _number(call, count))
    first = b.where(prompt, b.constant(0, I64), b.sub(filled, here))
    inside = [b.greater_or_equal(last, 0), b.less(last, _number(call, room)), b.greater_or_equal(first, 0)]
    holds = b.apply(And(), b.apply(And(), *inside[:2]), inside[2])
    text = f"{call.op_type} {call.name!r}: seqlens_k is negative, beyond the cache, or less than the new entries of a sequence"
    b.check(b.reduce_min(holds, axes=(0,), keepdims=False), text)
    return _Step(first, b.add(first, here) if call.attr("causal", 1) else filled, prompt, room)


def _number(call: Call, dim: DimLike) -> Value:
    """A dimension as i64[]."""
    out: Value = call.build.reshape(call.build.dims_value(dims=(dim,)), shape=())
    return out


def _rotated(
    call: Call, parts: tuple[Value, Value], cos: Value | None, sin: Value | None, places: Value | None, step: _Step
) -> tuple[Value, ...]:
    """q and k turned by the angles at their places; of places given for a prompt, the first one counts."""
    if cos is None or sin is None:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has do_rotary without cos_cache and sin_cache")
    b, length = call.build, parts[0].type.shape[2]
    along = b.range(b.constant(0, I64), b.constant(1, I64), size=length)
    if places is None:
        places = b.add(b.unsqueeze(step.first, axes=(1,)), along)
    else:
        places = b.cast(places, to=I64)
        first = b.slice(places, axes=(0, 1), starts=(0, 0), sizes=(1, 1), steps=(1, 1))
        places = b.where(step.prompt, b.add(first, along), places)
    cosines, sines = (b.unsqueeze(rows(call, cache, places), axes=(1,)) for cache in (cos, sin))
    interleaved = bool(call.attr("rotary_interleaved", 0))
    return tuple(turned_pairs(call, x, cosines, sines, interleaved) for x in parts)


def _written(call: Call, past: Value | None, x: Value, step: _Step) -> Value:
    """The cache with the new entries x [b, groups, s, d] in their places."""
    b, (batch, groups, length, width) = call.build, x.type.shape
    if past is None and length == step.total:
        return x
    nothing = b.constant(0, x.type.dtype)
    if past is None:
        cache = b.full(nothing, shape=(batch, groups, step.total, width))
    else:
        cache = b.pad(past, nothing, before=(0,) * 4, after=(0, 0, step.total - past.type.shape[2], 0))
    out: Value = b.tensor_scatter(cache, x, step.first, axis=2)
    return out


def _attended(call: Call, q: Value, key: Value, value: Value, bias: Value | None, sink: Value | None, step: _Step) -> Value:
    """sink: a number for each head whose exponential joins the sums of weights."""
    b, window, causal = call.build, call.attr("local_window_size", -1), bool(call.attr("causal", 1))
    masks = []
    if bias is not None:  # beyond total_sequence_length nothing is seen
        masks = [b.pad(bias, b.constant(0, bias.type.dtype), before=(0,) * 4, after=(0, 0, 0, step.total - bias.type.shape[3]))]
    how = {"scale": call.attr("scale", 0.0) or None, "softcap": call.attr("softcap", 0.0), "is_causal": causal}
    if sink is None and call.attr("smooth_softmax", 0) not in (0, -1):
        sink = b.full(b.constant(0, F32), shape=(q.type.shape[1],))
    if sink is None:
        left = window - 1 if window > 0 else -1
        return b.scaled_dot_product_attention(q, key, value, *masks, step.lengths, left_window=left, **how)
    key, value = (_behind(call, 0.0, x, axis=2) for x in (key, value))  # a key that all see, whose score is the sink
    sinks = b.reshape(b.cast(sink, to=F32), shape=(1, q.type.shape[1], 1, 1))
    masks = [_behind(call, 0.0, m, axis=3) for m in masks]
    masks.append(b.pad(sinks, b.constant(0, F32), before=(0,) * 4, after=(0, 0, 0, step.total)))
    if window > 0:
        masks.append(_behind(call, True, _in_window(call, q.type.shape[2], step, window), axis=3))
    return b.scaled_dot_product_attention(q, key, value, *masks, b.add(step.lengths, b.constant(1, I64)), **how)


def _behind(call: Call, first: float | bool, x: Value, axis: int) -> Value:
    """x behind one entry more, of equal numbers, on an axis of four."""
    before = tuple(int(k == axis) for k in range(4))
    out: Value = call.build.pad(x, call.build.constant(first, x.type.dtype), before=before, after=(0,) * 4)
    return out


def _in_window(call: Call, length: DimLike, step: _Step, window: int) -> Value:
    """Which places each new entry sees of those before it: [b, 1, s, t]."""
    b = call.build
    along, column = (b.range(b.constant(0, I64), b.constant(1, I64), size=n) for n in (length, step.total))
    place = b.unsqueeze(b.add(b.unsqueeze(step.first, axes=(1,)), along), axes=(1, 3))
    out: Value = b.greater(column, b.sub(place, b.constant(window, I64)))
    return out
