"""Dimensions that a model declares apart and that its nodes need equal, or of one size: exporters name every axis anew."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import helper

import tgen
from tgen.frontends import load
from tgen.ir.errors import InvalidInput, InvalidModel
from tgen.ir.evaluate import evaluate

from .conftest import MakeModel

node = helper.make_node
Shape = tuple[object, ...]


@dataclass(frozen=True)
class Case:
    """Inputs as a model declares them; sizes: of their axes in a run; constants: shapes; wanted: types of the graph's inputs."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: dict[str, Shape]
    sizes: dict[str, int]
    wanted: str
    constants: dict[str, tuple[int, ...]] = field(default_factory=dict)


NUMBERS = {"by": (-1, 4), "begin": (0,), "end": (4,), "axis": (1,)}
X, XZ = {"x": ("a", "b")}, {"x": ("a", "b"), "z": ("c", "d")}
PICTURE = {"x": ("n", "c", "h", "w")}
CASES = {
    "matmul-constant": Case((node("MatMul", ["x", "w"], ["y"]),), X, {"a": 3, "b": 8}, "[a, 8]", {"w": (8, 5)}),
    "matmul": Case((node("MatMul", ["x", "z"], ["y"]),), XZ, {"a": 3, "b": 4, "c": 4, "d": 2}, "[a, b] [b, d]"),
    "batches": Case(
        (node("MatMul", ["x", "z"], ["y"]),), {"x": ("a", 2, 3), "z": ("b", 3, 4)}, {"a": 3, "b": 3}, "[a, 2, 3] [a, 3, 4]"
    ),
    "add": Case((node("Add", ["x", "z"], ["y"]),), XZ, {"a": 3, "b": 4, "c": 3, "d": 4}, "[a, b] [a, b]"),
    "add-constant": Case((node("Add", ["x", "w"], ["y"]),), X, {"a": 3, "b": 4}, "[a, 4]", {"w": (4,)}),
    "concat": Case((node("Concat", ["x", "z"], ["y"], axis=1),), XZ, {"a": 3, "b": 4, "c": 3, "d": 2}, "[a, b] [a, d]"),
    "conv": Case(
        (node("Conv", ["x", "w"], ["y"], group=2),), PICTURE, {"n": 2, "c": 6, "h": 5, "w": 4}, "[n, 6, h, w]", {"w": (4, 3, 2, 2)}
    ),
    "instances": Case(
        (node("InstanceNormalization", ["x", "s", "s"], ["y"]),),
        PICTURE,
        {"n": 2, "c": 3, "h": 4, "w": 5},
        "[n, 3, h, w]",
        {"s": (3,)},
    ),
    "batch-norm": Case(
        (node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"]),),
        PICTURE,
        {"n": 2, "c": 3, "h": 4, "w": 5},
        "[n, 3, h, w]",
        {"s": (3,)},
    ),
    "lstm": Case(
        (node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2),),
        {"x": ("t", "n", "k")},
        {"t": 3, "n": 2, "k": 4},
        "[t, n, 4]",
        {"w": (1, 8, 4), "r": (1, 8, 2)},
    ),
    "einsum": Case(
        (node("Einsum", ["x", "z"], ["y"], equation="ij,kj->ik"),), XZ, {"a": 3, "b": 4, "c": 2, "d": 4}, "[a, b] [c, b]"
    ),
    "a sum": Case(
        (node("Concat", ["past", "x"], ["all"], axis=1), node("Add", ["all", "mask"], ["y"])),
        {"past": ("n", "p"), "x": ("n", "s"), "mask": ("n", "total")},
        {"n": 2, "p": 3, "s": 4, "total": 7},
        "[n, p] [n, s] [n, p + s]",
    ),
    "a multiple": Case((node("Reshape", ["x", "by"], ["y"]),), X, {"a": 3, "b": 8}, "[a, b]"),
    "at most": Case(
        (node("Slice", ["x", "begin", "end", "axis"], ["s"]), node("Add", ["s", "w"], ["y"])),
        {"x": (2, "b")},
        {"b": 7},
        "[2, b]",
        {"w": (4,)},
    ),
    "one of two": Case(
        (node("MatMul", ["x", "z"], ["q"]), node("Add", ["q", "x"], ["s"]), node("Add", ["s", "w"], ["y"])),
        XZ,
        {"a": 3, "b": 4, "c": 4, "d": 4},
        "[a, 4] [4, 4]",
        {"w": (4,)},
    ),
}


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("name", CASES)
def test_extents_follow_from_what_is_done_with_them(name: str, make_model: MakeModel, rng: np.random.Generator) -> None:
    import onnxruntime

    case = CASES[name]
    constants = {k: rng.uniform(0.5, 1.5, s).astype(np.float32) for k, s in case.constants.items()}
    numbers = {k: np.array(v) for k, v in NUMBERS.items()}
    model = make_model(case.nodes, case.inputs, constants=constants | numbers)
    graph = load(model)
    assert " ".join(str(n.types[0]).removeprefix("f32") for n in graph.inputs) == case.wanted
    shapes = {k: [case.sizes.get(str(d), d) for d in s] for k, s in case.inputs.items()}
    feeds = {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], feeds)
    for found in (evaluate(graph, feeds), tgen.compile(graph).run(feeds)):
        np.testing.assert_allclose(found["y"], wanted, rtol=1e-4, atol=1e-5)


