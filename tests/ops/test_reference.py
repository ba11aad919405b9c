"""Every operator: its type against its reference, its reference against an independent oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tgen.ir.op import OPS

from .samples import Sample, check, samples

pytestmark = pytest.mark.peer("onnx", "onnxruntime")

# sources, and what passes make of other ops (tests/fusion, tests/kernels)
NOT_SAMPLED = {
    "input",
    "constant",
    "loops",
    "contraction",
    "tiled_contraction",
    "pack_a",
    "pack_b",
    "attend",
    "tiled_attend",
    "branch",
}  # branches: tests/plan


def run(sample: Sample) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        result = sample.op.reference(*sample.operands)
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("sample", samples(), ids=str)
def test_reference_has_the_inferred_type(sample: Sample) -> None:
    inferred = sample.op.infer(*sample.types)
    for array, wanted in zip(run(sample), inferred if isinstance(inferred, tuple) else (inferred,), strict=True):
        assert np.asarray(array).dtype == wanted.dtype.numpy
        assert np.shape(array) == wanted.shape


@pytest.mark.parametrize("sample", [s for s in samples() if s.oracle], ids=str)
def test_reference_agrees_with_oracle(sample: Sample) -> None:
    assert sample.oracle is not None
    with np.errstate(all="ignore"):
        want = sample.oracle(*sample.operands)
    check(sample, run(sample), want, slack=sample.slack)


def test_every_operator_has_a_sample_with_an_oracle() -> None:
    sampled = {s.op.name for s in samples() if s.oracle}
    assert set(OPS) - NOT_SAMPLED == sampled
