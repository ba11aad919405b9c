"""Every sample of every operator as machine code, against the operator's reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tgen.ir.builder import Builder
from tgen.ir.dtypes import dtype_of
from tgen.ir.evaluate import evaluate

from ..native import build_executable, runnable_targets
from .samples import EPSILON, Sample, samples

TARGETS = runnable_targets()
TOGETHER = 40  # samples that are compiled as one model: each is a branch of its own


def groups() -> Iterator[Sequence[Sample]]:
    every = [s for s in samples() if all(a.dtype != object for a in s.operands)]
    for start in range(0, len(every), TOGETHER):
        yield every[start : start + TOGETHER]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("group", groups(), ids=lambda g: f"{g[0].op.name}…{g[-1].op.name}")
def test_agrees_with_reference(group: Sequence[Sample], target) -> None:
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
