"""Steps of training that are elementwise: optimisers, each over any number of tensors."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.dtypes import I64
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op

PREVIEW = "ai.onnx.preview.training"
_Step = Callable[..., tuple[Value, ...]]


def _each(call: Call, rate: Value, count: Value, tensors: tuple[Value, ...], kinds: int, step: _Step) -> tuple[Value, ...]:
    """`step` over the i-th tensor of each kind; results come by kind too."""
    n = len(tensors) // kinds
    results = [step(call, rate, count, *tensors[i::n]) for i in range(n)]
    return tuple(value for kind in zip(*results) for value in kind)


def _regularised(call: Call, x: Value, gradient: Value) -> Value:
    total: Value = call.build.add(call.build.mul(x, call.attr("norm_coefficient")), gradient)
    return total


@onnx_op("Momentum", domain=PREVIEW)
def momentum(call: Call, rate: Value, count: Value, *tensors: Value) -> tuple[Value, ...]:
    return _each(call, rate, count, tensors, 3, _momentum)


def _momentum(call: Call, rate: Value, count: Value, x: Value, gradient: Value, v: Value) -> tuple[Value, ...]:
    """v' = alpha·v + beta·g (beta is 1 in the first step), x' = x - rate·v', or of Nesterov x - rate·(g + alpha·v')"""
    b, alpha, dtype = call.build, call.attr("alpha"), x.type.dtype
    g = _regularised(call, x, gradient)
    later = b.greater(count, b.constant(0, I64))
    beta = b.where(later, b.constant(call.attr("beta"), dtype), b.constant(1.0, dtype))
    new = b.add(b.mul(v, alpha), b.mul(g, beta))
    step = b.add(g, b.mul(new, alpha)) if call.attr("mode") == "nesterov" else new
    return b.sub(x, b.mul(step, b.cast(rate, to=dtype))), new


@onnx_op("Adagrad", domain=PREVIEW)
def adagrad(call: Call, rate: Value, count: Value, *tensors: Value) -> tuple[Value, ...]:
    return _each(call, rate, count, tensors, 3, _adagrad)


def _adagrad(call: Call, rate: Value, count: Value, x: Value, gradient: Value, h: Value) -> tuple[Value, ...]:
    """h' = h + g², x' = x - rate/(1 + count·decay)·g/(√h' + epsilon)"""
    b, dtype = call.build, x.type.dtype
    g = _regularised(call, x, gradient)
    slower = b.div(rate, b.add(b.mul(b.cast(count, to=rate.type.dtype), call.attr("decay_factor")), 1.0))
    new = b.add(h, b.mul(g, g))
    step = b.div(b.mul(g, b.cast(slower, to=dtype)), b.add(b.sqrt(new), call.attr("epsilon")))
    return b.sub(x, step), new


@onnx_op("Adam", domain=PREVIEW)
def adam(call: Call, rate: Value, count: Value, *tensors: Value) -> tuple[Value, ...]:
    return _each(call, rate, count, tensors, 4, _adam)


def _adam(call: Call, rate: Value, count: Value, x: Value, gradient: Value, v: Value, h: Value) -> tuple[Value, ...]:
    """v' and h' are running means of g and g²; x' = x - rate·√(1 - beta^count)/(1 - alpha^count)·v'/(√h' + epsilon), uncorrected at 0"""
    b, alpha, beta = call.build, call.attr("alpha"), call.attr("beta")
    g, dtype = _regularised(call, x, gradient), rate.type.dtype
    running = b.add(b.mul(v, alpha), b.mul(g, 1 - alpha))
    square = b.add(b.mul(h, beta), b.mul(b.mul(g, g), 1 - beta))
    t = b.cast(count, to=dtype)
    mended = b.div(
        b.sqrt(b.sub(1.0, b.pow(b.constant(beta, dtype), t))),
        b.sub(1.0, b.pow(b.constant(alpha, dtype), t)),
    )
    adjusted = b.where(b.greater(count, b.constant(0, I64)), b.mul(rate, mended), rate)
    new = b.sub(x, b.mul(b.cast(adjusted, to=x.type.dtype), b.div(running, b.add(b.sqrt(square), call.attr("epsilon")))))
    return b.mul(new, 1 - call.attr("norm_coefficient_post")), running, square
