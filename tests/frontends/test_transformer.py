"""What ONNX Runtime's optimiser makes of transformers besides attention means what ONNX Runtime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel, Unsupported

WORDS, LONGEST, KINDS, BATCH, LENGTH, HIDDEN = 19, 9, 2, 3, 7, 16
REAL, WHOLE, LONG = np.float32, np.int32, np.int64

# operator → (dtype and shape of each input, "" for none; outputs; attributes)
CASES: dict[str, tuple[str, list[Any], list[str], dict[str, Any]]] = {
    "gelu": ("Gelu", [(REAL, (LENGTH, HIDDEN))], ["y"], {}),
    "bias_gelu": ("BiasGelu", [(REAL, (BATCH, LENGTH, HIDDEN)), (REAL, (HIDDEN,))], ["y"], {}),
    "fast_gelu": ("FastGelu", [(REAL, (BATCH, LENGTH, HIDDEN)), (REAL, (HIDDEN,))], ["y"], {}),
    "fast_gelu without bias": ("FastGelu", [(REAL, (LENGTH, HIDDEN))], ["y"], {}),
    "skip": ("SkipLayerNormalization", [(REAL, (BATCH, LENGTH, HIDDEN))] * 2 + [(REAL, (HIDDEN,))], ["y"], {"epsilon": 1e-5}),
    "skip, all": (
        "SkipLayerNormalization",
        [(REAL, (BATCH, LENGTH, HIDDEN)), (REAL, (LENGTH, HIDDEN)), *[(REAL, (HIDDEN,))] * 3],
        ["y", "", "", "sum"],
        {},
    ),
    "embed": (
        "EmbedLayerNormalization",
        [(WHOLE, (BATCH, LENGTH)), "", (REAL, (WORDS, HIDDEN)), (REAL, (LONGEST, HIDDEN)), "", *[(REAL, (HIDDEN,))] * 2],
        ["y", "count"],
        {"epsilon": 1e-5},
    ),
    "embed, all": (
        "EmbedLayerNormalization",
        [(WHOLE, (BATCH, LENGTH)), (WHOLE, (BATCH, LENGTH)), *((REAL, (n, HIDDEN)) for n in (WORDS, LONGEST, KINDS))]
        + [(REAL, (HIDDEN,))] * 2
        + [(WHOLE, (BATCH, LENGTH)), (WHOLE, (BATCH, LENGTH))],
        ["y", "count", "sum"],
        {"epsilon": 1e-5, "mask_index_type": 1},
    ),
    "quick_gelu": ("QuickGelu", [(REAL, (LENGTH, HIDDEN))], ["y"], {"alpha": 1.25}),
    "matmul": ("FusedMatMul", [(REAL, (BATCH, 4, 5)), (REAL, (BATCH, 6, 5))], ["y"], {"alpha": 0.5, "transB": 1}),
    "matmul, a": ("FusedMatMul", [(REAL, (BATCH, 2, 4, 5)), (REAL, (4, 6))], ["y"], {"transA": 1}),
    "matmul, batches last": (
        "FusedMatMul",
        [(REAL, (4, BATCH, 5)), (REAL, (6, BATCH, 5))],
        ["y"],
        {"transBatchA": 1, "transBatchB": 1, "transB": 1},
    ),
    "skip, root": (
        "SkipSimplifiedLayerNormalization",
        [*[(REAL, (BATCH, LENGTH, HIDDEN))] * 2, *[(REAL, (HIDDEN,))] * 2],
        ["y", "", "", "sum"],
        {"epsilon": 1e-5},
    ),
    "root": ("SimplifiedLayerNormalization", [(REAL, (BATCH, LENGTH, HIDDEN)), (REAL, (HIDDEN,))], ["y"], {"epsilon": 1e-4}),
    "conv": (
        "FusedConv",
        [(REAL, (BATCH, 4, 9, 8)), (REAL, (6, 2, 3, 3)), (REAL, (6,)), (REAL, (BATCH, 6, 5, 4))],
        ["y"],
        {"group": 2, "strides": [2, 2], "pads": [1] * 4, "activation": "Relu"},
    ),
    "conv, clipped": (
        "FusedConv",
        [(REAL, (BATCH, 4, 9, 8)), (REAL, (6, 4, 3, 3))],
        ["y"],
        {"activation": "Clip", "activation_params": [-0.5, 2.0]},
    ),
    "conv, hard sigmoid": (
        "FusedConv",
        [(REAL, (BATCH, 4, 5, 5)), (REAL, (6, 4, 1, 1)), (REAL, (6,))],
        ["y"],
        {"activation": "HardSigmoid", "activation_params": [0.25, 0.375]},
    ),
    "gemm": (
        "FusedGemm",
        [(REAL, (5, 4)), (REAL, (6, 5)), (REAL, (6,))],
        ["y"],
        {"activation": "LeakyRelu", "activation_alpha": 0.25, "alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1},
    ),
    "gemm, tanh": ("FusedGemm", [(REAL, (4, 5)), (REAL, (5, 6))], ["y"], {"activation": "Tanh"}),
    "rotary": ("RotaryEmbedding", [(REAL, (BATCH, LENGTH, 24)), (LONG, (BATCH, LENGTH)), *[(REAL, (LONGEST, 4))] * 2], ["y"], {}),
    "rotary, by head": (
        "RotaryEmbedding",
        [(REAL, (BATCH, 3, LENGTH, 8)), (LONG, (1,)), *[(REAL, (LONGEST, 4))] * 2],
        ["y"],
        {"interleaved": 1},
    ),
    "rotary, in part": (
        "RotaryEmbedding",
        [(REAL, (BATCH, LENGTH, 24)), (LONG, (1,)), *[(REAL, (LONGEST, 3))] * 2],
        ["y"],
        {"num_heads": 3, "rotary_embedding_dim": 6, "interleaved": 1},
    ),
}


def model_of(op_type: str, inputs: list[Any], outputs: list[str], attributes: dict[str, Any]) -> onnx.ModelProto:
    names = [f"x{k}" if given else "" for k, given in enumerate(inputs)]
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(given[0])), given[1])
        for name, given in zip(names, inputs)
        if given
    ]
    domain = "" if op_type == "SimplifiedLayerNormalization" else "com.microsoft"  # which ONNX Runtime keeps among ONNX's own
    node = helper.make_node(op_type, names, outputs, domain=domain, **attributes)
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=n) for n in outputs if n])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(name: str, rng: np.random.Generator) -> None:
    import onnxruntime

    op_type, inputs, outputs, attributes = CASES[name]
    model = model_of(op_type, inputs, outputs, attributes)
    feeds = {}
    for k, (dtype, shape) in ((k, given) for k, given in enumerate(inputs) if given):
        feeds[f"x{k}"] = rng.standard_normal(shape).astype(REAL) if dtype is REAL else rng.integers(0, 2, shape, dtype)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = build_executable(load_onnx(model)).run(feeds)
    for output, want in zip(filter(None, outputs), session.run(None, feeds), strict=True):
        assert found[output].dtype == want.dtype
        np.testing.assert_allclose(found[output], want, rtol=1e-5, atol=2e-6, err_msg=output)


def test_what_is_wrong_or_missing_is_named() -> None:
    op_type, inputs, outputs, _ = CASES["skip"]
    with pytest.raises(Unsupported, match="attribute simplified = 1"):
        load_onnx(model_of(op_type, inputs, outputs, {"simplified": 1}))
    with pytest.raises(Unsupported, match="output number 1"):
        load_onnx(model_of(op_type, inputs, ["y", "mean"], {}))
    with pytest.raises(InvalidModel, match="lacks input 'gamma'"):
        load_onnx(model_of(op_type, inputs[:2], outputs, {}))
    op_type, inputs, outputs, _ = CASES["embed, all"]
    for absent, message in ((2, "lacks input 'word_embedding'"), (4, "one of segment_ids and segment_embedding")):
        with pytest.raises(InvalidModel, match=message):
            load_onnx(model_of(op_type, [*inputs[:absent], "", *inputs[absent + 1 :]], outputs, {}))
    op_type, inputs, outputs, _ = CASES["skip"]
    with pytest.raises(InvalidModel, match="has 3 inputs, of 2"):
        load_onnx(model_of("FastGelu", [*inputs], outputs, {}))
