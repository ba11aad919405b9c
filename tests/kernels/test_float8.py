"""Floats of 8 and 4 bits in memory: every byte decodes, and float32 encodes, as ml_dtypes does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import run_native
from tgen.ir.builder import Builder
from tgen.ir.dtypes import DTYPES

FORMATS = [d for d in DTYPES.values() if d.is_float and d.bits <= 8]


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_every_byte_decodes(dtype) -> None:
    b = Builder()
    b.output("y", b.cast(b.input("x", dtype, ("n",)), to=DTYPES["f32"]))
    codes = np.arange(1 << dtype.bits, dtype=np.uint8).view(dtype.numpy)
    np.testing.assert_array_equal(run_native(b.build(), {"x": codes})["y"], codes.astype(np.float32))


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_encodes_as_ml_dtypes(dtype, rng) -> None:
    b = Builder()
    b.output("y", b.cast(b.input("x", "f32", ("n",)), to=dtype))
    every = np.arange(1 << dtype.bits, dtype=np.uint8).view(dtype.numpy).astype(np.float32)
    finite = np.sort(every[np.isfinite(every)])
    ties = (finite[1:] + finite[:-1]) / 2
    random = (rng.standard_normal(20_000) * 2.0 ** rng.integers(-24, 20, 20_000)).astype(np.float32)
    x = np.concatenate([every, ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf)), random])
    got = run_native(b.build(), {"x": x})["y"].astype(np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, x.astype(dtype.numpy).astype(np.float32))
