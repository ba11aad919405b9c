"""Models small enough to be measured in a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tgen.bench import calibrate


@pytest.fixture(scope="package", autouse=True)
def short_calibration() -> Iterator[None]:
    """Ceilings need not be true in a test, only be there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "SPEND_SECONDS", 0.001)
        patch.setattr(calibrate, "MEMORY_BYTES", 16 << 20)
        yield


@pytest.fixture(scope="package")
def model(tmp_path_factory) -> str:
    """relu(x @ w), x[batch, 8], w[8, 16]; the product's node is called `hidden`."""
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="hidden"), helper.make_node("Relu", ["h"], ["y"], name="relu")]
    graph = helper.make_graph(nodes, "small", [x], [y], [weight])
    path: Path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)
