"""A start from the cache: nothing is built or imported that it does not need, and it is never another model's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tgen
from tests.models.tiny import random_feeds, write_folder
from tgen.frontends import load
from tgen.source import source_digest

COMPILERS = (
    "tgen.compiler",
    "tgen.frontends",
    "tgen.passes",
    "tgen.plan",
    "tgen.kernels",
    "tgen.ir.ops",
    "tgen.models",
    "onnx",
    "numba",
)


def onnx_file(path: Path, factor: float, external: bool = False) -> Path:
    """y = x·w, where w[16, 16] is `factor`."""
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 16]) for name in "xy"]
    weight = numpy_helper.from_array(np.full((16, 16), factor, np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", info[:1], info[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external:
        onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    else:
        onnx.save(model, str(path))
    return path


@pytest.fixture
def compile_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tgen.Executable]:
    """tgen.compile with a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tgen.compile


def factor_of(executable: tgen.Executable) -> float:
    return float(executable(np.eye(16, dtype=np.float32)[:1])[0][0, 0])


@pytest.mark.parametrize("kind", ("file", "folder"))
def test_imports_no_compiler(kind: str, tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    model = onnx_file(tmp_path / "m.onnx", 2.0) if kind == "file" else write_folder(tmp_path / "model")
    code = f"""
import sys, tgen
executable = tgen.compile({str(model)!r})
print(executable.report["cached"], *(name for name in {COMPILERS} if name in sys.modules))
"""
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first.split()[0] == "False" and second.split() == ["True"]


def test_another_content_is_another_model(tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    path = tmp_path / "m.onnx"
    for factor in (2.0, 3.0, 2.0):
        assert factor_of(compile_here(onnx_file(path, factor))) == factor
    assert compile_here(path).report["cached"] and compile_here(path, shapes={"n": 1}).inputs[0].shape == (1, 16)
    assert compile_here(path).inputs[0].shape == ("n", 16)
    assert factor_of(compile_here(path, weights={"w": np.full((16, 16), 5, np.float32)})) == 5


@pytest.mark.parametrize("kind", ("file", "graph"))
def test_keeping_subnormals_is_another_model(kind: str, tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    path = onnx_file(tmp_path / "m.onnx", 1e-40)
    for cached in (False, True):
        for asked, factor in (("keep", float(np.float32(1e-40))), ("flush", 0), ("auto", 0)):
            executable = compile_here(path if kind == "file" else load(path), subnormals=asked)
            assert executable.report["cached"] == cached and factor_of(executable) == factor
            assert executable.report["subnormals"] == ("kept" if factor else "flushed")


def test_tensors_in_other_files_are_read(tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    path = tmp_path / "m.onnx"
    for factor in (2.0, 3.0):
        onnx_file(path, factor, external=True)
        assert source_digest(path) is None and factor_of(compile_here(path)) == factor


def test_a_damaged_file_is_not_hidden(tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    path = onnx_file(tmp_path / "m.onnx", 2.0)
    compile_here(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(tgen.TgenError):
        compile_here(path)
    path.write_bytes(b"")
    with pytest.raises(tgen.TgenError):
        compile_here(path)


def test_every_file_of_a_folder_counts(tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    folder = write_folder(tmp_path / "model")
    feeds = random_feeds(1, 4)
    before, digest = compile_here(folder).run(feeds), source_digest(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    after = compile_here(folder).run(feeds)
    assert source_digest(folder) != digest
    assert not all(np.array_equal(before[name], after[name]) for name in before)


def test_an_entry_that_is_gone_is_made_again(tmp_path: Path, compile_here: Callable[..., tgen.Executable]) -> None:
    path = onnx_file(tmp_path / "m.onnx", 2.0)
    compile_here(path)
    for entry in (tmp_path / "cache" / "tgen").iterdir():
        entry.unlink()
    again = compile_here(path)
    assert not again.report["cached"] and factor_of(again) == 2.0


def test_what_is_no_source_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert [source_digest(x) for x in (tmp_path / "nowhere", tmp_path, tmp_path / "empty", b"bytes", None)] == [None] * 5
