"""Samples of loops over a sequence: `scan`, and the cells made of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tgen.ir.builder import Builder
from tgen.ir.graph import Graph
from tgen.ir.op import OPS
from tgen.ir.ops.recurrent import ACTIVATIONS
from tgen.ir.ops.scan import Scan

from .onnx_oracle import run_onnx
from .samples import Sample

SIZES = [(5, 3, 4, 6), (1, 1, 3, 2), (7, 2, 1, 8), (0, 2, 3, 4)]  # seq, batch, input, hidden
ONNX_NAMES = {n.lower(): n for n in ("HardSigmoid", "LeakyRelu", "ScaledTanh", "ThresholdedRelu")}
CELLS = {"rnn": (1, 1, 1), "lstm": (4, 2, 3), "gru": (3, 1, 2)}  # gates, states, activations


def _running_maximum(rows: int) -> Graph:
    """State: the greatest so far; gives how far each element is below it, scaled by a captured factor."""
    b = Builder("step")
    factor, best, x = b.input("factor", "f32", ()), b.input("best", "f32", (rows,)), b.input("x", "f32", (rows,))
    new = b.max(best, x)
    b.output("best", new)
    b.output("below", b.mul(b.sub(new, x), factor))
    return b.build()


def _by_accumulate(factor: np.ndarray, first: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    best = np.maximum.accumulate(np.concatenate([first[None], x]), axis=0)
    return best[-1], (best[1:] - x) * factor


def _scans(rng: np.random.Generator) -> Iterator[Sample]:
    for count, rows in ((6, 3), (1, 40), (0, 2), (33, 1)):
        x = rng.standard_normal((count, rows), np.float32)
        first, factor = rng.standard_normal(rows, np.float32), np.array(2.5, np.float32)
        yield Sample(Scan(_running_maximum(rows), 1, 1, count), (factor, first, x), _by_accumulate)


def _cells(rng: np.random.Generator) -> Iterator[Sample]:
    sizes = itertools.cycle(SIZES)
    for name, reverse, masked in itertools.product(CELLS, (False, True), (False, True)):
        options: list[dict[str, Any]] = [{}, {"clip": 0.5}]
        options += {"lstm": [{"peepholes": True}, {"input_forget": True}], "gru": [{"linear_before_reset": True}]}.get(name, [])
        for option in options:
            yield _cell(rng, name, next(sizes), reverse=reverse, masked=masked, **option)
    for activation in ACTIVATIONS:
        pair = ACTIVATIONS[activation][0]
        yield _cell(rng, "rnn", (4, 2, 3, 5), reverse=False, masked=False, activations=((activation, pair),))


def _cell(rng: np.random.Generator, name: str, size: Sequence[int], **options: Any) -> Sample:
    seq, batch, width, hidden = size
    gates, states, _ = CELLS[name]
    shapes = [(seq, batch, width), (gates * hidden, width), (gates * hidden, hidden), (2 * gates * hidden,)]
    shapes += [(batch, hidden)] * states + [(3 * hidden,)] * bool(options.get("peepholes"))
    operands = [rng.standard_normal(s, np.float32) * np.float32(0.7) for s in shapes]
    if options["masked"]:
        operands.append(rng.integers(min(1, seq), seq + 1, batch))  # ONNX Runtime forgets the first state of an empty sequence
    op = OPS[name](**options)
    oracle = None if seq == 0 else _oracle(name, op)
    return Sample(op, tuple(operands), oracle, 1e-4, 1e-5)


def _oracle(name: str, op: Any) -> Callable[..., tuple[np.ndarray, ...]]:
    """ONNX Runtime's operator over the same operands, with an axis of directions of its own."""
    states = CELLS[name][1]
    attributes: dict[str, Any] = {"direction": "reverse" if op.reverse else "forward"}
    attributes["activations"] = [ONNX_NAMES.get(n, n.capitalize()) for n, _ in op.activations]
    attributes["activation_alpha"] = [pair[0] for _, pair in op.activations]
    attributes["activation_beta"] = [pair[1] for _, pair in op.activations]
    attributes |= {"clip": op.clip} if op.clip else {}
    attributes |= {k: int(getattr(op, k)) for k in ("input_forget", "linear_before_reset") if hasattr(op, k)}

    def run(x: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, ...]:
        w, r, b, *more = (a[None] for a in rest)
        lengths = more.pop()[0].astype(np.int32) if op.masked else None
        arrays = [x, w, r, b, lengths, *more]
        if len(more) > states:  # peepholes stay behind the states
            arrays = [x, w, r, b, lengths, *more[:states], more[states]]
        y, *last = run_onnx(name.upper(), arrays, 1 + states, attributes | {"hidden_size": r.shape[-1]})
        return (y[:, 0], *(s[0] for s in last))

    return run


def _quantised(rng: np.random.Generator) -> Iterator[Sample]:
    """A step of the quantised side may be rounded the other way, and all that follows differs by as much."""
    for (seq, batch, width, hidden), by_column, peepholes in zip(SIZES[:3], (False, True, False), (False, False, True)):
        rows = 4 * hidden
        shapes = [(seq, batch, width), (2 * rows,), (batch, hidden), (batch, hidden), *[(3 * hidden,)] * peepholes]
        x, *floats = (rng.standard_normal(s, np.float32) for s in shapes)
        weights = [rng.integers(0, 128, (k, rows)).astype(np.uint8) for k in (width, hidden)]
        columns = (rows,) if by_column else ()
        parameters = [
            v for _ in weights for v in (rng.uniform(0.005, 0.01, columns).astype(np.float32), np.full(columns, 60, np.uint8))
        ]
        op = OPS["dynamic_quantize_lstm"](reverse=by_column, peepholes=peepholes)
        yield Sample(op, (x, *weights, *floats, *parameters), _quantised_oracle(op), 0, 0.01)


def _quantised_oracle(op: Any) -> Callable[..., tuple[np.ndarray, ...]]:
    def run(x: np.ndarray, w: np.ndarray, r: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, ...]:
        bias, h, c, *peepholes = (a[None] for a in rest[:-4])
        parameters = [a[None] if a.ndim else a.reshape(1) for a in rest[-4:]]
        arrays = [x, w[None], r[None], bias, None, h, c, *(peepholes or [None]), *parameters]
        attributes = {"direction": "reverse" if op.reverse else "forward", "hidden_size": r.shape[0]}
        y, *last = run_onnx("DynamicQuantizeLSTM", arrays, 3, attributes, domain="com.microsoft")
        return (y[:, 0], *(s[0] for s in last))

    return run


def samples() -> list[Sample]:
    rng = np.random.default_rng(41)
    return [*_scans(rng), *_cells(rng), *_quantised(rng)]
