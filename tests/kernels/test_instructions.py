"""Machine code of the micro-kernels: the intended instruction, and accumulators that stay in registers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tgen.codegen import llvm
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.targets.find import find_target

CASES = [
    # target, dtypes of A and B, rows, instruction
    ("avx2", "f32 f32", 96, "vfmadd231ps"),
    ("avx512", "f32 f32", 96, "vfmadd231ps"),
    ("avx512_bf16", "bf16 bf16", 96, "vdpbf16ps"),
    ("amx", "bf16 bf16", 96, "tdpbf16ps"),
    ("avx2", "u8 i8", 96, "vpmaddwd"),
    ("avx512", "i8 i8", 96, "vpmaddwd"),
    ("avx_vnni", "u8 i8", 96, "vpdpbusd"),
    ("avx512_vnni", "i8 u8", 96, "vpdpbusd"),
    *(("amx", f"{a} {b}", 96, f"tdpb{a[0]}{b[0]}d".replace("i", "s")) for a in ("u8", "i8") for b in ("u8", "i8")),
]


def micro_kernels(target: str, a: str, b: str, m: int) -> dict[str, str]:
    """Assembly of every micro-kernel of a product [m, 512]·[512, 512]."""
    build = Builder()
    x = build.input("x", a, (m, 512))
    weight = build.constant(np.full((512, 512), 200 if b == "u8" else -3), b)  # that fits no other dtype of 8 bits
    build.output("y", build.mat_mul_integer(x, weight) if b in ("u8", "i8") else build.matmul(x, weight))
    found = find_target(target, llvm.host_features(), llvm.host_triple())
    text = compile_graph(build.build(), found, "highest").text("asm")
    functions = re.findall(r'^"?(micro\.[^\n:"]+)"?:[^\n]*\n(.*?)^\.Lfunc_end', text, re.M | re.S)
    return dict(functions)


@pytest.mark.parametrize("target,dtypes,m,instruction", CASES)
def test_instruction_and_registers(target: str, dtypes: str, m: int, instruction: str) -> None:
    kernels = micro_kernels(target, *dtypes.split(), m)
    assert kernels
    for name, code in kernels.items():
        loops = code.split("\n")
        assert any(instruction in line for line in loops), f"{name} has no {instruction}"
        spills = [line for line in loops if re.search(r"%[yz]mm\d+, [-\d]*\(%rsp\)", line)]
        assert not spills, f"{name}: {spills}"


@pytest.mark.parametrize(
    "target,dtypes,m,fetches", [("avx2", "f32 f32", 96, True), ("avx2", "f32 f32", 1, False), ("amx", "bf16 bf16", 96, True)]
)
def test_weights_are_read_ahead_where_multiplying_leaves_time(target: str, dtypes: str, m: int, fetches: bool) -> None:
    for name, code in micro_kernels(target, *dtypes.split(), m).items():
        assert ("prefetch" in code) == fetches, name
