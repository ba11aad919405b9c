"""The commands on small models, end to end."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tgen.cli import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = relu(x·w + b), x f32[batch, 8]; and a table lookup, so that an input has limits."""
    random = np.random.default_rng(0)
    arrays = {
        "w": random.standard_normal((8, 4)).astype(np.float32),
        "b": random.standard_normal(4).astype(np.float32),
        "table": random.standard_normal((5, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"], name="product"),
        helper.make_node("Add", ["xw", "b"], ["sum"], name="bias"),
        helper.make_node("Relu", ["sum"], ["y"], name="activation"),
        helper.make_node("Gather", ["table", "ids"], ["row"], name="lookup"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8]),
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", 4]),
        ],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_run_saves_what_it_computed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, ids = np.ones((3, 8), np.float32), np.array([4, 0, 2])
    np.savez(tmp_path / "in.npz", x=x, ids=ids)
    out = tmp_path / "out"  # no suffix: the file named is the file written
    assert main(["run", str(model), "--input", str(tmp_path / "in.npz"), "--output", str(out), "--no-cache"]) == 0
    text = capsys.readouterr().out
    assert "float32[3, 4]" in text and f"saved {out}" in text
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(model).graph.initializer}
    with np.load(out) as saved:
        np.testing.assert_allclose(saved["y"], np.maximum(x @ weights["w"] + weights["b"], 0), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(saved["row"], weights["table"][ids])


def test_run_random_is_repeatable(model: Path, tmp_path: Path) -> None:
    made = []
    for name in ("a.npz", "b.npz"):
        argv = ["run", str(model), "--shapes", "batch=5", "--seed", "3", "--output", str(tmp_path / name), "--reference"]
        assert main(argv) == 0
        with np.load(tmp_path / name) as saved:
            made.append(dict(saved))
    assert made[0]["y"].shape == (5, 4)
    np.testing.assert_array_equal(made[0]["y"], made[1]["y"])


def test_random_indices_stay_inside_their_table(model: Path) -> None:
    from tgen import frontends
    from tgen.cli.inputs import feeds_for

    ids = feeds_for(frontends.load(model), [], {"batch": 1000}, 0)["ids"]
    assert (ids.min(), ids.max()) == (0, 4)


def test_run_names_a_wrong_input(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "z.npy", np.zeros(3))
    assert main(["run", str(model), "--input", f"z={tmp_path / 'z.npy'}"]) == 1
    assert capsys.readouterr().err == "tgen: error: no input is named 'z'; inputs: x, ids\n"
    assert main(["run", str(model), "--input", f"x={tmp_path / 'z.npy'}"]) == 1
    assert "'x'" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["graph", "plan", "program", "llvm", "asm"])
def test_show_levels(model: Path, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(model), "--level", level]) == 0
    text = capsys.readouterr().out
    assert text.strip()
    if level == "graph":
        assert "matmul" in text and "f32[batch, 4]" in text


def test_show_after_each_pass(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(model), "--after", "list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(names) > 2
    for name in names:
        assert main(["show", str(model), "--after", name]) == 0
        assert "f32[batch, 4]" in capsys.readouterr().out
    assert main(["show", str(model), "--after", "nonsense"]) == 1
    assert "no pass is named 'nonsense'; passes: " in capsys.readouterr().err


def test_show_choices(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Instructions with predicted cycles, one of them chosen, and what few rows get instead."""
    assert main(["show", str(model), "--choices", "--target", "amx", "--precision", "medium"]) == 0
    title, *rows, few = capsys.readouterr().out.rstrip().splitlines()
    assert title.startswith("[batch, 8]·[8, 4] weights in L2 of ")
    assert re.fullmatch(r"  <= \d rows: vdpbf16ps\.512 block \dx\d", few)
    assert {"tdpbf16ps", "vdpbf16ps", "vfmadd231ps"} == {row.split(" block")[0].split()[-1].split(".")[0] for row in rows}
    assert sum(row.startswith("  * ") for row in rows) == 1
    assert all(row.endswith(" cycles predicted") for row in rows)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_check_agrees(model: Path, precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(model), "--shapes", "batch=3", "--precision", precision]) == 0
    text = capsys.readouterr().out
    assert "op by op" in text and "compiled" in text and "DEVIATES" not in text


@pytest.mark.parametrize("subnormals,flushes", [("keep", 0), ("flush", 1), ("auto", 1)])
def test_decayed_weights(model: Path, subnormals: str, flushes: int, capsys: pytest.CaptureFixture[str]) -> None:
    """All of x·w is subnormal, so zeros agree with it too."""
    decayed = onnx.load(model)
    decayed.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((8, 4), 1e-40, np.float32), "w"))
    onnx.save(decayed, model)
    assert main(["check", str(model), "--subnormals", subnormals]) == 0
    assert "DEVIATES" not in capsys.readouterr().out
    assert main(["show", str(model), "--level", "llvm", "--subnormals", subnormals]) == 0
    assert f'call i64 @"tgen_enter_float_mode"(i64 {flushes})' in capsys.readouterr().out


def test_check_against_onnxruntime(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra test)")
    assert main(["check", str(model), "--against", "onnxruntime"]) == 0
    assert "onnxruntime" in capsys.readouterr().out


def test_check_names_the_first_deviation(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A seeded fault in the reference of one operator shows under that operator's name."""
    from tgen.ir.op import OPS

    right = OPS["relu"].reference
    monkeypatch.setattr(OPS["relu"], "reference", lambda self, x: right(self, x) + np.float32(0.5))
    assert main(["check", str(model)]) == 1
    text = capsys.readouterr().out
    assert "after lower: y deviates: error 0.5 of" in text
    assert "relu (Relu 'activation') deviates: error 0.5 of" in text


def test_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets"]) == 0
    text = capsys.readouterr().out
    assert "generic" in text and "threads" in text


def test_any_name_can_be_saved(tmp_path: Path) -> None:
    from tgen.cli.run import save

    outputs = {"file": np.arange(3), "a/b:0": np.zeros((2, 0), np.float32), "text": np.array(["x", "yz"], object)}
    save(tmp_path / "o.npz", outputs)
    with np.load(tmp_path / "o.npz", allow_pickle=False) as saved:
        assert sorted(saved.files) == sorted(outputs)
        for name, array in outputs.items():
            np.testing.assert_array_equal(saved[name], array)


def test_text_comes_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node("StringConcat", ["x", "x"], ["y"])
    info = helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])
    graph = helper.make_graph([node], "twice", [info], [onnx.ValueInfoProto(name="y")])
    model, words, out = (str(tmp_path / name) for name in ("twice.onnx", "words.npy", "out.npz"))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), model)
    np.save(words, np.array(["é", "bc"]))
    assert main(["run", model, "--input", f"x={words}", "--output", out, "--no-cache"]) == 0
    with np.load(out) as saved:
        assert saved["y"].tolist() == ["éé", "bcbc"]
    assert main(["run", model, "--reference"]) != 0
    assert "text is not made up" in capsys.readouterr().err
