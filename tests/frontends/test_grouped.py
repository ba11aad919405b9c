"""GroupQueryAttention means what ONNX Runtime says: caches that grow or are kept, places of each sequence, what a query sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidInput, InvalidModel, Unsupported

HEADS, GROUPS, SIZE, LONGEST = 4, 2, 32, 40
INPUTS = (
    "query", "key", "value", "past_key", "past_value", "seqlens_k", "total", "cos", "sin", "places", "bias", "sink", "k_scale",
)  # fmt: skip
OUTPUTS = ("y", "present_key", "present_value")

# new entries, lengths of the sequences with them, places of the cache (None: no cache), what is given besides, attributes
CASES: dict[str, tuple[int, tuple[int, ...], int | None, str, dict[str, Any]]] = {
    "prompt": (5, (5, 5), None, "", {}),
    "prompt that ends early": (5, (5, 3), None, "", {}),
    "packed": (5, (5,), 0, "packed angles", {}),
    "token": (1, (7, 7), 6, "angles", {}),
    "token in a kept cache": (1, (7, 4), 16, "angles", {}),
    "chunk in a kept cache": (3, (9,), 12, "packed angles", {"softcap": 3.0, "scale": 0.5}),
    "half of a head turned": (1, (7, 7), 6, "half", {"rotary_interleaved": 1}),
    "places": (1, (7, 7), 6, "angles places", {}),
    "places of a prompt": (4, (4, 4), None, "angles places", {}),
    "window": (7, (7, 7), None, "", {"local_window_size": 4}),
    "bias": (3, (9,), 12, "bias", {}),
    "sink": (3, (9,), 6, "sink", {"local_window_size": 4}),
    "smooth": (1, (7, 5), 10, "", {"smooth_softmax": 1}),
    "both ways": (5, (5, 5), None, "", {"causal": 0}),
}


def _feeds(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    new, lengths, cache, besides, _ = CASES[name]
    batch, total = len(lengths), max(lengths)

    def real(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    widths = {"query": (HEADS + 2 * GROUPS) * SIZE} if "packed" in besides else {"query": HEADS * SIZE}
    widths |= {} if "packed" in besides else {"key": GROUPS * SIZE, "value": GROUPS * SIZE}
    feeds = {n: real(batch, new, width) for n, width in widths.items()}
    feeds |= {} if cache is None else {n: real(batch, GROUPS, cache, SIZE) for n in ("past_key", "past_value")}
    feeds |= {"seqlens_k": np.array(lengths, np.int32) - 1, "total": np.array([total], np.int32)}
    if "angles" in besides or "half" in besides:
        feeds |= {n: real(LONGEST, SIZE // (4 if "half" in besides else 2)) for n in ("cos", "sin")}
    feeds |= {"places": np.array([range(n - new + 1, n + 1) for n in lengths], np.int64)} if "places" in besides else {}
    feeds |= {"bias": real(1, HEADS, new, total)} if "bias" in besides else {}
    return feeds | ({"sink": real(HEADS)} if "sink" in besides else {})


def _model(
    shapes: dict[str, tuple[Any, Sequence[Any]]], before: Sequence[onnx.NodeProto] = (), **attributes: Any
) -> onnx.ModelProto:
    made = {name for node in before for name in node.output}
    names = [n if n in shapes or n in made else "" for n in INPUTS]
    while not names[-1]:
        names.pop()
    given = {"num_heads": HEADS, "kv_num_heads": GROUPS, **attributes}
    node = helper.make_node("GroupQueryAttention", names, OUTPUTS, domain="com.microsoft", **given)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(t)), s) for n, (t, s) in shapes.items()]
    graph = helper.make_graph([*before, node], "grouped", infos, [onnx.ValueInfoProto(name=n) for n in OUTPUTS])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _attributes(name: str) -> dict[str, Any]:
    *_, besides, attributes = CASES[name]
    return attributes | ({"do_rotary": 1} if "angles" in besides or "half" in besides else {})


def _model_of(name: str, feeds: dict[str, np.ndarray], **others: Any) -> onnx.ModelProto:
    return _model({n: (a.dtype, a.shape) for n, a in feeds.items()}, **{**_attributes(name), **others})


def _compare(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], found: dict[str, np.ndarray], lengths: Sequence[int], new: int
) -> None:
    """What is behind the end of a sequence is nobody's."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, *present = session.run(None, feeds)
    for b, length in enumerate(lengths):
        np.testing.assert_allclose(found["y"][b, :length], y[b, :length][:new], rtol=1e-5, atol=2e-6)
        for output, want in zip(OUTPUTS[1:], present):
            assert found[output].shape == want.shape
            np.testing.assert_allclose(found[output][b, :, :length], want[b, :, :length], rtol=1e-6, atol=1e-6, err_msg=output)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(name: str, rng: np.random.Generator) -> None:
    new, lengths, *_ = CASES[name]
    feeds = _feeds(name, rng)
    model = _model_of(name, feeds)
    _compare(model, feeds, build_executable(load_onnx(model)).run(feeds), lengths, new)


