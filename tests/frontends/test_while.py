"""`Loop` whose turns a run counts: until its body says so, at most so often, forever."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tgen
from tgen.frontends import load
from tgen.ir.errors import InvalidInput, Unsupported
from tgen.ir.evaluate import evaluate

BOOL, FLOAT, INT64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT64


def grows(trips: bool, stacks: bool) -> onnx.ModelProto:
    """while Σx < limit (at most m times): x = 1.5·x + 1; stacked: every x, and what a table of 20 holds for the turn."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["more"]),
        helper.make_node("Add", ["more", "unit"], ["next"]),
        helper.make_node("ReduceSum", ["next"], ["sum"], keepdims=0),
        helper.make_node("Less", ["sum", "limit"], ["goes_on"]),
        helper.make_node("Gather", ["table", "turn"], ["entry"]),
        helper.make_node("Identity", ["next"], ["each"]),
    ]
    info = helper.make_tensor_value_info
    made = [info("goes_on", BOOL, []), info("next", FLOAT, ["n"]), info("each", FLOAT, ["n"]), info("entry", FLOAT, [])]
    body = helper.make_graph(
        nodes, "body", [info("turn", INT64, []), info("before", BOOL, []), info("x", FLOAT, ["n"])], made[: 4 if stacks else 2]
    )
    names = ["last", "every", "entries"][: 3 if stacks else 1]
    constants = {"factor": np.float32(1.5), "unit": np.float32(1), "table": np.arange(20, dtype=np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Loop", ["m" if trips else "", "", "x0"], names, body=body)], "grows",
        [*([info("m", INT64, [])] if trips else []), info("x0", FLOAT, ["n"]), info("limit", FLOAT, [])],
        [onnx.ValueInfoProto(name=name) for name in names], [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("trips", [True, False])
def test_as_onnx_runtime(trips: bool, threads: int) -> None:
    import onnxruntime

    model = grows(trips, stacks=trips)
    graph, session = load(model), onnxruntime.InferenceSession(model.SerializeToString())
    executable = tgen.compile(graph, cache=False, threads=threads)
    for m, n, limit in ((5, 3, 1e9), (100, 3, 100), (9, 4000, 1e5), (3, 1, -1), (18, 2, 1e9)):
        feeds = {"x0": np.linspace(0, 1, n).astype(np.float32), "limit": np.array(limit if trips else min(limit, 1e3), np.float32)}
        if trips:
            feeds["m"] = np.array(m)
        wanted = session.run(None, feeds)
        for found in (executable.run(feeds), evaluate(graph, feeds)):
            for a, b in zip(found.values(), wanted, strict=True):
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, rtol=1e-5)


def test_no_turns_and_far_too_many() -> None:
    executable = tgen.compile(grows(trips=True, stacks=True), cache=False)
    feeds = {"x0": np.ones(2, np.float32), "limit": np.array(5, np.float32)}
    found = executable.run({**feeds, "m": np.array(-3)})
    assert found["last"].tolist() == [1, 1] and found["every"].shape == (0, 2)
    with pytest.raises(InvalidInput, match="extent"):
        executable.run({**feeds, "m": np.array(1 << 62)})


def test_stacking_without_a_limit_is_told() -> None:
    with pytest.raises(Unsupported, match="without a limit"):
        load(grows(trips=False, stacks=True))


RUN = """
import signal, sys, numpy, tgen
signal.signal(signal.SIGINT, signal.default_int_handler)  # Python has none where its parent ignores the signal
run = tgen.compile(sys.argv[1], cache=False, threads=2, subnormals="flush")
limit = numpy.array(5, numpy.float32)
print("begins", flush=True)
try:
    run.run({"x0": numpy.full(3, -numpy.inf, numpy.float32), "limit": limit})
except KeyboardInterrupt:
    kept = (numpy.full(3, 1e-40, numpy.float32) * numpy.float32(2)).all()
    print(run.run({"x0": numpy.zeros(3, numpy.float32), "limit": limit})["last"].tolist(), kept)
"""


def test_an_endless_loop_ends_with_ctrl_c(tmp_path: Path) -> None:
    """x begins at −∞ and stays there. This thread has its floating-point mode again."""
    model = tmp_path / "endless.onnx"
    onnx.save(grows(trips=False, stacks=False), model)
    with subprocess.Popen([sys.executable, "-c", RUN, str(model)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "begins\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0 and out == "[2.5, 2.5, 2.5] True\n"
