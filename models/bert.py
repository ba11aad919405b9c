"""Encoders of the BERT family, written with the public builder and filled from a checkpoint.

    x   = norm(word[ids] + type[types] + position[0 … seq-1])                                     [batch, seq, hidden]
    x   = norm(x + attention(x)·Wo + bo);   x = norm(x + act(x·W1 + b1)·W2 + b2)                  in each layer
    attention = softmax(q·kᵀ / √(hidden/heads) + (1 - mask)·min) · v                              per head

Sources: Devlin et al. 2018 (BERT), Liu et al. 2019 (RoBERTa), Sanh et al. 2019 (DistilBERT); names of tensors and settings as
Hugging Face transformers writes them. Weights of dense layers are stored [out, in] there and become [in, out] here, once, when
the graph is built; query, key and value are one matrix [hidden, 3·hidden] whose product is read through views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tgen.ir.builder import Builder
from tgen.ir.dims import DimLike, dim_min, symbol
from tgen.ir.dtypes import F32, I64
from tgen.ir.errors import InvalidInput, InvalidModel, Unsupported
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.comparison import And

from .checkpoint import Checkpoint, Config
from .sentence import Pooling, sentence_embedding

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Names:
    """What a family calls its tensors. prefixes: where the encoder may sit in a larger model; the rest: inside a layer."""

    prefixes: tuple[str, ...]
    layer: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    up: str
    down: str
    norm: str


BERT_NAMES = Names(
    prefixes=("bert.", "roberta.", "camembert.", "xlm_roberta."),
    layer="encoder.layer.{}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    norm="output.LayerNorm",
)
DISTILBERT_NAMES = Names(
    prefixes=("distilbert.",),
    layer="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    norm="output_layer_norm",
)


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and choices of an encoder.

    token_types: rows of the table of token types (0: the family has none); only with two or more is `token_type_ids` an input.
    padding: None where tokens are numbered from 0; else the id of the padding token, and numbering starts at padding + 1 and
    skips padding tokens (RoBERTa). longest: most tokens of a text.
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    token_types: int
    activation: str
    epsilon: float
    names: Names
    padding: int | None = None

    @property
    def longest(self) -> int:
        return self.positions if self.padding is None else self.positions - self.padding - 1


ACTIVATIONS: dict[str, Callable[[Builder, Value], Value]] = {
    "gelu": lambda b, x: b.gelu(x),
    "gelu_new": lambda b, x: b.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda b, x: b.gelu(x, approximate="tanh"),
    "relu": lambda b, x: b.relu(x),
    "silu": lambda b, x: b.silu(x),
    "swish": lambda b, x: b.silu(x),
    "tanh": lambda b, x: b.tanh(x),
}


def bert_config(config: Config) -> EncoderConfig:
    """Of `model_type` bert: raises InvalidModel or Unsupported as `checked` does."""
    return checked(config, _bert_like(config, None))


def roberta_config(config: Config) -> EncoderConfig:
    """Of `model_type` roberta, xlm-roberta and camembert: BERT whose positions count from the padding id."""
    return checked(config, _bert_like(config, config.integer("pad_token_id", 1, least=0)))


def _bert_like(config: Config, padding: int | None) -> EncoderConfig:
    return EncoderConfig(
        vocabulary=config.integer("vocab_size"),
        hidden=config.integer("hidden_size"),
        layers=config.integer("num_hidden_layers", least=0),
        heads=config.integer("num_attention_heads"),
        inner=config.integer("intermediate_size"),
        positions=config.integer("max_position_embeddings"),
        token_types=config.integer("type_vocab_size", 2),
        activation=config.text("hidden_act", "gelu"),
        epsilon=config.number("layer_norm_eps", 1e-12),
        names=BERT_NAMES,
        padding=padding,
    )


def distilbert_config(config: Config) -> EncoderConfig:
    """Of `model_type` distilbert: BERT without token types, under other names, its epsilon fixed at 1e-12."""
    made = EncoderConfig(
        vocabulary=config.integer("vocab_size"),
        hidden=config.integer("dim"),
        layers=config.integer("n_layers", least=0),
        heads=config.integer("n_heads"),
        inner=config.integer("hidden_dim"),
        positions=config.integer("max_position_embeddings"),
        token_types=0,
        activation=config.text("activation", "gelu"),
        epsilon=1e-12,
        names=DISTILBERT_NAMES,
    )
    return checked(config, made)


def checked(config: Config, made: EncoderConfig) -> EncoderConfig:
    """`made`, if config.json asks for nothing that is missing here; Unsupported lists all that it asks for beyond."""
    wrong = []
    if made.activation not in ACTIVATIONS:
        wrong.append(f"hidden_act {made.activation!r} (known: {', '.join(ACTIVATIONS)})")
    if config.text("position_embedding_type", "absolute") != "absolute":
        wrong.append(f"position_embedding_type {config.get('position_embedding_type')!r} (known: absolute)")
    wrong += [f"{key} = true" for key in ("is_decoder", "add_cross_attention") if config.flag(key)]
    wrong += [key for key in ("quantization_config", "pruned_heads") if config.get(key)]
    if config.integer("embedding_size", made.hidden) != made.hidden:
        wrong.append(f"embedding_size {config.get('embedding_size')} other than hidden_size {made.hidden}")
    if wrong:
        raise Unsupported(f"{config.path}: {'; '.join(wrong)}")
    if made.hidden % made.heads:
        raise InvalidModel(f"{config.path}: {made.heads} heads do not divide the hidden size {made.hidden}")
    if made.longest < 1:
        raise InvalidModel(f"{config.path}: max_position_embeddings {made.positions} leaves no position for a token")
    return made


def build(
    config: EncoderConfig,
    tensors: Checkpoint,
    *,
    shapes: Mapping[str, int] | None = None,
    pooling: Pooling | None = None,
    name: str = "bert",
) -> Graph:
    """The graph of an encoder.

    Inputs: input_ids, attention_mask (1: a token, 0: padding) and, with token types, token_type_ids, each i64[batch, seq].
    Outputs: last_hidden_state f32[batch, seq, hidden]; pooler_output f32[batch, hidden] if the checkpoint has a pooler;
    sentence_embedding f32[batch, hidden] with `pooling`. shapes: values for the symbols batch and seq.
    Raises InvalidModel for a missing or misshapen tensor, InvalidInput for a shape that does not fit the model.
    """
    batch, seq = _extents(config, shapes or {})
    encoder = _Encoder(Builder(name), config, tensors.inside(*config.names.prefixes), batch, seq)
    b = encoder.b
    ids, mask = (b.input(n, I64, (batch, seq)) for n in ("input_ids", "attention_mask"))
    types = b.input("token_type_ids", I64, (batch, seq)) if config.token_types > 1 else None
    mask = b.cast(mask, to=F32)
    hidden = encoder.embed(ids, types)
    bias = b.mul(b.sub(1.0, b.reshape(mask, shape=(batch, 1, 1, seq))), LOWEST)
    for number in range(config.layers):
        hidden = encoder.layer(number, hidden, bias)
    b.output("last_hidden_state", hidden)
    if "pooler.dense.weight" in encoder.tensors:
        b.output("pooler_output", encoder.pooler(hidden))
    if pooling is not None:
        with b.origin("pooling"):
            b.output("sentence_embedding", sentence_embedding(b, hidden, mask, pooling))
    return b.build()


def _extents(config: EncoderConfig, shapes: Mapping[str, int]) -> tuple[DimLike, DimLike]:
    unknown = [s for s in shapes if s not in ("batch", "seq")]
    if unknown:
        raise InvalidInput(f"shapes: no dimension is named {unknown[0]!r}; this model has batch and seq")
    for name, extent in shapes.items():
        if isinstance(extent, bool) or not isinstance(extent, (int, np.integer)) or extent < 0:
            raise InvalidInput(f"shapes: {name} = {extent!r}; an integer of at least 0 is wanted")
    batch = int(shapes["batch"]) if "batch" in shapes else symbol("batch")
    seq = int(shapes["seq"]) if "seq" in shapes else symbol("seq")
    if isinstance(seq, int) and seq > config.longest:
        raise InvalidInput(f"shapes: seq = {seq}; this model has positions for at most {config.longest} tokens")
    return batch, seq


@dataclass(frozen=True)
class _Encoder:
    """The parts of the graph; each method names the module it stands for in the origin of its nodes."""

    b: Builder
    config: EncoderConfig
    tensors: Checkpoint
    batch: DimLike
    seq: DimLike

    def embed(self, ids: Value, types: Value | None) -> Value:
        """f32[batch, seq, hidden] from i64[batch, seq] ids and token types."""
        b, c = self.b, self.config
        with b.origin("embeddings"):
            x = self.looked_up("word", c.vocabulary, ids, "input_ids")
            if types is not None:
                x = b.add(x, self.looked_up("token_type", c.token_types, types, "token_type_ids"))
            elif c.token_types == 1:
                x = b.add(x, self.table("token_type", 1))
            x = b.add(x, self.positions(ids))
            return self.norm("embeddings.LayerNorm", x)

    def looked_up(self, kind: str, rows: int, ids: Value, name: str) -> Value:
        """f32[batch, seq, hidden], a row of the table for each id; a run with an id that has none is an InvalidInput."""
        b = self.b
        inside = b.apply(And(), b.greater_or_equal(ids, 0), b.less(ids, rows))
        b.check(b.reduce_min(inside, axes=(0, 1), keepdims=False), f"{name} has an element outside of 0…{rows - 1}")
        found: Value = b.gather(self.table(kind, rows), ids, axis=0)
        return found

    def table(self, kind: str, rows: int) -> Value:
        return self.b.constant(self.tensors.take(f"embeddings.{kind}_embeddings.weight", (rows, self.config.hidden)))

    def positions(self, ids: Value) -> Value:
        """f32[seq, hidden], the table's rows 0 … seq-1; or f32[batch, seq, hidden], those of padding + number of tokens so far, and
        of padding itself for padding. More than `longest` tokens are an InvalidInput of the run."""
        b, padding = self.b, self.config.padding
        table = self.table("position", self.config.positions)
        if padding is None:
            return self.at_most_longest(table, 0)
        real = b.sub(1, b.cast(b.equal(self.at_most_longest(ids, 1), padding), to=I64))
        return b.gather(table, b.add(b.mul(b.cum_sum(real, axis=1), real), padding), axis=0)

    def at_most_longest(self, x: Value, axis: int) -> Value:
        """The first seq elements of x along axis, of which there are `longest`."""
        there = dim_min(self.config.longest, self.seq)
        shape = list(x.type.shape)
        shape[axis] = self.seq
        return self.b.assume(self.b.slice(x, axes=(axis,), starts=(0,), sizes=(there,), steps=(1,)), shape=tuple(shape))

    def layer(self, number: int, x: Value, bias: Value) -> Value:
        """f32[batch, seq, hidden] → the same; bias f32[batch, 1, 1, seq] is added to the scores."""
        b, c, n = self.b, self.config, self.config.names
        prefix = n.layer.format(number)
        with b.origin(prefix + "attention"):
            context = self.attention(prefix, x, bias)
            x = self.norm(prefix + n.attention_norm, b.add(self.dense(prefix + n.attention_out, context, c.hidden), x))
        with b.origin(prefix + "feed_forward"):
            inner = ACTIVATIONS[c.activation](b, self.dense(prefix + n.up, x, c.inner))
            return self.norm(prefix + n.norm, b.add(self.dense(prefix + n.down, inner, c.hidden), x))

    def attention(self, prefix: str, x: Value, bias: Value) -> Value:
        """softmax(q·kᵀ·scale + bias)·v of every head, side by side: f32[batch, seq, hidden]."""
        b, c = self.b, self.config
        width = c.hidden // c.heads
        parts = [prefix + n for n in (c.names.query, c.names.key, c.names.value)]
        matrix = b.concat(*(self.matrix(p, c.hidden, c.hidden) for p in parts), axis=1)
        offset = np.concatenate([self.tensors.take(f"{p}.bias", (c.hidden,)) for p in parts])
        qkv = b.add(b.matmul(x, matrix), offset)

        def heads(part: int, perm: tuple[int, ...]) -> Value:
            piece = b.slice(qkv, axes=(2,), starts=(part * c.hidden,), sizes=(c.hidden,), steps=(1,))
            return b.transpose(b.reshape(piece, shape=(self.batch, self.seq, c.heads, width)), perm=perm)

        scores = b.mul(b.matmul(heads(0, (0, 2, 1, 3)), heads(1, (0, 2, 3, 1))), width**-0.5)
        context = b.matmul(b.softmax(b.add(scores, bias), axis=-1), heads(2, (0, 2, 1, 3)))
        return b.reshape(b.transpose(context, perm=(0, 2, 1, 3)), shape=(self.batch, self.seq, c.hidden))

    def pooler(self, hidden: Value) -> Value:
        """tanh(h[0]·W + b): f32[batch, hidden]."""
        b, width = self.b, self.config.hidden
        with b.origin("pooler"):
            first = b.reshape(b.slice(hidden, axes=(1,), starts=(0,), sizes=(1,), steps=(1,)), shape=(self.batch, width))
            return b.tanh(self.dense("pooler.dense", first, width))

    def dense(self, name: str, x: Value, out: int) -> Value:
        """x·W + b, the tensors `name`.weight [out, in] and `name`.bias [out]."""
        width = x.type.shape[-1]
        assert isinstance(width, int)
        product = self.b.matmul(x, self.matrix(name, width, out))
        return self.b.add(product, self.tensors.take(f"{name}.bias", (out,)))

    def matrix(self, name: str, width: int, out: int) -> Value:
        """[in, out] of the tensor `name`.weight [out, in]."""
        stored: Value = self.b.transpose(self.b.constant(self.tensors.take(f"{name}.weight", (out, width))), perm=(1, 0))
        return stored

    def norm(self, name: str, x: Value) -> Value:
        """Layer normalisation over the last axis; older checkpoints say gamma and beta for weight and bias."""
        shape = (self.config.hidden,)
        scale = self.tensors.take_any((f"{name}.weight", f"{name}.gamma"), shape)
        bias = self.tensors.take_any((f"{name}.bias", f"{name}.beta"), shape)
        normal, _, _ = self.b.layer_normalization(x, scale, bias, axis=-1, epsilon=self.config.epsilon)
        return normal
