"""Batches of mixed lengths at the cost of their tokens: what surrounds the pass `ragged`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .ir.dims import evaluate_dim, symbol
from .ir.dtypes import I64
from .ir.errors import InvalidInput, Unsupported
from .ir.evaluate import evaluate
from .ir.graph import Graph, Input, Node, Value, symbols_of
from .ir.types import TensorType
from .passes.ragged import Tables, ragged

if TYPE_CHECKING:
    from .executable import Executable
    from .texts import TextExecutable

TABLES = ("tokens", "slots", "lengths")
TRIAL = 5  # positions of the trial sequences
TOLERANCE = 1e-4  # of the greatest output: padding that has a weight shows as much more


def with_tables(graph: Graph, mask: str) -> Graph:
    """The graph with inputs for the tables of `mask` [batch, seq] behind its own. Raises InvalidInput where there is no such input."""
    given = graph.input_types
    if mask not in given:
        raise InvalidInput(f"ragged={mask!r}: no input has this name; inputs: {', '.join(given)}")
    type_ = given[mask]
    if type_.rank != 2 or 1 in type_.shape:
        raise InvalidInput(f"ragged={mask!r}: a mask is [batch, seq] with more than one of both; this input is {type_}")
    known = symbols_of(given.values())
    count = next(name for name in ("tokens", *(f"tokens_{k}" for k in range(len(known) + 1))) if name not in known)
    shapes = ((symbol(count),), type_.shape, type_.shape[:1])
    inputs = tuple(Node(Input(f"{mask}.{name}", TensorType(I64, shape))) for name, shape in zip(TABLES, shapes))
    return dataclasses.replace(graph, inputs=(*graph.inputs, *inputs))


def tables_in(graph: Graph, mask: str) -> Tables:
    """The inputs that `with_tables` added."""
    by_name = {name: Value(node) for name, node in zip(graph.input_types, graph.inputs)}
    return Tables(*(by_name[f"{mask}.{name}"] for name in TABLES))


def tables(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, slots, lengths of a mask [batch, seq]: what is not 0 is a token. A batch without any counts its first position."""
    seen = mask != 0
    batch, seq = mask.shape
    tokens = np.flatnonzero(seen)
    slots = np.full(mask.size, -1, np.int64)
    slots[tokens] = np.arange(tokens.size)
    lengths = np.where(seen.any(axis=1), seq - np.argmax(seen[:, ::-1], axis=1), 0) if seq else np.zeros(batch, np.int64)
    return (tokens if tokens.size else np.zeros(min(1, mask.size), np.int64)), slots.reshape(mask.shape), lengths


def over_tokens(graph: Graph, mask: str) -> Graph:
    """The pass `ragged` by this mask, tried with padding behind the tokens and before them: a model may read the first or the last
    position as it stands. Raises Unsupported naming an output that depends on padding on either side.
    """
    new = ragged(graph, tables_in(graph, mask))
    behind, before = (_differing(graph, new, mask, left) for left in (False, True))
    if behind and before:
        raise Unsupported(f"ragged={mask!r}: output {behind!r} depends on positions that this mask leaves out")
    return new


def _differing(graph: Graph, new: Graph, mask: str, left: bool) -> str:
    """The first output that is not the same where there are tokens; "" if all are."""
    feeds = _trial(graph, mask, left)
    seen = feeds[mask] != 0
    before, after = (
        evaluate(dataclasses.replace(g, checks=()), feeds) for g in (graph, new)
    )  # whatever the model says of such inputs
    for name, want in before.items():
        got = after[name]
        if want.shape[:2] == seen.shape:
            want, got = want[seen], got[seen]
        if not np.allclose(got, want, rtol=0, atol=TOLERANCE * max(1e-30, np.abs(want).max(initial=0)), equal_nan=True):
            return name
    return ""


def _trial(graph: Graph, mask: str, left: bool) -> dict[str, np.ndarray]:
    """Random inputs: one sequence that is whole, others of a few tokens."""
    rng = np.random.default_rng(0)
    types = graph.input_types
    batch, seq = types[mask].shape
    sizes = dict.fromkeys(symbols_of(types.values()), 3) | {str(batch): 2, str(seq): TRIAL}
    seen = np.ones([evaluate_dim(d, sizes) for d in (batch, seq)], types[mask].dtype.numpy)
    seen[1:, 1 + seen.shape[1] // 3 :] = 0
    seen = seen[:, ::-1] if left else seen
    feeds = {mask: seen} | {f"{mask}.{name}": table for name, table in zip(TABLES, tables(seen))}
    for name, type_ in types.items():
        if name not in feeds:
            shape = [evaluate_dim(d, sizes) for d in type_.shape]
            values = rng.standard_normal(shape) if type_.dtype.is_float else rng.integers(0, 9, shape)
            feeds[name] = values.astype(type_.dtype.numpy)
    return feeds


class RaggedExecutable:
    """An `Executable` of a graph with tables, called without them: they come from the mask of each call.

    Outputs [batch, seq, …] are 0 where the mask is.
    """

    def __init__(self, executable: Executable | TextExecutable, mask: str) -> None:
        self._executable = executable
        self.name, self.threads, self.report = executable.name, executable.threads, executable.report
        self.inputs, self.outputs = executable.inputs[: -len(TABLES)], executable.outputs
        self._names = [spec.name for spec in self.inputs]
        self._mask = self._names.index(mask)

    def __repr__(self) -> str:
        return f"Ragged{self._executable!r}"

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """As `Executable.__call__`; raises InvalidInput."""
        if len(arrays) != len(self.inputs):
            raise InvalidInput(f"{len(arrays)} arrays given; inputs: {', '.join(map(str, self.inputs))}")
        mask = np.asarray(arrays[self._mask])
        if mask.ndim != 2:
            raise InvalidInput(f"input {self._names[self._mask]!r} has rank {mask.ndim}; wanted {self.inputs[self._mask]}")
        return self._executable(*arrays, *tables(mask))

    def run(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """As `Executable.run`; raises InvalidInput."""
        wrong = set(feeds) ^ set(self._names)
        if wrong:
            what = "missing input" if wrong - set(feeds) else "no input is named"
            raise InvalidInput(f"{what} {', '.join(sorted(wrong))}; inputs: {', '.join(map(str, self.inputs))}")
        results = self(*(feeds[name] for name in self._names))
        return {spec.name: result for spec, result in zip(self.outputs, results)}

    def plan(self) -> str:
        return self._executable.plan()

    def llvm_ir(self) -> str:
        return self._executable.llvm_ir()

    def assembly(self) -> str:
        return self._executable.assembly()
