"""What ONNX Runtime's optimiser makes of transformers besides attention: embeddings, residuals and biases fused with what follows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from ....ir.dtypes import F32, I32, I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, signature
from .places import rows

EPSILON = 1e-12  # ONNX Runtime's default
ROOT_EPSILON = 1e-5  # the default of normalisation by the root of the mean square
SKIP = ("input", "skip", "gamma", "beta", "bias")
SKIP_ROOT = ("input", "skip", "gamma", "bias")
ROTARY = ("input", "position_ids", "cos_cache", "sin_cache")
ROTARY_ATTRIBUTES = ("interleaved", "num_heads", "rotary_embedding_dim", "scale")
PRODUCT = ("alpha", "transA", "transB", "transBatchA", "transBatchB")
EMBED = (
    "input_ids", "segment_ids", "word_embedding", "position_embedding", "segment_embedding", "gamma", "beta", "mask", "position_ids",
)  # fmt: skip
EMBED_NEEDED = ("input_ids", "word_embedding", "position_embedding", "gamma", "beta")
QUANTISED = ("word_embedding", "position_embedding", "segment_embedding", "gamma", "beta")  # in the order of scales and zero points
QUANTISED_EMBED = (
    "input_ids", "segment_ids", *QUANTISED, "mask", *(f"{name}_{what}" for what in ("scale", "zero_point") for name in QUANTISED),
)  # fmt: skip
QUANTISED_NEEDED = tuple(name for name in QUANTISED_EMBED if "segment" not in name and name != "mask")


@onnx_op("Gelu", "BiasGelu", "FastGelu", domain=MICROSOFT)
def biased_gelu(call: Call, *operands: Value | None) -> Value:
    """gelu(x + bias), FastGelu by tanh."""
    x, bias = signature(call, operands, ("x", "bias"), (), needed=("x",))
    total = x if bias is None else call.build.add(x, bias)
    return call.build.gelu(total, approximate="tanh" if call.op_type == "FastGelu" else "none")


@onnx_op("QuickGelu", domain=MICROSOFT)
def quick_gelu(call: Call, *operands: Value | None) -> Value:
    """x·sigmoid(alpha·x)"""
    (x,) = signature(call, operands, ("x",), ("alpha",), needed=("x",))
    return call.build.mul(x, call.build.sigmoid(call.build.mul(x, call.attr("alpha", 1.702))))


@onnx_op("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(call: Call, *operands: Value | None) -> Value:
    """alpha·a·b, whose last two axes change places by transA, transB; by transBatchA, transBatchB, axis 0 stands before the last."""
    a, b = signature(call, operands, ("a", "b"), PRODUCT, needed=("a", "b"))
    product: Value = call.build.matmul(*(_matrix(call, x, side) for x, side in ((a, "A"), (b, "B"))))
    alpha = call.attr("alpha", 1.0)
    return product if alpha == 1.0 else call.build.mul(product, alpha)


def _matrix(call: Call, x: Value, side: str) -> Value:
    order = list(range(x.type.rank))
    if call.attr(f"transBatch{side}", 0) and len(order) > 2:
        order = [*order[1:-1], 0, order[-1]]
    if call.attr(f"trans{side}", 0) and len(order) > 1:
        order[-2:] = order[:-3:-1]
    return call.build.transpose(x, perm=tuple(order))


@onnx_op("SimplifiedLayerNormalization")
def simplified_layer_normalization(call: Call, *operands: Value | None) -> tuple[Value, None]:
    """(x / √(mean x² + epsilon) · scale over the axes from `axis` on, the factor that only training wants)"""
    x, scale = signature(call, operands, ("x", "scale"), ("axis", "epsilon", "stash_type"), needed=("x", "scale"))
    epsilon = call.attr("epsilon", ROOT_EPSILON)
    return call.build.rmsnormalization(x, scale, axis=call.attr("axis", -1), epsilon=epsilon), None


@onnx_op("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(call: Call, *operands: Value | None) -> tuple[Value | None, ...]:
    """`skip_layer_normalization` by the root of the mean square."""
    x, skip, gamma, bias = signature(call, operands, SKIP_ROOT, ("epsilon",), needed=SKIP_ROOT[:3])
    total = call.build.add(x, skip)
    if bias is not None:
        total = call.build.add(total, bias)
    return call.build.rmsnormalization(total, gamma, epsilon=call.attr("epsilon", EPSILON)), None, None, total


@onnx_op("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(call: Call, *operands: Value | None) -> Value:
    """Pairs of each head turned by their angle at their position. x: [batch, heads, length, size] or [batch, length, heads·size].

    The caches hold [positions, pairs]; position_ids: [batch, length], or [1], the position of the first element.
    """
    x, places, cos, sin = signature(call, operands, ROTARY, ROTARY_ATTRIBUTES, needed=ROTARY)
    if call.attr("scale", 1.0) != 1.0:
        raise Unsupported(f"attribute scale = {call.attr('scale')}")
    b, side_by_side, rotated = call.build, x.type.rank == 3, call.attr("rotary_embedding_dim", 0)
    if rotated and not call.attr("num_heads", 0):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has rotary_embedding_dim without num_heads")
    size = x.type.shape[-1] // call.attr("num_heads") if rotated and side_by_side else cos.type.shape[-1] * 2
    heads = b.reshape(x, shape=(*x.type.shape[:2], x.type.shape[-1] // size, size)) if side_by_side else x
    along = 1 if side_by_side else 2
    if places.type.rank == 1:
        steps = b.range(b.constant(0, I64), b.constant(1, I64), size=heads.type.shape[along])
        places = b.unsqueeze(b.add(steps, b.cast(places, to=I64)), axes=(0,))
    cosines, sines = (b.unsqueeze(rows(call, cache, places), axes=(3 - along,)) for cache in (cos, sin))
    turned = turned_pairs(call, heads, cosines, sines, bool(call.attr("interleaved", 0)))
    return b.reshape(turned, shape=x.type.shape)


def turned_pairs(call: Call, x: Value, cos: Value, sin: Value, interleaved: bool) -> Value:
    """(u·cos - v·sin, v·cos + u·sin) in place of the pairs (u, v): neighbours if interleaved, else halves apart; what is left stays."""
    b, pairs = call.build, cos.type.shape[-1]
    lead = x.type.shape[:-1]
    head = b.slice(x, axes=(-1,), starts=(0,), sizes=(2 * pairs,), steps=(1,))
    grid = b.reshape(head, shape=(*lead, pairs, 2) if interleaved else (*lead, 2, pairs))
    axis = -1 if interleaved else -2
    u, v = (b.gather(grid, b.constant(k, I64), axis=axis) for k in (0, 1))
    parts = (b.sub(b.mul(u, cos), b.mul(v, sin)), b.add(b.mul(v, cos), b.mul(u, sin)))
    joined = b.concat(*(b.unsqueeze(p, axes=(axis,)) for p in parts), axis=axis)
    rest = b.slice(x, axes=(-1,), starts=(2 * pairs,), sizes=(x.type.shape[-1] - 2 * pairs,), steps=(1,))
    return b.concat(b.reshape(joined, shape=head.type.shape), rest, axis=-1)


@onnx_op("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(call: Call, *operands: Value | None) -> tuple[Value | None, ...]:
    """(layer normalisation of the sum, mean and deviation that only training wants, the sum): of input, skip and bias."""
    x, skip, gamma, beta, bias = signature(call, operands, SKIP, ("epsilon",), needed=SKIP[:3])
    total = call.build.add(x, skip)
    if bias is not None:
        total = call.build.add(total, bias)
    return _normalised(call, total, gamma, beta), None, None, total


@onnx_op("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(call: Call, *operands: Value | None) -> tuple[Value, Value, Value]:
    """(layer normalisation of the sum of embeddings, how many of the mask are 1 (0 without one), the sum)."""
    ids, segments, *tables, gamma, beta, mask, positions = signature(
        call, operands, EMBED, ("epsilon", "mask_index_type"), needed=EMBED_NEEDED
    )
    total = _embedded(call, ids, segments, [None if t is None else functools.partial(rows, call, t) for t in tables], positions)
    return _normalised(call, total, gamma, beta), _counted(call, ids, mask), total


@onnx_op("QEmbedLayerNormalization", domain=MICROSOFT)
def quantised_embed_layer_normalization(call: Call, *operands: Value | None) -> tuple[Value, Value]:
    """`embed_layer_normalization` of tables of bytes, gamma and beta: (x - zero)·scale of each."""
    ids, segments, *tables, gamma, beta, mask = signature(call, operands, QUANTISED_EMBED, ("epsilon",), needed=QUANTISED_NEEDED)[
        :8
    ]
    scales, zeros = ((*operands[8:13], *[None] * 5)[:5], (*operands[13:], *[None] * 5)[:5])

    def whole(number: int, x: Value) -> Value:
        scale, zero = scales[number], zeros[number]
        if scale is None or zero is None:
            raise call.invalid(f"has {QUANTISED[number]!r} without its scale and zero point")
        b = call.build
        distance = b.sub(b.cast(x, to=I32), b.cast(b.reshape(zero, shape=()), to=I32))
        return b.mul(b.cast(distance, to=F32), b.reshape(scale, shape=()))

    def table(number: int, x: Value | None) -> Callable[[Value], Value] | None:
        return None if x is None else lambda places: whole(number, rows(call, x, places))

    total = _embedded(call, ids, segments, [table(k, t) for k, t in enumerate(tables)], None)
    return _normalised(call, total, whole(3, gamma), whole(4, beta)), _counted(call, ids, mask)


def _embedded(
    call: Call, ids: Value, segments: Value | None, tables: Sequence[Callable[[Value], Value] | None], positions: Value | None
) -> Value:
    """The sum of the embeddings of words, positions (None: as they follow one another) and segments, each looked up in a table."""
    words, places, kinds = tables
    if (segments is None) != (kinds is None):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has one of segment_ids and segment_embedding")
    assert words is not None and places is not None
    b, length = call.build, ids.type.shape[1]
    if positions is None:
        positions = b.range(b.constant(0, I64), b.constant(1, I64), size=length)
    total: Value = b.add(words(ids), places(positions))
    return total if segments is None or kinds is None else b.add(total, kinds(segments))


def _counted(call: Call, ids: Value, mask: Value | None) -> Value:
    """How many of each row of the mask are 1; 0 without one."""
    b = call.build
    if mask is None:
        return b.full(b.constant(0, I32), shape=ids.type.shape[:1])
    return b.reduce_sum(b.cast(b.equal(mask, 1), to=I32), axes=(1,), keepdims=False)


def _normalised(call: Call, x: Value, scale: Value, shift: Value | None) -> Value:
    parameters = [scale] if shift is None else [scale, shift]
    return call.build.layer_normalization(x, *parameters, axis=-1, epsilon=call.attr("epsilon", EPSILON))[0]
