"""The text form: every op, every kind of attribute, random graphs, large graphs, and errors that name the line."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tgen.ir import dtypes, ops  # noqa: F401 - fills the registry
from tgen.ir.builder import Builder
from tgen.ir.dims import dim_max, floordiv, symbol
from tgen.ir.errors import InvalidGraph
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import Arg, Call, Const, Expr, Kept, Load, call, cast, const, index, select, size
from tgen.ir.graph import Graph, Tensor
from tgen.ir.identity import op_key, same_graph
from tgen.ir.loops import LoopProgram, Stage
from tgen.ir.op import OPS, Op
from tgen.ir.ops.attend import Attend, Tiling
from tgen.ir.ops.fused import FewRows, Packing
from tgen.ir.text import op_text, parse_graph, print_graph, tensors_of
from tgen.ir.text.exprs import parse_expr, print_expr
from tgen.ir.text.parser import Parser
from tgen.ir.text.scanner import Scanner
from tgen.ir.types import TensorType
from tgen.passes.decompose import decompose
from tgen.passes.inline import inline
from tgen.passes.lower import lower
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.passes.rows import rows
from tgen.targets.find import all_targets

from ..graphs import assert_same, feeds, graphs

F32, I64, BOOL = dtypes.F32, dtypes.I64, dtypes.BOOL
N = symbol("n")
X = Load(F32, 0, (index(0), index(1)))
PROGRAM = LoopProgram(
    (symbol("batch"), floordiv(N + 1, 2)),
    1,
    (
        Stage("reduce", X, combine="max"),
        Stage("each", call("exp", X - Kept(F32, 0)), output=0, index=(index(0), index(1))),
        Stage("once", cast(Kept(F32, 0), dtypes.BF16), output=1, index=(index(0),)),
    ),
    (TensorType(F32, (symbol("batch"), floordiv(N + 1, 2))), TensorType(dtypes.BF16, (symbol("batch"),))),
)
DIMS = (3, N, 2 * N - 1, dim_max(N, 7), symbol("f32"), symbol("nan"), symbol("in"), symbol("for"), -1 * N)


# Annotation of an attribute → values to try. An op with an attribute of another kind must add a row.
def step_graph() -> Graph:
    """With a tensor that stands in the text; attributes of tensors that do not are tested with whole graphs."""
    b = Builder("step")
    state, x = b.input("state", "f32", (N,)), b.input("x", "f32", (N, 3))
    total = b.add(state, b.reduce_sum(b.mul(x, np.float32([1, 2, 3])), axes=(1,), keepdims=False))
    b.output("state", total)
    b.output("y", total)
    return b.build()


SAMPLES: dict[str, tuple[Any, ...]] = {
    "int": (0, -3, 1 << 40),
    "float": (0.0, -0.0, 1e-7, -2.5, float("inf"), float("-inf"), float("nan"), 1e300),
    "float | None": (None, 0.125),
    "bool": (True, False),
    "str": ("", 'a "quoted" \\ line\n', "µ, (x) {y}"),
    "DType": (dtypes.BF16, BOOL),
    "DimLike": DIMS,
    "tuple[int, ...]": ((), (1,), (0, -2, 1)),
    "tuple[int, ...] | None": (None, (), (1, 0)),
    "tuple[int, int]": ((1, 2),),
    "tuple[float, float]": ((0.0, 1.0), (-0.5, 1e-7)),
    "tuple[DimLike, ...]": ((), DIMS),
    "tuple[tuple[int, int], ...]": (((0, 1), (1, 0)), ((0, 0),)),
    "tuple[Expr, ...]": ((Kept(F32, 0), select(X < 0, X * float("nan"), X)),),
    "tuple[tuple[str, tuple[float, float]], ...]": ((("elu", (0.5, 0.0)),), (("tanh", (0.0, 0.0)), ("affine", (2.0, -1.0)))),
    "Graph": (step_graph(),),
    "Tensor": (Tensor(np.float32(1.5)), Tensor(np.zeros((0, 3), bool)), Tensor(np.array(["a,b", ""], object))),
    "TensorType": (TensorType(F32, ()), TensorType(dtypes.U4, (N, 3))),
    "LoopProgram": (PROGRAM, dataclasses.replace(PROGRAM, rows=0), dataclasses.replace(PROGRAM, rows=2)),
    "Packing": (Packing(16, 1, 1, 4),),
    "Expr | None": (None, Load(I64, 3, (index(0),))),
    "Expr": (Kept(F32, 0), select(X < 0, X * float("nan"), X)),
    "Attend": (Attend(Kept(F32, 0) + X, products=((0, 1), (0, 0)), parts=2, undefined="zero"),),
    "tuple[FewRows, ...]": ((), (FewRows(4, "fma", (2, 4), 128, 16, 2),)),
    "Tiling": (Tiling("fma", (6, 2), 128, Packing(16, 1, 1, 4)),),
}


def read_op(text: str, tensors: dict[str, Tensor] | None = None) -> Op:
    return Parser(Scanner(text), tensors or {}).op()


@pytest.mark.parametrize("name", OPS)
def test_every_attribute_of_every_op(name: str) -> None:
    cls = OPS[name]
    kinds = {f.name: str(f.type) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    missing = sorted(set(kinds.values()) - set(SAMPLES))
    assert not missing, f"add to SAMPLES: {missing}"
    for k in range(max((len(SAMPLES[kind]) for kind in kinds.values()), default=1)):
        op = cls(**{field: SAMPLES[kind][k % len(SAMPLES[kind])] for field, kind in kinds.items()})
        text = op_text(op)
        assert op_key(read_op(text)) == op_key(op), text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs())
def test_random_graphs_come_back(graph: Graph) -> None:
    text = print_graph(graph)
    back = parse_graph(text, tensors_of(graph))
    assert same_graph(graph, back) and print_graph(back) == text
    assert_same(evaluate(back, feeds(graph)), evaluate(graph, feeds(graph)))


@pytest.mark.parametrize("target", all_targets(), ids=lambda t: t.name)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs(6))
def test_graphs_come_back_after_every_pass(target, graph: Graph) -> None:
    def check(name: str, after: Graph, _: float) -> None:
        assert same_graph(after, parse_graph(print_graph(after), tensors_of(after))), f"after {name}"

    run_pipeline(graph, pipeline(target), observe=check)


def model() -> Graph:
    b = Builder("tiny model")
    x = b.input("x", "f32", ("batch", 64))
    with b.origin('encoder/"dense"'):
        y = b.add(b.matmul(x, np.arange(512, dtype=np.float32).reshape(64, 8)), np.float32([0.5, -0.0] * 4))
    b.output("y", b.softmax(y, axis=-1))
    b.output("0", b.cast(y, to=dtypes.BF16))
    return b.build()


def test_text_is_readable(golden) -> None:
    golden("model", print_graph(model()))
    golden("model_rows", print_graph(rows(inline(lower(decompose(model()))))))


def test_large_tensors_come_from_outside() -> None:
    graph = model()
    tensors = tensors_of(graph)
    assert len(tensors) == 1
    text = print_graph(graph)
    with pytest.raises(InvalidGraph, match="line 2: tensor #[0-9a-f]+ is not in the text: give it in tensors="):
        parse_graph(text)
    ((name, tensor),) = tensors.items()
    assert same_graph(parse_graph(text, {name: tensor.array}), graph)
    with pytest.raises(InvalidGraph, match=r"line 2: a tensor is f32\[64\]; the text says f32\[64, 8\]"):
        parse_graph(text, {name: np.zeros(64, np.float32)})


def test_a_nan_with_a_payload_is_named_by_digest() -> None:
    b = Builder()
    b.output("y", b.constant(np.array([0x7FC00001], np.uint32).view(np.float32)))
    graph = b.build()
    assert len(tensors_of(graph)) == 1
    assert same_graph(parse_graph(print_graph(graph), tensors_of(graph)), graph)


def test_time_is_linear() -> None:
    def seconds(length: int) -> float:
        b = Builder()
        v = b.input("x", "f32", ("n",))
        for _ in range(length):
            v = b.neg(v)
        b.output("y", v)
        start = time.perf_counter()
        parse_graph(print_graph(b.build()))
        return time.perf_counter() - start

    small = min(seconds(1000) for _ in range(3))
    assert seconds(20000) < 20 * small * 4


EXPRESSIONS: dict[str, Expr] = {
    "-inf:f32": const(float("-inf"), F32),
    "nan:bf16": const(float("nan"), dtypes.BF16),
    "-0.0:f32": const(-0.0, F32),
    "True:bool": const(True, BOOL),
    "1e-07:f64": const(1e-7, dtypes.F64),
    "[2*n - 1]": size(2 * N - 1),
    "%3:f32[]": Load(F32, 3, ()),
    "arg0:u8": Arg(dtypes.U8, 0),
    "cast:f32(i1)": cast(index(1), F32),
    "bitcast:i32(arg0:f32)": Call(dtypes.I32, "bitcast", (Arg(F32, 0),)),
    "select(lt(arg0:f32, 0.0:f32), neg(arg0:f32), arg0:f32)": select(Arg(F32, 0) < 0, -Arg(F32, 0), Arg(F32, 0)),
    "let t0 = exp(arg0:f32) in mul(t0, t0)": call("exp", Arg(F32, 0)) * call("exp", Arg(F32, 0)),
    "add:i32(arg0:i8, arg1:i8)": Call(dtypes.I32, "add", (Arg(dtypes.I8, 0), Arg(dtypes.I8, 1))),
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions(text: str) -> None:
    assert print_expr(EXPRESSIONS[text]) == str(EXPRESSIONS[text]) == text
    assert parse_expr(text) is EXPRESSIONS[text]


def test_shared_and_deep_expressions_stay_short() -> None:
    x: Expr = Arg(F32, 0)
    for _ in range(200):
        x = x * x
    assert len(str(x)) < 10_000 and parse_expr(str(x)) is x
    for _ in range(200):
        x = call("exp", x)
    assert parse_expr(str(x)) is x


TEXT = """graph g(%x: f32[n, 4]) {
  %0 = relu(%x) : f32[n, 4]
  return y = %0
}"""
ERRORS = {
    "unknown op": ("relu", "rely", "line 2: no operator is named 'rely'"),
    "undefined value": ("relu(%x)", "relu(%z)", "line 2: %z is not defined above"),
    "wrong type": (") : f32[n, 4]", ") : f32[n, 5]", r"line 2: relu has results f32[n, 4]; the text says f32[n, 5] for %0"),
    "wrong dtype": ("%x: f32", "%x: g32", "'g32[n, 4]' is not a tensor type"),
    "unknown attribute": ("relu(", "relu{slope=1}(", "line 2: Relu: got an unexpected keyword argument 'slope'"),
    "missing attribute": ("relu(", "cast(", "line 2: Cast: missing 1 required positional argument: 'to'"),
    "operand it does not take": ("relu(%x)", "matmul(%x, %x)", "line 2: matmul of f32[n, 4] with f32[n, 4]: contracts 4 with n"),
    "two of a name": ("%0 = ", "%x = ", "line 2: %x is defined twice"),
    "no end": ("\n}", "", "line 3: expected ',', found 'the end'"),
    "more": ("\n}", "\n}\n}", "line 5: '}' after the end of the graph"),
    "no token": ("relu", "re?u", "line 2: '?u(%x) : f32[n, 4]' is no token of the text form"),
    "bad dimension": ("f32[n, 4])", "f32[n, 4 4])", "'4 4' is not a dimension"),
    "results": ("%0 =", "%0, %1 =", "line 2: relu has results f32[n, 4]"),
    "undefined output": ("y = %0", "y = %9", "line 3: %9 is not defined above"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_line(case: str) -> None:
    old, new, message = ERRORS[case]
    assert old in TEXT
    with pytest.raises(InvalidGraph) as error:
        parse_graph(TEXT.replace(old, new, 1))
    assert message in str(error.value)
    assert str(error.value).startswith("line ")


def test_same_graph_tells_zeros_and_types_apart() -> None:
    def graph(alpha: Any) -> Graph:
        b = Builder()
        b.output("y", b.leaky_relu(b.input("x", "f32", (2,)), alpha=alpha))
        return b.build()

    assert same_graph(graph(float("nan")), graph(float("nan")))
    assert not same_graph(graph(0.0), graph(-0.0)) and not same_graph(graph(1), graph(1.0))
    assert Const(F32, "0.0") is not Const(F32, "-0.0")
