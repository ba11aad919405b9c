"""ONNX shapes that only a run finds out, beside ONNX Runtime; what it refuses is an error here too."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tgen
from tgen.frontends import load
from tgen.ir.errors import InvalidInput
from tgen.ir.evaluate import evaluate

Feeds = dict[str, np.ndarray]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def one(name: str, inputs: list[tuple[str, int, list[Any]]], constants: dict[str, np.ndarray], results: int = 1) -> onnx.ModelProto:
    """A model of one node over these inputs, then constants."""
    outputs = [f"y{k}" for k in range(results)]
    node = helper.make_node(name, [*(n for n, *_ in inputs), *constants], outputs)
    infos = [helper.make_tensor_value_info(*i) for i in inputs]
    made = [onnx.ValueInfoProto(name=n) for n in outputs]
    kept = [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()]
    return helper.make_model(
        helper.make_graph([node], name, infos, made, kept), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )


SHAPED = ("x", FLOAT, ["b", 3, 4])
CASES: dict[str, tuple[onnx.ModelProto, list[Feeds]]] = {
    "slice": (
        one("Slice", [SHAPED, ("s", INT64, [2]), ("e", INT64, [2])], {"axes": ints(0, 2), "steps": ints(1, 2)}),
        [{"x": X, "s": ints(*s), "e": ints(*e)} for s, e in [((0, 0), (2, 2)), ((1, -3), (9, -1)), ((-9, 2), (1, 1)), ((5, 0), (6, 9)), ((0, 1), (-1, 1 << 62))]],
    ),
    "slice backwards": (
        one("Slice", [SHAPED, ("s", INT64, [1]), ("e", INT64, [1])], {"axes": ints(2), "steps": ints(-1)}),
        [{"x": X, "s": ints(s), "e": ints(e)} for s, e in [(3, 0), (-1, -9), (9, 1), (0, 3), (2, -(1 << 62))]],
    ),
    "reshape": (
        one("Reshape", [SHAPED, ("s", INT64, [2])], {}),
        [{"x": X, "s": ints(*s)} for s in [(4, 6), (-1, 6), (0, -1), (3, 8), (-1, 0), (5, 5), (-1, -1), (-2, 12), (1 << 40, 1 << 30), (1 << 32, 1 << 32)]],
    ),
    "expand": (
        one("Expand", [("x", FLOAT, ["b", 1, 4]), ("s", INT64, [4])], {}),
        [{"x": X[:, :1], "s": ints(*s)} for s in [(5, 2, 3, 4), (1, 1, 1, 1), (2, 1, 7, 4), (1, 2, 3, 5), (0, 1, 2, 1), (-1, 1, 1, 1)]],
    ),
    "range": (
        one("Range", [(n, INT64, []) for n in "abc"], {}),
        [dict(zip("abc", map(np.array, v))) for v in [(0, 5, 1), (0, 5, 2), (5, 0, -2), (5, 0, 1), (0, 1, 0), (-3, 9, 4)]],
    ),
    "range of floats": (
        one("Range", [(n, FLOAT, []) for n in "abc"], {}),
        [dict(zip("abc", np.float32(v).reshape(3, 1).reshape(3))) for v in [(0, 5, 1), (0, 1, 0.1), (5, 0, -0.3), (5, 0, 1), (0, np.inf, 1)]],
    ),
    "tile": (one("Tile", [SHAPED, ("s", INT64, [3])], {}), [{"x": X, "s": ints(*s)} for s in [(1, 2, 3), (2, 1, 1), (0, 1, 1), (1, -1, 2)]]),
    "constant of shape": (
        one("ConstantOfShape", [("s", INT64, [3])], {}),
        [{"s": ints(*s)} for s in [(1, 2, 3), (2, 1, 0), (1 << 31, 1 << 31, 4), (1, -1, 2)]],
    ),
    "top k": (one("TopK", [SHAPED, ("k", INT64, [1])], {}, results=2), [{"x": X, "k": ints(k)} for k in [1, 4, 5, -1, 0]]),
    "split": (
        one("Split", [SHAPED, ("s", INT64, [3])], {}, results=3),
        [{"x": X.repeat(2, axis=0), "s": ints(*s)} for s in [(1, 2, 1), (4, 0, 0), (0, 1, 3), (1, 2, 2), (5, -1, 0), (1, 1, 1)]],
    ),
    "pad": (
        one("Pad", [SHAPED, ("s", INT64, [6])], {}),
        [{"x": X, "s": ints(*s)} for s in [(0, 1, 2, 3, 0, 1), (0, 0, 0, 0, 0, 0), (-1, 2, -2, 0, -2, 3), (1, -1, 0, -1, -2, -1)]],
    ),
    "trilu": (
        one("Trilu", [SHAPED, ("k", INT64, [])], {}),
        [{"x": X, "k": np.array(k)} for k in [0, 1, -1, 4, -4, 100, -100]],
    ),
    "one hot": (
        one("OneHot", [("i", INT64, ["n"]), ("d", INT64, [])], {"v": np.array([0, 1], np.float32)}),
        [{"i": ints(0, 2, 1), "d": np.array(d)} for d in [3, 2, 7, -1]],
    ),
}  # fmt: skip


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("name", CASES)
def test_a_run_finds_out_shapes(name: str) -> None:
    import onnxruntime

    model, every = CASES[name]
    graph = load(model)
    executable = tgen.compile(graph, cache=False)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), quiet)
    refused = 0
    for feeds in every:
        feeds = {key: np.asarray(value) for key, value in feeds.items()}
        try:
            wanted = session.run(None, feeds)
        except Exception:  # of its own kinds
            refused += 1
            for run in (executable.run, lambda feeds: evaluate(graph, feeds)):
                with pytest.raises(InvalidInput):
                    run(feeds)
            continue
        for found in (executable.run(feeds), evaluate(graph, feeds)):
            for a, b in zip(found.values(), wanted):
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, rtol=1e-6)
    assert refused < len(every)


def test_what_follows_a_found_shape() -> None:
    """Extents that meet each other or the model's own in sums, a softmax over a found axis, and a second shape from the first."""
    nodes = [
        helper.make_node("Range", ["zero", "n", "unit"], ["r"]),
        helper.make_node("Cast", ["r"], ["numbers"], to=FLOAT),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "two"], ["shape"], axis=0),
        helper.make_node("Expand", ["ones", "shape"], ["wide"]),
        helper.make_node("Transpose", ["wide"], ["turned"]),
        helper.make_node("Add", ["turned", "numbers"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["y"]),
        helper.make_node("Shape", ["sum"], ["again"]),
        helper.make_node("ConstantOfShape", ["again"], ["zeros"]),
        helper.make_node("Add", ["zeros", "x"], ["z"]),
    ]
    constants = {"zero": np.array(0), "unit": np.array(1), "axis": ints(0), "two": ints(2), "ones": np.ones((1, 1), np.float32)}
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("n", INT64, []), helper.make_tensor_value_info("x", FLOAT, ["k"])],
        [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="z")], [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()],
    )  # fmt: skip
    executable = tgen.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), cache=False)
    for n in (3, 1, 100, 0):
        found = executable.run({"n": np.array(n), "x": np.arange(n, dtype=np.float32)})
        weights = np.exp(np.arange(n, dtype=np.float64) - n)
        np.testing.assert_allclose(found["y"], np.broadcast_to(weights / weights.sum(), (2, n)), rtol=1e-6, atol=1e-38)
        np.testing.assert_array_equal(found["z"], np.broadcast_to(np.arange(n), (2, n)))
    with pytest.raises(InvalidInput, match="extent"):
        executable.run({"n": np.array(4), "x": np.zeros(5, np.float32)})
