"""Reshape as a view agrees with NumPy's own rule, and never gives wrong strides."""

from __future__ import annotations

import numpy as np
import pytest

from tgen.ir.dims import symbol
from tgen.plan.reshape import reshaped

B, S = symbol("batch"), symbol("seq")


@pytest.mark.parametrize(
    "shape,strides,new,want",
    [
        ((2, 3, 4), (12, 4, 1), (6, 4), (4, 1)),
        ((2, 3, 4), (12, 4, 1), (2, 12), (12, 1)),
        ((2, 3, 4), (4, 8, 1), (6, 4), None),
        ((6, 4), (4, 1), (2, 3, 4), (12, 4, 1)),
        ((6, 4), (40, 1), (2, 3, 2, 2), (120, 40, 2, 1)),
        ((B, S, 384), (S * 384, 384, 1), (B, S, 12, 32), (S * 384, 384, 32, 1)),
        ((B, S, 12, 32), (S * 384, 384, 32, 1), (B, S, 384), (S * 384, 384, 1)),
        ((B, S, 12, 32), (S * 384, 384, 32, 1), (B * S, 384), (384, 1)),
        ((B * S, 384), (384, 1), (B, S, 384), (S * 384, 384, 1)),
        ((B, 12, S, 32), (S * 384, 32, 384, 1), (B, S, 384), None),
        ((1, 5, 1), (5, 1, 1), (5,), (1,)),
    ],
)
def test_strides(shape, strides, new, want) -> None:
    assert reshaped(shape, strides, new) == want


def test_against_numpy(rng) -> None:
    """Where a view is possible NumPy finds it too, with the same elements."""
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for perm in ((0, 1, 2, 3), (1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        view = x.transpose(perm)
        for new in ((6, 20), (120,), (2, 3, 20), (24, 5), (4, 5, 6), (2, 60), (3, 2, 4, 5), (20, 6)):
            strides = reshaped(view.shape, [s // x.itemsize for s in view.strides], new)
            if strides is not None:
                got = np.lib.stride_tricks.as_strided(view, new, [s * x.itemsize for s in strides])
                assert np.array_equal(got, view.reshape(new))
