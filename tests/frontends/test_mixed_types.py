"""Operands of different types where the standard allows them, and sizes of 32 bits, against NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.evaluate import evaluate


def run_node(node: onnx.NodeProto, feeds: Mapping[str, np.ndarray], shapes: Mapping[str, list[Any]], opset: int) -> np.ndarray:
    """The first result, compiled; the interpreter's must be near."""
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), shapes.get(name, a.shape))
        for name, a in feeds.items()
    ]
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=y) for y in node.output])
    imports = (
        [helper.make_opsetid("", 23), helper.make_opsetid(node.domain, opset)] if node.domain else [helper.make_opsetid("", opset)]
    )
    loaded = load_onnx(helper.make_model(graph, opset_imports=imports, ir_version=10))
    found, wanted = (run(feeds)[node.output[0]] for run in (build_executable(loaded).run, lambda feeds: evaluate(loaded, feeds)))
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=1e-3)
    return found


@pytest.mark.parametrize(("x", "scale"), [(np.float16, np.float32), (np.float32, np.float16), (np.float32, np.float64)])
def test_rms_normalization_has_the_type_of_its_scale(x: type, scale: type, rng: np.random.Generator) -> None:
    feeds = {"x": rng.standard_normal((5, 8)).astype(x), "s": rng.standard_normal(8).astype(scale)}
    found = run_node(helper.make_node("RMSNormalization", ["x", "s"], ["y"], epsilon=1e-3), feeds, {"x": ["n", 8]}, 23)
    wide = feeds["x"].astype(np.float64)
    want = wide / np.sqrt(np.square(wide).mean(axis=1, keepdims=True) + 1e-3) * feeds["s"]
    assert found.dtype == scale
    np.testing.assert_allclose(found, want, rtol=4e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("sizes", [(4, 9), (7, 3), (5, 6)])
def test_center_crop_pad(dtype: type, sizes: tuple[int, int], rng: np.random.Generator) -> None:
    """Sizes come with the run."""
    x = rng.standard_normal((2, 5, 6)).astype(np.float32)
    node = helper.make_node("CenterCropPad", ["x", "s"], ["y"], axes=[1, 2])
    found = run_node(node, {"x": x, "s": np.array(sizes, dtype)}, {"x": [2, "h", 6]}, 18)
    want = np.zeros((2, *sizes), np.float32)
    for target, source in [[tuple(_middle(d, e) for d, e in zip(a, b)) for a, b in ((sizes, (5, 6)), ((5, 6), sizes))]]:
        want[(slice(None), *target)] = x[(slice(None), *source)]
    np.testing.assert_array_equal(found, want)


def _middle(extent: int, other: int) -> slice:
    """The places of an axis that are in the middle of it, as many as the other has."""
    start = max(extent - other, 0) // 2
    return slice(start, start + min(extent, other))


def test_momentum_with_a_rate_of_another_type(rng: np.random.Generator) -> None:
    x, gradient, speed = (rng.standard_normal(6) for _ in range(3))
    feeds = {"r": np.array(0.5, np.float32), "t": np.array(3), "x": x, "g": gradient, "v": speed}
    options = {"alpha": 0.5, "beta": 0.25, "norm_coefficient": 0.0, "mode": "standard", "domain": "ai.onnx.preview.training"}
    found = run_node(helper.make_node("Momentum", list(feeds), ["y", "w"], **options), feeds, {}, 1)
    np.testing.assert_allclose(found, x - 0.5 * (0.5 * speed + 0.25 * gradient))


@pytest.mark.parametrize("name", ["FLOAT8E8M0", "FLOAT8E4M3FNUZ", "FLOAT4E2M1"])
@pytest.mark.parametrize("to", ["FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"])
def test_narrow_floats_among_themselves(name: str, to: str) -> None:
    """By way of float32, which has all of them; what is too much becomes the greatest number."""
    dtype, wanted = (helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, kind)) for kind in (name, to))
    x = np.arange(16 if name == "FLOAT4E2M1" else 256, dtype=np.uint8).view(dtype)
    node = helper.make_node("Cast", ["x"], ["y"], to=getattr(onnx.TensorProto, to))
    found = run_node(node, {"x": x}, {}, 24)
    assert found.dtype == wanted
    top = float(ml_dtypes.finfo(wanted).max)
    want = np.clip(x.astype(np.float32), -top, top).astype(wanted)
    np.testing.assert_array_equal(found.astype(np.float32), want.astype(np.float32))


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_integers_are_resized_along_all_axes_before_they_are_cut(dtype: type, rng: np.random.Generator) -> None:
    """Twice as large: weights are sixteenths, so nothing is rounded before."""
    import onnxruntime

    x = rng.integers(0, 100, (1, 2, 5, 7)).astype(dtype)
    code = helper.np_dtype_to_tensor_dtype(x.dtype)
    scales = helper.make_tensor("s", onnx.TensorProto.FLOAT, [4], [1, 1, 2, 2])
    infos = [helper.make_tensor_value_info("x", code, x.shape)]
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")
    graph = helper.make_graph([node], "one", infos, [helper.make_tensor_value_info("y", code, None)], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(build_executable(load_onnx(model)).run({"x": x})["y"], session.run(None, {"x": x})[0])
