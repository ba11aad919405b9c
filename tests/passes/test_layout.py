"""layout: transposes between what computes channels last meet and go, and nothing else changes."""

from __future__ import annotations

import numpy as np

from tests.graphs import assert_same, feeds
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.movement import Transpose, channels_first, channels_last
from tgen.passes.layout import layout


def _halved(b: Builder, x: Value) -> Value:
    """[n, c, …] by a step that works channels last, as convolutions and poolings do"""
    last = b.transpose(x, perm=channels_last(x.type.rank))
    out: Value = b.transpose(b.reduce_sum(last, axes=(1,), keepdims=True), perm=channels_first(x.type.rank))
    return out


def _network() -> Graph:
    """Chains, a channel's own number, a sum of branches, a slice, a join and a shuffle of channels, all between such steps."""
    b = Builder("network")
    x = b.input("x", "f32", ("n", 6, 5, 7))
    first = b.relu(b.add(_halved(b, x), b.constant(np.arange(6, dtype=np.float32).reshape(6, 1, 1))))
    second = b.add(first, _halved(b, first))
    turned = b.slice(second, axes=(-3,), starts=(5,), sizes=(6,), steps=(-1,))
    both = b.concat(first, turned, axis=1)
    n, c, *space = both.type.shape
    matrix = b.transpose(b.reshape(both, shape=(n, 3, 4, *space)), perm=(0, 2, 1, 3, 4))
    b.output("y", _halved(b, b.reshape(matrix, shape=(n, c, *space))))
    return b.build()


def test_only_the_transposes_at_the_borders_stay() -> None:
    graph = _network()
    after = layout(graph)
    moves = [node.op.perm for node in after.nodes if isinstance(node.op, Transpose)]
    at_borders, shuffle = [channels_last(4), channels_first(4)], (0, 1, 2, 4, 3)
    assert sorted(moves) == sorted([*at_borders, shuffle, channels_last(4)]), moves  # the last one: of the constant
    given = feeds(graph, n=2)
    assert_same(evaluate(after, given), evaluate(graph, given))


def test_resampling_is_done_where_the_channels_are_last() -> None:
    b = Builder("resampled")
    x = b.input("x", "f32", ("n", 6, 5, 7))
    taller = b.gather(_halved(b, x), b.constant(np.array([0, 0, -1, 1])), axis=2)
    weights = np.float32([[0.25, 0.75], [1.5, -0.5]])
    b.output("y", _halved(b, b.interpolate(taller, b.constant(np.array([[5, 6], [0, 3]])), b.constant(weights), axis=-1)))
    graph = b.build()
    after = layout(graph)
    assert [node.op.perm for node in after.nodes if isinstance(node.op, Transpose)] == [channels_last(4), channels_first(4)]
    given = feeds(graph, n=2)
    assert_same(evaluate(after, given), evaluate(graph, given))


def test_a_sum_of_values_in_different_orders_stays() -> None:
    """Else each of the two would move the other's transposes for ever."""
    b = Builder("mixed")
    x = b.input("x", "f32", (2, 3, 4, 5))
    b.output("y", b.add(b.transpose(b.input("z", "f32", (2, 4, 5, 3)), perm=channels_first(4)), x))
    graph = b.build()
    assert layout(graph) is graph


def test_rows_in_another_order_are_multiplied_in_their_own() -> None:
    b = Builder("sequence")
    turned = b.transpose(b.input("x", "f32", ("n", "t", 3)), perm=(1, 0, 2))
    b.output("y", b.matmul(turned, b.input("w", "f32", (3, 5))))
    b.output("z", b.matmul(turned, b.input("v", "f32", ("t", 3, 5))))
    graph = b.build()
    after = layout(graph)
    products = dict(after.outputs)
    assert isinstance(products["y"].op, Transpose) and products["y"].node.inputs[0].op.name == "matmul"
    assert products["z"].op.name == "matmul", "a matrix for each step: rows of different steps have nothing in common"
    given = feeds(graph, n=2, t=4)
    assert_same(evaluate(after, given), evaluate(graph, given))
