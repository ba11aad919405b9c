"""`tgen.load`: the same bits as `tgen.compile`, the same checks."""

from __future__ import annotations

import ctypes.util
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import tgen
from tests import graphs as random_graphs
from tests.aot.graphs import feeds, small_graph
from tests.runtime.test_subnormals import elementwise
from tests.sharing import encoder, everything_shared
from tgen.aot.build import Built
from tgen.ir.builder import Builder
from tgen.ir.errors import InvalidInput, InvalidModel
from tgen.ir.graph import Graph


def sorted_graph() -> Graph:
    """The three greatest of each row, by a routine."""
    b = Builder("sorted")
    values, places = b.top_k(b.input("x", "f32", ("rows", 9)), k=3)
    b.output("values", values)
    b.output("places", places)
    return b.build()


def both(graph: Graph, folder: Path, subnormals: str = "auto", **options: Any) -> tuple[tgen.Executable, tgen.Executable]:
    """(just in time, ahead of time)"""
    built = tgen.build(graph, folder, name="model", subnormals=subnormals, **options)
    return tgen.compile(graph, threads=2, subnormals=subnormals), tgen.load(built.files[0], threads=2)


def same(jit: tgen.Executable, aot: tgen.Executable, given: dict[str, np.ndarray]) -> None:
    wanted, got = jit.run(given), aot.run(given)
    for name, array in wanted.items():
        assert array.dtype == got[name].dtype and array.tobytes() == got[name].tobytes(), name


@pytest.mark.parametrize("weights_file", (False, True))
def test_the_same_bits(tmp_path: Path, weights_file: bool) -> None:
    graph = encoder(width=64, layers=2)
    jit, aot = both(graph, tmp_path, weights_file=weights_file)
    assert (aot.inputs, aot.outputs, repr(aot)) == (jit.inputs, jit.outputs, repr(jit))
    for n in (1, 37, 64):
        same(jit, aot, random_graphs.feeds(graph, n=n))


@pytest.mark.parametrize("subnormals,kept", [("keep", True), ("flush", False), ("auto", False)])
def test_subnormal_weights(tmp_path: Path, subnormals: str, kept: bool) -> None:
    """The same for all code of a library; the caller's thread is as it was."""
    graph, weights = elementwise(np.float32, 1e-40)
    x = np.ones((3, *weights.shape), np.float32)
    with everything_shared():
        jit, aot = both(graph, tmp_path, subnormals, targets=("host", "generic"))
    told = json.loads((tmp_path / "model.json").read_text())
    assert told["subnormals"] == aot.report["subnormals"] == jit.report["subnormals"] == ("kept" if kept else "flushed")
    assert [version["run"]["flushes"] for version in told["versions"]] == [not kept] * len(told["versions"])
    same(jit, aot, {"x": x})
    assert np.array_equal(aot(x)[0], x * weights if kept else np.zeros_like(x))


def test_routines(tmp_path: Path) -> None:
    jit, aot = both(sorted_graph(), tmp_path)
    same(jit, aot, {"x": np.random.default_rng(0).standard_normal((50, 9)).astype(np.float32)})


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=random_graphs.graphs())
def test_any_graph(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as folder:
        jit, aot = both(graph, Path(folder))
        same(jit, aot, random_graphs.feeds(graph))
        same(jit, aot, random_graphs.feeds(graph, batch=1, seq=2))


def test_the_same_checks(built: Built) -> None:
    jit, aot = tgen.compile(small_graph()), tgen.load(built.files[0])
    x, ids = feeds(3).values()
    for wrong in ((x,), (x.astype(np.float64), ids), (x[:, :5], ids), (x, ids[:2])):
        with pytest.raises(InvalidInput) as expected:
            jit(*wrong)
        with pytest.raises(InvalidInput) as found:
            aot(*wrong)
        assert str(found.value) == str(expected.value)
    np.testing.assert_array_equal(aot(x[::-1], ids)[0], jit(x[::-1], ids)[0])
    assert aot.report["target"] == jit.report["target"] and aot.report["features"]


def test_files_that_are_no_library(built: Built, tmp_path: Path) -> None:
    whole = built.files[0].read_bytes()
    libc = ctypes.util.find_library("c")
    cases = {
        "nothing.so": (b"", "it is no 64-bit ELF file"),
        "text.so": (b"what" * 100, "it is no 64-bit ELF file"),
        "head.so": (whole[:100], "it is cut short"),
        "short.so": (whole[:-8000], "it is cut short"),
        "other.so": (whole[:18] + b"\x28\x00" + whole[20:], "it is for machine 40"),
        "object.so": (whole[:16] + b"\x01\x00" + whole[18:], "it is no shared library"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidModel, match=f"{re.escape(name)} is no library that tgen made: {message}"):
            tgen.load(tmp_path / name)
    with pytest.raises(InvalidModel, match="No such file"):
        tgen.load(tmp_path / "none.so")
    with pytest.raises(InvalidModel, match="Is a directory"):
        tgen.load(tmp_path)
    other = next(Path("/").glob(f"lib/*-linux-gnu/{libc}"), None)
    if other:
        with pytest.raises(InvalidModel, match="undefined symbol"):
            tgen.load(other)
    with pytest.raises(InvalidInput, match="at least 1"):
        tgen.load(built.files[0], threads=0)


def test_weights_that_are_not_the_library_s(apart: Built, built: Built, tmp_path: Path) -> None:
    file = apart.folder / "apart.weights"
    moved = tmp_path / "libapart.so"
    shutil.copy(apart.files[0], moved)
    with pytest.raises(InvalidModel, match=r"apart\.weights: No such file"):
        tgen.load(moved)
    x, ids = feeds(4).values()
    wanted = tgen.load(apart.files[0])(x, ids)[0]
    assert tgen.load(moved, weights=file)(x, ids)[0].tobytes() == wanted.tobytes()
    raw = file.read_bytes()
    for content in (raw[:-64], raw + bytes(64), b"", b"X" + raw[1:]):
        (tmp_path / "wrong").write_bytes(content)
        with pytest.raises(InvalidModel, match="does not belong to this library"):
            tgen.load(moved, weights=tmp_path / "wrong")
    with pytest.raises(InvalidInput, match="are inside of it"):
        tgen.load(built.files[0], weights=file)
