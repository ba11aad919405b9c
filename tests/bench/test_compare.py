"""A real comparison of a small model: every contestant runs, is stopped, is measured, and is gone afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tgen.bench import compare
from tgen.bench.inputs import random_feeds, sizes, work_of
from tgen.bench.rows import difference, timed_row
from tgen.cli import main
from tgen.frontends import load
from tgen.ir.builder import Builder
from tgen.ir.errors import TgenError


@pytest.mark.peer("onnxruntime")
def test_compare(model) -> None:
    names = ["onnxruntime", "torch", "tgen:generic"]
    report = compare(model, names, shapes={"batch": 3}, rounds=2, burst=0.01, cache=False)
    tgen, peer, failed, generic = report.rows
    assert [r.name for r in report.rows] == ["tgen", *names]
    assert tgen.ratio == 1.0 and peer.error is not None and peer.error < 1e-6
    for row in (tgen, peer, generic):
        assert row.median and row.p10 <= row.p99 and row.ratio_low <= row.ratio <= row.ratio_high
        assert row.load_seconds > 0 and row.megabytes > 0 and row.gflops > 0 and row.roofline > 0 and not row.failed
    assert "torch" in failed.failed and failed.median is None, "torch does not read .onnx files"
    assert json.loads(json.dumps(report.to_json()))["facts"]["shapes"] == {"batch": 3}


@pytest.mark.peer("onnxruntime")
def test_words_are_compared(tmp_path: Path) -> None:
    given, twice = (helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in ("x", "y"))
    node = helper.make_node("StringConcat", ["x", "x"], ["y"])
    graph = helper.make_graph([node], "words", [given], [twice])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "words.onnx")
    tgen, peer = compare(tmp_path / "words.onnx", ["onnxruntime"], shapes={"n": 5}, rounds=2, burst=0.01, cache=False).rows
    assert not tgen.failed and not peer.failed and peer.error == 0


@pytest.mark.parametrize("words", [3000, 1000, 54, 2])
def test_token_numbers_are_among_the_words(words: int) -> None:
    """As many as there are usually, fewer where the model's table ends before."""
    b = Builder()
    ids = b.input("ids", "i64", ("n", 40))
    b.check(b.reduce_min(b.less(ids, words), axes=None, keepdims=False), "an index outside")
    b.output("y", b.gather(b.constant(np.zeros((words, 8), np.float32)), ids, axis=0))
    feeds = random_feeds(b.build(), {"n": 3})
    assert feeds["ids"].min() >= 1 and words / 4 <= feeds["ids"].max() + 1 <= min(words, 1000)


def test_what_a_run_finds_out_is_not_looked_at() -> None:
    """Checks of what is of a size that inputs do not tell."""
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Gather", ["table", "at"], ["y"])]
    table = numpy_helper.from_array(np.zeros((2, 3), np.float32), "table")
    graph = helper.make_graph(nodes, "found", [x], [y], [table])
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    assert loaded.checks and loaded.extents and random_feeds(loaded, {"n": 8})["x"].shape == (8,)


def test_row() -> None:
    row = timed_row("peer", [[2e-3, 4e-3, 3e-3], [5e-3]], [[1e-3], [1e-3]], flops=4e6, floor=1e-3, error=0.5, note="n")
    assert (row.median, row.ratio, row.gflops, row.roofline) == pytest.approx((4.0, 4.0, 1.0, 0.25))
    assert row.ratio_low == pytest.approx(3.1) and row.ratio_high == pytest.approx(4.9)
    assert (row.error, row.note, row.failed) == (0.5, "n", "")


def test_difference_of_words() -> None:
    assert difference({"y": np.array(["a", "b", "cd", "e"])}, {"y": np.array(["a", "b", "c", "e"])}) == 0.25


def test_difference() -> None:
    mine, theirs = {"y": np.array([1.0, -4.0]), "z": np.zeros(3)}, {"y": np.array([1.0, -3.0]), "z": np.zeros(2)}
    assert difference(mine, theirs) == 0.25
    assert difference(mine, {"other": np.zeros(1)}) is None


def test_work(model) -> None:
    graph = load(model)
    assert sizes(graph, {}) == {"batch": 1}
    assert work_of(graph, {"batch": 3}) == (2.0 * 3 * 8 * 16, 8 * 16 * 4)


def test_work_that_depends_on_data(tmp_path: Path) -> None:
    """x[NonZero(x)] @ w: how many rows there are, a run finds out."""
    weight = numpy_helper.from_array(np.ones((8, 4), np.float32), "w")
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["p"], ["rows"]),
        helper.make_node("Tile", ["rows", "often"], ["wide"]),
        helper.make_node("MatMul", ["wide", "w"], ["y"]),
    ]
    often = numpy_helper.from_array(np.array([1, 8]), "often")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])
    graph = helper.make_graph(nodes, "some", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weight, often])
    path = tmp_path / "some.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    assert work_of(load(path), {}) is None
    given = {"x": np.array([0, 1, 0, 2, 0], np.float32)}
    (row,) = compare(path, given=given, rounds=2, burst=0.01, cache=False).rows
    assert row.median and row.gflops is None and row.speed == ["–", "–"]


def test_unknown_contestant_option_and_symbol(model) -> None:
    with pytest.raises(TgenError, match="no contestant is named 'onnxruntimes'"):
        compare(model, ["onnxruntimes"])
    with pytest.raises(TgenError, match="only tgen takes an option, one of highest, .*generic"):
        compare(model, ["openvino:medium"])
    with pytest.raises(TgenError, match="no symbol 'seq'"):
        compare(model, shapes={"seq": 1})


def test_unknown_contestant_on_the_command_line(model, capsys) -> None:
    assert main(["bench", model, "--vs", "nobody"]) == 2
    assert "no contestant is named 'nobody'" in capsys.readouterr().err
