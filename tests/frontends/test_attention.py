"""Attention operators of models become the attention kernel, and mean what ONNX and ONNX Runtime say they mean."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.native import build_executable, host
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel, Unsupported
from tgen.ir.graph import Graph
from tgen.kernels.specs import AttendKernel
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan.build import build

from .conftest import MakeModel

BATCH, QUERIES, KEYS, PAST, HEADS, DEPTH, HIDDEN = 2, 5, 7, 4, 3, 8, 16
WIDE = HEADS * DEPTH
Arrays = Mapping[str, np.ndarray | None]


def attend_kernels(graph: Graph) -> int:
    return sum(isinstance(k, AttendKernel) for k in build(run_pipeline(graph, pipeline(host()))).kernels)


def test_every_standard_case_is_one_kernel() -> None:
    """Those that ask for the scores have a matrix of them. That results are right is shown by the standard suite."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"{node.__name__}.attention")  # writes its cases into the list; those of all operators take long
    models = {c.name: c.model for c in node._NodeTestCases if c.model.graph.node[0].op_type == "Attention"}
    assert len(models) > 60
    for name, model in models.items():
        scores_wanted = any(model.graph.node[0].output[3:])
        assert attend_kernels(load_onnx(model)) == (not scores_wanted), name


def single(
    op_type: str, arrays: Arrays, outputs: list[str], domain: str = "", opset: int = 24, **attributes: Any
) -> onnx.ModelProto:
    """A model of one node; an array that is None is an absent input."""
    given = {n: a for n, a in arrays.items() if a is not None}
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()]
    names = [n if a is not None else "" for n, a in arrays.items()]
    node = helper.make_node(op_type, names, outputs, domain=domain, **attributes)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=n) for n in outputs])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def kept(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A mask of ONNX Runtime's: 1 where a key counts."""
    return (rng.random(shape) < 0.6).astype(np.int32)


def compare(model: onnx.ModelProto, feeds: dict[str, np.ndarray], want: list[np.ndarray]) -> None:
    graph = load_onnx(model)
    assert attend_kernels(graph) == 1
    got = build_executable(graph).run(feeds)
    for output, array in zip(model.graph.output, want, strict=True):
        np.testing.assert_allclose(got[output.name], array, rtol=2e-5, atol=5e-6, err_msg=output.name)


# -- ONNX's own --------------------------------------------------------------------------------------------------------------

STANDARD: dict[str, dict[str, Any]] = {
    "float64 softmax": {"softmax_precision": onnx.TensorProto.DOUBLE},
    "softcap and scale": {"softcap": 0.5, "scale": 0.9},
    "causal": {"is_causal": 1},
}


@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("attributes", STANDARD.values(), ids=STANDARD)
@pytest.mark.parametrize("masked", ["", "bool", "float", "row"])
def test_attributes_and_masks(opset: int, attributes: dict[str, Any], masked: str, rng: np.random.Generator) -> None:
    shape = {"": None, "bool": (QUERIES, KEYS), "float": (HEADS, QUERIES, KEYS), "row": (KEYS,)}[masked]
    mask = None if shape is None else rng.random(shape) < 0.5 if masked == "bool" else floats(rng, *shape)
    x = {"q": floats(rng, BATCH, QUERIES, WIDE), "k": floats(rng, BATCH, KEYS, DEPTH), "v": floats(rng, BATCH, KEYS, 5)}
    attributes = {"opset": opset, "q_num_heads": HEADS, "kv_num_heads": 1, **attributes}
    feeds = x if mask is None else {**x, "mask": mask}
    full = x if mask is None else {**x, "mask": np.broadcast_to(mask, (HEADS, QUERIES, KEYS))}  # the evaluator wants every row
    want = ReferenceEvaluator(single("Attention", full, ["y"], **attributes)).run(None, full)
    compare(single("Attention", feeds, ["y"], **attributes), feeds, want)


@pytest.mark.parametrize("last", ["total", "mask"])
def test_symbolic_lengths(last: str, make_model: MakeModel, rng: np.random.Generator) -> None:
    """A mask as long as the keys, or of a length only known at run time; the past takes part in causality."""
    inputs = {
        "q": ["b", HEADS, "s", DEPTH],
        "k": ["b", HEADS, "s", DEPTH],
        "v": ["b", HEADS, "s", DEPTH],
        "m": ["b", 1, "s", last],
        "pk": ["b", HEADS, "p", DEPTH],
        "pv": ["b", HEADS, "p", DEPTH],
    }
    node = helper.make_node("Attention", list(inputs), ["y", "present_key", "present_value"], is_causal=1)
    model = make_model([node], inputs, ["y", "present_key", "present_value"], opset=24)
    graph = load_onnx(model)
    assert attend_kernels(graph) == 1
    executable = build_executable(graph)
    for s, p in ((1, 6), (3, 2), (5, 0)):
        short = 1 if last == "mask" and p else 0
        extent = {"b": 2, "s": s, "p": p, last: s + p - short}
        feeds = {n: floats(rng, *(extent.get(d, d) for d in shape)) for n, shape in inputs.items()}
        got = executable.run(feeds)
        want = dict(zip(got, ReferenceEvaluator(model).run(None, feeds), strict=True))
        for name, array in want.items():
            np.testing.assert_allclose(got[name], array, rtol=2e-5, atol=5e-6)


def test_a_mask_of_integers_is_added_by_the_definition(rng: np.random.Generator) -> None:
    x = {n: floats(rng, BATCH, HEADS, QUERIES, DEPTH) for n in "qkv"}
    x["mask"] = rng.integers(0, 3, (QUERIES, QUERIES))
    model = single("Attention", x, ["y"])
    assert attend_kernels(load_onnx(model)) == 0
    got = build_executable(load_onnx(model)).run(x)["y"]
    np.testing.assert_allclose(got, ReferenceEvaluator(model).run(None, x)[0], rtol=2e-5, atol=5e-6)


def test_values_of_another_dtype(rng: np.random.Generator) -> None:
    """The result has the queries' dtype, the present values their own."""
    x = {n: floats(rng, BATCH, HEADS, QUERIES, DEPTH) for n in "qkv"}
    mixed = {**x, "v": x["v"].astype(np.float64)}
    model = single("Attention", mixed, ["y", "present_key", "present_value"])
    compare(model, mixed, [*ReferenceEvaluator(single("Attention", x, ["y"])).run(None, x), x["k"], mixed["v"]])


# -- ONNX Runtime's ----------------------------------------------------------------------------------------------------------

APART = ("query", "key", "value", "bias", "key_padding_mask", "attention_bias", "past_key", "past_value")
PROJECTED = ("input", "weights", "bias", "mask_index", "past", "attention_bias")


def by_runtime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def runtime_model(names: tuple[str, ...], given: Arrays, outputs: list[str], **attributes: Any) -> onnx.ModelProto:
    last = max(names.index(n) for n in given)
    arrays = {n: given.get(n) for n in names[: last + 1]}
    op_type = "MultiHeadAttention" if names is APART else "Attention"
    return single(op_type, arrays, outputs, "com.microsoft", opset=17, num_heads=HEADS, **attributes)


def apart(rng: np.random.Generator, keys: int = KEYS) -> dict[str, np.ndarray]:
    lengths = {"query": QUERIES, "key": keys, "value": keys}
    return {n: floats(rng, BATCH, length, WIDE) for n, length in lengths.items()}


def masks(rng: np.random.Generator, keys: int) -> list[np.ndarray]:
    """One of each shape that both operators take: lengths; lengths with offsets behind; by key; by query and key; nothing counts."""
    ends = np.array([3, keys], np.int32)
    offsets = np.array([0, QUERIES, 2 * QUERIES, 0, keys, 2 * keys], np.int32)
    nothing = np.zeros((BATCH, keys), np.int32)
    return [ends, np.concatenate([ends, offsets]), kept(rng, BATCH, keys), kept(rng, BATCH, QUERIES, keys), nothing]


MASK_OPTIONS: list[dict[str, Any]] = [{}, {"mask_filter_value": -3.4e38}, {"unidirectional": 1}]


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("attributes", MASK_OPTIONS, ids=str)
@pytest.mark.parametrize("number", range(5))
def test_multi_head_attention_with_masks(number: int, attributes: dict[str, Any], rng: np.random.Generator) -> None:
    keys = QUERIES if attributes.get("unidirectional") else KEYS  # ONNX Runtime's last query sees every key
    x = {**apart(rng, keys), "key_padding_mask": masks(rng, keys)[number], "attention_bias": floats(rng, 1, HEADS, QUERIES, keys)}
    model = runtime_model(APART, x, ["y"], **attributes)
    compare(model, x, by_runtime(model, x))


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("attributes", MASK_OPTIONS, ids=str)
@pytest.mark.parametrize("number", range(6))
def test_projected_attention_with_masks(number: int, attributes: dict[str, Any], rng: np.random.Generator) -> None:
    mask = [*masks(rng, QUERIES), np.array([4, 5, 0, 2], np.int32)][number]
    x = {"input": floats(rng, BATCH, QUERIES, HIDDEN), "weights": floats(rng, HIDDEN, 3 * WIDE), "mask_index": mask}
    model = runtime_model(PROJECTED, x, ["y"], **attributes)
    compare(model, x, by_runtime(model, x))


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("width", [DEPTH, 5])
def test_multi_head_attention_with_bias_and_past(width: int, rng: np.random.Generator) -> None:
    x = {**apart(rng, QUERIES), "bias": floats(rng, 2 * WIDE + HEADS * width)}
    x["value"] = floats(rng, BATCH, QUERIES, HEADS * width)
    model = runtime_model(APART, x, ["y"], scale=0.7)
    compare(model, x, by_runtime(model, x))
    for attributes in ({}, {"unidirectional": 1}):
        past = {n: floats(rng, BATCH, HEADS, PAST, d) for n, d in (("past_key", DEPTH), ("past_value", DEPTH))}
        x = {**apart(rng, QUERIES), "key_padding_mask": kept(rng, BATCH, PAST + QUERIES), **past}
        model = runtime_model(APART, x, ["y", "present_key", "present_value"], **attributes)
        compare(model, x, by_runtime(model, x))


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("bias", [False, True])
def test_keys_and_values_by_head(bias: bool, rng: np.random.Generator) -> None:
    x = {**apart(rng), **{n: floats(rng, BATCH, HEADS, KEYS, DEPTH) for n in ("key", "value")}}
    if bias:
        x["bias"] = floats(rng, 3 * WIDE)
    model = runtime_model(APART, x, ["y"])
    compare(model, x, by_runtime(model, x))


@pytest.mark.peer("onnxruntime")
def test_packed_operands(rng: np.random.Generator) -> None:
    """ONNX Runtime's CPU kernels don't take them; the same operands unpacked are its answer."""
    packed = floats(rng, BATCH, QUERIES, HEADS, 3, DEPTH)
    q, k, v = (np.ascontiguousarray(packed[:, :, :, j]).reshape(BATCH, QUERIES, WIDE) for j in range(3))
    bias = floats(rng, 3 * WIDE)
    plain = {"query": q, "key": k, "value": v, "bias": bias}
    want = by_runtime(runtime_model(APART, plain, ["y"]), plain)
    for x in ({"query": packed, "bias": bias}, {"query": q, "key": np.ascontiguousarray(packed[:, :, :, 1:]), "bias": bias}):
        compare(runtime_model(APART, x, ["y"]), x, want)


@pytest.mark.peer("onnxruntime")
def test_projected_attention_with_past_bias_and_sizes(rng: np.random.Generator) -> None:
    x = {"input": floats(rng, BATCH, QUERIES, HIDDEN), "weights": floats(rng, HIDDEN, 3 * WIDE), "bias": floats(rng, 3 * WIDE)}
    with_past = {**x, "past": floats(rng, 2, BATCH, HEADS, PAST, DEPTH)}
    model = runtime_model(PROJECTED, with_past, ["y", "present"], unidirectional=1)
    compare(model, with_past, by_runtime(model, with_past))
    biased = {**x, "attention_bias": floats(rng, BATCH, 1, QUERIES, QUERIES)}
    model = runtime_model(PROJECTED, biased, ["y"], scale=0.3, do_rotary=0)
    compare(model, biased, by_runtime(model, biased))
    hidden = 2 * WIDE + HEADS * 4
    narrow = {"input": x["input"], "weights": floats(rng, HIDDEN, hidden), "bias": floats(rng, hidden)}
    model = runtime_model(PROJECTED, narrow, ["y"], qkv_hidden_sizes=[WIDE, WIDE, HEADS * 4])
    compare(model, narrow, by_runtime(model, narrow))


def test_ragged_lengths_are_symbolic(make_model: MakeModel, rng: np.random.Generator) -> None:
    """A batch and lengths known at run time; keys that don't count have no influence."""
    inputs = {"query": ["b", "s", WIDE], "key": ["b", "s", WIDE], "value": ["b", "s", WIDE], "mask": ["b"]}
    node = helper.make_node(
        "MultiHeadAttention",
        ["query", "key", "value", "", "mask"],
        ["y"],
        domain="com.microsoft",
        num_heads=HEADS,
        mask_filter_value=-3.4e38,
    )
    model = make_model([node], inputs, dtypes={"mask": onnx.TensorProto.INT32}, domains=["com.microsoft"])
    executable = build_executable(load_onnx(model))
    for lengths in ([4], [1, 9, 5]):
        count, longest = len(lengths), max(lengths)
        x = {n: floats(rng, count, longest, WIDE) for n in ("query", "key", "value")}
        padded = executable.run({**x, "mask": np.array(lengths, np.int32)})["y"]
        for b, length in enumerate(lengths):
            alone = {n: a[b : b + 1, :length] for n, a in x.items()}
            want = executable.run({**alone, "mask": np.array([length], np.int32)})["y"]
            np.testing.assert_allclose(padded[b, :length], want[0], rtol=2e-5, atol=5e-6)


def test_what_is_not_computed_is_named(rng: np.random.Generator) -> None:
    x = apart(rng)
    projected = {"input": floats(rng, BATCH, QUERIES, HIDDEN), "weights": floats(rng, HIDDEN, 3 * WIDE)}
    one = np.array([1], np.int32)
    long = (*APART, "past_sequence_length", "cache_indirection")
    for names, given, attributes, message in (
        (APART, {"query": x["query"]}, {}, r"query, key and value of f32\[2, 5, 24\], none, none"),
        (APART, {**x, "key_padding_mask": kept(rng, 7)}, {}, r"a mask of i32\[7\] for a batch of 2"),
        (PROJECTED, {**projected, "mask_index": kept(rng, 2, 1, 9, 9)}, {}, r"a mask of i32\[2, 1, 9, 9\]"),
        (PROJECTED, projected, {"do_rotary": 1}, "attribute do_rotary = 1"),
        (PROJECTED, projected, {"past_present_share_buffer": 1}, "attribute past_present_share_buffer = 1"),
        (PROJECTED, projected, {"qkv_hidden_sizes": [8, 8, 8]}, "qkv_hidden_sizes"),
    ):
        with pytest.raises(Unsupported, match=message):
            load_onnx(runtime_model(names, given, ["y"], **attributes))
    arrays = {n: {**x, "past_sequence_length": one}.get(n) for n in long[:9]}
    with pytest.raises(Unsupported, match="input past_sequence_length"):
        load_onnx(single("MultiHeadAttention", arrays, ["y"], "com.microsoft", num_heads=HEADS))
    with pytest.raises(Unsupported, match="output number 3"):
        load_onnx(runtime_model(APART, x, ["y", "a", "b", "qk"]))


def test_wrong_models_are_told(rng: np.random.Generator) -> None:
    x = apart(rng)
    with pytest.raises(InvalidModel, match="lacks attribute 'num_heads'"):
        load_onnx(single("MultiHeadAttention", x, ["y"], "com.microsoft"))
    with pytest.raises(InvalidModel, match="lacks input 'weights'"):
        load_onnx(single("Attention", {"input": x["query"]}, ["y"], "com.microsoft", num_heads=HEADS))
    past = floats(rng, BATCH, HEADS, PAST, DEPTH)
    with pytest.raises(InvalidModel, match="one of past_key and past_value"):
        load_onnx(runtime_model(APART, {**x, "past_key": past}, ["y"]))
    q = floats(rng, BATCH, HEADS, QUERIES, DEPTH)
    with pytest.raises(InvalidModel, match="one of past_key and past_value"):
        load_onnx(single("Attention", {"q": q, "k": q, "v": q, "mask": None, "past_key": past}, ["y"]))
