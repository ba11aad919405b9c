"""ai.onnx.ml's scalers, linear models and encoders, compiled, mean what ONNX Runtime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel, Unsupported

REAL = np.array([[1.5, -2.0, np.nan, 4.0], [0.0, 0.0, 0.0, 0.0], [-7.0, 3.0, 0.25, 2.0]], np.float32)
PLAIN = np.nan_to_num(REAL, nan=0.75)
WHOLE = np.array([[3, -1, 7], [0, 3, 3]])

CASES: dict[str, tuple[str, np.ndarray, dict[str, Any]]] = {
    "binarizer": ("Binarizer", PLAIN, {"threshold": 0.5}),
    "scaler": ("Scaler", PLAIN, {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 2.0, -1.0, 3.0]}),
    "scaler, one for all": ("Scaler", WHOLE, {"offset": [1.0], "scale": [0.5]}),
    "normalizer, max": ("Normalizer", np.abs(PLAIN), {"norm": "MAX"}),
    "normalizer, l1": ("Normalizer", PLAIN, {"norm": "L1"}),
    "normalizer, l2": ("Normalizer", PLAIN, {"norm": "L2"}),
    "imputer, NaN": ("Imputer", REAL, {"imputed_value_floats": [9.0, 8.0, 7.0, 6.0], "replaced_value_float": float("nan")}),
    "imputer, whole": ("Imputer", WHOLE, {"imputed_value_int64s": [11], "replaced_value_int64": 3}),
    "regressor": ("LinearRegressor", PLAIN, {"coefficients": np.arange(8) / 7, "intercepts": [0.5, -1.0], "targets": 2}),
    "encoder": ("LabelEncoder", WHOLE, {"keys_int64s": [3, 7], "values_floats": [0.5, 2.5], "default_float": -4.0}),
    "encoder, NaN": ("LabelEncoder", REAL, {"keys_floats": [1.5, float("nan"), 2.0], "values_floats": [10.0, 20.0, 30.0]}),
    "one hot": ("OneHotEncoder", WHOLE, {"cats_int64s": [3, -1, 0], "zeros": 1}),
    "one hot, cut": ("OneHotEncoder", PLAIN * 1.5, {"cats_int64s": [2, -3, 0]}),
    "encoder, default": ("LabelEncoder", PLAIN, {"keys_floats": [1.5, 0.25], "values_int64s": [10, 20]}),
}


def model_of(op_type: str, x: np.ndarray, attributes: dict[str, Any]) -> onnx.ModelProto:
    info = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), ["rows", x.shape[1]])
    node = helper.make_node(op_type, ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "one", [info], [onnx.ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnxruntime(name: str) -> None:
    import onnxruntime

    op_type, x, attributes = CASES[name]
    model = model_of(op_type, x, attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    got = build_executable(load_onnx(model)).run({"x": x})["y"]
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("op_type", "attributes", "error", "message"),
    [
        ("Scaler", {"offset": [1.0, 2.0], "scale": [1.0]}, InvalidModel, "2 parameters"),
        ("LinearRegressor", {"coefficients": [1.0], "targets": 1}, InvalidModel, "1 coefficients"),
        ("LinearRegressor", {"coefficients": [1.0] * 4, "post_transform": "PROBIT"}, Unsupported, "PROBIT"),
        ("OneHotEncoder", {"cats_int64s": [1], "zeros": 0}, Unsupported, "zeros = 0"),
        ("LabelEncoder", {"keys_strings": ["a"], "values_floats": [1.0]}, InvalidModel, "of x's type"),
        ("LabelEncoder", {"keys_floats": [1.0, 2.0], "values_floats": [1.0]}, InvalidModel, "as many keys"),
    ],
)
def test_refuses(op_type: str, attributes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_onnx(model_of(op_type, PLAIN, attributes))


def classifier(keys: dict[str, Any]) -> onnx.ModelProto:
    """What scikit-learn's classifiers are exported as: labels, and a sequence of maps from labels to probabilities."""
    attributes = {"coefficients": np.linspace(-1, 1, 12), "intercepts": [0.1, -0.2, 0.3], "post_transform": "SOFTMAX", **keys}
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", **attributes),
        helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[7, 5, 9]),
    ]
    pairs = helper.make_map_type_proto(onnx.TensorProto.INT64, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, []))
    outputs = [helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["rows"])]
    outputs.append(helper.make_value_info("maps", helper.make_sequence_type_proto(pairs)))
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 4])
    graph = helper.make_graph(nodes, "classifier", [given], outputs)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.peer("onnxruntime")
def test_maps_are_columns_in_the_order_of_their_keys() -> None:
    import onnxruntime

    model = classifier({"classlabels_ints": [7, 5, 9]})
    label, maps = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": PLAIN}
    )
    got = build_executable(load_onnx(model)).run({"x": PLAIN})
    np.testing.assert_array_equal(got["label"], label)
    np.testing.assert_allclose(got["maps"], [[row[key] for key in (7, 5, 9)] for row in maps], rtol=1e-6)


def test_maps_of_other_keys_than_columns_are_refused() -> None:
    model = classifier({"classlabels_ints": [7, 5, 9]})
    del model.graph.node[1].attribute[0].ints[2]
    with pytest.raises(InvalidModel, match="2 keys"):
        load_onnx(model)
