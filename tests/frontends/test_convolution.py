"""Convolutions against ONNX Runtime: of any geometry, and a chain with poolings whose batch and space are symbols, compiled once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@st.composite
def _convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """(shape of x, shape of weights, attributes): batches, one to three axes of space, groups, strides, dilations, uneven padding."""
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 5]))
    inner, outer = draw(st.sampled_from([1, 3, 8])), draw(st.sampled_from([1, 4, 17]))
    kernel, strides, dilations = (tuple(draw(st.integers(1, most)) for _ in range(rank)) for most in (3, 3, 2))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(2 * rank))
    space = tuple((k - 1) * d + draw(st.integers(1, 7)) for k, d in zip(kernel, dilations))
    x = (draw(st.integers(1, 3)), inner * group, *space)
    return x, (outer * group, inner, *kernel), {"group": group, "strides": strides, "dilations": dilations, "pads": pads}


@given(_convolutions(), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_convolution_agrees_with_onnxruntime(geometry: tuple[Any, Any, dict[str, Any]], seed: int) -> None:
    """Followed by what joins its kernel: a normalisation and a sum with itself."""
    import onnxruntime

    shape, weights, attributes = geometry
    rng = np.random.default_rng(seed)
    held = {"w": weights, "b": weights[:1], "scale": weights[:1], "mean": weights[:1]}
    tensors = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in held.items()]
    tensors.append(numpy_helper.from_array(rng.uniform(0.5, 2, weights[:1]).astype(np.float32), "var"))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node("BatchNormalization", ["c", "scale", "b", "mean", "var"], ["normal"]),
        helper.make_node("Relu", ["normal"], ["positive"]),
        helper.make_node("Add", ["positive", "c"], ["sum"]),
        helper.make_node("Concat", ["sum", "c"], ["y"], axis=1),
    ]
    x, y = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, None)
    model = helper.make_model(
        helper.make_graph(nodes, "one", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    given_x = rng.standard_normal(shape).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": given_x})
    (found,) = TgenBackend.prepare(model).run([given_x])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * float(np.abs(wanted).max(initial=1)))
