"""`Loop` that counts in its body, as frameworks with `while` export it: how many turns that are is known before it begins."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tgen
from tgen.frontends import load
from tgen.ir.errors import Unsupported
from tgen.ir.evaluate import evaluate

BOOL, FLOAT, INT32, INT64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
node, info = helper.make_node, helper.make_tensor_value_info


def steps(by: int, *, both: bool = False, asked: bool = True, ends: str = "n") -> onnx.ModelProto:
    """i = 0; while i < n (and i < 12): h = tanh(x[i]·w + h), i += by; stacked: every h. n, w are states; rows of x are n."""
    body = [
        node("Add", ["i", "by"], ["next"]),
        node("Gather", ["x", "i"], ["row"]),
        node("MatMul", ["row", "w"], ["wx"]),
        node("Add", ["wx", "h"], ["sum"]),
        node("Tanh", ["sum"], ["after"]),
        node("Identity", ["after"], ["each"]),
        node("Identity", ["w"], ["w_after"]),
        node("Cast", ["next"], ["a"], to=FLOAT),
        node("Cast", [ends], ["b"], to=FLOAT),
        node("Less", ["a", "b"], ["in_rows"]),
        node("Greater", ["twelve", "next"], ["in_twelve"]),
        node("And", ["in_rows", "in_twelve"], ["in_both"]),
    ]
    given = [info("turn", INT64, []), info("before", BOOL, []), info("i", INT32, []), info("h", FLOAT, ["batch", 4])]
    given += [info("n", INT32, []), info("w", FLOAT, [3, 4])]
    made = [info("in_both" if both else "in_rows", BOOL, []), info("next", INT32, []), info("after", FLOAT, ["batch", 4])]
    made += [info("n", INT32, []), info("w_after", FLOAT, [3, 4]), info("each", FLOAT, ["batch", 4])]
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero64"], ["rows"]),
        node("Cast", ["rows"], ["count"], to=INT32),
        node("Less", ["zero", "count"], ["any"]),
        node("Greater", ["twelve", "zero"], ["some"]),
        node("And", ["any", "some"], ["any_of_both"]),
        node("Loop", ["", ("any_of_both" if both else "any") if asked else "", "zero", "h0", "count", "w0"], ["last_i", "last", "n_", "w_", "all"],
             body=helper.make_graph(body, "body", given, made)),
    ]  # fmt: skip
    constants = {"zero": np.int32(0), "zero64": np.int64(0), "by": np.int32(by), "twelve": np.int32(12)}
    constants["w0"] = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    graph = helper.make_graph(
        nodes, "steps", [info("x", FLOAT, ["rows", "batch", 3]), info("h0", FLOAT, ["batch", 4])],
        [info("last_i", INT32, []), info("last", FLOAT, None), info("all", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize(("by", "both", "asked"), [(1, False, True), (3, False, True), (2, True, True), (1, True, False)])
def test_as_onnx_runtime(by: int, both: bool, asked: bool, rng: np.random.Generator) -> None:
    import onnxruntime

    model = steps(by, both=both, asked=asked)
    graph, session = load(model), onnxruntime.InferenceSession(model.SerializeToString())
    (scan,) = (n.op for n in graph.nodes if n.op.name == "scan")
    assert not scan.conditional and scan.states == 3, "a counted loop; i and h change, and whether indices were inside of x"
    executable = tgen.compile(graph, cache=False)
    for rows, batch in ((7, 2), (1, 3), (30, 1)) + ((0, 2),) * asked:
        feeds = {"x": rng.standard_normal((rows, batch, 3)), "h0": rng.standard_normal((batch, 4))}
        feeds = {k: v.astype(np.float32) for k, v in feeds.items()}
        wanted = session.run(None, feeds)
        found_by = (
            executable.run(feeds),
            *(evaluate(graph, feeds) for _ in range(rows > 0)),
        )  # the interpreter infers what no turn does, too
        for found in found_by:
            for a, b in zip(found.values(), wanted, strict=True):
                assert a.shape == b.shape or a.size == b.size == 0, "without a turn ONNX Runtime does not know the batch"
                np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-4, atol=1e-6)


def test_what_grows_as_fast_never_ends() -> None:
    with pytest.raises(Unsupported, match="without a limit"):
        load(steps(1, ends="next"))
    with pytest.raises(Unsupported, match="without a limit"):
        load(steps(0))
