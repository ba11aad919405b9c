"""MaxUnpool, compiled, means what ONNX Runtime says, and is refused where its attributes don't fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel

BATCH, CHANNELS = 2, 3


def model_of(space: tuple[int, ...], attributes: dict[str, Any]) -> onnx.ModelProto:
    shape = [BATCH, CHANNELS, *space]
    infos = [
        helper.make_tensor_value_info(name, dtype, shape)
        for name, dtype in (("x", onnx.TensorProto.FLOAT), ("at", onnx.TensorProto.INT64))
    ]
    node = helper.make_node("MaxUnpool", ["x", "at"], ["y"], **attributes)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(
    ("space", "attributes"),
    [
        ((5,), {"kernel_shape": [2], "strides": [2]}),
        ((3, 4), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
        ((2, 3, 2), {"kernel_shape": [2, 2, 3]}),
    ],
)
def test_agrees_with_onnx_runtime(space: tuple[int, ...], attributes: dict[str, Any], rng: np.random.Generator) -> None:
    import onnxruntime

    model, shape = model_of(space, attributes), (BATCH, CHANNELS, *space)
    x = rng.standard_normal(shape).astype(np.float32)
    at = rng.permutation(x.size).astype(np.int64).reshape(shape)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x, "at": at})
    np.testing.assert_array_equal(build_executable(load_onnx(model)).run({"x": x, "at": at})["y"], want)


def test_attributes_of_other_axes_are_refused() -> None:
    with pytest.raises(InvalidModel, match="attributes of 2 axes"):
        load_onnx(model_of((3, 4), {"kernel_shape": [2]}))
