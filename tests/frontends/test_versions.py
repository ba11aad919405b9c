"""Operators by version: each form of an operator means what its opset says. ONNX Runtime is the oracle where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tgen.frontends import load
from tgen.frontends.onnx.registry import mapped
from tgen.ir.errors import TgenError
from tgen.ir.evaluate import evaluate

from .conftest import MakeModel

node = helper.make_node
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
CUT = [node("Slice", ["x", "s", "e"], ["y"]), node("Slice", ["x", "s", "e", "a", "t"], ["y"])]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def best(attributes: dict[str, int], *k: str) -> list[onnx.NodeProto]:
    """TopK's values and indices side by side."""
    return [
        node("TopK", ["x", *k], ["v", "i"], **attributes),
        node("Cast", ["i"], ["c"], to=onnx.TensorProto.FLOAT),
        node("Concat", ["v", "c"], ["y"], axis=0),
    ]


# (opset, nodes, constants)
CASES: dict[str, tuple[int, list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "softmax 11 flattens": (11, [node("Softmax", ["x"], ["y"], axis=1)], {}),
    "softmax 11 default": (11, [node("LogSoftmax", ["x"], ["y"])], {}),
    "softmax 13": (13, [node("Softmax", ["x"], ["y"], axis=1)], {}),
    "softmax 13 default": (13, [node("LogSoftmax", ["x"], ["y"])], {}),
    "reduce_sum 11": (11, [node("ReduceSum", ["x"], ["y"], axes=[0, -1], keepdims=0)], {}),
    "reduce_sum 13": (13, [node("ReduceSum", ["x", "a"], ["y"], keepdims=0)], {"a": ints(0, -1)}),
    "cum_sum, axis a scalar": (14, [node("CumSum", ["x", "a"], ["y"], reverse=1)], {"a": np.array(1)}),
    "cum_sum, axis a vector": (14, [node("CumSum", ["x", "a"], ["y"], exclusive=1)], {"a": ints(-1)}),
    "top_k 1": (7, best({"k": 2, "axis": 1}), {}),
    "top_k 10": (10, best({}, "k"), {"k": ints(2)}),
    "top_k 11": (11, best({"axis": 0, "largest": 0}, "k"), {"k": ints(1)}),
    "reduce_sum 13 all": (13, [node("ReduceSum", ["x"], ["y"])], {}),
    "reduce_sum 13 noop": (13, [node("ReduceSum", ["x"], ["y"], noop_with_empty_axes=1)], {}),
    "reduce_max 13": (13, [node("ReduceMax", ["x"], ["y"], axes=[1])], {}),
    "reduce_max 18": (18, [node("ReduceMax", ["x", "a"], ["y"])], {"a": ints(1)}),
    "clip 6": (6, [node("Clip", ["x"], ["y"], min=-0.5, max=0.25)], {}),
    "clip 7 default": (7, [node("Clip", ["x"], ["y"])], {}),
    "clip 11": (11, [node("Clip", ["x", "", "hi"], ["y"])], {"hi": np.array(0.5, np.float32)}),
    "squeeze 11": (11, [node("Unsqueeze", ["x"], ["u"], axes=[0, 2]), node("Squeeze", ["u"], ["y"], axes=[2])], {}),
    "squeeze 13": (
        13,
        [node("Unsqueeze", ["x", "a"], ["u"]), node("Squeeze", ["u", "b"], ["y"])],
        {"a": ints(0, 2), "b": ints(-3)},
    ),
    "squeeze all": (13, [node("Unsqueeze", ["x", "a"], ["u"]), node("Squeeze", ["u"], ["y"])], {"a": ints(0, 2)}),
    "slice 9": (9, [node("Slice", ["x"], ["y"], starts=[0, -2], ends=[1, 2**31], axes=[1, 2])], {}),
    "slice 10": (10, [CUT[0]], {"s": ints(0, 1), "e": ints(2**62, -1)}),
    "slice 13 back": (13, [CUT[1]], {"s": ints(-1, 0), "e": ints(-(2**62), 3), "a": ints(2, 1), "t": ints(-2, 2)}),
    "split 11": (11, [node("Split", ["x"], ["y", "z"], axis=2, split=[1, 3])], {}),
    "split 13": (13, [node("Split", ["x", "n"], ["y", "z"], axis=2)], {"n": ints(1, 3)}),
    "split 13 equal": (13, [node("Split", ["x"], ["y", "z"], axis=-1)], {}),
    "split 18 rest": (18, [node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2)], {}),
    "pad 10": (10, [node("Pad", ["x"], ["y"], pads=[0, 1, 0, 0, 0, 2], value=3.0)], {}),
    "pad 11 cuts": (11, [node("Pad", ["x", "p", "v"], ["y"])], {"p": ints(0, -1, 2, 1, 0, -1), "v": np.array(3, np.float32)}),
    "pad 18 axes": (18, [node("Pad", ["x", "p", "", "a"], ["y"], mode="reflect")], {"p": ints(1, 2), "a": ints(2)}),
    "pad 19 wrap": (19, [node("Pad", ["x", "p"], ["y"], mode="wrap")], {"p": ints(0, 0, 1, 0, 0, 2)}),
    "dropout 7": (7, [node("Dropout", ["x"], ["y"], ratio=0.5)], {}),
    "dropout 13": (13, [node("Dropout", ["x", "r"], ["y", "m"])], {"r": np.array(0.5, np.float32)}),
    "reshape 0 -1": (13, [node("Reshape", ["x", "s"], ["y"])], {"s": ints(0, -1)}),
    "pow mixed": (13, [node("Pow", ["x", "k"], ["y"])], {"k": ints(2)}),
    "gemm 7": (
        7,
        [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "c"], ["y"], transB=1, alpha=0.5, beta=2.0)],
        {"w": np.ones((5, 12), np.float32), "c": np.arange(5, dtype=np.float32)},
    ),
    "batch_normalization 9": (
        9,
        [node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"], epsilon=0.1)],
        {"s": np.array([1, 2, 3], np.float32)},
    ),
    "expand both ways": (13, [node("Expand", ["x", "s"], ["y"])], {"s": ints(5, 1, 1, 4)}),
    "range": (
        13,
        [node("Range", ["a", "b", "c"], ["r"]), node("Cast", ["r"], ["f"], to=1), node("Add", ["x", "f"], ["y"])],
        {"a": ints(1)[0], "b": ints(12)[0], "c": ints(3)[0]},
    ),
    "constant_of_shape": (13, [node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])], {"s": ints(3, 1)}),
    "max of three": (13, [node("Max", ["x", "c", "x"], ["y"])], {"c": np.zeros(4, np.float32)}),
    "mean of three": (13, [node("Mean", ["x", "c", "x"], ["y"])], {"c": np.ones(4, np.float32)}),
    "gelu 20 by its definition or not": (20, [node("Gelu", ["x"], ["y"], approximate="tanh")], {}),
    "layer_normalization 17": (17, [node("LayerNormalization", ["x", "g"], ["y"], axis=-1)], {"g": np.arange(4, dtype=np.float32)}),
    "mean_variance_normalization": (13, [node("MeanVarianceNormalization", ["x"], ["y"], axes=[0, 2])], {}),
    "quantise and back": (
        13,
        [node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1), node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1)],
        {"s": np.array([0.1, 0.2, 0.01], np.float32), "z": np.array([0, 5, -9], np.int8)},
    ),
}


