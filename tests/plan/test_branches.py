"""Branches in the plan: one of two graphs, as a run finds out."""

from __future__ import annotations

import numpy as np
import pytest

import tgen
from tests.native import build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.dtypes import I64
from tgen.ir.errors import TypeMismatch
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Extent, Graph, Input, Node, Value
from tgen.ir.identity import same_graph
from tgen.ir.ops.branch import Branch
from tgen.ir.ops.scan import Scan, enclose
from tgen.ir.text import parse_graph, print_graph, tensors_of


def fork(
    b: Builder, condition: Value, yes: list[Value], no: list[Value], before: set[Node], extents: tuple[Extent, ...] = ()
) -> list[Value]:
    """One of two lists of values; nodes in `before` stay outside. extents: of the first."""
    graphs = [
        enclose(f"way{k}", (), values, lambda n: n not in before, extents if not k else ()) for k, values in enumerate((yes, no))
    ]
    found = b.apply(Branch(*(graph for graph, _ in graphs)), condition, *(v for _, captured in graphs for v in captured))
    return list(found) if isinstance(found, tuple) else [found]


def forked() -> Graph:
    """Products one way, sums the other; a value passed through, a constant; a fork inside a fork; an extent in one of them."""
    b = Builder("forked")
    x, flag, inner = b.input("x", "f32", ("n", 8)), b.input("flag", "bool", ()), b.input("inner", "bool", ())
    h = b.tanh(x)
    w = np.random.default_rng(2).standard_normal((8, 8)).astype(np.float32)
    before = {x.node, flag.node, inner.node, h.node}
    count = b.reduce_sum(b.cast(b.greater(h, 0.0), to=I64), axes=(0, 1), keepdims=False)
    some = symbol("some")
    ones = b.reduce_sum(b.full(b.constant(1, "f32"), shape=(some,)), axes=(0,), keepdims=False)
    product = b.matmul(h, b.constant(w))
    deeper = fork(b, inner, [b.softmax(product, axis=-1)], [b.relu(product)], {*before, product.node})[0]
    sums = b.reduce_sum(h, axes=(1,), keepdims=True)
    yes = [deeper, h, ones]
    no = [b.mul(b.add(h, sums), 0.5), b.exp(b.matmul(x, b.constant(w))), b.reduce_max(h, axes=(0, 1), keepdims=False)]
    results = fork(b, flag, yes, no, before, (Extent("some", count),))
    b.output("a", b.add(results[0], x))
    b.output("b", results[1])
    b.output("c", results[2])
    return b.build()


def feeds(rng: np.random.Generator, n: int, flag: bool, inner: bool) -> dict[str, np.ndarray]:
    return {"x": rng.standard_normal((n, 8)).astype(np.float32), "flag": np.array(flag), "inner": np.array(inner)}


def expect(executable: tgen.Executable, graph: Graph, given: dict[str, np.ndarray]) -> None:
    found, wanted = executable.run(given), evaluate(graph, given)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("threads", [1, 2])
def test_forks(threads: int, rng: np.random.Generator) -> None:
    graph = forked()
    executable = tgen.compile(graph, cache=False, threads=threads)
    for n in (1, 7, 20000, 3):
        for flag in (True, False):
            for inner in (True, False):
                expect(executable, graph, feeds(rng, n, flag, inner))


@pytest.mark.parametrize("target", runnable_targets().values(), ids=runnable_targets())
def test_forks_on_every_target(target, rng: np.random.Generator) -> None:
    """Without extents, whose memory a program on another machine's emulator has no use for."""
    b = Builder("small")
    x, flag = b.input("x", "f32", ("n", 8)), b.input("flag", "bool", ())
    w = b.constant(np.random.default_rng(2).standard_normal((8, 8)).astype(np.float32))
    b.output("y", fork(b, flag, [b.matmul(x, w)], [b.softmax(x, axis=-1)], {x.node, flag.node})[0])
    graph = b.build()
    executable = build_executable(graph, target)
    for flag_value in (True, False):
        given = {"x": rng.standard_normal((5, 8)).astype(np.float32), "flag": np.array(flag_value)}
        expect(executable, graph, given)


def test_a_fork_in_a_loop(rng: np.random.Generator) -> None:
    """Each turn goes its own way."""
    b = Builder("loop")
    x, ways, start = b.input("x", "f32", ("t", "n", 4)), b.input("ways", "bool", ("t",)), b.input("start", "f32", ("n", 4))
    state, e, way = (
        Value(Node(Input(*i)))
        for i in (("s", start.type), ("e", x.type.with_shape((symbol("n"), 4))), ("w", ways.type.with_shape(())))
    )
    new = fork(
        b,
        way,
        [b.softmax(b.add(state, e), axis=-1)],
        [b.sub(state, b.reduce_max(e, axes=(0,), keepdims=True))],
        {v.node for v in (state, e, way)},
    )[0]
    body, captured = enclose(
        "body", (state, e, way), [new, new], lambda n: not isinstance(n.op, Input) or n in (state.node, e.node, way.node)
    )
    last, each = b.apply(Scan(body, len(captured), 1, symbol("t")), *captured, start, x, ways)
    b.output("last", last)
    b.output("each", each)
    graph = b.build()
    for threads in (1, 2):
        executable = tgen.compile(graph, cache=False, threads=threads)
        for t, n in ((0, 3), (1, 5), (6, 3000), (9, 2)):
            given = {
                "x": rng.standard_normal((t, n, 4)).astype(np.float32),
                "ways": rng.random(t) < 0.5,
                "start": np.zeros((n, 4), np.float32),
            }
            expect(executable, graph, given)


def test_known_conditions_are_decided_when_compiling() -> None:
    b = Builder("known")
    x = b.input("x", "f32", ("n",))
    b.output("y", fork(b, b.constant(True), [b.exp(x)], [b.log(x)], {x.node})[0])
    executable = tgen.compile(b.build(), cache=False)
    assert "fork" not in executable.plan() and "else" not in executable.plan()
    np.testing.assert_allclose(executable(np.array([1.0], np.float32))[0], [np.e], rtol=1e-6)


def test_text_and_types() -> None:
    graph = forked()
    assert same_graph(graph, parse_graph(print_graph(graph), tensors_of(graph)))
    (node,) = (n for n in graph.nodes if isinstance(n.op, Branch))
    with pytest.raises(TypeMismatch, match="condition"):
        Node(node.op, (node.inputs[1], *node.inputs[1:]))
    with pytest.raises(TypeMismatch, match="want"):
        Node(node.op, node.inputs[:1])
    other = enclose("other", (), [node.inputs[1]], lambda n: False)[0]
    with pytest.raises(TypeMismatch, match="results"):
        Node(Branch(node.op.yes, other), (*node.inputs[: 1 + len(node.op.yes.inputs)], node.inputs[1]))
