"""The networks of pictures that the package `onnx` carries without weights, with random ones, beside ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import tgen

if TYPE_CHECKING:
    from onnx import ModelProto

pytestmark = [pytest.mark.slow, pytest.mark.peer("onnx", "onnxruntime")]

# Pixels of a side: few where the network ends by a mean over any number of them.
PIXELS = {
    "bvlc_alexnet": 224,
    "densenet121": 64,
    "inception_v1": 224,
    "inception_v2": 224,
    "resnet50": 224,
    "shufflenet": 224,
    "squeezenet": 64,
    "vgg19": 64,
    "zfnet512": 224,
}
DIMS = {4096: 128, 25088: 2048}  # of dense layers, and what these tests make of them: one of VGG-19 is 400 MB


@pytest.mark.parametrize("name", PIXELS)
def test_as_onnx_runtime(name: str, rng: np.random.Generator) -> None:
    import onnxruntime

    model, side = with_weights(name, rng), PIXELS[name]
    run = tgen.compile(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    for batch in (1, 2):
        feeds = {given.name: rng.standard_normal((batch, 3, side, side), np.float32)}
        (found,), (wanted,) = run.run(feeds).values(), session.run(None, feeds)
        assert wanted.std() > 0.1, "too little comes through the network to compare"
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def with_weights(name: str, rng: np.random.Generator) -> ModelProto:
    """light_NAME.onnx for pictures f32[batch, 3, height, width], up to what its softmax is of, with weights in place of constant ones."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx")
    graph = model.graph
    given = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type not in ("ConstantOfShape", "Softmax")]
    used = {label for node in nodes for label in node.input}
    shapes = {label: np.array(value.shape) for label, value in given.items() if value.dtype == np.float32}
    shapes |= {node.output[0]: given[node.input[0]] for node in graph.node if node.op_type == "ConstantOfShape"}
    params = {label: drawn(shape, rng) for label, shape in shapes.items() if label in used}
    params |= {label: batched(value) for label, value in given.items() if label in used and value.dtype == np.int64}
    weights = [numpy_helper.from_array(value, label) for label, value in params.items()]
    (picture,) = (value.name for value in graph.input if value.name not in given)
    inputs = [helper.make_tensor_value_info(picture, TensorProto.FLOAT, ["batch", 3, PIXELS[name], PIXELS[name]])]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def drawn(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights that leave the spread of what comes as it is, of a shape [out, in, …]; scales, means, variances and biases near 1."""
    shape = np.array([DIMS.get(dim, dim) for dim in shape])
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    out = shape[shape > 1][0]
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 * out / np.prod(shape)))


def batched(shape: np.ndarray) -> np.ndarray:
    """A reshape's target for one picture as one for any number."""
    return np.array([0 if axis == 0 and dim == 1 else DIMS.get(dim, dim) for axis, dim in enumerate(shape)])
