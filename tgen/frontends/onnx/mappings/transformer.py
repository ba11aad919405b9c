"""What ONNX Runtime's optimiser makes of transformers besides attention: embeddings, residuals and biases fused with what follows."""

from __future__ import annotations

from ....ir.dtypes import I32, I64
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, signature

EPSILON = 1e-12  # ONNX Runtime's default
SKIP = ("input", "skip", "gamma", "beta", "bias")
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
    total = b.add(b.gather(words, ids), b.gather(places, positions))
    if segments is not None:
        total = b.add(total, b.gather(kinds, segments))
    if mask is None:
        count = b.full(b.constant(0, I32), shape=(batch,))
    else:
        count = b.reduce_sum(b.cast(b.equal(mask, 1), to=I32), axes=(1,), keepdims=False)
    return _normalised(call, total, gamma, beta), count, total


def _normalised(call: Call, x: Value, scale: Value, shift: Value | None) -> Value:
    parameters = [scale] if shift is None else [scale, shift]
    return call.build.layer_normalization(x, *parameters, axis=-1, epsilon=call.attr("epsilon", EPSILON))[0]
