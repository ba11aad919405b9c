"""A model's code in several modules: the same results as in one on every target, and the same bytes each time."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.native import build_executable, host, runnable_targets
from tgen.codegen import cut, llvm, program
from tgen.codegen.llvm import machine_of
from tgen.codegen.program import emit_modules, emit_program
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dtypes import F16, F32
from tgen.ir.graph import Graph
from tgen.targets.target import Target


def everything() -> Graph:
    """Products of several sizes, layers of one kind, a routine, float16: all that kernels share functions for."""
    b, rng = Builder("everything"), np.random.default_rng(1)
    x = b.input("x", "f32", ("n", 24))
    for before, width in ((24, 40), (40, 130), (130, 24)):
        x = b.relu(b.matmul(x, rng.standard_normal((before, width)).astype(np.float32) / np.float32(width)))
        x = b.rmsnormalization(x, np.ones(width, np.float32))
    b.output("first", b.top_k(x, k=5, axis=1)[0])
    b.output("half", b.softmax(b.cast(b.cast(x, to=F16), to=F32), axis=-1))
    return b.build()


@pytest.fixture(params=(1, 300))
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is cut: after each kernel, or after a few."""
    monkeypatch.setattr(program, "LEAST_KERNELS", 0)
    monkeypatch.setattr(cut, "LINES", request.param)


@pytest.mark.parametrize("target", runnable_targets().values(), ids=runnable_targets())
@pytest.mark.parametrize("precision", ("highest", "medium"))
def test_same_results(target: Target, precision: str, pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, feeds = everything(), {"x": np.random.default_rng(2).standard_normal((19, 24), dtype=np.float32)}
    apart = build_executable(graph, target, precision).run(feeds)
    monkeypatch.undo()
    for name, whole in build_executable(graph, target, precision).run(feeds).items():
        assert np.array_equal(apart[name], whole), name


def test_same_functions_once(pieces: None) -> None:
    plan = compile_graph(everything(), host(), "highest").plan
    modules = list(emit_modules(plan, host()))
    names = [set(re.findall(r'^define [^@]*@"?([^"(]+)', text, flags=re.M)) for text in (*modules, emit_program(plan, host()))]
    *parts, whole = names
    assert len(parts) > 2 and sum(map(len, parts)) == len(whole) and set.union(*parts) == whole


def test_same_bytes_each_time(pieces: None) -> None:
    first, second = (compile_graph(everything(), host(), "highest").artefact.code for _ in range(2))
    assert len(first) > 2 and first == second


def test_same_machine_code(pieces: None) -> None:
    """Of a function, wherever it is: nothing depends on what stands beside it."""
    compiled = compile_graph(everything(), host(), "highest")
    whole = llvm.assembly(emit_program(compiled.plan, host()), machine_of(host()))
    apart, together = _bodies(compiled.text("asm")), _bodies(whole)
    assert len(apart) == len(together) > 9
    differ = [name for name, body in together.items() if apart[name] != body]
    assert differ == ["program"]  # which finds the others through a table


def _bodies(assembly: str) -> dict[str, str]:
    """Functions by name, without the numbers that labels have in a module."""
    found = re.findall(r"^\t\.type\t([^,]+),@function\n(.*?)^\.Lfunc_end", assembly, flags=re.M | re.S)
    return {name: re.sub(r"\.L\w+", ".L", body).replace("@PLT", "") for name, body in found}


def test_small_models_are_one_module() -> None:
    assert len(compile_graph(everything(), host(), "highest").modules) == 1
