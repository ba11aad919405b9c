"""The drawing of docs/architecture.md, checked: imports point only down, and third-party packages enter by one door each.

ir  ←  targets  ←  tgen  ←  models, tests
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("ir", "targets", "tgen", "models")  # each sees those before it
MAX_LINES = 500
CLI = "tgen/cli/*"

# What enters (a module, with all below it, or a call) → where. Adding a door is a decision for docs/architecture.md.
DOORS: dict[str, tuple[str, ...]] = {
    "networkx": ("ir/analysis*", "tgen/passes/*"),
    "llvmlite.ir": ("tgen/aot/*", "tgen/codegen/*", "targets/*"),
    "llvmlite.binding": ("tgen/codegen/llvm.py",),
    "numba": ("tgen/codegen/routine_kernel*",),
    "onnx": ("tgen/frontends/onnx/*", "tgen/frontends/__init__.py", "tgen/backend.py"),
    "rich": (CLI, "tgen/trace.py"),
    "tokenizers": ("models/*",),
    "onnxruntime": (CLI, "tgen/bench/*"),
    "openvino": ("tgen/bench/*",),
    "torch": ("tgen/bench/*",),
    "transformers": ("tgen/bench/*",),
    "os.environ": ("tgen/options.py", "tgen/cache.py", "models/packages.py"),
    "os.getenv": (),
    "print": (CLI, "tgen/trace.py"),
}

# The demonstration uses tgen as anyone does, and so stands above `models`, whatever its folder.
UPWARD = {("tgen/cli/demo.py", "models")}

FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> list[str]:
    """Names from `tgen` down of the package that the file's relative imports start from."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return [*(() if parts[0] == "tgen" else ("tgen",)), *parts[:-1]]


def imports(path: Path, tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Absolute dotted names that the file imports, wherever in it, and their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module_of(path)
            base = package[: len(package) + 1 - node.level] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{whole}.{alias.name}", node.lineno) for alias in node.names)


def uses(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """`module.name` read from a plain module, and calls of plain names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def floor_of(module: str) -> str | None:
    """The floor that an import of `module` reaches; None for one from outside."""
    first, _, rest = module.partition(".")
    if first != "tgen":
        return None
    second = rest.partition(".")[0]
    return second if second in FLOORS and second != "tgen" else "tgen"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_floors_and_doors(path: Path) -> None:
    tree, name = ast.parse(path.read_text(), str(path)), name_of(path)
    own, problems = name.split("/")[0], []
    for module, line in imports(path, tree):
        floor = floor_of(module)
        if module.split(".")[0] in ("ir", "targets", "models"):
            problems.append(
                f"{name}:{line}: import {module}: a second copy of tgen.{module}; write tgen.{module} or a relative import"
            )
        elif floor and FLOORS.index(floor) > FLOORS.index(own) and (name, floor) not in UPWARD:
            problems.append(f"{name}:{line}: import {module}: {own} stands below {floor}")
    for used, line in [*imports(path, tree), *uses(tree)]:
        door = next((d for d in DOORS if used == d or used.startswith(f"{d}.")), None)
        if door and not any(fnmatch(name, place) for place in DOORS[door]):
            problems.append(f"{name}:{line}: {used}: {door} enters only by {', '.join(DOORS[door]) or 'tests'}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{name_of(path)} has {lines} lines: which two things does it hold?"


def test_every_package_is_listed() -> None:
    """Setuptools is told every package; one that is not listed would be missing from an installed tgen."""
    listed = listed_packages()
    folders = {".".join(module_of(path)) for path in FILES}
    unlisted = "".join(f'\n    "{package}",' for package in sorted(folders - listed))
    gone = "".join(f'\n    "{package}",' for package in sorted(listed - folders))
    assert not unlisted, f"add to packages in pyproject.toml, section [tool.setuptools]:{unlisted}"
    assert not gone, f"remove from packages in pyproject.toml, section [tool.setuptools]:{gone}"
    bare = [name_of(path.parent) for path in FILES if not (path.parent / "__init__.py").exists()]
    assert not bare, f"no __init__.py in {', '.join(sorted(set(bare)))}"


def listed_packages() -> set[str]:
    """Read without a TOML parser, which Python has only since 3.11."""
    section = re.search(r"^packages = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert section, "pyproject.toml lists no packages"
    return set(re.findall(r'"([\w.]+)"', section[1]))
