"""Operations and bytes of steps, counted by hand."""

from __future__ import annotations

import re

import numpy as np

from tests.native import host
from tgen.bench.work import Work, describe_step, work_of_step
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder

N = 5  # the value of the symbol n


def works(build: Builder) -> list[tuple[str, Work]]:
    plan = compile_graph(build.build(), host(), "highest").plan
    values = {"n": N}
    return [(describe_step(plan.kernels[s.kernel], values), work_of_step(plan, s, values)) for s in plan.steps]


def test_product() -> None:
    """The batch shares b, which counts once; the weight's bytes are its packed ones, whole panels of columns."""
    b = Builder()
    b.output("y", b.matmul(b.input("x", "f32", (3, "n", 40)), b.constant(np.ones((40, 16), np.float32))))
    (what, work), *rest = works(b)
    assert not rest and what.startswith("contraction ") and re.search(rf" by {re.escape(work.tile)} \d+×\d+$", what)
    assert work.operations == work.done == 2 * 3 * N * 40 * 16
    assert work.weights == 4 * 40 * 16 and work.near == 4 * 3 * N * (40 + 16)


def test_elementwise() -> None:
    """x is read twice and counts once; v is broadcast; a constant number is no operand's byte."""
    b = Builder()
    x, v = b.input("x", "f32", ("n", 64)), b.constant(np.arange(64, dtype=np.float32))
    b.output("y", b.exp(b.add(b.mul(x, x), v)))
    ((what, work),) = works(b)
    assert what == f"loops {N}×64: exp, add, mul"
    assert work == Work(3.0 * N * 64, 3.0 * N * 64, 4.0 * 64, 4.0 * 2 * N * 64, "")


def test_look_up() -> None:
    """A table of which rows are taken: no more than these are read, and of a small table no more than all of it."""

    def weights(rows: int) -> float:
        b = Builder()
        ids = b.input("ids", "i64", ("n",))
        b.output("y", b.gather(b.constant(np.ones((rows, 8), np.float32)), ids, axis=0))
        return sum(work.weights for _, work in works(b))

    assert weights(1000) == 4 * N * 8
    assert weights(2) == 4 * 2 * 8


def test_copy_and_window() -> None:
    """Half of x is touched."""
    b = Builder()
    half = b.slice(b.input("x", "f32", ("n", 64)), axes=(1,), starts=(0,), sizes=(32,), steps=(1,))
    b.output("y", b.transpose(half, perm=(1, 0)))
    ((what, work),) = works(b)
    assert what.endswith(": copy") and work.operations == 0 and work.near == 4 * 2 * N * 32
