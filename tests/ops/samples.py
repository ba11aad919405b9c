"""Operands for every registered operator, collected from the files `samples_*.py` beside this one.

Each of those has a function `samples() -> list[Sample]`. The tests read this list: reference against oracle here, form and
compiled code against reference elsewhere.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tgen.ir.ops  # noqa: F401  (fills the registry)
from tgen.ir.dtypes import dtype_of
from tgen.ir.op import Op
from tgen.ir.types import TensorType

EPSILON = {"f64": 2.0**-52, "f32": 2.0**-23, "f16": 2.0**-10, "bf16": 2.0**-7}


@dataclass(frozen=True, eq=False)
class Sample:
    """op over operands.

    oracle: the results (an array, or a tuple) by means that share nothing with the op; None where another sample of the op has one.
    tolerance, absolute: |got - want| ≤ tolerance·|want| + absolute for float results; other results must be equal. None: 4 ulp.
    slack: what is added to both for the oracle's own errors.
    """

    op: Op
    operands: tuple[np.ndarray, ...]
    oracle: Callable[..., Any] | None = None
    tolerance: float | None = None
    absolute: float = 0.0
    slack: float = 0.0

    @property
    def types(self) -> tuple[TensorType, ...]:
        return tuple(TensorType(dtype_of(a.dtype), tuple(a.shape)) for a in self.operands)

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.types))})"


def samples() -> list[Sample]:
    return list(_collect())


@functools.cache
def _collect() -> tuple[Sample, ...]:
    found: list[Sample] = []
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("samples_"):
            found += importlib.import_module(f"{__package__}.{module.name}").samples()
    return tuple(found)


def check(sample: Sample, got: Any, want: Any, *, slack: float = 0.0) -> None:
    """Raises AssertionError unless each result of `got` has the dtype and shape of `want` and agrees within the sample's bounds."""
    pairs = zip(_results(got), _results(want), strict=True)
    for k, (g, w) in enumerate(pairs):
        check_array(g, w, sample.tolerance, sample.absolute, slack, f"{sample} result {k}")


def _results(value: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in value] if isinstance(value, (tuple, list)) else [np.asarray(value)]


def check_array(got: np.ndarray, want: np.ndarray, tolerance: float | None, absolute: float, slack: float, what: str) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape, f"{what}: {got.dtype}{got.shape}, wanted {want.dtype}{want.shape}"
    if not dtype_of(got.dtype).is_float:
        wrong = got != want
    else:
        relative = 4 * EPSILON[str(dtype_of(got.dtype))] if tolerance is None else tolerance
        g, w = got.astype(np.float64), want.astype(np.float64)
        with np.errstate(invalid="ignore"):
            near = np.abs(g - w) <= (relative + slack) * np.abs(w) + absolute + slack + _least(got)
        wrong = ~((g == w) | (np.isnan(g) & np.isnan(w)) | (near & np.isfinite(w)))
    if np.any(wrong):
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{what}: {np.sum(wrong)} of {got.size} differ; at {list(at)} {got[at]!r}, wanted {want[at]!r}")


def _least(x: np.ndarray) -> float:
    """A few of the least subnormal numbers of x's dtype."""
    import ml_dtypes

    return 4 * float(ml_dtypes.finfo(x.dtype).smallest_subnormal)
