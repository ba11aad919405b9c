"""ai.onnx.ml's support vector machines, compiled, mean what ONNX Runtime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel

WIDTH, ROWS = 5, 20
KERNELS = {"LINEAR": [0.0, 0.0, 0.0], "POLY": [0.5, 1.0, 3.0], "RBF": [0.25, 0.0, 0.0], "SIGMOID": [0.25, -0.5, 0.0]}


def model_of(op_type: str, attributes: dict[str, Any], outputs: tuple[str, ...]) -> onnx.ModelProto:
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", WIDTH])
    listed = {name: v.reshape(-1).tolist() if isinstance(v, np.ndarray) else v for name, v in attributes.items()}
    node = helper.make_node(op_type, ["x"], outputs, domain="ai.onnx.ml", **listed)
    graph = helper.make_graph([node], "one", [info], [onnx.ValueInfoProto(name=y) for y in outputs])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def check(op_type: str, attributes: dict[str, Any], outputs: tuple[str, ...], rng: np.random.Generator) -> None:
    import onnxruntime

    model = model_of(op_type, attributes, outputs)
    x = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = build_executable(load_onnx(model)).run({"x": x})
    for name, want in zip(outputs, session.run(None, {"x": x}), strict=True):
        assert found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-4, err_msg=name)


def machine(rng: np.random.Generator, per_class: list[int], kernel: str) -> dict[str, Any]:
    """A classifier; the coefficients of trained ones sum to 0, so have both signs."""
    classes, vectors = len(per_class), sum(per_class)
    pairs = classes * (classes - 1) // 2
    return {
        "classlabels_ints": rng.permutation(10)[:classes],
        "vectors_per_class": per_class,
        "support_vectors": rng.standard_normal((vectors, WIDTH)),
        "coefficients": rng.standard_normal((classes - 1, vectors)),
        "rho": rng.standard_normal(pairs),
        "kernel_type": kernel,
        "kernel_params": KERNELS[kernel],
    }


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("kernel", KERNELS)
def test_regressor(kernel: str, rng: np.random.Generator) -> None:
    attributes = {
        "support_vectors": rng.standard_normal((7, WIDTH)),
        "coefficients": rng.standard_normal(7),
        "rho": [0.25],
        "n_supports": 7,
        "kernel_type": kernel,
        "kernel_params": KERNELS[kernel],
        "one_class": int(kernel == "RBF"),
    }
    check("SVMRegressor", attributes, ("y",), rng)


@pytest.mark.peer("onnxruntime")
def test_regressor_without_vectors(rng: np.random.Generator) -> None:
    check(
        "SVMRegressor", {"coefficients": rng.standard_normal(WIDTH), "rho": [-0.5], "kernel_params": KERNELS["LINEAR"]}, ("y",), rng
    )


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(
    ("per_class", "kernel", "transform"), [([3, 4], "RBF", "NONE"), ([2, 5], "POLY", "LOGISTIC"), ([4, 2, 3], "SIGMOID", "SOFTMAX")]
)
def test_classifier_by_votes(per_class: list[int], kernel: str, transform: str, rng: np.random.Generator) -> None:
    check("SVMClassifier", {**machine(rng, per_class, kernel), "post_transform": transform}, ("label", "scores"), rng)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("per_class", [[3, 4], [4, 2, 3, 1]])
def test_classifier_with_chances(per_class: list[int], rng: np.random.Generator) -> None:
    pairs = len(per_class) * (len(per_class) - 1) // 2
    chances = {"prob_a": -rng.uniform(0.5, 2.0, pairs), "prob_b": rng.standard_normal(pairs)}
    check("SVMClassifier", {**machine(rng, per_class, "RBF"), **chances}, ("label", "scores"), rng)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho": [1.0]}, "1 rho for 3 scores"),
        ({"vectors_per_class": [9]}, r"vectors_per_class \[9\] for 3 classes"),
        ({"support_vectors": [1.0]}, "1 numbers of 9 vectors"),
        ({"coefficients": [1.0]}, "1 coefficients for 9 vectors"),
        ({"kernel_type": "COSINE"}, "kernel_type 'COSINE'"),
        ({"prob_a": [1.0], "prob_b": [1.0]}, "1 prob_a"),
    ],
)
def test_refuses(change: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    with pytest.raises(InvalidModel, match=message):
        load_onnx(model_of("SVMClassifier", {**machine(rng, [4, 2, 3], "RBF"), **change}, ("label", "scores")))
