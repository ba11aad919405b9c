"""A real comparison of a small model: every contestant runs, is stopped, is measured, and is gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tgen.bench import compare
from tgen.bench.inputs import sizes, work_of
from tgen.frontends import load
from tgen.ir.errors import TgenError


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])], "g", [x], [y], [weight]
    )
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


@pytest.mark.peer("onnxruntime")
def test_compare(model) -> None:
    report = compare(model, ["onnxruntime", "torch"], shapes={"batch": 3}, rounds=2, burst=0.01)
    tgen, peer, failed = report.rows
    assert (tgen.name, peer.name) == ("tgen", "onnxruntime")
    assert tgen.ratio == 1.0 and peer.error is not None and peer.error < 1e-6
    assert all(r.median and r.p10 <= r.p99 and r.load_seconds > 0 and r.megabytes > 0 and r.gflops > 0 for r in (tgen, peer))
    assert failed.failed and failed.median is None, "torch does not read .onnx files"
    assert json.loads(json.dumps(report.to_json()))["facts"]["shapes"] == {"batch": 3}


def test_work(model) -> None:
    graph = load(model)
    assert sizes(graph, {}) == {"batch": 1}
    assert work_of(graph, {"batch": 3}) == (2.0 * 3 * 8 * 16, 8 * 16 * 4)


def test_unknown_contestant_and_symbol(model) -> None:
    with pytest.raises(TgenError, match="no contestant is named 'onnxruntimes'"):
        compare(model, ["onnxruntimes"])
    with pytest.raises(TgenError, match="no symbol 'seq'"):
        compare(model, shapes={"seq": 1})


def test_worker_ends_with_its_asker() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tgen.bench.worker"],
        input='{"job": {}, "feeds": "nowhere.npz"}\n',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "FileNotFoundError" in json.loads(done.stdout)["error"]
