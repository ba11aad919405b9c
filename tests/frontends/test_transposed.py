"""ConvTranspose of any geometry, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tgen.backend import TgenBackend

pytestmark = pytest.mark.peer("onnxruntime")


@st.composite
def _geometries(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """(shape of x, shape of weights, attributes)"""
    rank, group = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 3]))
    inner, outer = draw(st.sampled_from([1, 4])), draw(st.sampled_from([1, 5]))
    kernel, strides, dilations = (tuple(draw(st.integers(1, most)) for _ in range(rank)) for most in (4, 3, 2))
    more = tuple(draw(st.integers(0, s - 1)) for s in strides)
    pads = tuple(draw(st.integers(0, (k - 1) * d)) for k, d in zip(kernel, dilations))
    pads += tuple(draw(st.integers(0, (k - 1) * d - p)) for k, d, p in zip(kernel, dilations, pads))
    space = tuple(draw(st.integers(1, 5)) for _ in range(rank))
    attributes = {"group": group, "strides": strides, "dilations": dilations, "pads": pads, "output_padding": more}
    return (draw(st.integers(1, 2)), inner * group, *space), (inner * group, outer, *kernel), attributes


@given(_geometries(), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_geometry_agrees_with_onnxruntime(geometry: tuple[Any, Any, dict[str, Any]], seed: int) -> None:
    import onnxruntime

    x_shape, w_shape, attributes = geometry
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in (x_shape, w_shape, (w_shape[1] * attributes["group"],))]
    space = ["height", "width"][: len(x_shape) - 2]
    infos = [
        helper.make_tensor_value_info("x", 1, ["n", x_shape[1], *space]),
        helper.make_tensor_value_info("w", 1, w_shape),
        helper.make_tensor_value_info("b", 1, arrays[2].shape),
    ]
    nodes = [helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)]
    graph = helper.make_graph(nodes, "test", infos, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, dict(zip("xwb", arrays)))
    (found,) = TgenBackend.prepare(model).run(arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
