"""One library for many CPUs: which code runs where, and whose weights are shared."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tgen
from tests.aarch64.cross import missing
from tests.aot.graphs import small_graph
from tests.native import is_native
from tgen.codegen import llvm
from tgen.ir.builder import Builder
from tgen.ir.graph import Graph
from tgen.targets.find import ALIASES, FEATURES, all_targets, find_target
from tgen.targets.x86 import AVX2

x86 = pytest.mark.skipif(not is_native(AVX2), reason="this CPU is no x86-64")


def wide() -> Graph:
    """Two products with weights that are worth packing."""
    random = np.random.default_rng(0)
    b = Builder("wide")
    x = b.input("x", "f32", ("batch", 96))
    for width in (128, 64):
        x = b.relu(b.matmul(x, random.standard_normal((x.type.shape[1], width)).astype(np.float32)))
    b.output("y", x)
    return b.build()


@pytest.mark.parametrize("target", all_targets(), ids=lambda t: t.name)
def test_every_feature_can_be_asked_for(target: object) -> None:
    known = FEATURES.get(target.triple.split("-")[0], {})  # type: ignore[attr-defined]
    assert {*target.needs, *target.features} <= known.keys()  # type: ignore[attr-defined]


def test_other_names() -> None:
    features, triple = llvm.host_features(), llvm.host_triple()
    for name, aliases in ALIASES.items():
        for alias in aliases:
            assert find_target(alias, features, triple).name == name
    assert find_target("avx2+fma+f16c+bmi2", features, triple).name == "avx2"
    assert find_target("avx2+fma", features, triple).name == "generic"
    assert find_target("neon+dotprod", features, triple).name == "neon"


@x86
def test_the_best_version_that_this_cpu_runs(tmp_path: Path) -> None:
    built = tgen.build(wide(), tmp_path, name="wide", targets=("amx", "generic", "x86-64-v4", "x86-64-v3"), weights_file=True)
    told = json.loads((tmp_path / "wide.json").read_text())
    assert [v["target"] for v in told["versions"]] == ["amx", "avx512", "avx2", "generic"]
    assert set(built.code_bytes) == {"amx", "avx512", "avx2", "generic"}
    loaded = tgen.load(built.files[0])
    runs = [t.name for t in all_targets() if t.name in built.code_bytes and {*t.needs, *t.features} <= llvm.host_features()]
    assert loaded.report["target"] == runs[0]
    x = {"x": np.random.default_rng(1).standard_normal((7, 96)).astype(np.float32)}
    same = tgen.compile(wide(), target=runs[0])
    assert loaded.run(x)["y"].tobytes() == same.run(x)["y"].tobytes()


@x86
def test_equal_weights_are_there_once(tmp_path: Path) -> None:
    one = tgen.build(wide(), tmp_path / "one", name="wide", targets=("avx2",))
    two = tgen.build(wide(), tmp_path / "two", name="wide", targets=("avx2", "avx_vnni"))
    assert two.weight_bytes == one.weight_bytes
    assert len(two.code_bytes) == 2


@x86
@pytest.mark.emulator
def test_older_cpus(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """In an emulator that has the CPU's features: the version that fits, or a status where none does."""
    emulator, compiler = tool("qemu-x86_64-static"), tool("cc")

    def run(targets: tuple[str, ...], cpu: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "-".join(targets)
        if not folder.exists():
            tgen.build(small_graph(), folder, name="small", targets=targets)
            command = [compiler, "example.c", "-L.", "-lsmall", "-Wl,-rpath,$ORIGIN", "-o", "example"]
            subprocess.run(command, cwd=folder, check=True, timeout=60)
        return subprocess.run([emulator, "-cpu", cpu, folder / "example"], capture_output=True, text=True, timeout=120)

    assert "small runs code for generic" in run(("avx2", "generic"), "Nehalem").stdout
    assert "small runs code for avx2" in run(("avx2", "generic"), "max").stdout
    refused = run(("avx2",), "Nehalem")
    assert refused.returncode == 1
    assert "lacks the features that the library's code needs: avx2 fma f16c bmi2 (for avx2)" in refused.stderr


@pytest.mark.emulator
def test_another_architecture(tmp_path: Path) -> None:
    """Cross-built, cross-linked, run in an emulator: on the oldest CPU and on a new one."""
    if missing():
        pytest.skip(missing())
    tgen.build(small_graph(), tmp_path, name="small", targets=("neon", "neoverse-n1", "armv8.6-a"))
    command = ["aarch64-linux-gnu-gcc", "example.c", "-L.", "-lsmall", "-Wl,-rpath,$ORIGIN", "-o", "example"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    zeros = {"x": np.zeros((5, 8), np.float32), "ids": np.zeros(5, np.int64)}
    wanted = tgen.reference(small_graph(), zeros)["y"].reshape(-1)[:4]
    for cpu, target in (("cortex-a53", "neon"), ("neoverse-n1", "neon_dot"), ("max,sve=off,sme=off", "neon_matrix")):
        emulator = ["qemu-aarch64-static", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", str(tmp_path / "example"), "5"]
        out = subprocess.run(emulator, check=True, capture_output=True, text=True, timeout=120).stdout
        assert f"small runs code for {target}\n" in out
        line = next(line for line in out.splitlines() if line.startswith("y float32[5, 4]:"))
        np.testing.assert_allclose([float(v) for v in line.split(":")[1].split()], wanted, rtol=1e-5, atol=1e-6)
