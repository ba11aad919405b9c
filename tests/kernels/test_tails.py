"""Rows and columns that are no whole vectors: their last elements, of every width, read and written to the byte."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.native import Guarded, is_native, runnable_targets
from tgen.bench.native import NativeRun
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dtypes import DTYPES as BY_NAME
from tgen.ir.dtypes import F32
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph

TARGETS = {name: target for name, target in runnable_targets().items() if is_native(target)}
EXTENTS = (1, 2, 15, 16, 17, 31, 33, 48, 49)
KNOWN = (1, 17, 33)
TOLERANCE = {"bf16": 2.0**-7, "f16": 2.0**-10}
WHOLE = ("u8", "i64")  # shares of 100 are cut off: one may fall to either side of a whole number
DTYPES = ("f32", "bf16", "f16", "u8", "i64", "bool")


def graph_of(dtype: str, extent: int | str) -> Graph:
    """Maps along rows, maps of turned rows, reductions of rows and of columns, and what a row's elements make of the whole row."""
    b = Builder()
    x = b.input("x", dtype, (3, extent))
    kind, numbers = x.type.dtype, b.cast(x, to=F32)
    b.output("doubled", b.cast(b.add(numbers, numbers), to=kind))
    b.output("turned", b.cast(b.sub(b.transpose(numbers, perm=(1, 0)), 1.0), to=kind))
    b.output("least", b.reduce_min(numbers, axes=(1,), keepdims=False))
    b.output("total", b.reduce_sum(numbers, axes=(0,), keepdims=False))
    b.output("shares", b.cast(b.mul(b.softmax(b.mul(numbers, 0.02), axis=-1), 100.0), to=kind))
    return b.build()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tail(target, dtype, rng) -> None:
    """Of known and of symbolic extents; a byte written beside a result is a crash."""
    symbolic = compile_graph(graph_of(dtype, "n"), target, "highest")
    for extent in EXTENTS:
        known = [compile_graph(graph_of(dtype, extent), target, "highest")] if extent in KNOWN else []
        element = BY_NAME[dtype].numpy
        x = rng.integers(0, 2 if dtype == "bool" else 100, (3, extent)).astype(element)
        want = evaluate(graph_of(dtype, extent), {"x": x})
        for compiled, after in itertools.product([symbolic, *known], (True, False)):
            given = Guarded(x, after)
            results = {name: Guarded(np.zeros_like(array), after) for name, array in want.items()}
            places = {name: guard.array for name, guard in results.items()}
            NativeRun(compiled, target, 1, {"x": given.array}, {"n": extent}, places).run()
            for name, array in want.items():
                got = places[name].astype(np.float64)
                np.testing.assert_allclose(
                    got, array.astype(np.float64), rtol=TOLERANCE.get(dtype, 1e-6), err_msg=f"{name} {extent}", atol=dtype in WHOLE
                )
            for guard in (given, *results.values()):
                guard.release()
