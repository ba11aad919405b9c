"""Loops in the plan: `scan` as machine code, for any number of turns and threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest

from tests.meetings import meetings
from tests.native import build_executable, host, runnable_targets
from tests.sharing import everything_shared, executables
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dims import DimLike
from tgen.ir.errors import InvalidGraph, TypeMismatch
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.scan import Scan, close_over
from tgen.ir.verify import verify


def repeated(b: Builder, body: Callable[..., list[Value]], states: list[Value], sequences: list[Value]) -> tuple[Value, ...]:
    """body(build, *states, *elements) → states, stacked; it may use values of b."""
    inner = Builder()
    given = [inner.input(f"s{k}", v.type.dtype, v.type.shape) for k, v in enumerate(states)]
    given += [inner.input(f"e{k}", v.type.dtype, v.type.shape[1:]) for k, v in enumerate(sequences)]
    graph, captured = close_over("body", given, body(inner, *given))
    found = b.apply(Scan(graph, len(captured), len(states), sequences[0].type.shape[0]), *captured, *states, *sequences)
    return found if isinstance(found, tuple) else (found,)


def cell() -> Graph:
    """Two states that change places, one that is never changed, one element passed on; weights that are known and that are not."""
    rng = np.random.default_rng(3)
    b = Builder("cell")
    x, w = b.input("x", "f32", ("t", "n", 24)), b.input("w", "f32", (40, 40))
    first, second, still = (b.input(name, "f32", ("n", 40)) for name in ("first", "second", "still"))
    known = rng.standard_normal((24, 40)).astype(np.float32)

    def body(inner: Builder, a: Value, c: Value, same: Value, e: Value) -> list[Value]:
        new = inner.tanh(inner.add(inner.add(inner.matmul(a, w), inner.matmul(e, known)), same))
        return [c, new, same, e, inner.reduce_sum(new, axes=(1,), keepdims=False)]

    names = ("last first", "last second", "still the same", "elements", "sums")
    for name, value in zip(names, repeated(b, body, [first, second, still], [x])):
        b.output(name, value)
    return b.build()


def nested(t: DimLike | str = "t", u: DimLike | str = "u") -> Graph:
    """Rows of a matrix one by one, and each row element by element."""
    b = Builder("nested")
    x, start = b.input("x", "f32", (t, u, "n")), b.input("start", "f32", ("n",))

    def row(inner: Builder, state: Value, element: Value) -> list[Value]:
        def column(innermost: Builder, below: Value, part: Value) -> list[Value]:
            new = innermost.add(innermost.mul(below, 0.5), innermost.mul(part, state))
            return [new, new]

        last, parts = repeated(inner, column, [state], [element])
        return [last, parts, inner.reduce_max(parts, axes=(0,), keepdims=False)]

    for name, value in zip(("last", "parts", "most"), repeated(b, row, [start], [x])):
        b.output(name, value)
    return b.build()


def feeds(graph: Graph, rng: np.random.Generator, **sizes: int) -> dict[str, np.ndarray]:
    shapes = {n.op.label: [d if isinstance(d, int) else sizes[str(d)] for d in n.types[0].shape] for n in graph.inputs}  # type: ignore[attr-defined]
    return {name: rng.standard_normal(shape).astype(np.float32) * np.float32(0.5) for name, shape in shapes.items()}


@pytest.mark.parametrize("target", runnable_targets().values(), ids=runnable_targets())
def test_a_cell_on_every_target(target, rng: np.random.Generator) -> None:
    executable = build_executable(cell(), target)
    for t, n in ((0, 3), (1, 1), (2, 5), (7, 33)):
        given = feeds(cell(), rng, t=t, n=n)
        found, wanted = executable.run(given), evaluate(cell(), given)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.array_equal(found["still the same"], given["still"]) and np.array_equal(found["elements"], given["x"])


@pytest.mark.parametrize("make", (cell, nested))
def test_same_bits_for_any_number_of_threads(make: Callable[[], Graph], rng: np.random.Generator) -> None:
    graph = make()
    with everything_shared():
        several = executables(graph, (1, 2, 3))
        for sizes in ({"t": 3, "n": 40, "u": 2}, {"t": 1, "n": 7, "u": 5}, {"t": 0, "n": 4, "u": 2}, {"t": 4, "n": 2, "u": 0}):
            given = feeds(graph, rng, **sizes)
            results = [executable.run(given) for executable in several for _ in range(3)]
            for name, wanted in evaluate(graph, given).items():
                np.testing.assert_allclose(results[0][name], wanted, rtol=1e-4, atol=1e-5)
                assert all(np.array_equal(r[name], results[0][name]) for r in results)


def test_the_plan_shows_its_loops() -> None:
    plan = compile_graph(nested(), host(), "highest").plan
    outer, inner = plan.loops
    assert outer.first <= inner.first <= inner.last <= outer.last
    assert str(plan.times(inner.first)) in ("t*u", "u*t") and "for step.0 < t" in str(plan)
    assert plan.times(outer.first) == outer.count or outer.first == inner.first


@pytest.mark.parametrize("t,u,loops", [(1, "u", 1), ("t", 1, 1), (1, 1, 0)])
def test_one_turn_is_no_loop(t: DimLike | str, u: DimLike | str, loops: int, rng: np.random.Generator) -> None:
    graph = nested(t, u)
    assert len(compile_graph(graph, host(), "highest").plan.loops) == loops
    given = feeds(graph, rng, t=3, u=2, n=5)
    found = build_executable(graph).run(given)
    for name, wanted in evaluate(graph, given).items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def directions(counts: tuple[DimLike | str, DimLike | str] = ("t", "t"), widths: tuple[int, int] = (48, 40)) -> Graph:
    """Two recurrent layers that need nothing of each other; each turn of the second has two such loops over the halves of its state."""
    rng = np.random.default_rng(4)
    b = Builder("directions")
    for k, (count, width) in enumerate(zip(counts, widths)):
        x, state = b.input(f"x{k}", "f32", (count, "n", width)), b.input(f"h{k}", "f32", ("n", width))
        known = rng.standard_normal((width, width)).astype(np.float32) / np.float32(np.sqrt(width))
        last, rows = repeated(b, partial(_turn, known, k == 1), [state], [x])
        b.output(f"last{k}", last)
        b.output(f"rows{k}", rows)
    return b.build()


def _turn(weights: np.ndarray, loops: bool, b: Builder, h: Value, e: Value) -> list[Value]:
    new = b.tanh(b.add(b.matmul(h, weights), e))
    if loops:
        half = weights.shape[0] // 2
        halves = b.reshape(new, shape=(2, new.type.shape[0], half))
        start = b.slice(e, axes=(1,), starts=(0,), sizes=(half,), steps=(1,))
        sums = [
            repeated(b, lambda i, s, part, f=f: [i.add(s, i.mul(i.tanh(part), f)), i.mul(part, s)], [start], [halves])[0]
            for f in (0.5, 2.0)
        ]
        new = b.add(new, b.concat(*sums, axis=1))
    return [new, new]


def test_directions_are_sections(rng: np.random.Generator) -> None:
    """Each is one thread's; what they write is not the other's; all numbers of threads give the same bits."""
    graph = directions()
    plan = compile_graph(graph, host(), "highest").plan
    (sections,) = plan.sections
    assert len(sections.starts) == 2 and "each one thread's" in str(plan)
    assert [loop.first for loop in plan.loops][:1] == [sections.first] and len(plan.loops) == 4
    apart = [
        [step for step in plan.steps if first <= step.phase < end] for first, end in pairwise((*sections.starts, sections.last + 1))
    ]
    for one, other in product(*apart):
        assert meetings(plan, one, other, {"t": 5, "n": 3}) == []
    with everything_shared():
        several = executables(graph, (1, 2, 3, 4))
        for sizes in ({"t": 5, "n": 3}, {"t": 1, "n": 1}, {"t": 0, "n": 4}, {"t": 9, "n": 17}):
            given = feeds(graph, rng, **sizes)
            results = [executable.run(given) for executable in several for _ in range(3)]
            for name, wanted in evaluate(graph, given).items():
                np.testing.assert_allclose(results[0][name], wanted, rtol=1e-4, atol=1e-5, err_msg=name)
                assert all(np.array_equal(r[name], results[0][name]) for r in results)


OTHERS: dict[str, Callable[[], Graph]] = {
    "of other lengths": lambda: directions(("t", "u")),
    "of other sizes": lambda: directions(widths=(64, 256)),
    "of much work a turn": lambda: directions(widths=(1024, 1024)),
    "one alone": cell,
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_what_is_no_section(make: Callable[[], Graph], rng: np.random.Generator) -> None:
    graph = make()
    assert compile_graph(graph, host(), "highest").plan.sections == ()
    given = feeds(graph, rng, t=2, u=3, n=2)
    found = build_executable(graph).run(given)
    for name, wanted in evaluate(graph, given).items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-4, err_msg=name)


def test_constants_are_packed_inside() -> None:
    """A weight that the body is given is no different from one that it has."""
    b = Builder()
    x, h, w = b.input("x", "f32", ("t", 1, 64)), b.input("h", "f32", (1, 64)), b.constant(np.ones((64, 64), np.float32))
    h, _ = repeated(b, lambda i, s, e: [v := i.tanh(i.add(i.matmul(s, w), e)), v], [h], [x])
    b.output("h", h)
    plan = compile_graph(b.build(), host(), "highest").plan
    assert plan.weight_bytes == 64 * 64 * 4 and len(plan.loops) == 1


def test_bodies_are_verified() -> None:
    body = Builder("body")
    state = body.input("state", "f32", (3,))
    body.output("state", body.cast(state, to=body.constant(1).type.dtype))
    b = Builder()
    with pytest.raises(TypeMismatch, match="states"):
        b.apply(Scan(body.build(), 0, 1, 4), b.input("x", "f32", (3,)))
    good = cell()
    node = next(n for n in good.nodes if isinstance(n.op, Scan))
    broken = Graph(node.op.body.inputs, (node.op.body.outputs[0], *node.op.body.outputs[:-1]), "twice")  # type: ignore[attr-defined]
    with pytest.raises((InvalidGraph, TypeMismatch)):
        b.apply(Scan(broken, node.op.captured, node.op.states, node.op.count), *node.inputs)  # type: ignore[attr-defined]
        verify(broken)
