"""docs/deploy.md by the letter: its model built, its callers compiled and run, their numbers compared with the interpreter's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tgen
from tgen.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")


def snippet(first: str) -> str:
    """The code block whose first line begins so."""
    return next(code for code in re.findall(r"```\w+\n(.*?)```", PAGE, re.S) if code.startswith(first))


def build_line(code: str) -> list[str]:
    """The command in the first line of a caller."""
    command = code.splitlines()[0].split(": ", 1)[1].removesuffix(" */")
    return command.replace("'", "").split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's model has been made and built."""
    made = tmp_path_factory.mktemp("deploy")
    (made / "make_model.py").write_text(snippet("# make_model.py"))
    subprocess.run([sys.executable, "make_model.py"], cwd=made, check=True, timeout=60)
    assert main(["build", str(made / "tiny.onnx"), "-o", str(made / "dist")]) == 0
    return made


def check(folder: Path, command: list[str]) -> None:
    out = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    x = np.arange(16, dtype=np.float32).reshape(2, 8) / 8
    wanted = tgen.reference(folder / "tiny.onnx", {"x": x})["y"].reshape(-1)
    np.testing.assert_allclose([float(line) for line in out.stdout.split()], wanted, atol=1e-4)
    assert wanted.any()


def test_the_files_that_the_page_names(folder: Path) -> None:
    table = re.findall(r"^\| `([\w.]+)` \|", PAGE, re.M)
    assert {p.name for p in (folder / "dist").iterdir()} == set(table) - {"tiny.weights"}


@pytest.mark.parametrize("name, extra", (("call.c", ("-std=c99", *STRICT)), ("call.cpp", STRICT)))
def test_c_and_cpp(folder: Path, tool: Callable[[str], str], name: str, extra: tuple[str, ...]) -> None:
    code = snippet(f"/* {name}" if name == "call.c" else f"// {name}")
    (folder / name).write_text(code)
    compiler, *arguments = build_line(code)
    subprocess.run([tool(compiler), *extra, *arguments], cwd=folder, check=True, timeout=120)
    check(folder, [str(folder / "call")])


def test_python(folder: Path) -> None:
    (folder / "call.py").write_text(snippet("# call.py"))
    check(folder, [sys.executable, "-S", "call.py"])


def test_rust(folder: Path, tool: Callable[[str], str]) -> None:
    code = snippet("// call.rs")
    (folder / "call.rs").write_text(code)
    compiler, *arguments = build_line(code)
    done = subprocess.run([tool(compiler), "-D", "warnings", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check(folder, [str(folder / "call")])


def test_go(folder: Path, tool: Callable[[str], str]) -> None:
    code = snippet("// call.go")
    (folder / "call.go").write_text(code)
    compiler, *arguments = build_line(code)
    subprocess.run([tool(compiler), *arguments], cwd=folder, check=True, timeout=300)
    check(folder, [str(folder / "call")])


TWO = """
#include "tiny.h"
#include "other.h"
#include <stdio.h>
int main(void) {
  float x[2][8], y[2][4], z[2][4];
  for (int k = 0; k < 16; ++k) x[k / 8][k % 8] = (float)k / 8;
  const int64_t x_shape[2] = {2, 8}, y_shape[2] = {2, 4};
  const tgen_tensor in[1] = {{x, x_shape, NULL, 2}}, first[1] = {{y, y_shape, NULL, 2}}, second[1] = {{z, y_shape, NULL, 2}};
  tiny_context *one;
  other_context *two;
  if (tiny_create(NULL, &one) || other_create(NULL, &two)) return 1;
  for (int k = 0; k < 3; ++k)
    if (tiny_run(one, in, first) || other_run(two, in, second)) return 2;
  tiny_destroy(one);
  other_destroy(two);
  for (int k = 0; k < 8; ++k) {
    if (y[k / 4][k % 4] != z[k / 4][k % 4]) return 3;
    printf("%.4f\\n", (double)y[k / 4][k % 4]);
  }
  return 0;
}
"""


@pytest.mark.parametrize("format", ("so", "a"))
def test_two_models_in_one_program(folder: Path, tool: Callable[[str], str], tmp_path: Path, format: str) -> None:
    shutil.copy(folder / "tiny.onnx", tmp_path)
    for name in ("tiny", "other"):
        tgen.build(tmp_path / "tiny.onnx", tmp_path, name=name, format=format)
    (tmp_path / "two.c").write_text(TWO)
    libraries = [f"lib{name}.{format}" for name in ("tiny", "other")]
    command = [tool("cc"), "-std=c99", *STRICT, "two.c", *libraries, "-lpthread", "-lm", f"-Wl,-rpath,{tmp_path}", "-o", "two"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    check(tmp_path, [str(tmp_path / "two")])


def test_sanitizers(folder: Path, tool: Callable[[str], str]) -> None:
    """The example under the address, leak and undefined-behaviour sanitizers."""
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [tool("cc"), *flags, "example.c", "-L.", "-ltiny", "-Wl,-rpath,$ORIGIN", "-o", "checked"]
    subprocess.run(command, cwd=folder / "dist", check=True, timeout=60)
    done = subprocess.run([folder / "dist" / "checked", "9"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_valgrind(folder: Path, tool: Callable[[str], str], tmp_path: Path) -> None:
    """Code for every CPU, which valgrind knows all instructions of: no invalid access, nothing undefined used, nothing lost."""
    valgrind, compiler = tool("valgrind"), tool("cc")
    tgen.build(folder / "tiny.onnx", tmp_path, name="tiny", targets=("generic",), weights_file=True)
    command = [compiler, "-g", "example.c", "-L.", "-ltiny", "-Wl,-rpath,$ORIGIN", "-o", "example"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    flags = ["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"]
    done = subprocess.run([valgrind, *flags, tmp_path / "example", "33"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
