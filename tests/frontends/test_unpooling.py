"""MaxUnpool, MaxRoiPool, Col2Im and GlobalLpPool, compiled, mean what ONNX Runtime says, and are refused where attributes don't fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidInput, InvalidModel

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


def col2im_model(attributes: dict[str, Any], channels: int = 12) -> onnx.ModelProto:
    """Windows of 2 by 3 elements; the image's height is known in a run only."""
    infos = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", channels, "windows"]),
        helper.make_tensor_value_info("image", onnx.TensorProto.INT64, [2]),
    ]
    block = helper.make_tensor("block", onnx.TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("Col2Im", ["x", "image", "block"], ["y"], **attributes)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")], [block])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(
    ("image", "windows", "attributes"),
    [
        ((4, 6), 12, {}),
        ((5, 7), 12, {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
        ((6, 9), 20, {"dilations": [2, 2]}),
    ],
)
def test_windows_are_put_back(image: Any, windows: int, attributes: dict[str, Any], rng: np.random.Generator) -> None:
    import onnxruntime

    model = col2im_model(attributes)
    feeds = {"x": rng.standard_normal((2, 12, windows)).astype(np.float32), "image": np.array(image)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, feeds)
    np.testing.assert_allclose(build_executable(load_onnx(model)).run(feeds)["y"], want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("attributes", [{"strides": [2]}, {"dilations": [0, 1]}, {"pads": [1, 1]}])
def test_windows_of_other_axes_are_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(InvalidModel, match="Col2Im"):
        load_onnx(col2im_model(attributes), values={"image": np.array([4, 6])})


def test_an_image_of_other_windows_ends_the_run() -> None:
    feeds = {"x": np.zeros((2, 12, 11), np.float32), "image": np.array([4, 6])}
    with pytest.raises(InvalidInput):
        build_executable(load_onnx(col2im_model({}))).run(feeds)


def test_channels_that_are_no_windows_are_refused() -> None:
    with pytest.raises(InvalidModel, match="Col2Im"):
        load_onnx(col2im_model({}, channels=11), values={"image": np.array([4, 6])})


@pytest.mark.peer("onnxruntime")
def test_global_norms(rng: np.random.Generator) -> None:
    import onnxruntime

    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, "h", "w"])
    graph = helper.make_graph([helper.make_node("GlobalLpPool", ["x"], ["y"], p=3)], "one", [info], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = rng.standard_normal((2, 3, 5, 7)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    np.testing.assert_allclose(build_executable(load_onnx(model)).run({"x": x})["y"], want, rtol=1e-5)


def regions_model() -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 3, 8, "w"]), ("r", ["m", 5]))
    ]
    node = helper.make_node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=[2, 4], spatial_scale=0.5)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.peer("onnxruntime")
def test_regions(rng: np.random.Generator) -> None:
    """Bins are a power of two: others are cut by float32 there, by whole numbers here."""
    import onnxruntime

    corners = np.sort(rng.integers(0, 24, (30, 2, 2)), axis=1).reshape(30, 4)
    rois = np.concatenate([rng.integers(0, 2, (30, 1)), corners], axis=1).astype(np.float32)
    feeds = {"x": rng.standard_normal((2, 3, 8, 10)).astype(np.float32), "r": rois}
    session = onnxruntime.InferenceSession(regions_model().SerializeToString(), providers=["CPUExecutionProvider"])
    executable = build_executable(load_onnx(regions_model()))
    np.testing.assert_array_equal(executable.run(feeds)["y"], session.run(None, feeds)[0])
    for wrong in (2.0, -1.0, 1e30):
        feeds["r"][3, 0] = wrong
        with pytest.raises(InvalidInput, match="entry of the batch"):
            executable.run(feeds)
