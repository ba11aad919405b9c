"""Subnormal numbers, kept or taken for zeros: when, on which threads, and that nobody else notices."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

import tgen
from tests.native import build_executable, host, runnable_targets
from tests.plan.test_loops import repeated
from tests.sharing import everything_shared, executables
from tgen.executable import Executable
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.dtypes import F32, dtype_of
from tgen.ir.errors import InvalidInput
from tgen.ir.graph import Graph, Value
from tgen.subnormals import flushes, has_subnormals

WIDTH = 64
TINY = {np.float32: 1e-40, np.float64: 1e-310}
TARGETS = runnable_targets()
pytestmark = pytest.mark.skipif(not host().triple.startswith(("x86_64", "aarch64")), reason="tgen does not know this CPU's mode")


def elementwise(dtype: type, scale: float) -> tuple[Graph, np.ndarray]:
    """y = x·w, and w."""
    weights = ((np.arange(WIDTH) + 1) * scale).astype(dtype)
    b = Builder("elementwise")
    b.output("y", b.mul(b.input("x", dtype_of(np.dtype(dtype)), ("n", WIDTH)), weights))
    return b.build(), weights


def product(dtype: type, scale: float) -> tuple[Graph, np.ndarray]:
    """y = x @ diag(w): the sums have one product each, so nothing else is rounded."""
    weights = ((np.arange(WIDTH) + 1) * scale).astype(dtype)
    b = Builder("product")
    b.output("y", b.matmul(b.input("x", dtype_of(np.dtype(dtype)), ("n", WIDTH)), np.diag(weights)))
    return b.build(), weights


def oracle(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (x.astype(np.float64) * weights.astype(np.float64)).astype(x.dtype)


def right(executable: Executable, x: np.ndarray, weights: np.ndarray, kept: bool) -> bool:
    """Whether y = x·w to the bit, where w is subnormal."""
    wanted = oracle(x, weights)
    assert np.all(np.abs(wanted) < np.finfo(x.dtype).tiny) and np.any(wanted)
    return np.array_equal(executable(x)[0], wanted if kept else np.zeros_like(wanted))


def powers(rng: np.random.Generator, rows: int, dtype: type) -> np.ndarray:
    """± powers of two, 1 at most: products with subnormal numbers are subnormal, and rounded once in float64 too."""
    return np.ldexp(rng.choice([-1.0, 1.0], (rows, WIDTH)), rng.integers(-3, 1, (rows, WIDTH))).astype(dtype)


# -- when ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_a_subnormal_number_is(dtype: type) -> None:
    form = np.finfo(dtype)
    below = np.nextafter(form.tiny, dtype(0))
    cases = [(v, True) for v in (form.smallest_subnormal, below)]
    cases += [(v, False) for v in (0.0, form.tiny, form.max, np.inf, np.nan)]
    for value, wanted in cases:
        for sign in (1, -1):
            array = np.ones((100, 1003), dtype)  # more than is looked at at once
            assert not has_subnormals(array)
            array[-1, -1] = sign * value
            assert all(has_subnormals(a) == wanted for a in (array, array.T, array[:, ::-1], array[-1:, -1:]))
    assert not has_subnormals(np.zeros((0, 3), dtype))


def constant(values: object, dtype: type) -> Graph:
    b = Builder()
    array = np.asarray(values, dtype)
    b.output("y", b.add(b.input("x", dtype_of(array.dtype), (3,)), array))
    return b.build()


def in_a_body() -> Graph:
    b = Builder()
    states, sequences = [b.input("s", "f32", (3,))], [b.input("x", "f32", ("t", 3))]
    tiny = np.full(3, 1e-40, np.float32)

    def body(inner: Builder, state: Value, element: Value) -> list[Value]:
        graph = inner.add(inner.mul(state, inner.constant(tiny)), element)
        return [graph]

    b.output("y", repeated(b, body, states, sequences)[0])
    return b.build()


GRAPHS: dict[str, tuple[Callable[[], Graph], bool]] = {
    "float32": (lambda: constant([1, 1e-40, 2], np.float32), True),
    "float64": (lambda: constant([1, -1e-310, 2], np.float64), True),
    "float64 that float32 would not have": (lambda: constant([1, 1e-40, 2], np.float64), False),
    "none": (lambda: constant([1, 0, -0.0], np.float32), False),
    "one number": (lambda: constant(1e-45, np.float32), False),
    "one number of some rank": (lambda: constant([1e-45], np.float32), False),
    "float16": (lambda: constant([1, 1e-7, 2], np.float16), False),
    "bfloat16": (lambda: constant([1, 1e-40, 2], ml_dtypes.bfloat16), False),
    "integers": (lambda: constant([1, 2, 3], np.int32), False),
    "the body of a loop": (in_a_body, True),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_asked_for(name: str) -> None:
    make, decayed = GRAPHS[name]
    graph = make()
    assert [flushes(graph, asked) for asked in ("auto", "keep", "flush")] == [decayed, False, True]


# -- results ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subnormals,kept", [("keep", True), ("flush", False), ("auto", False)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [elementwise, product])
def test_subnormal_weights(make, dtype, subnormals: str, kept: bool, rng: np.random.Generator) -> None:
    graph, weights = make(dtype, TINY[dtype])
    for threads in (1, 2):
        executable = tgen.compile(graph, cache=False, threads=threads, subnormals=subnormals)
        assert executable.report["subnormals"] == ("kept" if kept else "flushed")
        assert right(executable, powers(rng, 40, dtype), weights, kept)


@pytest.mark.parametrize("subnormals,kept", [("auto", True), ("keep", True), ("flush", False)])
def test_subnormal_inputs_of_other_models(subnormals: str, kept: bool, rng: np.random.Generator) -> None:
    graph, weights = elementwise(np.float32, 1.0)
    executable = tgen.compile(graph, cache=False, subnormals=subnormals)
    x = powers(rng, 5, np.float32) * np.float32(1e-42)
    assert executable.report["subnormals"] == ("kept" if kept else "flushed")
    assert np.array_equal(executable(x)[0], oracle(x, weights) if kept else np.zeros_like(x))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_subnormal_numbers_of_narrow_formats_are_no_subnormal_numbers(target) -> None:
    """Those of float16 and of 8 and 4 bits are normal in float32, in which they are computed."""
    b = Builder()
    formats = [np.float16, *(getattr(ml_dtypes, f"float8_{n}") for n in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz"))]
    formats += [ml_dtypes.float4_e2m1fn]
    given = [every_number(np.dtype(f)) for f in formats]
    for x in given:
        b.output(x.dtype.name, b.add(b.cast(b.input(f"x {x.dtype.name}", dtype_of(x.dtype), x.shape), to=F32), 0.5))
    found = build_executable(b.build(), target, subnormals="flush")(*given)
    for x, sums in zip(given, found):
        with np.errstate(invalid="ignore"):  # of signalling NaN
            np.testing.assert_array_equal(sums, x.astype(np.float32) + np.float32(0.5))


def every_number(dtype: np.dtype) -> np.ndarray:
    bits = 4 if dtype == ml_dtypes.float4_e2m1fn else 8 * dtype.itemsize
    return np.arange(1 << bits).astype(f"u{dtype.itemsize}").view(dtype)


# -- threads ---------------------------------------------------------------------------------------------------------------------


def test_in_turns(rng: np.random.Generator) -> None:
    """Both kinds in one process, over the same workers; between runs this thread computes as before, so NumPy too."""
    graph, weights = elementwise(np.float32, 1e-40)
    x = powers(rng, 3000, np.float32)
    with everything_shared():
        kinds = {kept: executables(graph, (2, 1, 3), "keep" if kept else "flush") for kept in (True, False)}
        for _ in range(20):
            for pair in zip(*kinds.values()):
                for kept, executable in zip(kinds, pair):
                    assert right(executable, x, weights, kept)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("subnormals", ["keep", "flush"])
def test_runs_that_fail_give_the_mode_back(subnormals: str, threads: int) -> None:
    """Whether a check fails, or a number that ends the run where it is found out."""
    b = Builder("strict")
    n = symbol("n")
    x = b.mul(b.input("x", "f32", (n,)), 2.0)
    size = b.extent(b.input("count", "i64", ()))
    b.output("y", b.expand(b.reshape(x, shape=(n, 1)), shape=(n, size)))
    b.check(b.less(b.reduce_max(x, axes=(0,), keepdims=False), 9.0), "x: too large")
    executable = tgen.compile(b.build(), cache=False, threads=threads, subnormals=subnormals)
    tiny = np.full(1000, 1e-40, np.float32)
    doubled = tiny + tiny
    assert doubled.all()
    for feeds in ({"x": tiny + 5, "count": np.array(2)}, {"x": tiny, "count": np.array(-1)}):
        with pytest.raises(InvalidInput):
            executable.run(feeds)
        assert np.array_equal(tiny + tiny, doubled)
    assert executable.run({"x": tiny, "count": np.array(2)})["y"].any() == (subnormals == "keep")
