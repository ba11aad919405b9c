"""Each rule of the verifier, broken once; and rewriting to a fixpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tgen.ir.builder import Builder
from tgen.ir.dtypes import F32, I64
from tgen.ir.errors import InvalidGraph
from tgen.ir.expr import Kept, Load, index
from tgen.ir.graph import Graph, Input, Node, Value
from tgen.ir.loops import LoopProgram, Stage
from tgen.ir.op import Op
from tgen.ir.ops.activation import Relu
from tgen.ir.ops.elementwise import Add, Neg
from tgen.ir.ops.fused import Loops
from tgen.ir.ops.movement import Transpose
from tgen.ir.rewrite import make, rewrite
from tgen.ir.types import TensorType
from tgen.ir.verify import verify

from ..graphs import graphs

KIND = TensorType(F32, (4,))


class Unregistered(Op):
    name = "unregistered"

    def infer(self, x: TensorType) -> TensorType:
        return x


def chain(*ops: Op, origin: str = "layer.0/op") -> Graph:
    """y = ops[-1](… ops[0](x))"""
    x = Node(Input("x", KIND))
    value = Value(x)
    for op in ops:
        value = Value(Node(op, (value,), origin))
    return Graph((x,), (("y", value),))


def cycle() -> Graph:
    graph = chain(Neg(), Relu())
    outer = graph.outputs[0][1].node
    object.__setattr__(outer.inputs[0].node, "inputs", (Value(outer),))
    return graph


def wrong_type() -> Graph:
    graph = chain(Neg())
    object.__setattr__(graph.outputs[0][1].node, "types", (TensorType(F32, (5,)),))
    return graph


def loops(operand: int = 0, dtype: Any = F32, stage: int | None = None) -> Graph:
    body = Load(dtype, operand, (index(0),)) if stage is None else Kept(F32, stage)
    program = LoopProgram((4,), 1, (Stage("once", body, output=0, index=(index(0),)),), (TensorType(body.dtype, (4,)),))
    graph = chain(Neg())
    node = graph.outputs[0][1].node
    if stage is None:
        return chain(Loops(program))
    object.__setattr__(node, "op", Loops(program))
    return graph


def two_inputs(first: str, second: str) -> Graph:
    x, y = Node(Input(first, KIND)), Node(Input(second, KIND))
    return Graph((x, y), (("y", Value(Node(Add(), (Value(x), Value(y))))),))


BROKEN: dict[str, tuple[Callable[[], Graph], str]] = {
    "no outputs": (lambda: Graph(chain(Neg()).inputs, ()), "graph 'model' has no outputs"),
    "two outputs of a name": (
        lambda: Graph(chain(Neg()).inputs, chain(Neg()).outputs * 2),
        "two outputs of graph 'model' are named 'y'",
    ),
    "two inputs of a name": (lambda: two_inputs("x", "x"), "two inputs of graph 'model' are named 'x'"),
    "input that is none": (
        lambda: Graph((chain(Neg()).outputs[0][1].node,), chain(Neg()).outputs),
        r"neg \(layer.0/op\) is among the inputs of graph 'model', but is no input",
    ),
    "foreign input": (lambda: Graph((), chain(Neg()).outputs), "input: input 'x' is used but is no input of graph 'model'"),
    "cycle": (cycle, r"(neg|relu) \(layer.0/op\) needs its own result"),
    "result that is not there": (
        lambda: Graph(chain(Neg()).inputs, (("y", Value(chain(Neg()).outputs[0][1].node, 1)),)),
        r"result 1 of neg \(layer.0/op\) is used; it has 1",
    ),
    "wrong type": (wrong_type, r"neg \(layer.0/op\): has types f32\[5\]; its op infers f32\[4\]"),
    "unregistered": (lambda: chain(Unregistered()), "Unregistered is not the registered operator 'unregistered'"),
    "not hashable": (lambda: chain(Transpose([0])), r"transpose \(layer.0/op\): attribute perm is not hashable"),  # type: ignore[arg-type]
    "loads too far": (lambda: loops(operand=3), r"loops \(layer.0/op\): %3:f32\[i0\] loads operand 3 of 1"),
    "loads another dtype": (lambda: loops(dtype=I64), r"%0:i64\[i0\] loads from operand 0, which is f32\[4\]"),
    "reads a later stage": (lambda: loops(stage=2), r"loops \(layer.0/op\): stage 0 reads stage 2"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_graphs_are_named(case: str) -> None:
    make_graph, message = BROKEN[case]
    with pytest.raises(InvalidGraph, match=message):
        verify(make_graph())


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_built_graphs_are_valid(graph: Graph) -> None:
    verify(graph)


def test_trusted_nodes_are_not_looked_at() -> None:
    graph = wrong_type()
    verify(graph, trusted=frozenset(graph.nodes))


def test_depth_is_no_limit() -> None:
    verify(chain(*[Neg()] * 20_000))


def drop(node: Node, *inputs: Value) -> Value | None:
    """-(-x) = x"""
    match node.op, inputs:
        case Neg(), (Value(node=Node(op=Neg(), inputs=(x,))),):
            return x
    return None


def test_rewrite_goes_to_the_fixpoint() -> None:
    assert rewrite(chain(*[Neg()] * 7), [drop]).nodes[-1].inputs[0].op == Input("x", KIND)
    assert len(rewrite(chain(*[Neg()] * 1000), [drop]).nodes) == 1


def test_rewrite_that_finds_nothing_gives_the_same_graph() -> None:
    graph = chain(Neg(), Relu())
    assert rewrite(graph, [drop]) is graph and rewrite(graph, []) is graph


def test_rewrite_names_a_rule_that_never_ends() -> None:
    def flip(node: Node, *inputs: Value) -> Value | None:
        return make(node, Relu() if isinstance(node.op, Neg) else Neg(), *inputs) if inputs else None

    def grow(node: Node, *inputs: Value) -> Value | None:
        return make(node, Neg(), make(node, Neg(), *inputs)) if isinstance(node.op, Neg) else None

    with pytest.raises(InvalidGraph, match="rule flip fires again and again at"):
        rewrite(chain(Neg()), [flip])
    with pytest.raises(InvalidGraph, match="rule grow"):
        rewrite(chain(Neg()), [grow])


def test_rewrite_names_a_rule_that_changes_a_type() -> None:
    def widen(node: Node, *inputs: Value) -> Value | None:
        build = Builder()
        return build.constant(np.zeros(3)) if isinstance(node.op, Relu) else None

    with pytest.raises(InvalidGraph, match=r"rule widen turned relu of \[f32\[4\]\] into \[f64\[3\]\]"):
        rewrite(chain(Relu()), [widen])
