"""From a loop program to a `LoopKernel`: flat offsets, fewer axes, and the axis that lanes run along."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from ..ir.dims import DimLike
from ..ir.dtypes import DType
from ..ir.expr import Expr, index, shift_axes
from ..ir.loops import LoopProgram, Stage
from .copies import LEAST_LANES, in_words, turned
from .flat import depends_on, direct_axes, flat_offset, flatten_loads, merge, merge_offset, mergeable, offsets, terms
from .guards import with_free_indices
from .specs import LoopKernel


def loop_kernel(
    program: LoopProgram,
    inputs: Sequence[DType],
    input_strides: Sequence[Sequence[DimLike]],
    output_strides: Sequence[Sequence[DimLike]],
) -> LoopKernel:
    """The kernel of a loop program over operands with these strides (in elements)."""
    return _loop_kernel(program, tuple(inputs), tuple(map(tuple, input_strides)), tuple(map(tuple, output_strides)))


@functools.lru_cache(maxsize=256)  # the layers of a model have the same programs
def _loop_kernel(
    program: LoopProgram,
    inputs: tuple[DType, ...],
    input_strides: tuple[tuple[DimLike, ...], ...],
    output_strides: tuple[tuple[DimLike, ...], ...],
) -> LoopKernel:
    strides: dict[int, Sequence[DimLike]] = dict(enumerate(input_strides))
    stages = []
    for s in program.stages:
        at = (flatten_loads(flat_offset(s.index, output_strides[s.output]), strides),) if s.output is not None else ()
        stages.append(Stage(s.kind, flatten_loads(with_free_indices(s.body), strides), s.combine, s.output, at))
    kernel = LoopKernel(program.extents, program.rows, tuple(stages), inputs, tuple(t.dtype for t in program.outputs), None)
    return _with_vector_axis(in_words(_collapsed(kernel)))


def _collapsed(kernel: LoopKernel) -> LoopKernel:
    """Neighbouring row axes (or column axes) that every access steps through as one become one axis."""
    axis = 0
    while axis + 1 < len(kernel.extents):
        outer, inner = axis, axis + 1
        bodies = [s.body for s in kernel.stages] + [i for s in kernel.stages for i in s.index if direct_axes(i) and terms(i)[2]]
        stores = [i for s in kernel.stages for i in s.index]
        same = (outer < kernel.rows) == (inner < kernel.rows)
        if not same or not mergeable(outer, inner, kernel.extents[inner], bodies, stores):
            axis += 1
            continue
        rename = {k: k - 1 for k in range(inner, len(kernel.extents))}
        stages = tuple(
            Stage(s.kind, merge(s.body, outer, rename), s.combine, s.output, tuple(merge_offset(i, outer, rename) for i in s.index))
            for s in kernel.stages
        )
        extents = (*kernel.extents[:outer], kernel.extents[outer] * kernel.extents[inner], *kernel.extents[inner + 1 :])
        kernel = dataclasses.replace(kernel, extents=extents, rows=kernel.rows - (inner < kernel.rows), stages=stages)
    return kernel


def _score(kernel: LoopKernel, axis: int) -> float:
    """How well lanes along this axis meet memory: unit steps good, none neutral, others (but 2) and look-ups bad; short axes leave
    lanes without work.
    """
    bodies = [s.body for s in kernel.stages]
    score = 0.0
    for offset in [*offsets(bodies), *(i for s in kernel.stages for i in s.index)]:
        coefficients, _, opaque = terms(offset)
        step = coefficients.get(axis, 0)
        score += {0: 0.0, 1: 1.0, 2: -0.5}.get(step, -2.0) if isinstance(step, int) else -2.0
        score -= 3.0 * any(depends_on(o, axis) for o in opaque)
    extent = kernel.extents[axis]
    if not isinstance(extent, int) or extent >= LEAST_LANES:
        return score
    return score - (1.5 if extent >= LEAST_LANES // 2 else 6.0)


def _with_vector_axis(kernel: LoopKernel) -> LoopKernel:
    """Lanes along the best column axis, or the best row axis, which then becomes the innermost row."""
    if not kernel.extents:
        return kernel
    turn = turned(kernel)
    if turn is not None:
        return dataclasses.replace(_rows_innermost(kernel, turn[1], turn[0]), across=True)
    columns = len(kernel.extents) > kernel.rows
    best_row = max(range(kernel.rows), key=lambda k: (_score(kernel, k), k), default=None)
    last = len(kernel.extents) - 1
    if columns and (best_row is None or kernel.kept or _score(kernel, last) >= _score(kernel, best_row)):
        return dataclasses.replace(kernel, vector=last)
    assert best_row is not None
    return _rows_innermost(kernel, best_row)


def _rows_innermost(kernel: LoopKernel, *axes: int) -> LoopKernel:
    """These row axes come last of the rows; lanes run along the very last."""
    order = [*(k for k in range(kernel.rows) if k not in axes), *axes, *range(kernel.rows, len(kernel.extents))]
    rename = {old: new for new, old in enumerate(order)}

    def moved(x: Expr) -> Expr:
        return shift_axes(x, {old: index(new) for old, new in rename.items()})

    stages = tuple(Stage(s.kind, moved(s.body), s.combine, s.output, tuple(map(moved, s.index))) for s in kernel.stages)
    return dataclasses.replace(kernel, extents=tuple(kernel.extents[k] for k in order), stages=stages, vector=kernel.rows - 1)
