"""Oracles from ONNX: a model of one node, run by onnxruntime, or by ONNX's own evaluator where that has no kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

OPSET = 24


def onnx_oracle(op_type: str, *constants: Any, **attributes: Any) -> Callable[..., np.ndarray]:
    """The first result of the ONNX operator over the arrays and, after them, the constants (such as axes).

    Half precision is computed in float32 and rounded.
    """

    def run(*arrays: np.ndarray) -> np.ndarray:
        narrow = arrays[0].dtype.kind == "V" or arrays[0].dtype == np.float16
        wide = [a.astype(np.float32) if narrow and a.dtype == arrays[0].dtype else a for a in arrays]
        result = _run_node(op_type, [*wide, *(np.asarray(c) for c in constants)], attributes)
        return result.astype(arrays[0].dtype) if narrow and result.dtype == np.float32 else result

    return run


def _run_node(op_type: str, arrays: Sequence[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return run_onnx(op_type, arrays, 1, attributes)[0]


def run_onnx(
    op_type: str, arrays: Sequence[np.ndarray | None], results: int, attributes: dict[str, Any], domain: str = ""
) -> list[np.ndarray]:
    """The first `results` results of the ONNX operator; None: an operand that is left out."""
    import onnx
    import onnxruntime
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    feeds = {f"x{k}": a for k, a in enumerate(arrays) if a is not None}
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
    outputs = [f"y{k}" for k in range(results)]
    names = [f"x{k}" if a is not None else "" for k, a in enumerate(arrays)]
    node = helper.make_node(op_type, names, outputs, domain=domain, **attributes)
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=y) for y in outputs])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)], ir_version=10
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except (onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented, onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]
    return [np.asarray(y) for y in session.run(None, feeds)]
