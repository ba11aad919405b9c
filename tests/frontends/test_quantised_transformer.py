"""Transformers that ONNX Runtime quantised: embeddings and attention of bytes mean what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel

BATCH, LENGTH, HIDDEN, HEADS, WORDS, LONGEST, KINDS, PAST = 2, 6, 32, 4, 19, 9, 2, 3


def _model(op_type: str, feeds: dict[str, np.ndarray], names: list[str], outputs: list[str], **attributes: Any) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
    node = helper.make_node(op_type, names, outputs, domain="com.microsoft", **attributes)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=n) for n in outputs])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _compare(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = build_executable(load_onnx(model)).run(feeds)
    for output, want in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        assert found[output.name].dtype == want.dtype
        np.testing.assert_allclose(found[output.name], want, rtol=1e-5, atol=1e-5, err_msg=output.name)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("past", [False, True])
def test_attention(signed: bool, columns: bool, past: bool, rng: np.random.Generator) -> None:
    """With weights of 7 bits: ONNX Runtime adds pairs of greater products in 16 bits that saturate."""
    scales = (3 * HIDDEN,) if columns else ()
    feeds = {
        "x": rng.integers(0, 256, (BATCH, LENGTH, HIDDEN), np.uint8),
        "w": (rng.integers(-64, 64, (HIDDEN, 3 * HIDDEN)) + (0 if signed else 128)).astype(np.int8 if signed else np.uint8),
        "b": rng.standard_normal(3 * HIDDEN).astype(np.float32),
        "x_scale": np.array(0.01, np.float32),
        "w_scale": rng.uniform(0.002, 0.006, scales).astype(np.float32),
        "mask": np.array([LENGTH, LENGTH - 2], np.int32),
        "x_zero": np.array(117, np.uint8),
        "w_zero": np.full(scales, -3 if signed else 127).astype(np.int8 if signed else np.uint8),
    }
    if past:
        feeds["past"] = rng.standard_normal((2, BATCH, HEADS, PAST, HIDDEN // HEADS)).astype(np.float32)
        feeds["mask"] = feeds["mask"] + PAST
    _compare(_model("QAttention", feeds, [*feeds], ["y", "present"] if past else ["y"], num_heads=HEADS), feeds)


def _tables(rng: np.random.Generator) -> dict[str, np.ndarray]:
    extents = {
        "words": (WORDS, HIDDEN),
        "places": (LONGEST, HIDDEN),
        "kinds": (KINDS, HIDDEN),
        "gamma": (HIDDEN,),
        "beta": (HIDDEN,),
    }
    feeds: dict[str, np.ndarray] = {n: rng.integers(0, 256, shape, np.uint8) for n, shape in extents.items()}
    feeds |= {f"{n}_scale": np.array(rng.uniform(0.01, 0.1), np.float32) for n in extents}
    return feeds | {f"{n}_zero": np.array(rng.integers(100, 150), np.uint8) for n in extents}


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("whole", [False, True])
def test_embeddings(whole: bool, rng: np.random.Generator) -> None:
    ids = {"ids": rng.integers(0, WORDS, (BATCH, LENGTH), np.int32)}
    ids["segments"] = rng.integers(0, KINDS, (BATCH, LENGTH), np.int32)
    ids["mask"] = rng.integers(0, 2, (BATCH, LENGTH), np.int32)
    tables = _tables(rng)
    first = ["words", "places", "kinds", "gamma", "beta"]
    names = ["ids", "segments", *first, "mask", *(f"{n}_scale" for n in first), *(f"{n}_zero" for n in first)]
    absent = set() if whole else {"segments", "kinds", "kinds_scale", "kinds_zero", "mask"}
    feeds = {n: a for n, a in (ids | tables).items() if n not in absent}
    _compare(_model("QEmbedLayerNormalization", feeds, ["" if n in absent else n for n in names], ["y", "count"]), feeds)


def test_a_table_without_its_scale_is_told(rng: np.random.Generator) -> None:
    feeds = {"ids": np.zeros((1, 2), np.int32), "segments": np.zeros((1, 2), np.int32), **_tables(rng)}
    first = ["words", "places", "kinds", "gamma", "beta"]
    names = ["ids", "segments", *first, "", *(f"{n}_scale" for n in first), *(f"{n}_zero" for n in first)]
    names[names.index("kinds_scale")] = ""
    with pytest.raises(InvalidModel, match="'segment_embedding' without its scale and zero point"):
        load_onnx(_model("QEmbedLayerNormalization", feeds, names, ["y", "count"]))
