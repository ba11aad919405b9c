"""Indices outside of their axis end a run with the node's name; those known to be inside cost nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.native import build_executable
from tgen.frontends import load
from tgen.ir.errors import InvalidInput, InvalidModel
from tgen.ir.evaluate import evaluate

from .conftest import MakeModel, value_info

node = helper.make_node
I64 = TensorProto.INT64

NODES = [
    node("Gather", ["x", "rows"], ["a"], name="take", axis=0),
    node("GatherElements", ["x", "each"], ["b"], name="elements", axis=1),
    node("GatherND", ["x", "pairs"], ["c"], name="pairs"),
    node("ScatterElements", ["x", "put", "x"], ["d"], name="put", axis=1),
    node("ScatterND", ["x", "spots", "v"], ["e"], name="spots"),
]
SHAPES = {"x": ["n", 4], "rows": ["k"], "each": ["n", 4], "pairs": ["k", 2], "put": ["n", 4], "spots": ["k", 1], "v": ["k", 4]}
INDICES = ("rows", "each", "pairs", "put", "spots")


def feeds_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """x of 3 rows; indices inside, from both ends; those of scattered elements differ, so that their order does not matter."""
    places = rng.permuted(np.tile(np.arange(-4, 0), (3, 1)), axis=1)
    return {
        "x": rng.standard_normal((3, 4)).astype(np.float32),
        "v": rng.standard_normal((2, 4)).astype(np.float32),
        "rows": rng.integers(-3, 3, 2),
        "each": rng.integers(-4, 4, (3, 4)),
        "pairs": np.stack([rng.integers(-3, 3, 2), rng.integers(-4, 4, 2)], axis=1),
        "put": places,
        "spots": np.array([[-3], [2]]),
    }


def test_indices_outside_name_the_node(make_model: MakeModel, rng: np.random.Generator) -> None:
    model = make_model(NODES, SHAPES, list("abcde"), dtypes=dict.fromkeys(INDICES, I64), opset=18)
    graph, feeds = load(model), feeds_of(rng)
    compiled = build_executable(graph)
    wanted = ReferenceEvaluator(model).run(None, feeds)
    for run in (compiled.run, lambda given: evaluate(graph, given)):
        for name, want in zip("abcde", wanted):
            np.testing.assert_array_equal(run(feeds)[name], want)
        for name, label in zip(INDICES, (n.name for n in NODES)):
            limit = 4 if name in ("each", "put") else 3
            for outside in (limit, -limit - 1, 2**40, -(2**63)):
                wrong = feeds[name].copy()
                wrong.flat[rng.integers(wrong.shape[0]) * (wrong.size // wrong.shape[0])] = outside
                with pytest.raises(InvalidInput, match=f"'{label}' has an index outside of"):
                    run({**feeds, name: wrong})


def test_equal_checks_are_one_and_none_is_needed_for_what_is_inside(make_model: MakeModel) -> None:
    nodes = [
        node("Gather", ["x", "i"], ["a"]),
        node("Gather", ["x", "i"], ["b"]),
        node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
        node("GatherElements", ["x", "best"], ["c"], axis=1),
        node("Gather", ["x", "first"], ["d"], axis=1),
    ]
    model = make_model(nodes, {"x": ["n", 4], "i": ["k"]}, list("abcd"), constants={"first": np.array([-4, 3])}, dtypes={"i": I64})
    assert len(load(model).checks) == 1
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([4]), "first"))
    with pytest.raises(InvalidModel, match="'d' has an index outside of -4…3"):
        load(model)


def branch(name: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=nodes[-1].output[0])])


def test_only_the_branch_that_a_run_takes_is_checked(make_model: MakeModel) -> None:
    yes, no = branch("yes", [node("Gather", ["x", "i"], ["y1"], name="take")]), branch("no", [node("Neg", ["x"], ["y2"])])
    model = make_model(
        [node("If", ["c"], ["y"], then_branch=yes, else_branch=no)],
        {"x": [3], "i": [3], "c": []},
        dtypes={"i": I64, "c": TensorProto.BOOL},
    )
    graph = load(model)
    feeds = {"x": np.ones(3, np.float32), "i": np.array([0, 1, 3])}
    for run in (build_executable(graph).run, lambda given: evaluate(graph, given)):
        assert run({**feeds, "c": np.array(False)})["y"].tolist() == [-1, -1, -1]
        with pytest.raises(InvalidInput, match="'take'"):
            run({**feeds, "c": np.array(True)})


def test_every_turn_of_a_loop_is_checked(make_model: MakeModel) -> None:
    body = helper.make_graph(
        [node("Gather", ["x", "i"], ["y1"], name="take")], "body", [value_info("i", [1], I64)], [onnx.ValueInfoProto(name="y1")]
    )
    model = make_model([node("Scan", ["s"], ["y"], body=body, num_scan_inputs=1)], {"x": [3], "s": ["n", 1]}, dtypes={"s": I64})
    graph = load(model)
    x = np.arange(3, dtype=np.float32)
    for run in (build_executable(graph).run, lambda given: evaluate(graph, given)):
        assert run({"x": x, "s": np.array([[2], [-3], [1]])})["y"].ravel().tolist() == [2, 0, 1]
        with pytest.raises(InvalidInput, match="'take'"):
            run({"x": x, "s": np.array([[2], [5], [1]])})
