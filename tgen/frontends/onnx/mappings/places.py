"""Operators that take or put elements at indices: a run with an index outside of its axis ends in InvalidInput.

The ops of the IR stay inside of their tensors whatever the indices are; here is what tells the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dims import Dim, DimLike, nonnegative
from ....ir.dtypes import I64
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ....ir.ops.comparison import And, Where
from ....ir.ops.extremum import ArgMax, ArgMin
from ....ir.ops.generate import Range
from ....ir.ops.movement import Concat, Expand, Reshape, Slice, Squeeze, Transpose, Unsqueeze
from ..call import Call
from ..registry import generic, onnx_op

MOVES = (Concat, Expand, Reshape, Slice, Squeeze, Transpose, Unsqueeze)


@onnx_op("Gather", "GatherElements", "ScatterElements")
def along_axis(call: Call, x: Value, indices: Value, *updates: Value) -> Any:
    check_indices(call, indices, x.type.shape[normalise_axis(call.attr("axis"), x.type.rank, call.op_type)])
    return generic(call, x, indices, *updates)


@onnx_op("Scatter")
def scatter(call: Call, x: Value, indices: Value, updates: Value) -> Value:
    """What ScatterElements was called before opset 11."""
    check_indices(call, indices, x.type.shape[normalise_axis(call.attr("axis", 0), x.type.rank, call.op_type)])
    return call.build.scatter_elements(x, indices, updates, axis=call.attr("axis", 0))


@onnx_op("GatherND", "ScatterND")
def of_tuples(call: Call, x: Value, indices: Value, *updates: Value) -> Any:
    """indices [b…, j…, k]: its last axis points into k axes of x behind the first batch_dims."""
    taken = generic(call, x, indices, *updates)  # first: it tells what does not fit
    first = call.attr("batch_dims", 0)
    check_indices(call, indices, *x.type.shape[first : first + indices.type.shape[-1]])
    return taken


def rows(call: Call, table: Value, indices: Value) -> Value:
    """Entries of a table's first axis."""
    check_indices(call, indices, table.type.shape[0])
    return call.build.gather(table, indices)


def check_indices(call: Call, indices: Value, *extents: DimLike) -> None:
    """A run with an element of `indices` beyond -extent … extent-1 ends. extents: one for all, or one for each place of the last axis.

    Equal checks are made once, none where indices are known to be inside. Raises InvalidModel where they are known to be outside.
    """
    if all(_inside(call, indices, extent) for extent in extents) or not indices.type.dtype.is_integer:
        return
    made, key = call.importer.checked, (indices, extents)
    if key in made and any(check.holds is made[key] for check in call.build.checks):
        return
    b = call.build
    limits = b.from_content(np.array(extents, object), I64)
    i = b.cast(indices, to=I64)
    inside = b.apply(And(), b.greater_or_equal(i, b.neg(limits)), b.less(i, limits))
    holds = b.reduce_min(inside, axes=tuple(range(inside.type.rank)), keepdims=False)
    text = f"has an index outside of {', '.join(f'-{n}…{n}-1' if isinstance(n, Dim) else f'{-n}…{n - 1}' for n in extents)}"
    if indices.constant is not None and not any(isinstance(n, Dim) for n in extents):
        raise call.invalid(text)
    b.check(holds, f"{call.op_type} {call.name!r} {text}")
    made[key] = holds


def _inside(call: Call, indices: Value, extent: DimLike) -> bool:
    """Whether it follows from what indices are made of that all are in -extent … extent-1."""
    if indices.type.elements == 0:
        return True
    content = call.build.content(indices)
    if content is not None:
        return _between(content.reshape(-1).tolist(), extent)
    if indices.constant is not None:
        return _between([int(indices.constant.min()), int(indices.constant.max())], extent)
    op, inputs = indices.op, indices.node.inputs
    if isinstance(op, (ArgMax, ArgMin)):
        counted = inputs[0].type.shape[normalise_axis(op.axis, inputs[0].type.rank, op.name)]
        return nonnegative(extent - counted)
    if isinstance(op, Range):
        start, step = inputs[0].constant, inputs[1].constant
        return start is not None and step == 1 and _between([int(start), int(start) + op.size - 1], extent)
    if isinstance(op, Where):
        inputs = inputs[1:]
    elif not isinstance(op, MOVES):
        return False
    return all(_inside(call, v, extent) for v in inputs)


def _between(numbers: Sequence[DimLike], extent: DimLike) -> bool:
    return all(nonnegative(n + extent) and nonnegative(extent - 1 - n) for n in numbers)
