"""Dimensions that a run finds out, and what must hold in a run."""

from __future__ import annotations

import numpy as np
import pytest

import tgen
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.dtypes import F32, I64
from tgen.ir.errors import InvalidGraph, InvalidInput
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Extent, Graph, Value
from tgen.ir.identity import same_graph
from tgen.ir.text import parse_graph, print_graph, tensors_of
from tgen.ir.verify import verify


def first(b: Builder, x: Value, count: object) -> Value:
    out: Value = b.slice(x, axes=(0,), starts=(0,), sizes=(count,), steps=(1,))
    return out


def counted(b: Builder, holds: Value) -> Value:
    out: Value = b.reduce_sum(b.cast(holds, to=I64), axes=tuple(range(holds.type.rank)), keepdims=False)
    return out


def growing() -> Graph:
    """Two extents, the second found out by what the first one sizes; joins of parts that are known early and late; a check."""
    b = Builder("growing")
    x, m = b.input("x", "f32", ("n",)), b.input("m", "f32", ("k", 8))
    weights = np.random.default_rng(5).standard_normal((8, 8)).astype(np.float32)
    h = b.relu(b.matmul(m, b.constant(weights)))
    positive = b.extent(counted(b, b.greater(x, 0.0)), most=symbol("n"))
    grid = b.add(b.reshape(first(b, x, positive), shape=(positive, 1)), first(b, h, 1))
    large = b.extent(counted(b, b.greater(grid, 0.5)))
    numbers = b.cast(b.range(b.constant(0, I64), b.constant(1, I64), size=large), to=F32)
    b.output("grid", grid)
    b.output("joined", b.concat(b.neg(x), b.relu(numbers), axis=0))
    b.output("scaled", b.softmax(b.matmul(grid, b.constant(weights)), axis=0))
    b.output("h", h)
    b.check(b.less(b.reduce_max(x, axes=(0,), keepdims=False), 10.0), "x: 10 is too much")
    return b.build()


def feeds(rng: np.random.Generator, n: int, k: int) -> dict[str, np.ndarray]:
    return {"x": rng.standard_normal(n).astype(np.float32), "m": rng.standard_normal((k, 8)).astype(np.float32)}


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_find_out_sizes(threads: int, rng: np.random.Generator) -> None:
    graph = growing()
    executable = tgen.compile(graph, cache=False, threads=threads)
    assert executable.outputs[0].shape == ("extent0", 8)
    for n, k in ((5, 3), (1, 2), (3000, 500), (7, 4), (20000, 3), (5, 3)):
        given = feeds(rng, n, k)
        found, wanted = executable.run(given), evaluate(graph, given)
        for name, expected in wanted.items():
            assert found[name].shape == expected.shape
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_nothing_that_holds_is_not_checked(rng: np.random.Generator) -> None:
    graph = growing()
    executable = tgen.compile(graph, cache=False)
    given = feeds(rng, 50, 3)
    executable.run(given)
    given["x"][7] = 11
    for run in (executable.run, lambda feeds: evaluate(graph, feeds)):
        with pytest.raises(InvalidInput, match="10 is too much"):
            run(given)
    given["x"][7] = 1
    assert executable.run(given)["h"].shape == (3, 8)


def sized(most: int | None = None) -> Graph:
    """x[0] ones."""
    b = Builder("sized")
    x = b.input("x", "i64", ("n",))
    size = b.extent(b.reshape(first(b, x, 1), shape=()), most)
    b.output("y", b.full(b.constant(1, F32), shape=(size, size, 3)))
    b.output("total", b.reduce_sum(b.full(b.constant(1, F32), shape=(size,)), axes=(0,), keepdims=False))
    return b.build()


@pytest.mark.parametrize("value", [-1, -(1 << 63), 1 << 39, 1 << 62, 1 << 41])
def test_absurd_sizes_are_errors(value: int) -> None:
    graph = sized()
    executable = tgen.compile(graph, cache=False)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="extent"):
            executable.run({"x": np.array([value])})
        assert executable.run({"x": np.array([2])})["y"].shape == (2, 2, 3)
    with pytest.raises(InvalidInput, match="extent"):
        tgen.compile(sized(most=7), cache=False).run({"x": np.array([8])})


def test_equal_extents_are_looked_at_when_they_are_known() -> None:
    """A sum of two values whose sizes are found out is legal where they are the same."""
    b = Builder("sum")
    x, y = b.input("x", "i64", ("n",)), b.input("y", "i64", ("n",))
    one, two = (b.extent(b.reshape(first(b, v, 1), shape=()), most=symbol("n")) for v in (x, y))
    b.output("z", b.add(first(b, x, one), b.assume(first(b, y, two), shape=(one,))))
    graph = b.build()
    executable = tgen.compile(graph, cache=False)
    for run in (executable.run, lambda feeds: evaluate(graph, feeds)):
        assert run({"x": np.array([2, 3, 4]), "y": np.array([2, 5, 6])})["z"].tolist() == [4, 8]
        with pytest.raises(InvalidInput):
            run({"x": np.array([2, 3, 4]), "y": np.array([3, 5, 6])})


def test_the_text_form_has_extents_and_checks() -> None:
    graph = growing()
    again = parse_graph(print_graph(graph), tensors_of(graph))
    assert same_graph(graph, again) and again.extents[0].most == symbol("n") and again.checks[0].message == "x: 10 is too much"


def test_extents_are_scalars_with_names_of_their_own() -> None:
    graph = sized()
    (x,) = graph.inputs
    for extent in (Extent("n", graph.extents[0].value), Extent("extent0", Value(x))):
        with pytest.raises(InvalidGraph, match="extent"):
            verify(Graph(graph.inputs, graph.outputs, graph.name, (extent,)))


def test_the_cache_keeps_them(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGEN_CACHE", str(tmp_path))
    for _ in range(2):
        executable = tgen.compile(sized())
        assert executable.run({"x": np.array([3])})["y"].shape == (3, 3, 3)
        with pytest.raises(InvalidInput, match="extent"):
            executable.run({"x": np.array([-3])})
    assert executable.report["cached"]