@pytest.mark.peer("onnxruntime")
def test_generated_step_by_step(rng: np.random.Generator) -> None:
    """One executable for the prompt and all tokens behind it; lengths come from a mask, as exporters write it."""
    shapes: dict[str, tuple[Any, Sequence[Any]]] = {
        "query": (np.float32, ["b", "s", (HEADS + 2 * GROUPS) * SIZE]),
        "past_key": (np.float32, ["b", GROUPS, "past", SIZE]),
        "past_value": (np.float32, ["b", GROUPS, "past", SIZE]),
        "mask": (np.int64, ["b", "total_length"]),
        **{n: (np.float32, [LONGEST, SIZE // 2]) for n in ("cos", "sin")},
    }
    before = [
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("ReduceSum", ["mask", "axis"], ["sum"], keepdims=0),
        helper.make_node("Sub", ["sum", "one"], ["last"]),
        helper.make_node("Cast", ["last"], ["seqlens_k"], to=onnx.TensorProto.INT32),
        helper.make_node("Shape", ["mask"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["long"]),
        helper.make_node("Cast", ["long"], ["total"], to=onnx.TensorProto.INT32),
    ]
    model = _model(shapes, before, do_rotary=1)
    executable = build_executable(load_onnx(model))
    past = {n: np.zeros((2, GROUPS, 0, SIZE), np.float32) for n in ("past_key", "past_value")}
    angles = {n: rng.standard_normal((LONGEST, SIZE // 2)).astype(np.float32) for n in ("cos", "sin")}
    total = 0
    for new in (6, 1, 1):
        total += new
        query = rng.standard_normal((2, new, (HEADS + 2 * GROUPS) * SIZE)).astype(np.float32)
        feeds = {"query": query, **past, "mask": np.ones((2, total), np.int64), **angles}
        found = executable.run(feeds)
        _compare(model, feeds, found, (total, total), new)
        past = {f"past_{n}": found[f"present_{n}"] for n in ("key", "value")}


def test_lengths_that_do_not_fit_end_the_run(rng: np.random.Generator) -> None:
    feeds = _feeds("smooth", rng)
    executable = build_executable(load_onnx(_model_of("smooth", feeds)))
    for wrong in ([6, 10], [-1, 3], [6, np.iinfo(np.int32).max]):
        with pytest.raises(InvalidInput, match="seqlens_k"):
            executable.run({**feeds, "seqlens_k": np.array(wrong, np.int32)})
    feeds = _feeds("bias", rng)
    executable = build_executable(load_onnx(_model_of("bias", feeds)))
    with pytest.raises(InvalidInput, match="attention_bias does not fit"):
        executable.run({**feeds, "total": np.array([8], np.int32)})


def test_what_is_wrong_or_missing_is_named(rng: np.random.Generator) -> None:
    feeds = _feeds("token", rng)
    scale = {"k_scale": np.ones(1, np.float32)}
    for error, given, attributes, message in (
        (Unsupported, feeds | scale, {}, "input k_scale"),
        (Unsupported, feeds, {"sliding_window_cache": 1}, "attribute sliding_window_cache"),
        (Unsupported, feeds, {"kv_num_heads": 3}, "4 heads of 3 groups"),
        (InvalidModel, {n: a for n, a in feeds.items() if n != "value"}, {}, "one of key and value"),
        (InvalidModel, {n: a for n, a in feeds.items() if n != "past_value"}, {}, "one of past_key and past_value"),
        (InvalidModel, {n: a for n, a in feeds.items() if n != "sin"}, {}, "without cos_cache and sin_cache"),
    ):
        with pytest.raises(error, match=message):
            load_onnx(_model_of("token", given, **attributes))
