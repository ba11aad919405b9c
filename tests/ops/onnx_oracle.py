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
    import onnx
    import onnxruntime
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [f"x{k}" for k in range(len(arrays))]
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in zip(names, arrays)]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    feeds = dict(zip(names, arrays))
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except (onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented, onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        with np.errstate(all="ignore"):
            return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])
    return np.asarray(session.run(None, feeds)[0])
