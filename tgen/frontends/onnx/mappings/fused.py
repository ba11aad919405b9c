"""Convolutions and products that ONNX Runtime's optimiser has fused with the activation behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.errors import Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, signature
from .convolution import WINDOW_ATTRIBUTES, convolved

GEMM_ATTRIBUTES = ("alpha", "beta", "transA", "transB", "activation", "activation_alpha", "activation_beta", "activation_gamma")

# activation → defaults of its parameters, and what it makes of x and its parameters
ACTIVATIONS: dict[str, tuple[tuple[float, ...], Callable[..., Value]]] = {
    "": ((), lambda b, x: x),
    "Relu": ((), lambda b, x: b.relu(x)),
    "Tanh": ((), lambda b, x: b.tanh(x)),
    "Sigmoid": ((), lambda b, x: b.sigmoid(x)),
    "LeakyRelu": ((0.01,), lambda b, x, alpha: b.leaky_relu(x, alpha=alpha)),
    "HardSigmoid": ((0.2, 0.5), lambda b, x, alpha, beta: b.hard_sigmoid(x, alpha=alpha, beta=beta)),
    "Clip": ((-3.4028235e38, 3.4028235e38), lambda b, x, low, high: b.min(b.max(x, low), high)),
}


@onnx_op("FusedConv", domain=MICROSOFT)
def fused_conv(call: Call, *operands: Value | None) -> Value:
    """activation(conv(x, weights) + bias + z)"""
    names = ("x", "weights", "bias", "z")
    x, weights, bias, z = signature(
        call, operands, names, (*WINDOW_ATTRIBUTES, "activation", "activation_params"), needed=names[:2]
    )
    out = convolved(call, x, weights, bias)
    return _activated(call, out if z is None else call.build.add(out, z), call.attr("activation_params") or ())


@onnx_op("FusedGemm", domain=MICROSOFT)
def fused_gemm(call: Call, *operands: Value | None) -> Value:
    """activation(alpha·a·b + beta·c)"""
    a, b, c = signature(call, operands, ("a", "b", "c"), GEMM_ATTRIBUTES, needed=("a", "b"))
    out: Value = call.build.gemm(
        *(v for v in (a, b, c) if v is not None),
        alpha=call.attr("alpha", 1.0),
        beta=call.attr("beta", 1.0),
        trans_a=bool(call.attr("transA", 0)),
        trans_b=bool(call.attr("transB", 0)),
    )
    given = (call.attr(f"activation_{name}") for name in ("alpha", "beta"))
    return _activated(call, out, [value for value in given if value is not None])


def _activated(call: Call, x: Value, parameters: Sequence[float]) -> Value:
    name = call.attr("activation", "")
    if name not in ACTIVATIONS:
        raise Unsupported(f"activation {name}")
    defaults, make = ACTIVATIONS[name]
    given = (*parameters, *defaults[len(parameters) :])[: len(defaults)]
    return make(call.build, x, *given)