@pytest.mark.peer
@pytest.mark.parametrize("name", CASES)
def test_against_onnxruntime(make_model: MakeModel, name: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    opset, nodes, constants = CASES[name]
    outputs = [o for o in nodes[-1].output if o]
    kinds = {"m": TensorProto.BOOL}
    model = make_model(nodes, {"x": X.shape}, dict.fromkeys(outputs), constants=constants, opset=opset, dtypes=kinds)
    wanted = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": X})
    found = evaluate(load(model), {"x": X})
    for output, array in zip(outputs, wanted):
        assert found[output].shape == array.shape
        np.testing.assert_allclose(found[output], array, rtol=1e-5, atol=1e-6)


def test_opset_6_broadcasts_at_an_axis(make_model: MakeModel) -> None:
    nodes = [node("Add", ["x", "w"], ["y"], broadcast=1, axis=1)]
    w = np.array([1, 2, 3], np.float32)
    found = evaluate(load(make_model(nodes, {"x": X.shape}, constants={"w": w}, opset=6)), {"x": X})["y"]
    np.testing.assert_array_equal(found, X + w[:, None])


def test_initialiser_that_is_also_an_input(make_model: MakeModel) -> None:
    model = make_model([node("Add", ["x", "w"], ["y"])], {"x": [2], "w": [2]}, constants={"w": np.ones(2, np.float32)})
    graph = load(model)
    assert [n.op.label for n in graph.inputs] == ["x"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("flag", [True, False])
def test_if_with_known_condition_is_inlined(make_model: MakeModel, flag: bool) -> None:
    nodes = [node("If", ["c"], ["y"], **branches())]
    graph = load(make_model(nodes, {"x": [2]}, constants={"c": np.array(flag)}))
    found = evaluate(graph, {"x": np.array([-1, 1], np.float32)})["y"]
    assert found.tolist() == ([0, 1] if flag else [1, -1])
    assert len(graph.nodes) == 2


@pytest.mark.parametrize("flag", [True, False])
def test_if_at_run_time_selects(make_model: MakeModel, flag: bool) -> None:
    nodes = [node("If", ["c"], ["y"], **branches())]
    graph = load(make_model(nodes, {"x": [2], "c": []}, dtypes={"c": TensorProto.BOOL}))
    found = evaluate(graph, {"x": np.array([-1, 1], np.float32), "c": np.array(flag)})["y"]
    assert found.tolist() == ([0, 1] if flag else [1, -1])


def branches() -> dict[str, Any]:
    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph([node(op, ["x"], [op])], op, [], [onnx.ValueInfoProto(name=op)])

    return {"then_branch": branch("Relu"), "else_branch": branch("Neg")}


def test_local_function_with_attribute(make_model: MakeModel) -> None:
    body = [node("LeakyRelu", ["a"], ["b"])]
    body[0].attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    leaky = helper.make_function("my", "Leaky", ["a"], ["b"], body, [helper.make_opsetid("", 17)], ["slope"])
    nodes = [node("Leaky", ["x"], ["h"], domain="my", slope=0.5, name="f"), node("Leaky", ["h"], ["y"], domain="my", slope=0.25)]
    graph = load(make_model(nodes, {"x": [2]}, functions=[leaky], domains=["my"]))
    assert evaluate(graph, {"x": np.array([-8, 8], np.float32)})["y"].tolist() == [-1, 8]
    assert "f/b" in graph.nodes[1].origin or "f/" in graph.nodes[1].origin


def test_axis_of_a_running_sum_is_one(make_model: MakeModel) -> None:
    model = make_model([node("CumSum", ["x", "axis"], ["y"])], {"x": [2, 2]}, constants={"axis": np.array([0, 1])})
    with pytest.raises(TgenError, match="axis"):
        load(model)


# ONNX Runtime's own, though it names it in ONNX's domain.
_IN_THE_WRONG_DOMAIN = ("", "SimplifiedLayerNormalization")


def test_every_mapping_names_an_operator_of_onnx() -> None:
    for domain, op_type in {*mapped()} - {_IN_THE_WRONG_DOMAIN}:
        assert domain == "com.microsoft" or onnx.defs.has(op_type, domain=domain), op_type


@pytest.mark.peer("onnxruntime")
def test_every_other_mapping_names_an_operator_of_onnx_runtime() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    known = {(schema.domain, schema.name) for schema in get_all_operator_schema()}
    assert {key for key in mapped() if key[0] == "com.microsoft"} | {_IN_THE_WRONG_DOMAIN} <= known
