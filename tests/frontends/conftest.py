"""Small ONNX models for the frontend's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

MakeModel = Callable[..., onnx.ModelProto]


def value_info(name: str, shape: Sequence[Any] | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.fixture
def make_model() -> MakeModel:
    """make_model(nodes, inputs={"x": ("f32", [2, 3])}, outputs=["y"], constants={"w": array}, opset=17)"""

    def make(
        nodes: Sequence[onnx.NodeProto],
        inputs: dict[str, Sequence[Any]],
        outputs: Sequence[str] | dict[str, Sequence[Any]] = ("y",),
        *,
        constants: dict[str, np.ndarray] | None = None,
        opset: int = 17,
        dtypes: dict[str, int] | None = None,
        functions: Sequence[onnx.FunctionProto] = (),
        domains: Sequence[str] = (),
    ) -> onnx.ModelProto:
        kinds = dtypes or {}
        infos = [value_info(n, s, kinds.get(n, TensorProto.FLOAT)) for n, s in inputs.items()]
        if isinstance(outputs, dict):
            results = [value_info(n, s, kinds.get(n, TensorProto.FLOAT)) for n, s in outputs.items()]
        else:
            results = [onnx.ValueInfoProto(name=n) for n in outputs]
        tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
        graph = helper.make_graph(list(nodes), "test", infos, results, tensors)
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8)

    return make
