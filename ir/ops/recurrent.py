"""RNN, LSTM and GRU cells along a sequence, in one direction: composites of products and `scan`. Gates lie side by side, in ONNX's order.

Operands: x (seq, batch, input), w (gates·hidden, input), r (gates·hidden, hidden), b (2·gates·hidden: of w, then of r), first states
(batch, hidden); then, if `masked`, lengths (batch,): steps from a sequence's length on leave its states alone and give 0.
Results: y (seq, batch, hidden), last states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..builder import Builder
from ..dims import DimLike
from ..dtypes import I64
from ..errors import TypeMismatch
from ..graph import Value
from ..op import Op, op
from ..types import TensorType, require
from .scan import Scan

Pair = tuple[float, float]
# By ONNX's names in lower case: with a builder, and in NumPy; alpha and beta as given, or ONNX's defaults.
ACTIVATIONS: dict[str, tuple[Pair, Callable[[Builder, Value, float, float], Value], Callable[[np.ndarray, float, float], Any]]] = {
    "affine": ((1.0, 0.0), lambda b, x, p, q: b.add(b.mul(x, p), q), lambda x, p, q: p * x + q),
    "elu": ((1.0, 0.0), lambda b, x, p, q: b.elu(x, alpha=p), lambda x, p, q: np.where(x < 0, p * np.expm1(np.minimum(x, 0)), x)),
    "hardsigmoid": ((0.2, 0.5), lambda b, x, p, q: b.hard_sigmoid(x, alpha=p, beta=q), lambda x, p, q: np.clip(p * x + q, 0, 1)),
    "leakyrelu": ((0.01, 0.0), lambda b, x, p, q: b.leaky_relu(x, alpha=p), lambda x, p, q: np.where(x < 0, p * x, x)),
    "relu": ((0.0, 0.0), lambda b, x, p, q: b.relu(x), lambda x, p, q: np.maximum(x, 0)),
    "scaledtanh": ((1.0, 1.0), lambda b, x, p, q: b.mul(b.tanh(b.mul(x, q)), p), lambda x, p, q: p * np.tanh(q * x)),
    "sigmoid": ((0.0, 0.0), lambda b, x, p, q: b.sigmoid(x), lambda x, p, q: (1 + np.tanh(x / 2)) / 2),
    "softplus": ((0.0, 0.0), lambda b, x, p, q: b.softplus(x), lambda x, p, q: np.logaddexp(x, 0)),
    "softsign": ((0.0, 0.0), lambda b, x, p, q: b.softsign(x), lambda x, p, q: x / (1 + np.abs(x))),
    "tanh": ((0.0, 0.0), lambda b, x, p, q: b.tanh(x), lambda x, p, q: np.tanh(x)),
    "thresholdedrelu": ((1.0, 0.0), lambda b, x, p, q: b.thresholded_relu(x, alpha=p), lambda x, p, q: np.where(x > p, x, 0)),
}


class _Recurrent(Op):
    """activations: a name and (alpha, beta) for each of the cell's functions. clip: of what they are applied to; 0: none."""

    activations: tuple[tuple[str, tuple[float, float]], ...]
    clip: float
    reverse: bool
    masked: bool
    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, _, r, _ = types[:4]
        hidden = r.shape[-1]
        rows = hidden * self.gates
        seq, batch, size = x.shape
        state = (batch, hidden)
        wanted = [(seq, batch, size), (rows, size), (rows, hidden), (rows * 2,), *[state] * self.states, *self._more(hidden)]
        wanted += [(batch,)] * self.masked
        for k, (given, shape) in enumerate(zip(types, wanted, strict=True)):
            dtype = I64 if self.masked and k == len(wanted) - 1 else x.dtype
            needed = TensorType(dtype, shape)
            require(given, needed, f"{self.name}: operand {k} is {given}; wanted {needed}")
        unknown = [name for name, _ in self.activations if name not in ACTIVATIONS]
        if unknown:
            raise TypeMismatch(f"{self.name}: activation {unknown[0]!r}; known: {', '.join(ACTIVATIONS)}")
        return (x.with_shape((seq, *state)), *[x.with_shape(state)] * self.states)

    def _more(self, hidden: DimLike) -> list[tuple[DimLike, ...]]:
        """Shapes of operands between the states and the lengths."""
        return []

    # -- as a graph ------------------------------------------------------------------------------------------------------

    def decompose(self, b: Builder, x: Value, w: Value, r: Value, bias: Value, *rest: Value) -> tuple[Value, ...]:
        states, more = rest[: self.states], rest[self.states : len(rest) - self.masked]
        ahead = b.add(self._product(b, x, self._columns(b, w), more, 0), _half(b, bias, 0))  # for all steps at once
        captured = (self._columns(b, r), bias, *more)
        sequences = [self._turned(b, ahead)]
        if self.masked:
            steps = b.reshape(b.range(b.constant(0, I64), b.constant(1, I64), size=x.type.shape[0]), shape=(x.type.shape[0], 1, 1))
            sequences.append(self._turned(b, b.less(steps, b.unsqueeze(rest[-1], axes=(1,)))))
        body = self._body([v.type for v in captured], [s.type for s in states], [s.type for s in sequences])
        scan = Scan(body, len(captured), len(states), x.type.shape[0])
        *last, y = b.apply(scan, *captured, *states, *sequences)
        return (self._turned(b, y), *last)

    def _turned(self, b: Builder, x: Value) -> Value:
        if not self.reverse:
            return x
        count = x.type.shape[0]
        return b.slice(x, axes=(0,), starts=(count - 1,), sizes=(count,), steps=(-1,))

    def _columns(self, b: Builder, weights: Value) -> Value:
        """Weights as the right side of a product."""
        out: Value = b.transpose(weights, perm=(1, 0))
        return out

    def _product(self, b: Builder, x: Value, columns: Value, more: Sequence[Value], of: int) -> Value:
        """x by the columns of w (of = 0) or r (of = 1); more: the operands between states and lengths."""
        out: Value = b.matmul(x, columns)
        return out

    def _multiplied(self, x: Any, weights: Any, more: Sequence[Any], of: int) -> Any:
        """`_product` in NumPy, of weights as they are given."""
        return x @ weights.T

    def _body(self, captured: Sequence[TensorType], states: Sequence[TensorType], sequences: Sequence[TensorType]) -> Any:
        b = Builder(self.name)
        inputs = [b.input(f"c{k}", t.dtype, t.shape) for k, t in enumerate(captured)]
        old = [b.input(f"s{k}", t.dtype, t.shape) for k, t in enumerate(states)]
        given = [b.input(f"x{k}", t.dtype, t.shape[1:]) for k, t in enumerate(sequences)]
        new = self._cell(b, given[0], *inputs, *old)
        y = new[0]
        if self.masked:
            y = b.where(given[1], y, 0.0)
            new = [b.where(given[1], n, o) for n, o in zip(new, old)]
        for k, value in enumerate(new):
            b.output(f"s{k}", value)
        b.output("y", y)
        return b.build()

    def _cell(self, b: Builder, ahead: Value, *operands: Value) -> list[Value]:
        """The next states. operands: the columns of r, the bias, what is between states and lengths, the states."""
        raise NotImplementedError

    def _apply(self, b: Builder, k: int, x: Value) -> Value:
        name, (alpha, beta) = self.activations[k]
        if self.clip > 0:
            x = b.min(b.max(x, -self.clip), self.clip)
        return ACTIVATIONS[name][1](b, x, alpha, beta)

    # -- in NumPy --------------------------------------------------------------------------------------------------------

    def reference(self, x: np.ndarray, w: np.ndarray, r: np.ndarray, bias: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = [a.astype(np.float64) for a in (x, w, r, bias, *rest[: len(rest) - self.masked])]
        x64, w64, r64, b64, *more = wide
        states = more[: self.states]
        ahead = self._multiplied(x64, w64, more[self.states :], 0)
        y = np.zeros((*x.shape[:2], states[0].shape[1]))
        order = range(len(x) - 1, -1, -1) if self.reverse else range(len(x))
        for t in order:
            alive = (t < rest[-1])[:, None] if self.masked else np.ones((x.shape[1], 1), bool)
            new = self._step(ahead[t], r64, b64, states, more[self.states :])
            y[t] = np.where(alive, new[0], 0)
            states = [np.where(alive, n, o) for n, o in zip(new, states)]
        return tuple(a.astype(x.dtype) for a in (y, *states))

    def _step(self, ahead: Any, r: Any, bias: Any, states: Sequence[Any], more: Sequence[Any]) -> list[Any]:
        raise NotImplementedError

    def _act(self, k: int, x: np.ndarray) -> Any:
        name, (alpha, beta) = self.activations[k]
        return ACTIVATIONS[name][2](np.clip(x, -self.clip, self.clip) if self.clip > 0 else x, alpha, beta)


def _half(b: Builder, bias: Value, k: int) -> Value:
    size = bias.type.shape[0] // 2
    return b.slice(bias, axes=(0,), starts=(size * k,), sizes=(size,), steps=(1,))


def _gates(b: Builder, x: Value, count: int) -> list[Value]:
    size = x.type.shape[-1] // count
    return list(b.split(x, axis=x.type.rank - 1, sizes=(size,) * count))


@op
class Rnn(_Recurrent):
    """h' = f(x·wᵀ + h·rᵀ + bias)"""

    activations: tuple[tuple[str, tuple[float, float]], ...] = (("tanh", (0.0, 0.0)),)
    clip: float = 0.0
    reverse: bool = False
    masked: bool = False
    gates: ClassVar[int] = 1

    def _cell(self, b: Builder, ahead: Value, *operands: Value) -> list[Value]:
        r, bias, h = operands
        return [self._apply(b, 0, b.add(b.add(ahead, b.matmul(h, r)), _half(b, bias, 1)))]

    def _step(self, ahead: Any, r: Any, bias: Any, states: Sequence[Any], more: Sequence[Any]) -> list[Any]:
        return [self._act(0, ahead + states[0] @ r.T + bias.reshape(2, -1).sum(0))]


@op
class Lstm(_Recurrent):
    """i, o, f, c = x·wᵀ + h·rᵀ + bias;  C' = f(f)·C + f(i)·g(c);  h' = f(o)·h(C').  States: h, C.

    peepholes (3·hidden, after the states): p_i·C, p_o·C', p_f·C are added to i, o, f. input_forget: f(f) is 1 - f(i).
    """

    activations: tuple[tuple[str, tuple[float, float]], ...] = (("sigmoid", (0.0, 0.0)), ("tanh", (0.0, 0.0)), ("tanh", (0.0, 0.0)))
    clip: float = 0.0
    reverse: bool = False
    masked: bool = False
    peepholes: bool = False
    input_forget: bool = False
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def _more(self, hidden: DimLike) -> list[tuple[DimLike, ...]]:
        return [(hidden * 3,)] if self.peepholes else []

    def _cell(self, b: Builder, ahead: Value, *operands: Value) -> list[Value]:
        r, bias, *more, h, c = operands
        into, out, forget, content = _gates(b, b.add(b.add(ahead, self._product(b, h, r, more, 1)), _half(b, bias, 1)), 4)
        weights = list(b.split(more[0], axis=0, sizes=(more[0].type.shape[0] // 3,) * 3)) if self.peepholes else []
        if weights:
            into, forget = b.add(into, b.mul(weights[0], c)), b.add(forget, b.mul(weights[2], c))
        into = self._apply(b, 0, into)
        kept = b.sub(1.0, into) if self.input_forget else self._apply(b, 0, forget)
        new = b.add(b.mul(kept, c), b.mul(into, self._apply(b, 1, content)))
        if weights:
            out = b.add(out, b.mul(weights[1], new))
        return [b.mul(self._apply(b, 0, out), ACTIVATIONS[self.activations[2][0]][1](b, new, *self.activations[2][1])), new]

    def _step(self, ahead: Any, r: Any, bias: Any, states: Sequence[Any], more: Sequence[Any]) -> list[Any]:
        h, c = states
        p_into, p_out, p_forget = np.split(more[0], 3) if self.peepholes else (0.0, 0.0, 0.0)
        total = ahead + self._multiplied(h, r, more, 1) + bias.reshape(2, -1).sum(0)
        into, out, forget, content = np.split(total, 4, axis=1)
        into = self._act(0, into + p_into * c)
        kept = 1 - into if self.input_forget else self._act(0, forget + p_forget * c)
        new = kept * c + into * self._act(1, content)
        name, pair = self.activations[2]
        return [self._act(0, out + p_out * new) * ACTIVATIONS[name][2](new, *pair), new]


@op
class Gru(_Recurrent):
    """z, r, n = gates;  h' = (1 - f(z))·g(n) + f(z)·h, where n = x·wᵀ + (f(r)·h)·rᵀ + biases

    linear_before_reset: n = x·wᵀ + bias_w + f(r)·(h·rᵀ + bias_r).
    """

    activations: tuple[tuple[str, tuple[float, float]], ...] = (("sigmoid", (0.0, 0.0)), ("tanh", (0.0, 0.0)))
    clip: float = 0.0
    reverse: bool = False
    masked: bool = False
    linear_before_reset: bool = False
    gates: ClassVar[int] = 3

    def _cell(self, b: Builder, ahead: Value, *operands: Value) -> list[Value]:
        r, bias, h = operands
        size = h.type.shape[1]
        x_z, x_r, x_n = _gates(b, ahead, 3)
        b_z, b_r, b_n = _gates(b, _half(b, bias, 1), 3)

        def part(first: int, count: int) -> Value:
            return b.slice(r, axes=(1,), starts=(size * first,), sizes=(size * count,), steps=(1,))

        h_z, h_r = _gates(b, b.matmul(h, part(0, 2)), 2)
        update = self._apply(b, 0, b.add(b.add(x_z, h_z), b_z))
        reset = self._apply(b, 0, b.add(b.add(x_r, h_r), b_r))
        if self.linear_before_reset:
            inner = b.mul(reset, b.add(b.matmul(h, part(2, 1)), b_n))
        else:
            inner = b.add(b.matmul(b.mul(reset, h), part(2, 1)), b_n)
        new = self._apply(b, 1, b.add(x_n, inner))
        return [b.add(b.mul(b.sub(1.0, update), new), b.mul(update, h))]

    def _step(self, ahead: Any, r: Any, bias: Any, states: Sequence[Any], more: Sequence[Any]) -> list[Any]:
        (h,) = states
        w_z, w_r, w_n = np.split(ahead, 3, axis=1)
        r_z, r_r, r_n = np.split(r, 3)
        bw_z, bw_r, bw_n, br_z, br_r, br_n = np.split(bias, 6)
        update = self._act(0, w_z + h @ r_z.T + bw_z + br_z)
        reset = self._act(0, w_r + h @ r_r.T + bw_r + br_r)
        if self.linear_before_reset:
            new = self._act(1, w_n + bw_n + reset * (h @ r_n.T + br_n))
        else:
            new = self._act(1, w_n + bw_n + (reset * h) @ r_n.T + br_n)
        return [(1 - update) * new + update * h]
