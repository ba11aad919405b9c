"""Every operator's form or decomposition, interpreted by NumPy, against its reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tgen.ir import mathlib
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Arg, Expr, Kept, Load, evaluate_expr
from tgen.ir.forms import Map, Reduce, Routine
from tgen.ir.loops import reduce_columns

from .samples import Sample, check, samples


def _leaf(sample: Sample, rank: int, shape: tuple[int, ...], kept: np.ndarray | None = None) -> Callable[[Expr], Any]:
    grid = np.indices(shape, np.int64, sparse=True)

    def leaf(x: Expr) -> Any:
        if isinstance(x, (Arg, Load)):
            return sample.operands[x.operand]
        return kept if isinstance(x, Kept) else grid[x.axis]  # type: ignore[attr-defined]

    return leaf


def interpret_map(sample: Sample, form: Map, rewrite: Callable[[Expr], Expr]) -> np.ndarray:
    result = sample.op.infer(*sample.types)
    shape = result.shape  # type: ignore[union-attr]
    body = rewrite(form.body)
    if 0 in shape:  # a load of an empty space could index an empty array
        return np.zeros(shape, body.dtype.numpy)
    return np.broadcast_to(evaluate_expr(body, _leaf(sample, len(shape), shape), {}), shape)


def interpret_reduce(sample: Sample, form: Reduce, rewrite: Callable[[Expr], Expr]) -> np.ndarray:
    x = sample.operands[0]
    body = np.broadcast_to(evaluate_expr(rewrite(form.body), _leaf(sample, x.ndim, x.shape), {}), x.shape)
    total = reduce_columns(body, form.combine, form.axes)
    result = np.broadcast_to(evaluate_expr(rewrite(form.finish), _leaf(sample, x.ndim, total.shape, total), {}), total.shape)
    return result if form.keepdims else np.squeeze(result, form.axes)


def interpret_routine(sample: Sample, form: Routine) -> tuple[np.ndarray, ...]:
    """The function as Python runs it, its units in two pieces, the later one first."""
    types = sample.op.infer(*sample.types)
    results = [np.zeros(t.shape, t.dtype.numpy) for t in (types if isinstance(types, tuple) else (types,))]
    flat = [np.ascontiguousarray(a).reshape(-1) for a in sample.operands] + [r.reshape(-1) for r in results]
    scratch = np.zeros(form.scratch // 8, np.int64)  # type: ignore[operator]
    for first, last in ((form.units // 2, form.units), (0, form.units // 2)):  # type: ignore[operator]
        form.function(first, last, *flat, *form.sizes, scratch)
    return tuple(results)


def interpret(sample: Sample, rewrite: Callable[[Expr], Expr]) -> Any:
    if sample.op.is_composite:
        b = Builder()
        inputs = [b.input(f"x{k}", t.dtype, t.shape) for k, t in enumerate(sample.types)]
        made = sample.op.decompose(b, *inputs)
        values = made if isinstance(made, tuple) else (made,)
        for k, value in enumerate(values):
            b.output(f"y{k}", value)
        results = evaluate(b.build(), {f"x{k}": a for k, a in enumerate(sample.operands)})
        return tuple(results.values())
    form = sample.op.form(*sample.types)
    if isinstance(form, Map):
        return interpret_map(sample, form, rewrite)
    if isinstance(form, Reduce):
        return interpret_reduce(sample, form, rewrite)
    if isinstance(form, Routine):
        results = interpret_routine(sample, form)
        return results if len(results) > 1 else results[0]
    return None


@pytest.mark.parametrize("rewrite", [lambda x: x, mathlib.expand], ids=["plain", "expanded"])
@pytest.mark.parametrize("sample", samples(), ids=str)
def test_form_agrees_with_reference(sample: Sample, rewrite: Callable[[Expr], Expr]) -> None:
    with np.errstate(all="ignore"):
        got = interpret(sample, rewrite)
        want = sample.op.reference(*sample.operands)
    if got is not None:  # reshapes, joins, products and scatters have no body to interpret
        check(sample, got, want)
