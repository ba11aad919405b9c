"""`LoopProgram`: chains of maps and reductions over the same rows, as one loop nest.

    for each row (i0 … i{rows-1}):                       rows are independent, threads share them
        stage 0:  for each column (i{rows} …): …         columns are visited once a stage
        stage 1:  …
A stage computes `body` and then
    keeps it     — for later stages: one element a column (`each`) or the row's scalar (`once`)
    combines it  — over the columns into the row's scalar (`reduce`)
    stores it    — to an output at `index`
Softmax, norms, residual + norm, quantise-after-norm are all programs of this kind; a plain elementwise map has one stage and
no columns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dims import DimLike, evaluate_dim
from .dtypes import dtype_of
from .errors import InvalidGraph
from .expr import Expr, Index, Kept, Load, evaluate_expr, walk
from .types import TensorType

COMBINE = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.logical_and,
    "or": np.logical_or,
}


@dataclass(frozen=True)
class Stage:
    """kind: each | reduce | once. combine: the reduction, for reduce. output, index: where the value is stored, if it is.

    body: over `Load(k, ...)` of the program's inputs, `Index` of rows (and columns, unless once) and `Kept` earlier stages.
    """

    kind: str
    body: Expr
    combine: str | None = None
    output: int | None = None
    index: tuple[Expr, ...] = ()

    def __str__(self) -> str:
        what = f"{self.combine} of {self.body}" if self.kind == "reduce" else str(self.body)
        where = f" -> out{self.output}[{', '.join(map(str, self.index))}]" if self.output is not None else ""
        return f"{self.kind} {what}{where}"


@dataclass(frozen=True)
class LoopProgram:
    """extents: of all axes, the `rows` row axes first. outputs: types of the results; each is stored by exactly one stage."""

    extents: tuple[DimLike, ...]
    rows: int
    stages: tuple[Stage, ...]
    outputs: tuple[TensorType, ...]

    def __str__(self) -> str:
        row = ", ".join(f"i{k} < {e}" for k, e in enumerate(self.extents[: self.rows]))
        column = ", ".join(f"i{k + self.rows} < {e}" for k, e in enumerate(self.extents[self.rows :]))
        stages = "; ".join(f"s{k} = {s}" for k, s in enumerate(self.stages))
        return f"[{row} | {column}] {stages}"

    def verify(self) -> None:
        """Raises InvalidGraph when a stage reads what is not there yet, or an output is not stored exactly once."""
        self._verified  # noqa: B018 - found valid once, a program stays so

    @functools.cached_property
    def _verified(self) -> bool:
        for k, stage in enumerate(self.stages):
            for node in walk(stage.body):
                if isinstance(node, Kept) and not 0 <= node.stage < k:
                    raise InvalidGraph(f"stage {k} reads stage {node.stage}")
                if isinstance(node, Index) and not 0 <= node.axis < (self.rows if stage.kind == "once" else len(self.extents)):
                    raise InvalidGraph(f"stage {k} ({stage.kind}) uses axis {node.axis}")
                if isinstance(node, Kept) and stage.kind == "once" and self.stages[node.stage].kind == "each":
                    raise InvalidGraph(f"stage {k} runs once a row but reads the columns of stage {node.stage}")
        stored = sorted(s.output for s in self.stages if s.output is not None)
        if stored != list(range(len(self.outputs))):
            raise InvalidGraph(f"outputs stored: {stored}; wanted each of {len(self.outputs)} once")
        return True


def interpret(program: LoopProgram, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The NumPy meaning: every stage at once over the whole index space. Extents must be integers by now."""
    extents = [evaluate_dim(e, {}) for e in program.extents]
    rank = len(extents)
    grid = [np.arange(e, dtype=np.int64).reshape([-1 if j == k else 1 for j in range(rank)]) for k, e in enumerate(extents)]
    outputs = [np.zeros([evaluate_dim(d, {}) for d in t.shape], t.dtype.numpy) for t in program.outputs]
    columns = tuple(range(program.rows, rank))
    kept: list[np.ndarray] = []

    def leaf(x: Expr) -> np.ndarray:
        if isinstance(x, Load):
            return arrays[x.operand]
        if isinstance(x, Index):
            return grid[x.axis]
        if isinstance(x, Kept):
            return kept[x.stage]
        raise InvalidGraph(f"{x} has no meaning in a loop program")

    for stage in program.stages:
        space = extents if stage.kind != "once" else [*extents[: program.rows], *(1 for _ in columns)]
        value = np.broadcast_to(_evaluate(stage.body, leaf, 0 in space), space)
        if stage.kind == "reduce":
            value = reduce_columns(value, stage.combine or "add", columns)
        kept.append(value)
        if stage.output is not None and 0 not in value.shape:
            where = tuple(np.broadcast_to(_evaluate(i, leaf, False), value.shape) for i in stage.index)
            outputs[stage.output][where] = value if where else value.reshape(())
    return tuple(outputs)


def _evaluate(body: Expr, leaf: Callable[[Expr], Any], empty: bool) -> np.ndarray:
    if empty:  # loads of an empty space could index an empty array
        return np.zeros((), body.dtype.numpy)
    return evaluate_expr(body, leaf, {})


def identity(combine: str, dtype: np.dtype) -> np.generic:
    """The value a reduction starts from: 0, 1, the least or the greatest value, True or False."""
    if combine in ("and", "or"):
        return np.bool_(combine == "and")
    if combine in ("add", "mul"):
        return dtype.type(0 if combine == "add" else 1)
    if dtype.kind == "b":
        return np.bool_(combine == "min")
    element = dtype_of(dtype)  # NumPy's own kinds and limits do not include integers of fewer than 8 bits
    if element.is_integer:
        least = -(1 << (element.bits - 1)) if element.kind == "int" else 0
        return dtype.type(least if combine == "max" else least + (1 << element.bits) - 1)
    return dtype.type(-np.inf if combine == "max" else np.inf)


def reduce_columns(value: np.ndarray, combine: str, axes: tuple[int, ...]) -> np.ndarray:
    """Combined over axes, which stay with extent 1; float sums are accumulated in float64."""
    if not axes:
        return value
    if combine in ("add", "mul") and value.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.asarray(COMBINE[combine].reduce(value.astype(np.float64), axis=axes, keepdims=True)).astype(value.dtype)
    return np.asarray(
        COMBINE[combine].reduce(value, axis=axes, keepdims=True, initial=identity(combine, value.dtype), dtype=None)
    ).astype(value.dtype)
