"""The command line's frame: help, exit codes, one-line errors. Nothing here compiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tgen.cli import COMMANDS, main


@pytest.mark.parametrize("argv", [["--help"], *([c, "--help"] for c in COMMANDS)])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: tgen")
    assert "tgen " in text.split("usage:", 1)[1].split("\n", 1)[1], "an example is shown"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["run"],
        ["run", "m.onnx", "--shapes", "batch"],
        ["run", "m.onnx", "--shapes", "batch=-1"],
        ["run", "m.onnx", "--threads", "0"],
        ["run", "m.onnx", "--precision", "lowest"],
        ["build", "m.onnx", "-o", "dist", "--subnormals", "lose"],
        ["show", "m.onnx", "--level", "microcode"],
        ["check", "m.onnx", "--against", "abacus"],
    ],
)
def test_usage_errors_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert "usage: tgen" in captured.err
    assert not captured.out


@pytest.mark.parametrize("command", ["run", "show", "check", "bench"])
def test_a_missing_model_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "nowhere.onnx"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "tgen: error: nowhere.onnx: no such file or folder\n"
    assert not captured.out


def test_debug_lets_the_traceback_through() -> None:
    from tgen.ir.errors import InvalidModel

    with pytest.raises(InvalidModel):
        main(["run", "nowhere.onnx", "--debug"])


def test_python_m_tgen() -> None:
    done = subprocess.run([sys.executable, "-m", "tgen", "run", "nowhere.onnx"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tgen: error: nowhere.onnx: no such file or folder\n"


def test_help_is_quick_to_load() -> None:
    """`tgen --help` brings in no compiler."""
    code = "import sys; from tgen.cli import main; main(['--help']); print([m for m in ('numba', 'llvmlite', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_damaged_models_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"\x08\x99not a model")
    assert main(["run", str(path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("tgen: error: ") and "bad.onnx" in message and "Traceback" not in message


def test_input_files(tmp_path: Path) -> None:
    from tgen.cli.inputs import load_arrays
    from tgen.ir.errors import InvalidInput

    x, y = np.arange(6.0).reshape(2, 3), np.ones(2, np.int64)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "both.npz", x=x, y=y)
    feeds = load_arrays([f"first={tmp_path / 'x.npy'}", str(tmp_path / "both.npz")])
    assert sorted(feeds) == ["first", "x", "y"]
    np.testing.assert_array_equal(feeds["first"], x)
    with pytest.raises(InvalidInput, match="holds one array: say which input it is for"):
        load_arrays([str(tmp_path / "x.npy")])
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InvalidInput, match="bad.npy is not a sound"):
        load_arrays([f"x={tmp_path / 'bad.npy'}"])
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="pickled.npy is not a sound"):
        load_arrays([f"x={tmp_path / 'pickled.npy'}"])
    with pytest.raises(InvalidInput, match="none.npy: No such file"):
        load_arrays([f"x={tmp_path / 'none.npy'}"])


def test_compare() -> None:
    from tgen.cli.compare import compare

    wanted = np.array([1.0, -4.0, np.inf, np.nan], np.float32)
    assert compare("x", wanted.copy(), wanted).relative == 0
    off = compare("x", np.array([1.0, -4.5, np.inf, np.nan], np.float32), wanted)
    assert (off.error, off.scale, off.at, off.unlike) == (0.5, 4.0, (1,), 0)
    assert off.exceeds(0.1) and not off.exceeds(0.2)
    lost = compare("x", np.array([1.0, np.nan, np.inf, 0.0], np.float32), wanted)
    assert lost.unlike == 2 and lost.exceeds(1e9)
    assert compare("x", np.zeros((2, 0)), np.zeros((2, 0))).relative == 0
    assert "f" in compare("x", np.zeros(2), np.zeros(3)).shape
    assert compare("x", np.array([True, False]), np.array([True, True])).exceeds(1e-3)
