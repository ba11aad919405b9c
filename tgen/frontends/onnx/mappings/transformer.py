"""What ONNX Runtime's optimiser makes of transformers besides attention: embeddings, residuals and biases fused with what follows."""

from __future__ import annotations

from ....ir.dtypes import I32, I64
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


@onnx_op("FusedMatMul", domain=MICROSOFT)
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
    angles = [b.unsqueeze(rows(call, cache, places), axes=(3 - along,)) for cache in (cos, sin)]
    turned = _turned(call, heads, *angles)
    return b.reshape(turned, shape=x.type.shape)


def _turned(call: Call, x: Value, cos: Value, sin: Value) -> Value:
    """(u·cos - v·sin, v·cos + u·sin) in place of the pairs (u, v): neighbours if interleaved, else halves apart; what is left stays."""
    b, pairs = call.build, cos.type.shape[-1]
    lead, interleaved = x.type.shape[:-1], bool(call.attr("interleaved", 0))
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
    ids, segments, words, places, kinds, gamma, beta, mask, positions = signature(
        call, operands, EMBED, ("epsilon", "mask_index_type"), needed=EMBED_NEEDED
    )
    if (segments is None) != (kinds is None):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has one of segment_ids and segment_embedding")
    b, (batch, length) = call.build, ids.type.shape
    if positions is None:
        positions = b.range(b.constant(0, I64), b.constant(1, I64), size=length)
    total = b.add(rows(call, words, ids), rows(call, places, positions))
    if segments is not None:
        total = b.add(total, rows(call, kinds, segments))
    if mask is None:
        count = b.full(b.constant(0, I32), shape=(batch,))
    else:
        count = b.reduce_sum(b.cast(b.equal(mask, 1), to=I32), axes=(1,), keepdims=False)
    return _normalised(call, total, gamma, beta), count, total


def _normalised(call: Call, x: Value, scale: Value, shift: Value | None) -> Value:
    parameters = [scale] if shift is None else [scale, shift]
    return call.build.layer_normalization(x, *parameters, axis=-1, epsilon=call.attr("epsilon", EPSILON))[0]
