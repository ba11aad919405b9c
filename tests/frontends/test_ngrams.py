"""TfIdfVectorizer, compiled, means what ONNX Runtime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel

POOL = {
    "pool_int64s": [2, 3, 5, 4, 2, 3, 5, 5, 4, 3, 1, 0],
    "ngram_counts": [0, 4],
    "ngram_indexes": [3, 1, 0, 2, 6, 5, 4, 7],
}


def model_of(attributes: dict[str, Any], shape: list[Any]) -> onnx.ModelProto:
    info = helper.make_tensor_value_info("x", onnx.TensorProto.INT32, shape)
    options = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0, **POOL, **attributes}
    node = helper.make_node("TfIdfVectorizer", ["x"], ["y"], **options)
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", [info], [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(
    "attributes",
    [
        {"max_skip_count": 3},
        {"mode": "TFIDF", "weights": [0.5, 2.0, 3.0, 1.5, 4.0, -1.0, 0.25, 8.0], "min_gram_length": 2, "max_skip_count": 1},
        {"mode": "IDF", "weights": [0.5, 2.0, 3.0, 1.5, 4.0, -1.0, 0.25, 8.0], "max_gram_length": 1},
    ],
    ids=["TF", "TFIDF", "IDF"],
)
def test_agrees_with_onnxruntime(attributes: dict[str, Any], rng: np.random.Generator) -> None:
    import onnxruntime

    model = model_of(attributes, ["rows", "terms"])
    x = rng.integers(0, 6, (4, 30)).astype(np.int32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(build_executable(load_onnx(model)).run({"x": x})["y"], want)


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"ngram_counts": [0, 5]}, InvalidModel, "ngram_counts"),
        ({"ngram_counts": [0, 40]}, InvalidModel, "ngram_counts"),
        ({"ngram_indexes": [0, 1]}, InvalidModel, "2 ngram_indexes"),
        ({"ngram_indexes": [-1] * 8}, InvalidModel, "lengths"),
        ({"ngram_indexes": [2**62] * 8}, InvalidModel, "lengths"),
        ({"weights": [1.0]}, InvalidModel, "1 weights"),
        ({"min_gram_length": 0}, InvalidModel, "lengths 0 to 2"),
        ({"pool_int64s": [1]}, InvalidModel, "ngram_counts"),
    ],
)
def test_refuses(attributes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_onnx(model_of(attributes, ["rows", "terms"]))
