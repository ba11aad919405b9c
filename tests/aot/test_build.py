"""What `tgen build` leaves in its folder, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tgen
from tests.aot.graphs import small_graph
from tgen.aot import build as build_module
from tgen.aot.build import Built
from tgen.aot.header import macro_names
from tgen.aot.link import LinkError
from tgen.aot.weights import FACTOR, LANES, weights_hash
from tgen.cli import main
from tgen.ir.dims import evaluate_dim, parse_dim
from tgen.ir.errors import InvalidInput, TgenError
from tgen.targets.find import UnknownTarget

FLAGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]


def test_the_files(built: Built, apart: Built) -> None:
    assert {p.name for p in built.folder.iterdir()} == {"libsmall.so", "small.h", "small.json", "example.c"}
    assert {p.name for p in apart.folder.iterdir()} == {"libapart.so", "apart.h", "apart.json", "example.c", "apart.weights"}
    for made in (built, apart):
        assert set(made.files) == set(made.folder.iterdir())
        told = json.loads((made.folder / f"{made.name}.json").read_text())
        for name, facts in told["files"].items():
            content = (made.folder / name).read_bytes()
            assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_manifest(built: Built) -> None:
    told = json.loads((built.folder / "small.json").read_text())
    assert told["inputs"] == [
        {"name": "x", "dtype": "float32", "shape": ["batch", 8]},
        {"name": "ids", "dtype": "int64", "shape": ["batch"]},
    ]
    assert [o["name"] for o in told["outputs"]] == ["y", "twice", "row"] and told["symbols"] == ["batch"]
    assert told["precision"] == "highest" and told["subnormals"] == "kept"
    assert told["weights"]["file"] == "" and told["weights"]["bytes"] == built.weight_bytes
    (version,) = told["versions"]
    assert version["target"] == tgen.load(built.files[0]).report["target"]
    for formula in ("arena_bytes", "scratch_bytes"):
        assert evaluate_dim(parse_dim(version[formula]), {"batch": 3}) >= 0


def test_same_input_same_bytes(built: Built, tmp_path: Path) -> None:
    """In another process, into another folder, with other hashes of strings."""
    code = "import sys, tgen; from tests.aot.graphs import small_graph; tgen.build(small_graph(), sys.argv[1], name='small')"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], cwd=root, check=True, timeout=60)
    for path in built.files:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_what_the_library_needs_and_shows(built: Built, tool: Callable[[str], str]) -> None:
    dynamic = subprocess.run([tool("readelf"), "-d", "-W", str(built.files[0])], check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= {"libc.so.6", "libpthread.so.0"}
    assert "TEXTREL" not in dynamic
    symbols = subprocess.run([tool("nm"), "-D", "-g", str(built.files[0])], check=True, capture_output=True, text=True).stdout
    shown = {line.split()[-1] for line in symbols.splitlines() if " T " in line or " D " in line or " R " in line}
    declared = set(re.findall(r"\b(small_\w+)\(", (built.folder / "small.h").read_text()))
    assert shown == declared | {"small_internals", "tgen_version", "tgen_internals", "tgen_manifest"}


@pytest.mark.parametrize("compiler, language", (("cc", ("-std=c99",)), ("c++", ("-x", "c++", "-std=c++11"))))
def test_the_header_is_clean(
    built: Built, tool: Callable[[str], str], tmp_path: Path, compiler: str, language: tuple[str, ...]
) -> None:
    """Alone, and after another library's."""
    source = tmp_path / "source.c"
    source.write_text('#include "small.h"\n#include "small.h"\nint main(void) { return small_version() < 0; }\n')
    subprocess.run(
        [tool(compiler), *language, *FLAGS, f"-I{built.folder}", "-c", str(source), "-o", str(tmp_path / "o")], check=True
    )


