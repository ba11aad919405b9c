"""Operators over quantised numbers, compiled: convolutions against the integers' own arithmetic, ONNX Runtime's own against itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel, TgenError
from tgen.ir.evaluate import evaluate

MICROSOFT = "com.microsoft"
Arrays = dict[str, Any]


def model_of(op_type: str, arrays: Arrays, constants: Arrays, domain: str = MICROSOFT, **attributes: Any) -> onnx.ModelProto:
    """One node over arrays, which are inputs of the model, then constants; an empty name stands for None."""
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()]
    weights = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items() if a is not None and n not in arrays]
    names = [n if n in arrays or a is not None else "" for n, a in {**arrays, **constants}.items()]
    node = helper.make_node(op_type, attributes.pop("order", names), ["y"], domain=domain, **attributes)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")], weights)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def drawn(rng: np.random.Generator, dtype: Any, shape: tuple[int, ...] = ()) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.asarray(rng.integers(limits.min, limits.max + 1, shape), dtype)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1 << 20), group=st.sampled_from([1, 2, 4]), inner=st.sampled_from([1, 3, 4]), padded=st.booleans(),
    types=st.sampled_from([("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")]), by_row=st.booleans(),
)  # fmt: skip
def test_convolutions(seed: int, group: int, inner: int, padded: bool, types: tuple[str, str], by_row: bool) -> None:
    """QLinearConv and, of the same numbers, ConvInteger."""
    rng = np.random.default_rng(seed)
    outer, kernel = group * int(rng.integers(1, 4)), tuple(int(k) for k in rng.integers(1, 4, 2))
    x, w = drawn(rng, types[0], (2, group * inner, 7, 6)), drawn(rng, types[1], (outer, inner, *kernel))
    rows = (outer,) if by_row else ()
    scales = {"sw": (2.0 ** rng.integers(-9, -5, rows)).astype(np.float32), "sy": np.float32(2.0), "sx": np.float32(0.5)}
    zeros = {"zx": drawn(rng, types[0]), "zw": drawn(rng, types[1], rows), "zy": drawn(rng, types[0])}
    constants = {**scales, **zeros, "w": w, "b": drawn(rng, "int16", (outer,)).astype(np.int32)}
    attributes = {"group": group, "strides": [int(s) for s in rng.integers(1, 3, 2)], "pads": [1, 0, 2, 1] if padded else [0] * 4}
    order = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
    model = model_of("QLinearConv", {"x": x}, constants, "", order=order, **attributes)
    real = [
        v.astype(np.float32) for v in (x, w.astype(np.int32) - zeros["zw"].reshape(-1, 1, 1, 1).astype(np.int32), constants["b"])
    ]
    real[0] = real[0] - zeros["zx"].astype(np.float32)
    total = ReferenceEvaluator(model_of("Conv", dict(zip("xwb", real)), {}, "", **attributes)).run(None, dict(zip("xwb", real)))[0]
    factor = (scales["sw"] * np.float32(0.25)).reshape(-1, 1, 1)
    limits = np.iinfo(types[0])
    want = np.clip(np.rint(total * factor) + zeros["zy"], limits.min, limits.max).astype(types[0])
    graph = load_onnx(model)
    np.testing.assert_array_equal(build_executable(graph).run({"x": x})["y"], want)
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], want)
    whole = model_of("ConvInteger", {"x": x}, {"w": w, "zx": zeros["zx"], "zw": zeros["zw"]}, "", **attributes)
    exact = total - real[2].reshape(-1, 1, 1)
    np.testing.assert_array_equal(build_executable(load_onnx(whole)).run({"x": x})["y"], exact.astype(np.int32))


U8, S8, F = np.uint8, np.int8, np.float32
SCALE, ZERO = {"sx": F(0.05123), "zx": U8(117)}, {"sy": F(0.07071), "zy": U8(103)}  # no quotient of these makes ties
ANOTHER = {"b": np.arange(0, 250, 10, U8).reshape(5, 5), "sb": F(0.03377), "zb": U8(20)}
ON_PICTURES = {**SCALE, **ZERO}

# operator → (shape of x, u8; other operands; attributes)
CASES: dict[str, tuple[str, tuple[int, ...], Arrays, dict[str, Any]]] = {
    "add": ("QLinearAdd", (3, 5, 5), {**SCALE, **ANOTHER, **ZERO}, {}),
    "mul": ("QLinearMul", (3, 5, 5), {**SCALE, **ANOTHER, **ZERO}, {}),
    "sigmoid": ("QLinearSigmoid", (4, 40), {**SCALE, "sy": F(1 / 256), "zy": U8(0)}, {}),
    "leaky": ("QLinearLeakyRelu", (4, 40), {**SCALE, **ZERO}, {"alpha": 0.2}),
    "softmax": ("QLinearSoftmax", (4, 9), {**SCALE, "sy": F(1 / 256), "zy": U8(0)}, {"opset": 13, "axis": -1}),
    "pool": ("QLinearAveragePool", (2, 3, 8, 7), ON_PICTURES, {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "global": ("QLinearGlobalAveragePool", (2, 3, 8, 7), ON_PICTURES, {}),
    "global, last": ("QLinearGlobalAveragePool", (2, 8, 7, 3), ON_PICTURES, {"channels_last": 1}),
    "gemm": (
        "QGemm",
        (4, 16),
        {**SCALE, "b": np.arange(-60, 68, dtype=S8).reshape(8, 16), "sb": np.geomspace(0.01, 0.05, 8, dtype=F), "zb": np.arange(-4, 4, dtype=S8),
         "c": np.arange(-400, 400, 100, np.int32), "sy": F(4.0), "zy": U8(128)},
        {"transB": 1, "alpha": 0.5},
    ),
    "gemm, real": ("QGemm", (4, 16), {**SCALE, "b": np.arange(-48, 48, dtype=S8).reshape(16, 6), "sb": F(0.1), "zb": S8(0)}, {}),
    "dynamic": ("DynamicQuantizeMatMul", (4, 16), {"b": np.arange(-48, 48, dtype=S8).reshape(16, 6), "sb": np.geomspace(0.01, 0.05, 6, dtype=F),
                "zb": np.arange(-3, 3, dtype=S8), "bias": np.arange(6, dtype=F)}, {}),
    "to float": ("MatMulIntegerToFloat", (4, 16), {"b": np.arange(-48, 48, dtype=S8).reshape(16, 6), "sx": F(0.1), "sb": F(0.3),
                 "zx": U8(200), "zb": None, "bias": np.arange(6, dtype=F)}, {}),
    "dequantise": ("DequantizeLinear", (4, 9), SCALE, {}),
}  # fmt: skip


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("name", CASES)
def test_as_onnx_runtime(name: str, rng: np.random.Generator) -> None:
    """Up to one step: where ONNX Runtime multiplies by reciprocals or looks up, a tie may fall to the other side."""
    op_type, shape, constants, attributes = CASES[name]
    x = rng.standard_normal(shape, F) if name == "dynamic" else drawn(rng, U8, shape)
    compare(model_of(op_type, {"x": x}, constants, **attributes), {"x": x})


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(
    ("bits", "zeros", "groups"), [(4, None, False), (4, U8, False), (8, U8, False), (4, F, True), (2, U8, False)]
)
def test_products_by_packed_weights(rng: np.random.Generator, bits: int, zeros: Any, groups: bool) -> None:
    depth, columns, block = (64 if groups else 72), 5, 32
    blocks, x = -(-depth // block), rng.standard_normal((2, 3, depth), F)
    packed = drawn(rng, U8, (columns, blocks, block * bits // 8))
    scales = rng.uniform(0.01, 0.02, (columns, blocks)).astype(F)
    of_zeros = {
        None: None,
        F: rng.uniform(1, 9, (columns, blocks)).astype(F),
        U8: drawn(rng, U8, (columns, -(-blocks * bits // 8))),
    }
    group = rng.integers(0, blocks, depth).astype(np.int32) if groups else None
    constants = {"b": packed, "scales": scales, "zeros": of_zeros[zeros], "group": group}
    names = [n if n == "x" or constants[n] is not None else "" for n in ("x", *constants)]
    attributes = {"K": depth, "N": columns, "bits": bits, "block_size": block}
    compare(model_of("MatMulNBits", {"x": x}, constants, order=names, **attributes), {"x": x})


@pytest.mark.peer("onnxruntime")
def test_choice_as_onnx_runtime(rng: np.random.Generator) -> None:
    feeds = {"condition": rng.random((3, 1, 5)) < 0.5, "x": drawn(rng, U8, (5, 5))}
    order = ["condition", "x", "sx", "zx", "b", "sb", "zb", "sy", "zy"]
    compare(model_of("QLinearWhere", feeds, {**SCALE, **ANOTHER, **ZERO}, order=order), feeds)


@pytest.mark.peer("onnxruntime")
def test_concat_as_onnx_runtime(rng: np.random.Generator) -> None:
    x = drawn(rng, U8, (2, 7))
    order = ["sy", "zy", "x", "sx", "zx", "b", "sb", "zb"]
    more = {**SCALE, **ZERO, **ANOTHER, "b": drawn(rng, U8, (2, 3))}
    compare(model_of("QLinearConcat", {"x": x}, more, order=order, axis=1), {"x": x})


def compare(model: onnx.ModelProto, feeds: Arrays) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,), graph = session.run(None, feeds), load_onnx(model)
    for found in (build_executable(graph).run(feeds)["y"], evaluate(graph, feeds)["y"]):
        assert (found.dtype, found.shape) == (want.dtype, want.shape)
        if want.dtype == F:
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
        else:
            steps = np.abs(found.astype(int) - want.astype(int))
            assert steps.max() <= 1 and steps.mean() < 0.05


def test_what_does_not_fit_is_named(rng: np.random.Generator) -> None:
    x = drawn(rng, U8, (4, 9))
    with pytest.raises(InvalidModel, match="QLinearSigmoid.*is not one number"):
        load_onnx(model_of("QLinearSigmoid", {"x": x}, {**SCALE, "sy": np.ones(3, F), "zy": U8(0)}))
    with pytest.raises(InvalidModel, match="lacks input 'scale'"):
        load_onnx(model_of("QLinearMul", {"x": x}, {**SCALE, **ANOTHER}))
    with pytest.raises(InvalidModel, match="2 inputs behind its zero point"):
        load_onnx(model_of("QLinearConcat", {"x": x}, {**SCALE, **ZERO}, order=["sy", "zy", "x", "sx"], axis=1))


def test_cells_of_wrong_weights_are_named(rng: np.random.Generator) -> None:
    x, weights = rng.standard_normal((2, 1, 3), np.float32), drawn(rng, U8, (1, 3, 8))
    order = ["x", "w", "r", "", "", "", "", "", "s", "z", "s", "z"]
    parts = {"w": weights, "r": drawn(rng, U8, (1, 2, 8)), "s": np.ones(1, F), "z": np.zeros(1, U8)}
    for wrong in ({"w": weights[0]}, {"w": weights[:, :2]}, {"s": np.ones(3, F)}, {"z": np.zeros(1, S8)}):
        with pytest.raises(TgenError, match="DynamicQuantizeLSTM|dynamic_quantize_lstm"):
            load_onnx(model_of("DynamicQuantizeLSTM", {"x": x}, {**parts, **wrong}, order=order, hidden_size=2))
