"""Random numbers. They are the same in every run, on every target and for any number of threads: those of `ir.ops.draws.RandomBits`.

The seed is the attribute's bits; without one it is made of the node's name, so that nodes draw different numbers and a model that is
imported again the same ones.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from ....ir.dims import DimLike
from ....ir.dtypes import F32, F64, I64, DType
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ....ir.ops.comparison import Or
from ..call import Call
from ..registry import dtype_attribute, onnx_op

Shape = tuple[DimLike, ...]


@onnx_op("RandomUniform", "RandomUniformLike")
def random_uniform(call: Call, like: Value | None = None) -> Value:
    """low + (high - low)·u, u evenly from [0, 1)"""
    b, low, high = call.build, call.attr("low"), call.attr("high")
    shape, dtype = _wanted(call, like)
    out: Value = b.cast(b.add(b.mul(_uniform(call, shape, _wide(dtype)), high - low), low), to=dtype)
    return out


@onnx_op("RandomNormal", "RandomNormalLike")
def random_normal(call: Call, like: Value | None = None) -> Value:
    """mean + scale·√(-2·ln(1 - u))·cos(2π·v), u and v evenly from [0, 1)"""
    b = call.build
    shape, dtype = _wanted(call, like)
    pair = _uniform(call, (2, *shape), _wide(dtype))
    u, v = (b.squeeze(x, axes=(0,)) for x in b.split(pair, axis=0, sizes=(1, 1)))
    normal = b.mul(b.sqrt(b.mul(b.log(b.sub(1.0, u)), -2.0)), b.cos(b.mul(v, 2 * math.pi)))
    out: Value = b.cast(b.add(b.mul(normal, call.attr("scale")), call.attr("mean")), to=dtype)
    return out


@onnx_op("Bernoulli", since=15)
def bernoulli(call: Call, chance: Value) -> Value:
    """1 with this chance, else 0"""
    b, code = call.build, call.attr("dtype")
    wide = _wide(chance.type.dtype)
    drawn = b.less(_uniform(call, chance.type.shape, wide), b.cast(chance, to=wide))
    out: Value = b.cast(drawn, to=chance.type.dtype if code is None else dtype_attribute(code, call))
    return out


@onnx_op("Multinomial", since=7)
def multinomial(call: Call, x: Value) -> Value:
    """Classes [batch, samples] by unnormalised logarithms of their chances [batch, classes]: how many running totals are not above u."""
    b, samples = call.build, int(call.attr("sample_size"))
    if x.type.rank != 2 or x.type.shape[1] == 0 or samples < 0:
        raise InvalidModel(f"{call.importer.what}: Multinomial {call.name!r} of {x.type}: {samples} samples")
    batch, classes = x.type.shape
    chances = b.softmax(b.cast(x, to=F64), axis=-1)
    totals = b.unsqueeze(b.cum_sum(chances, axis=1), axes=(1,))
    drawn = b.unsqueeze(_uniform(call, (batch, samples), F64), axes=(2,))
    below = b.reduce_sum(b.cast(b.less_or_equal(totals, drawn), to=I64), axes=(2,), keepdims=False)
    last = b.reshape(b.dims_value(dims=(classes - 1,)), shape=())  # totals may end a rounding error below 1
    out: Value = b.cast(b.min(below, last), to=dtype_attribute(call.attr("dtype"), call))
    return out


@onnx_op("Dropout")
def dropout(call: Call, x: Value, ratio: Value | None = None, training: Value | None = None) -> tuple[Value, Value]:
    """(x, what of it is kept): in training elements are 0 with a chance of `ratio`, and what is left is as much greater."""
    b, content = call.build, None if training is None else call.build.content(training)
    if training is None or (content is not None and not content.reshape(-1)[0]):
        whole = np.ones((), np.bool_) if call.opset >= 10 else np.ones((), x.type.dtype.numpy)
        return x, b.full(b.constant(whole), shape=x.type.shape)
    wide = _wide(x.type.dtype)
    chance = b.constant(0.5, wide) if ratio is None else b.cast(b.reshape(ratio, shape=()), to=wide)
    drawn = b.greater_or_equal(_uniform(call, x.type.shape, wide), chance)
    kept = b.apply(Or(), drawn, b.reshape(getattr(b, "not")(training), shape=()))
    scale = b.where(b.reshape(training, shape=()), b.div(1.0, b.sub(1.0, chance)), b.constant(1.0, wide))
    out = b.where(kept, b.mul(b.cast(x, to=wide), scale), b.constant(0.0, wide))
    return b.cast(out, to=x.type.dtype), kept


def _wanted(call: Call, like: Value | None) -> tuple[Shape, DType]:
    """Shape and dtype of the result. Raises InvalidModel where they are not those of a tensor of floats."""
    shape = like.type.shape if like is not None else tuple(call.required("shape"))
    code = call.attr("dtype")
    dtype = dtype_attribute(code, call) if code is not None or like is None else like.type.dtype
    if not dtype.is_float or any(isinstance(d, int) and d < 0 for d in shape):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: random numbers of {dtype}, shape {list(shape)}")
    return shape, dtype


def _wide(dtype: DType) -> DType:
    """What numbers are drawn in."""
    return F64 if dtype is F64 else F32


def _uniform(call: Call, shape: Shape, dtype: DType) -> Value:
    """Multiples of 2^-24 (float64: 2^-53) from [0, 1)"""
    b, kept = call.build, 53 if dtype is F64 else 24
    bits = b.bit_shift(b.random_bits(shape=shape, seed=_seed(call)), 64 - kept, direction="RIGHT")
    out: Value = b.mul(b.cast(b.cast(bits, to=I64), to=dtype), 2.0**-kept)
    return out


def _seed(call: Call) -> int:
    given = call.attr("seed")
    if given is not None:
        return int(np.float32(given).view(np.uint32))
    return int.from_bytes(hashlib.blake2b(call.name.encode(), digest_size=8).digest(), "little")