@pytest.mark.parametrize("format", ("so", "a", "o"))
def test_the_example(format: str, tmp_path: Path, tool: Callable[[str], str]) -> None:
    made = tgen.build(small_graph(), tmp_path, name="small", format=format)
    library = {"so": ["-L.", "-lsmall", "-Wl,-rpath,$ORIGIN"], "a": ["libsmall.a", "-lpthread"], "o": ["small.o", "-lpthread"]}[
        format
    ]
    assert made.files[0].name == {"so": "libsmall.so", "a": "libsmall.a", "o": "small.o"}[format]
    command = [tool("cc"), "-std=c99", *FLAGS, "example.c", *library, "-lm", "-o", "example"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    out = subprocess.run([tmp_path / "example", "5"], check=True, capture_output=True, text=True, timeout=60).stdout
    zeros = {"x": np.zeros((5, 8), np.float32), "ids": np.zeros(5, np.int64)}
    wanted = tgen.reference(small_graph(), zeros)
    for name, shape in (("y", "5, 4"), ("twice", "5, 5"), ("row", "5, 4")):
        line = next(line for line in out.splitlines() if line.startswith(f"{name} float32[{shape}]:"))
        np.testing.assert_allclose(
            [float(v) for v in line.split(":")[1].split()], wanted[name].reshape(-1)[:4], rtol=1e-5, atol=1e-6
        )


def test_an_interrupted_build_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "dist"
    before = {p.name: p.read_bytes() for p in tgen.build(small_graph(), folder, name="small").files}

    def broken(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build_module, "header", broken)
    with pytest.raises(KeyboardInterrupt):
        tgen.build(small_graph(seed=5), folder, name="small")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    "options, error, message",
    (
        ({"name": "3d"}, InvalidInput, "'3d' cannot be the name of a C library"),
        ({"name": "a-b"}, InvalidInput, "'a-b' cannot be"),
        ({"format": "dll"}, InvalidInput, "format 'dll'; known: so, a, o"),
        ({"targets": ("pentium",)}, UnknownTarget, "no target is named 'pentium'"),
        ({"targets": ("avx2+warp",)}, UnknownTarget, "no CPU feature is named 'warp'"),
        ({"targets": ()}, InvalidInput, "no target is given"),
        ({"targets": ("avx2", "neon")}, InvalidInput, "a library is for one architecture"),
        ({"linker": "no-such-linker"}, LinkError, "there is no linker 'no-such-linker'"),
        ({"linker": "false"}, LinkError, "the linker false failed"),
        ({"precision": "low"}, TgenError, "precision 'low'"),
        ({"subnormals": "lose"}, InvalidInput, "subnormals 'lose'; known: auto, keep, flush"),
    ),
)
def test_options_that_make_no_sense(options: dict[str, object], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=re.escape(message)):
        tgen.build(small_graph(), tmp_path / "dist", **{"name": "small", **options})  # type: ignore[arg-type]
    assert not any((tmp_path / "dist").glob("*")) and not any(tmp_path.glob(".*"))


def test_no_linker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tgen.aot.link.shutil.which", lambda name: None)
    monkeypatch.setattr("tgen.aot.link.importlib.util.find_spec", lambda name: None)
    with pytest.raises(LinkError, match="install binutils .* or lld, or .* ziglang"):
        tgen.build(small_graph(), tmp_path, name="small")


def test_names_of_macros() -> None:
    assert macro_names(["x", "past.0.key", "past_0_key", "count", "größe"]) == [
        "X",
        "PAST_0_KEY",
        "PAST_0_KEY_2",
        "COUNT_3",
        "GR__E",
    ]


def test_the_hash_of_weights() -> None:
    block = np.random.default_rng(2).integers(0, 256, 64 * 9000, dtype=np.uint8)
    lanes = [0] * LANES
    for number, word in enumerate(block.view("<u8").tolist()):
        lanes[number % LANES] = (lanes[number % LANES] * FACTOR + word) % 2**64
    total = 0
    for lane in lanes:
        total = (total * FACTOR + lane) % 2**64
    assert weights_hash(block) == total


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import TensorProto, helper, save

    value = helper.make_tensor_value_info
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["n"])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "my model.onnx")
    assert main(["build", str(tmp_path / "my model.onnx"), "-o", str(tmp_path / "dist"), "--subnormals", "flush"]) == 0
    told = capsys.readouterr().out
    assert "libmy_model.so" in told and "try it: cd" in told
    loaded = tgen.load(tmp_path / "dist" / "libmy_model.so")
    assert loaded(np.float32([-1, 2]))[0].tolist() == [0, 2] and loaded.report["subnormals"] == "flushed"
    assert main(["build", str(tmp_path / "my model.onnx"), "-o", str(tmp_path / "dist"), "--target", "pentium"]) == 1
