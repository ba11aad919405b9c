"""RNN, LSTM and GRU: directions one by one, put together as ONNX wants them."""

from __future__ import annotations

from typing import Any

from ....ir.dims import Dim, DimLike
from ....ir.dtypes import I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.ops.dynamic import DynamicQuantizeLstm
from ....ir.ops.recurrent import ACTIVATIONS, Gru, Lstm, Rnn
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, signature

_WITH_ALPHA = ("affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu")
_WITH_BETA = ("affine", "hardsigmoid", "scaledtanh")
_CELLS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "RNN": (Rnn, ("tanh",)),
    "LSTM": (Lstm, ("sigmoid", "tanh", "tanh")),
    "GRU": (Gru, ("sigmoid", "tanh")),
    "DynamicQuantizeLSTM": (DynamicQuantizeLstm, ("sigmoid", "tanh", "tanh")),
}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
QUANTISED = (
    "X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P", "W_scale", "W_zero_point", "R_scale", "R_zero_point",
)  # fmt: skip
ATTRIBUTES = ("activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "input_forget")


@onnx_op("RNN", "LSTM", "GRU")
def recurrent(call: Call, x: Value, w: Value, r: Value, *rest: Value | None) -> list[Value]:
    return _by_direction(call, x, w, r, rest, ())


@onnx_op("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_quantised_lstm(call: Call, *operands: Value | None) -> list[Value]:
    """Weights [directions, k, 4·hidden] of 8 bits; their scales and zero points [directions] or [directions, 4·hidden]."""
    x, w, r, *rest = signature(call, operands, QUANTISED, ATTRIBUTES, needed=(*QUANTISED[:3], *QUANTISED[8:]))
    if {v.type.rank for v in (x, w, r)} != {3} or {v.type.shape[:1] for v in (r, *rest[5:])} != {w.type.shape[:1]}:
        types = ", ".join(str(v.type) for v in (x, w, r, *rest[5:]))
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} of {types}")
    return _by_direction(call, x, w, r, tuple(rest[:5]), tuple(rest[5:]))


def _by_direction(
    call: Call, x: Value, w: Value, r: Value, rest: tuple[Value | None, ...], scales: tuple[Value, ...]
) -> list[Value]:
    """rest: bias, lengths, states and peepholes, as far as they are there. scales: of quantised weights."""
    absent: list[Value | None] = [None] * (5 - len(rest))
    bias, lengths, h, c, peepholes = [*rest, *absent]
    b, (cell, _) = call.build, _CELLS[call.op_type]
    directions = _DIRECTIONS.get(_text(call.attr("direction", "forward")), ())
    if len(directions) != w.type.shape[0]:
        raise Unsupported(f"direction {call.attr('direction')!r} with weights {w.type}")
    if call.attr("layout", 0):
        x, h, c = b.transpose(x, perm=(1, 0, 2)), *(v and b.transpose(v, perm=(1, 0, 2)) for v in (h, c))
    batch, hidden = x.type.shape[1], r.type.shape[1 if scales else 2]
    zeros = b.expand(b.constant(0.0, x.type.dtype), shape=(len(directions), batch, hidden))
    h, c = (v and _for_batch(call, v, batch) for v in (h, c))
    bias = bias or b.expand(b.constant(0.0, x.type.dtype), shape=(len(directions), hidden * cell.gates * 2))
    given = [w, r, bias, *[h or zeros, c or zeros][: cell.states], *([peepholes] if peepholes else []), *scales]
    more = [b.cast(lengths, to=I64)] if lengths else []
    activations = _activations(call, len(directions))
    found = []
    for k, reverse in enumerate(directions):
        op = cell(
            activations=activations[k],
            clip=float(call.attr("clip", 0.0)),
            reverse=reverse,
            masked=bool(lengths),
            **_options(call, peepholes),
        )
        found.append(b.apply(op, x, *(_direction(call, v, k) for v in given), *more))
    y, *last = (b.concat(*(b.unsqueeze(v, axes=(axis,)) for v in of), axis=axis) for of, axis in zip(zip(*found), (1, 0, 0)))
    if call.attr("layout", 0):
        y, last = b.transpose(y, perm=(2, 0, 1, 3)), [b.transpose(v, perm=(1, 0, 2)) for v in last]
    return [y, *last]


def _for_batch(call: Call, state: Value, batch: DimLike) -> Value:
    """A state [directions, batch, hidden], whose batch often has a name of its own."""
    shape = state.type.shape
    open_batch = len(shape) == 3 and isinstance(shape[1], Dim)
    return call.build.assumed(state, (shape[0], batch, shape[2])) if open_batch else state


def _direction(call: Call, x: Value, k: int) -> Value:
    sliced = call.build.slice(x, axes=(0,), starts=(k,), sizes=(1,), steps=(1,))
    return call.build.squeeze(sliced, axes=(0,))


def _options(call: Call, peepholes: Value | None) -> dict[str, bool]:
    if call.op_type.endswith("LSTM"):
        return {"peepholes": peepholes is not None, "input_forget": bool(call.attr("input_forget", 0))}
    return {"linear_before_reset": bool(call.attr("linear_before_reset", 0))} if call.op_type == "GRU" else {}


def _activations(call: Call, directions: int) -> list[tuple[tuple[str, tuple[float, float]], ...]]:
    """For each direction. alpha and beta are listed for those functions only that have them."""
    default = _CELLS[call.op_type][1]
    listed = [_text(name).lower() for name in call.attr("activations") or ()] or list(default) * directions
    alphas, betas = (iter(call.attr(f"activation_{name}") or ()) for name in ("alpha", "beta"))
    unknown = [name for name in listed if name not in ACTIVATIONS]
    listed = listed[: len(default) * directions]  # ONNX's default of RNN is for two directions, whatever there are
    if unknown or len(listed) < len(default) * directions:
        raise Unsupported(f"activations {unknown or listed}")
    found = []
    for name in listed:
        alpha, beta = ACTIVATIONS[name][0]
        alpha = next(alphas, alpha) if name in _WITH_ALPHA else alpha
        beta = next(betas, beta) if name in _WITH_BETA else beta
        found.append((name, (float(alpha), float(beta))))
    return [tuple(found[k : k + len(default)]) for k in range(0, len(found), len(default))]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