def test_a_run_with_other_sizes_is_told(make_model: MakeModel) -> None:
    run = tgen.compile(make_model(CASES["add"].nodes, XZ))
    with pytest.raises(InvalidInput, match="axis 0 must be 2"):
        run.run({"x": np.zeros((2, 3), np.float32), "z": np.zeros((4, 3), np.float32)})


def test_a_run_of_no_multiple_is_told(make_model: MakeModel) -> None:
    run = tgen.compile(make_model(CASES["a multiple"].nodes, X, constants={"by": np.array(NUMBERS["by"])}))
    with pytest.raises(InvalidInput, match="it has 15 where 12 are needed"):
        run.run({"x": np.zeros((5, 3), np.float32)})


def test_what_no_size_makes_equal(make_model: MakeModel) -> None:
    longer = [node("Concat", ["x", "w"], ["more"], axis=0), node("Add", ["more", "x"], ["y"])]
    with pytest.raises(InvalidModel, match=r"Add 'y': .*do not broadcast: a \+ 1 against a"):
        load(make_model(longer, {"x": ("a",)}, constants={"w": np.zeros(1, np.float32)}))
    both = [node("Add", ["x", "w"], ["s"]), node("Add", ["s", "v"], ["y"])]
    with pytest.raises(InvalidModel, match="do not broadcast: 3 against 4"):
        load(make_model(both, {"x": ("a",)}, constants={"w": np.zeros(3, np.float32), "v": np.zeros(4, np.float32)}))


def test_channels_that_make_no_squares_are_told_at_once(make_model: MakeModel) -> None:
    with pytest.raises(InvalidModel, match="DepthToSpace 'y': depth_to_space of"):
        load(make_model([node("DepthToSpace", ["x"], ["y"], blocksize=2)], PICTURE))


def test_a_branch_that_may_not_be_taken_asks_nothing(make_model: MakeModel) -> None:
    branches = {
        key: helper.make_graph([body], key, [], [onnx.ValueInfoProto(name=f"{key}_y")])
        for key, body in (
            ("then_branch", node("Add", ["x", "w"], ["then_branch_y"])),
            ("else_branch", node("Identity", ["x"], ["else_branch_y"])),
        )
    }
    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "zero"], ["c"]),
        node("If", ["c"], ["y"], **branches),
    ]
    constants = {"w": np.zeros(3, np.float32), "zero": np.zeros((), np.float32)}
    with pytest.raises(InvalidModel, match="do not broadcast: a against 3"):
        load(make_model(nodes, {"x": ("a",)}, constants=constants))
