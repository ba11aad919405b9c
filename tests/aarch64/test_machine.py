"""AArch64 targets on the machine they are for, emulated: every instruction, threads, floating-point modes, a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.aarch64.cross import CPUS, CrossExecutable, missing
from tests.native import build_executable, host
from tgen.codegen import llvm
from tgen.codegen.llvm import machine_of
from tgen.codegen.runtime import runtime_ir
from tgen.compiler import compile_graph
from tgen.frontends import load
from tgen.ir.builder import Builder
from tgen.ir.dtypes import dtype_of
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.passes.precision import split_product
from tgen.targets.aarch64 import NEON, NEON_DOT, NEON_MATRIX
from tgen.targets.aarch64.emulate import emulated
from tgen.targets.find import find_target
from tgen.targets.target import Target

REASON = f"AArch64 is not run here: {missing()}"
on_the_machine = [pytest.mark.emulator, pytest.mark.skipif(bool(missing()), reason=REASON)]
TARGETS = [pytest.param(t, marks=on_the_machine, id=t.name) for t in (NEON, NEON_DOT, NEON_MATRIX)]
STAND_INS = [pytest.param(emulated(t, host()), id=f"{t.name} stand-ins") for t in (NEON_DOT, NEON_MATRIX)]
SIZES = ((9, 11), (64, 48))  # k and n: tails of each, and none


def products(rng: np.random.Generator) -> Graph:
    """Products of every dtype that a tile multiplies, [m, k]·[k, n], and of bfloat16 parts."""
    b = Builder()
    for k, n in SIZES:
        for dtype in ("f32", "f64", "f16", "bf16", "i32", "u32", "i64", "i16"):
            x, y = b.input(f"{dtype}.{k}", dtype, ("m", k)), b.constant(rng.integers(-9, 9, (k, n)), dtype)
            b.output(f"y.{dtype}.{k}", b.matmul(x, y))
        for left in ("u8", "i8"):
            x = b.input(f"{left}.{k}", left, ("m", k))
            for right, low in (("u8", 0), ("i8", -128)):
                weight = b.constant(rng.integers(low, low + 256, (k, n)), right)
                b.output(f"y.{left}{right}.{k}", b.mat_mul_integer(x, weight))
        x = b.input(f"parts.{k}", "f32", ("m", k))
        for level in ("medium", "high"):
            b.output(f"y.{level}.{k}", split_product(b, x, b.constant(rng.integers(-9, 9, (k, n)), "f32"), level))
    return b.build()


@pytest.mark.parametrize("target", [*TARGETS, *STAND_INS])
def test_every_instruction(target: Target, rng) -> None:
    """Exactly: operands are small whole numbers."""
    graph = products(rng)
    executable = build_executable(graph, target)
    for m in (1, 2, 7, 23):
        feeds = {
            spec.name: rng.integers(0 if "u" in spec.dtype else -9, 9, (m, spec.shape[1])).astype(
                dtype_of(np.dtype(spec.dtype)).numpy
            )
            for spec in executable.inputs
        }
        wanted = evaluate(graph, feeds)
        for name, got in executable.run(feeds).items():
            np.testing.assert_array_equal(got.astype(np.float64), wanted[name].astype(np.float64), err_msg=f"{name}, m={m}")


def chain() -> tuple[Graph, np.ndarray]:
    """A model with enough work for several threads, and its input."""
    rng, b = np.random.default_rng(0), Builder()
    x = b.input("x", "f32", ("m", 96))
    y = x
    for _ in range(3):
        y = b.tanh(b.matmul(y, b.constant(rng.standard_normal((96, 96)), "f32")))
    b.output("y", b.mul(y, np.float32(1e-40)))
    return b.build(), rng.standard_normal((150, 96), dtype=np.float32)


@pytest.fixture(scope="module")
def executable() -> CrossExecutable:
    if missing():
        pytest.skip(REASON)
    return CrossExecutable(compile_graph(chain()[0], NEON, "highest"))


@pytest.mark.emulator
def test_results_depend_neither_on_threads_nor_on_the_callers_mode(executable: CrossExecutable) -> None:
    """The result is subnormal: flushed, or rounded upwards, it would be another. The driver checks that the mode is given back."""
    flush, upwards = 1 << 24, 1 << 22
    graph, x = chain()
    (alone,) = executable(x)
    np.testing.assert_allclose(alone, evaluate(graph, {"x": x})["y"], rtol=1e-3, atol=1e-44)
    assert np.count_nonzero(alone) > 0.9 * alone.size
    for executable.threads, executable.mode in ((3, 0), (1, flush | upwards), (3, flush | upwards)):
        assert np.array_equal(executable(x)[0], alone)
    executable.threads, executable.mode = 1, 0


@pytest.mark.emulator
@pytest.mark.skipif(bool(missing()), reason=REASON)
def test_subnormals_are_zeros_where_that_is_asked_for() -> None:
    flush, upwards = 1 << 24, 1 << 22
    graph, x = chain()
    executable = CrossExecutable(compile_graph(graph, NEON, "highest", "flush"))
    for executable.threads, executable.mode in ((1, 0), (3, 0), (1, upwards), (3, flush)):
        assert not executable(x)[0].any()


@pytest.mark.emulator
@pytest.mark.parametrize("cpu,best", [(cpu, target) for target, cpu in CPUS.items()])
def test_the_best_target_is_found_by_features(executable: CrossExecutable, cpu: str, best: Target) -> None:
    assert find_target("host", executable.features(cpu), NEON.triple) is best


@pytest.mark.emulator
@pytest.mark.skipif(bool(missing()), reason=REASON)
def test_a_trained_model(known_model: Callable[[str], Path]) -> None:
    graph = load(known_model("minilm"), shapes={"batch": 1, "seq": 9})
    feeds = {
        node.op.label: np.arange(9).reshape(1, 9) * 101 if "ids" in node.op.label else np.ones((1, 9), np.int64)  # type: ignore[attr-defined]
        for node in graph.inputs
    }
    feeds = {name: np.zeros_like(x) if "type" in name else x for name, x in feeds.items()}
    wanted = evaluate(graph, feeds)
    for name, got in build_executable(graph, NEON_MATRIX).run(feeds).items():
        assert np.abs(got - wanted[name]).max() <= 2e-6 * np.abs(wanted[name]).max()


def test_waiting_and_the_clock_are_a_users() -> None:
    """What `yield` and the cycle counter would be: nothing, and a trap."""
    assert "\tisb" in llvm.assembly(runtime_ir(NEON.triple, NEON.spin_hint), machine_of(NEON))
    assert "cntvct_el0" in compile_graph(chain()[0], NEON, "highest", profile=True).text("asm").lower()
