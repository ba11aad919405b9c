"""QLinearMatMul with one scale, or one a row and column, compiled, against the integers' own arithmetic; spectra of frames likewise."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx


def model_of(op_type: str, arrays: dict[str, np.ndarray], constants: tuple[str, ...], opset: int = 21) -> onnx.ModelProto:
    """One node over all arrays; those named in `constants` are part of the model."""
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
        if n not in constants
    ]
    weights = [onnx.numpy_helper.from_array(arrays[n], n) for n in constants]
    node = helper.make_node(op_type, list(arrays), ["y"])
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 20), by_row=st.booleans(), by_column=st.booleans(), dtype=st.sampled_from(["uint8", "int8"]))
def test_products(seed: int, by_row: bool, by_column: bool, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    m, k, n = (int(d) for d in rng.integers(1, 9, 3))
    a, b = (rng.integers(low, high + 1, s).astype(dtype) for s in ((m, k), (k, n)))
    rows, columns = (m,) if by_row else (), (n,) if by_column else ()
    zeros = [rng.integers(low, high + 1, s).astype(dtype) for s in (rows, columns, ())]
    scales = [
        2.0 ** rng.integers(-6, 0, s).astype(np.float32) for s in (rows, columns)
    ]  # powers of two: nothing is rounded but the end
    scales = [np.asarray(s, np.float32) for s in (*scales, np.float32(0.5))]
    arrays = {"a": a, "sa": scales[0], "za": zeros[0], "b": b, "sb": scales[1], "zb": zeros[1], "sy": scales[2], "zy": zeros[2]}
    left = a.astype(np.int64) - (zeros[0][:, None] if by_row else zeros[0])
    right = b.astype(np.int64) - zeros[1]
    factor = (scales[0][:, None] if by_row else scales[0]).astype(np.float64) * scales[1] / scales[2]
    want = np.clip(np.rint(left @ right * factor) + zeros[2], low, high).astype(dtype)
    model = model_of("QLinearMatMul", arrays, ("sa", "za", "b", "sb", "zb", "sy", "zy"))
    np.testing.assert_array_equal(build_executable(load_onnx(model)).run({"a": a})["y"], want)


@pytest.mark.parametrize("step", [3, 8, 16])
def test_spectra_of_frames(step: int, rng: np.random.Generator) -> None:
    x, window = rng.standard_normal((2, 50, 1), dtype=np.float32), np.hanning(16).astype(np.float32)
    arrays = {"x": x, "step": np.array(step), "window": window}
    got = build_executable(load_onnx(model_of("STFT", arrays, ("step", "window"), 17))).run({"x": x})["y"]
    frames = [x[:, s : s + 16, 0] * window for s in range(0, 50 - 16 + 1, step)]
    want = np.fft.rfft(np.stack(frames, 1).astype(np.float64))
    np.testing.assert_allclose(got, np.stack([want.real, want.imag], -1), rtol=1e-5, atol=1e-5)
