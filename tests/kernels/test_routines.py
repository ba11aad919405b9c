"""Plain Python functions as kernels: compiled by Numba, linked into the model's module."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.native import build_executable, host
from tgen.codegen import llvm
from tgen.codegen.llvm import machine_of
from tgen.codegen.program import emit_program
from tgen.codegen.routine_kernel import routine_ir
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dtypes import F32, F64
from tgen.ir.errors import CodegenError
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.kernels.specs import RoutineKernel
from tgen.targets.find import find_target


def double(first: int, last: int, x: Any, y: Any, scratch: Any) -> None:
    for k in range(first, last):
        y[k] = 2 * x[k]


def refused(first: int, last: int, x: Any, y: Any, scratch: Any) -> None:
    y[0] = vars(x)


def kernel(function: Any) -> RoutineKernel:
    return RoutineKernel(function, 8, (), 8, 0, (F32,), (F32,))


def several() -> Graph:
    """Routines of several kinds and dtypes, one of them twice, between maps."""
    b = Builder("several")
    x = b.input("x", "f32", ("n", 40, 6))
    best, places = b.top_k(b.mul(x, b.reduce_max(x, axes=(1,))), k=7, axis=1)
    b.output("best", b.neg(best))
    b.output("places", b.cum_sum(places, axis=1))
    b.output("least", b.top_k(b.cast(x, to=F64), k=3, axis=1, largest=False)[0])
    b.output("turned", b.cum_sum(b.transpose(b.cum_sum(x, axis=0), perm=(2, 0, 1)), axis=0))
    return b.build()


@pytest.mark.parametrize("threads", (1, 3))
def test_among_other_steps(threads: int, rng: np.random.Generator) -> None:
    graph = several()
    executable = build_executable(graph, host(), threads=threads)
    for n in (1, 2, 9):
        x = rng.standard_normal((n, 40, 6), dtype=np.float32)
        wanted = evaluate(graph, {"x": x})
        for name, found in executable.run({"x": x}).items():
            np.testing.assert_allclose(found, wanted[name], rtol=1e-4, atol=1e-4)


def test_needs_neither_python_nor_numba() -> None:
    found = emit_program(compile_graph(several(), host(), "highest").plan, host())
    assert len(re.findall(r"define internal .*@\"?routine\.", found)) == 4  # of the same function and dtypes one
    assert not re.search(r"@\"?(Py|numba|NRT|_ZN)", found)


def test_text_is_the_same_each_time() -> None:
    first = routine_ir(kernel(double))
    import tgen.codegen.routine_kernel as module

    module._compiled.cache_clear()
    assert routine_ir(kernel(double)) == first


@pytest.mark.parametrize("name", ("generic", "avx512"))
def test_compiles_for_other_machines(name: str) -> None:
    target = find_target(name, llvm.host_features(), llvm.host_triple())
    plan = compile_graph(several(), target, "highest").plan
    assert llvm.compile_object(emit_program(plan, target), machine_of(target))


def test_a_function_beyond_numba_is_named() -> None:
    with pytest.raises(CodegenError, match="routine refused"):
        routine_ir(kernel(refused))
