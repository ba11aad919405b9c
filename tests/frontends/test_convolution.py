"""A chain of convolutions and poolings whose batch and space are symbols, compiled once, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from tgen.backend import TgenBackend

pytestmark = pytest.mark.peer("onnx", "onnxruntime")


def _model() -> ModelProto:
    rng = np.random.default_rng(67)
    shapes = {"w": (16, 3, 3, 3), "b": (16,), "d": (16, 1, 3, 3), "g": (24, 8, 1, 1)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["dense"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["dense", "d"], ["depthwise"], group=16, auto_pad="SAME_UPPER"),
        helper.make_node("Conv", ["depthwise", "g"], ["grouped"], group=2),
        helper.make_node("MaxPool", ["grouped"], ["greatest"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["greatest"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_LOWER", strides=[2, 2]),
    ]
    x = helper.make_tensor_value_info("x", 1, ["n", 3, "height", "width"])
    graph = helper.make_graph(nodes, "chain", [x], [helper.make_tensor_value_info("y", 1, None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_symbolic_batch_and_space_agree_with_onnxruntime() -> None:
    import onnxruntime

    model, rng = _model(), np.random.default_rng(71)
    session, compiled = onnxruntime.InferenceSession(model.SerializeToString()), TgenBackend.prepare(model)
    for shape in [(1, 3, 20, 31), (2, 3, 33, 17), (3, 3, 8, 8), (1, 3, 5, 64)]:
        x = rng.standard_normal(shape).astype(np.float32)
        (found,), (wanted,) = compiled.run([x]), session.run(None, {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(np.abs(wanted).max()))
