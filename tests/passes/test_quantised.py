"""quantised: quantise → dequantise → product → quantise, as exporters write it, is a product of integers with their exact results."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.native import build_executable, host
from tgen.frontends.onnx import load_onnx
from tgen.ir.dtypes import I32
from tgen.ir.graph import Graph
from tgen.ir.ops.fused import TiledContraction
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.passes.quantised import DEEPEST
from tgen.targets.find import all_targets

SCALES = {"sx": np.float32(0.25), "sy": np.float32(2.0)}  # powers of two: only quantising rounds


def qdq_model(
    op_type: str, arrays: dict[str, np.ndarray], dtype: type, shape: tuple[Any, ...], axis: int, **attributes: Any
) -> onnx.ModelProto:
    """y = quantise(product(dequantise(quantise(x)), dequantise(w))); axis: of the scales of weights"""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], axis=axis),
        helper.make_node(op_type, ["xd", "wd"], ["p"], **attributes),
        helper.make_node("QuantizeLinear", ["p", "sy", "zx"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
    graph = helper.make_graph(nodes, "qdq", [x], [y], [numpy_helper.from_array(np.asarray(a), k) for k, a in arrays.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def arrays_of(rng: np.random.Generator, depth: int, dtype: type, by_column: bool, zero: int) -> dict[str, np.ndarray]:
    """Weights [depth, 24] at the limits of their range, where a product that saturates would show."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    columns = (24,) if by_column else ()
    weights = rng.choice([low, high], (depth, 24)).astype(dtype)
    scales = (2.0 ** rng.integers(-9, -5, columns)).astype(np.float32)
    return {**SCALES, "zx": dtype(zero), "w": weights, "sw": scales, "zw": np.full(columns, zero, dtype)}


def wanted(arrays: dict[str, np.ndarray], x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    zero, limits = arrays["zx"].astype(np.int64), np.iinfo(arrays["zx"].dtype)
    left = np.clip(np.rint(x / arrays["sx"]) + zero, limits.min, limits.max) - zero
    total = left @ (weights.astype(np.float64) - zero) * arrays["sx"] * arrays["sw"]
    return np.clip(np.rint(total / arrays["sy"]) + zero, limits.min, limits.max).astype(limits.dtype)


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 119), (np.int8, 0), (np.int8, -7)])
def test_products_are_of_integers(rng: np.random.Generator, dtype: type, zero: int, by_column: bool) -> None:
    arrays = arrays_of(rng, 40, dtype, by_column, zero)
    x = rng.uniform(-40, 40, (9, 40)).astype(np.float32)
    for transposed in (False, True):
        graph = load_onnx(model_of(arrays, transposed))
        got = build_executable(graph).run({"x": x})["y"]
        np.testing.assert_array_equal(got, wanted(arrays, x, arrays["w"]))


@pytest.mark.parametrize("group", [1, 2])
def test_convolutions_are_of_integers(rng: np.random.Generator, group: int) -> None:
    """Weights with a scale for each row, in groups, by windows that reach into the padding: which is 0, not the zero point's number."""
    limits = [-128, 127] if group == 1 else [-64, 64]  # pairs of which fit 16 bits with any byte
    weights = rng.choice(limits, (8, 8 // group, 3, 3)).astype(np.int8)
    scales = (2.0 ** rng.integers(-9, -5, 8)).astype(np.float32)
    arrays = {**SCALES, "zx": np.uint8(119), "w": weights, "sw": scales, "zw": np.zeros(8, np.int8)}
    x = rng.uniform(-40, 40, (2, 8, 6, 5)).astype(np.float32)
    model = qdq_model("Conv", arrays, np.uint8, (2, 8, 6, 5), axis=0, group=group, pads=[1, 0, 1, 2])
    real = (np.clip(np.rint(x / 0.25) + 119, 0, 255) - 119) * 0.25
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=group, pads=[1, 0, 1, 2])
    exact = ReferenceEvaluator(node).run(None, {"x": real, "w": weights * scales.astype(np.float64).reshape(-1, 1, 1, 1)})[0]
    want = np.clip(np.rint(exact / 2.0) + 119, 0, 255).astype(np.uint8)
    graph = load_onnx(model)
    np.testing.assert_array_equal(build_executable(graph).run({"x": x})["y"], want)
    if has_small_products(host()):
        size, whole = bytes_of_weights(graph, host())
        assert whole and size == 1


def model_of(arrays: dict[str, np.ndarray], transposed: bool) -> onnx.ModelProto:
    dtype, shape = arrays["w"].dtype.type, ("n", arrays["w"].shape[0])
    if not transposed:
        return qdq_model("MatMul", arrays, dtype, shape, axis=1)
    return qdq_model("Gemm", {**arrays, "w": np.ascontiguousarray(arrays["w"].T)}, dtype, shape, axis=0, transB=1)


def bytes_of_weights(graph: Graph, target) -> tuple[int, bool]:
    """Of one element, and whether the product is summed in int32."""
    found = [n for n in run_pipeline(graph, pipeline(target)).nodes if isinstance(n.op, TiledContraction)]
    assert len(found) == 1
    return found[0].inputs[found[0].op.a_parts].type.dtype.bits // 8, found[0].op.accumulate is I32


def has_small_products(target) -> bool:
    return any(t.accumulate is I32 and t.b is not I32 for t in target.tiles)


@pytest.mark.parametrize("target", [t for t in all_targets() if has_small_products(t)], ids=lambda t: t.name)
def test_weights_stay_small(rng: np.random.Generator, target) -> None:
    size, whole = bytes_of_weights(load_onnx(model_of(arrays_of(rng, 64, np.int8, True, 0), False)), target)
    assert whole and size == 1


def test_sums_that_int32_may_not_hold_stay_float32(rng: np.random.Generator) -> None:
    held = arrays_of(rng, int(DEEPEST) + 1, np.int8, False, 0)
    assert bytes_of_weights(load_onnx(model_of(held, False)), host()) == (4, False)
