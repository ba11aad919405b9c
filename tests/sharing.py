"""Helpers of the tests of threads: code in which every step is shared, however small, for several numbers of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from tests.native import host
from tgen.codegen import llvm, program, share
from tgen.codegen.llvm import machine_of
from tgen.codegen.runtime import process_runtime
from tgen.compiler import compile_graph
from tgen.executable import Executable
from tgen.ir.builder import Builder
from tgen.ir.graph import Graph


@contextmanager
def everything_shared(least: int = 1) -> Iterator[pytest.MonkeyPatch]:
    """No run is too small for several threads, and no step or phase of `least` element operations."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (program, share):
            patch.setattr(module, "LEAST_WORK", least)
        patch.setattr("tgen.executable.WORK_OF_A_THREAD", 1)
        yield patch


def executables(graph: Graph, threads: Sequence[int], subnormals: str = "auto") -> list[Executable]:
    """The same code for several numbers of threads."""
    code = compile_graph(graph, host(), "highest", subnormals).artefact
    library = llvm.load(code.code, ["run"], process_runtime(machine_of(host()), host().spin_hint))
    return [Executable(code, library, count, {}) for count in threads]


def encoder(width: int = 32, layers: int = 2) -> Graph:
    """x [n, width] → layers of attention and of two products, each with its residual and norm."""
    b, random = Builder(), np.random.default_rng(0)

    def weights(rows: int, columns: int) -> np.ndarray:
        return random.standard_normal((rows, columns)).astype(np.float32) / np.float32(np.sqrt(rows))

    x = b.input("x", "f32", ("n", width))
    for _ in range(layers):
        q, k, v = (b.matmul(x, weights(width, width)) for _ in range(3))
        scores = b.softmax(b.matmul(q, b.transpose(k, perm=(1, 0))), axis=-1)
        x = b.rmsnormalization(b.add(x, b.matmul(scores, v)), np.ones(width, np.float32))
        hidden = b.gelu(b.matmul(x, weights(width, 4 * width)))
        x = b.rmsnormalization(b.add(x, b.matmul(hidden, weights(4 * width, width))), np.ones(width, np.float32))
    b.output("y", x)
    return b.build()
