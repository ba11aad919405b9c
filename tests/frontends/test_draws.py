"""Random operators, compiled: the distributions that ONNX asks for, the same numbers in every run and for any number of threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tgen
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel
from tgen.ir.evaluate import evaluate

COUNT = 40_000
FAR = 5 / math.sqrt(COUNT)  # a distance of an empirical distribution that chance would give once in 10²¹ draws


def model_of(nodes: list[onnx.NodeProto], shape: list[Any], outputs: list[str]) -> onnx.ModelProto:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "one", [info], [onnx.ValueInfoProto(name=y) for y in outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def distance(x: np.ndarray, distribution: Any) -> float:
    """The greatest difference between the shares of x below a number and the distribution's."""
    ordered = np.sort(x.astype(np.float64).reshape(-1))
    wanted = np.array([distribution(v) for v in ordered])
    return float(np.abs(wanted - (np.arange(ordered.size) + 0.5) / ordered.size).max())


def test_distributions() -> None:
    nodes = [
        helper.make_node("RandomUniformLike", ["x"], ["flat"], low=-1.0, high=3.0),
        helper.make_node("RandomNormalLike", ["x"], ["bell"], mean=2.0, scale=0.5, dtype=TensorProto.DOUBLE),
        helper.make_node("RandomNormal", [], ["fixed"], shape=[COUNT], seed=7.0),
        helper.make_node("RandomUniform", [], ["half"], shape=[8, 8], dtype=TensorProto.FLOAT16),
    ]
    graph = load_onnx(model_of(nodes, ["n", 100], ["flat", "bell", "fixed", "half"]))
    feeds = {"x": np.zeros((COUNT // 100, 100), np.float32)}
    found, again = (tgen.compile(graph, cache=False, threads=n).run(feeds) for n in (1, 2))
    for name, want in evaluate(graph, feeds).items():
        assert found[name].dtype == want.dtype
        np.testing.assert_array_equal(found[name], again[name])
        np.testing.assert_allclose(found[name], want, rtol=2e-6, atol=2e-6)
    assert found["flat"].min() >= -1 and found["flat"].max() <= 3 and found["half"].dtype == np.float16
    assert distance(found["flat"], lambda v: (v + 1) / 4) < FAR
    assert distance(found["bell"], lambda v: (1 + math.erf((v - 2) * math.sqrt(2))) / 2) < FAR
    assert distance(found["fixed"], lambda v: (1 + math.erf(v / math.sqrt(2))) / 2) < FAR


def test_nodes_draw_different_numbers_unless_their_seeds_are_the_same() -> None:
    nodes = [
        helper.make_node("RandomUniformLike", ["x"], ["a"]),
        helper.make_node("RandomUniformLike", ["x"], ["b"]),
        helper.make_node("RandomUniformLike", ["x"], ["c"], seed=3.0),
        helper.make_node("RandomUniformLike", ["x"], ["d"], seed=3.0),
    ]
    model = model_of(nodes, [6, 50], ["a", "b", "c", "d"])
    found, later = (evaluate(load_onnx(model), {"x": np.zeros((6, 50), np.float32)}) for _ in range(2))
    assert len(np.unique(np.stack([found["a"], found["b"], found["c"]]))) > 890
    np.testing.assert_array_equal(found["c"], found["d"])
    np.testing.assert_array_equal(found["a"], later["a"])


CHANCES = np.array([0.0, 0.125, 0.5, 0.75, 1.0], np.float32)


def test_coins() -> None:
    model = model_of([helper.make_node("Bernoulli", ["x"], ["y"], dtype=TensorProto.BOOL)], ["rows", 5], ["y"])
    found = tgen.compile(load_onnx(model), cache=False).run({"x": np.tile(CHANCES, (COUNT, 1))})["y"]
    assert found.dtype == np.bool_
    np.testing.assert_allclose(found.mean(axis=0), CHANCES, atol=FAR)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_dropout(ratio: float, rng: np.random.Generator) -> None:
    """Whether it trains comes with the run."""
    node = helper.make_node("Dropout", ["x", "r", "t"], ["y", "mask"])
    model = model_of([node], ["rows", 5], ["y", "mask"])
    model.graph.input.append(helper.make_tensor_value_info("t", TensorProto.BOOL, []))
    model.graph.initializer.append(helper.make_tensor("r", TensorProto.FLOAT, [], [ratio]))
    executable, x = tgen.compile(load_onnx(model), cache=False), rng.standard_normal((COUNT // 5, 5)).astype(np.float32)
    outside, inside = (executable.run({"x": x, "t": np.array(t)}) for t in (False, True))
    assert outside["mask"].all()
    np.testing.assert_array_equal(outside["y"], x)
    np.testing.assert_allclose(inside["mask"].mean(), 1 - ratio, atol=FAR)
    np.testing.assert_allclose(inside["y"], np.where(inside["mask"], x / max(1 - ratio, 1e-9), 0), rtol=1e-6)


def test_classes() -> None:
    nodes = [
        helper.make_node("Log", ["x"], ["scores"]),
        helper.make_node("Multinomial", ["scores"], ["y"], sample_size=COUNT // 10, dtype=TensorProto.INT64),
    ]
    found = tgen.compile(load_onnx(model_of(nodes, ["rows", 5], ["y"])), cache=False).run({"x": np.tile(CHANCES, (10, 1))})["y"]
    shares = np.bincount(found.reshape(-1), minlength=5) / COUNT
    assert found.shape == (10, COUNT // 10) and found.dtype == np.int64 and shares[0] == 0
    np.testing.assert_allclose(shares, CHANCES / CHANCES.sum(), atol=FAR)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "message"),
    [
        ("RandomUniform", [], {"shape": [2, -1]}, "shape"),
        ("RandomNormal", [], {"shape": [2], "dtype": TensorProto.INT32}, "i32"),
        ("Multinomial", ["x"], {"sample_size": -1}, "-1 samples"),
    ],
)
def test_refuses(op_type: str, inputs: list[str], attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        load_onnx(model_of([helper.make_node(op_type, inputs, ["y"], **attributes)], [2, 3], ["y"]))
