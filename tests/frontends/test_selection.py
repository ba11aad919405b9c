"""Operators whose results are as large as their data say, compiled once and run with several sizes, mean what ONNX Runtime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import tgen
from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidInput, InvalidModel


def model_of(op_type: str, inputs: dict[str, tuple[type, list[Any]]], outputs: int, **attributes: Any) -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in inputs.items()
    ]
    names = [f"y{k}" for k in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op_type, list(inputs), names, **attributes)], "one", infos, [onnx.ValueInfoProto(name=y) for y in names]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check(model: onnx.ModelProto, *feeds: dict[str, np.ndarray]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    executable = build_executable(load_onnx(model))
    for given in feeds:
        found = executable.run(given)
        for name, want in zip(found, session.run(None, given), strict=True):
            assert found[name].dtype == want.dtype
            np.testing.assert_array_equal(found[name], want, err_msg=name)


def draw(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    return rng.integers(0, 3, shape).astype(dtype)


@pytest.mark.peer("onnxruntime")
def test_non_zero(rng: np.random.Generator) -> None:
    model = model_of("NonZero", {"x": (np.float32, ["n", 3, "m"])}, 1)
    check(model, *({"x": draw(rng, np.float32, n, 3, m)} for n, m in ((4, 7), (1, 1), (0, 2), (30, 11))))


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_compress(axis: int | None, rng: np.random.Generator) -> None:
    attributes = {} if axis is None else {"axis": axis}
    model = model_of("Compress", {"x": (np.float32, ["n", 6]), "keep": (np.bool_, ["k"])}, 1, **attributes)
    feeds = [{"x": draw(rng, np.float32, n, 6), "keep": rng.random(k) < 0.5} for n, k in ((9, 6), (7, 3), (5, 1))]
    check(model, *feeds)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(
    ("dtype", "axis", "ordered"), [(np.float32, None, 1), (np.int64, None, 0), (np.int8, 0, 0), (np.float64, 1, 1)]
)
def test_unique(dtype: type, axis: int | None, ordered: int, rng: np.random.Generator) -> None:
    attributes = {"sorted": ordered, **({} if axis is None else {"axis": axis})}
    model = model_of("Unique", {"x": (dtype, ["n", "m", 2])}, 4, **attributes)
    check(model, *({"x": draw(rng, dtype, n, m, 2)} for n, m in ((9, 2), (1, 5), (40, 1))))


@pytest.mark.peer("onnxruntime")
def test_resize_to_sizes_of_a_run(rng: np.random.Generator) -> None:
    model = model_of("Resize", {"x": (np.float32, [1, 2, "h", "w"]), "sizes": (np.int64, [4])}, 1, mode="nearest")
    model.graph.node[0].input[:] = ["x", "", "", "sizes"]
    drawn = [((5, 7), (9, 4)), ((5, 7), (5, 7)), ((8, 3), (16, 1))]
    feeds = ({"x": draw(rng, np.float32, 1, 2, *space), "sizes": np.array([1, 2, *sizes])} for space, sizes in drawn)
    check(model, *feeds)


def boxes_model(center: int = 0) -> onnx.ModelProto:
    inputs = {
        "boxes": (np.float32, ["batch", "n", 4]),
        "scores": (np.float32, ["batch", 3, "m"]),
        "limit": (np.int64, [1]),
        "overlap": (np.float32, [1]),
        "threshold": (np.float32, [1]),
    }
    return model_of("NonMaxSuppression", inputs, 1, center_point_box=center)


def boxes_feeds(
    rng: np.random.Generator, batch: int, n: int, limit: int, overlap: float, threshold: float
) -> dict[str, np.ndarray]:
    """Places and scores are few, so that many are equal; corners come in any order."""
    return {
        "boxes": (rng.integers(0, 8, (batch, n, 4)) / 4).astype(np.float32),
        "scores": (rng.integers(0, 20, (batch, 3, n)) / 20).astype(np.float32),
        "limit": np.array([limit]),
        "overlap": np.array([overlap], np.float32),
        "threshold": np.array([threshold], np.float32),
    }


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("center", [0, 1])
def test_suppression(center: int, rng: np.random.Generator) -> None:
    drawn = [(2, 40, 10, 0.5, 0.1), (1, 1, 5, 0.0, 0.0), (3, 100, 2**40, 0.25, 0.4), (1, 30, 0, 0.5, 0.1), (2, 9, 4, 1.0, 2.0)]
    check(boxes_model(center), *(boxes_feeds(rng, *numbers) for numbers in drawn))


def test_suppression_of_what_is_no_number(rng: np.random.Generator) -> None:
    """NaN and infinities anywhere: results are positions of boxes, none twice."""
    executable = tgen.compile(load_onnx(boxes_model()), cache=False)
    for overlap, threshold in ((np.nan, np.nan), (np.nan, -np.inf), (-5.0, np.nan), (np.inf, -np.inf)):
        feeds = boxes_feeds(rng, 2, 50, 2**62, overlap, threshold)
        for name in ("boxes", "scores"):
            flat = feeds[name].reshape(-1)
            flat[rng.integers(0, flat.size, 60)] = rng.choice([np.nan, np.inf, -np.inf], 60)
        found = executable.run(feeds)["y0"]
        assert len(np.unique(found, axis=0)) == len(found)
        assert ((found >= 0) & (found < (2, 3, 50))).all()


def test_as_many_scores_as_boxes_are_wanted(rng: np.random.Generator) -> None:
    feeds = boxes_feeds(rng, 2, 12, 5, 0.5, 0.1)
    feeds["scores"] = feeds["scores"][:, :, :7]
    with pytest.raises(InvalidInput):
        tgen.compile(load_onnx(boxes_model()), cache=False).run(feeds)


def test_what_is_known_is_no_extent() -> None:
    """Positions of a constant condition are constants."""
    model = model_of("Compress", {"x": (np.float32, ["n", 4]), "keep": (np.bool_, [4])}, 1, axis=1)
    graph = load_onnx(model, values={"keep": np.array([True, False, True, True])})
    assert not graph.extents and graph.outputs[0][1].type.shape[1] == 3


@pytest.mark.parametrize(("op_type", "shape"), [("Compress", [2, 2]), ("NonMaxSuppression", ["n", 4])])
def test_refuses(op_type: str, shape: list[Any]) -> None:
    second = np.bool_ if op_type == "Compress" else np.float32
    with pytest.raises(InvalidModel, match=op_type):
        load_onnx(model_of(op_type, {"x": (np.float32, shape), "keep": (second, shape)}, 1))
