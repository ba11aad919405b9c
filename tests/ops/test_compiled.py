"""Every sample of every operator as machine code, against the operator's reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tgen.ir.builder import Builder
from tgen.ir.dtypes import dtype_of
from tgen.ir.evaluate import evaluate
from tgen.ir.forms import Contract
from tgen.targets.target import Target

from ..native import build_executable, runnable_targets
from .samples import EPSILON, Sample, samples

TARGETS = runnable_targets()
TOGETHER = 40  # samples that are compiled as one model: each is a branch of its own


def cases() -> Iterator[Any]:
    """Every sample on every target; on one that differs from another in how it multiplies only, the samples that may multiply."""
    every = [s for s in samples() if all(a.dtype != object for a in s.operands)]
    done: list[Target] = []
    for name, target in TARGETS.items():
        wanted = [s for s in every if may_multiply(s)] if any(differ_in_products(target, other) for other in done) else every
        done.append(target)
        for start in range(0, len(wanted), TOGETHER):
            group = wanted[start : start + TOGETHER]
            yield pytest.param(group, target, id=f"{group[0].op.name}…{group[-1].op.name}-{name}")


def differ_in_products(a: Target, b: Target) -> bool:
    """Whether two targets make the same code but for products: they differ in their tiles, and in the caches that blocks are cut for."""
    return dataclasses.replace(a, name=b.name, tiles=b.tiles, caches=b.caches) == b


def may_multiply(sample: Sample) -> bool:
    """What is no product itself, and is not made of other operators, does not multiply matrices."""
    op = sample.op
    return op.is_composite or bool(op.regions) or isinstance(op.form(*sample.types), Contract)


@pytest.mark.parametrize(("group", "target"), list(cases()))
def test_agrees_with_reference(group: Sequence[Sample], target: Target) -> None:
    b, feeds, owner = Builder(), {}, {}
    for number, sample in enumerate(group):
        operands = []
        for k, array in enumerate(sample.operands):
            name = f"x{number}_{k}"
            feeds[name] = np.asarray(array)
            operands.append(b.input(name, dtype_of(feeds[name].dtype), feeds[name].shape))
        results = b.apply(sample.op, *operands)
        for k, value in enumerate(results if isinstance(results, tuple) else (results,)):
            b.output(f"y{number}_{k}", value)
            owner[f"y{number}_{k}"] = sample
    graph = b.build()
    wanted = evaluate(graph, feeds)
    for name, got in build_executable(graph, target).run(feeds).items():
        _compare(owner[name], got, wanted[name])


def _compare(sample: Sample, got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape, sample
    if dtype_of(got.dtype).is_float:
        relative = max(sample.tolerance or 0, 16 * EPSILON.get(dtype_of(got.dtype).name, 2.0**-3))
        scale = (
            np.abs(want[np.isfinite(want)].astype(np.float64)).max(initial=0)
            if sample.op.name == "matmul" or "reduce" in sample.op.name
            else 0
        )
        np.testing.assert_allclose(
            got.astype(np.float64),
            want.astype(np.float64),
            rtol=relative,
            atol=sample.absolute + 1e-6 * scale + 1e-30,
            err_msg=str(sample),
        )
    else:
        np.testing.assert_array_equal(got, want, err_msg=str(sample))
