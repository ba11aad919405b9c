"""Machine code of AArch64 micro-kernels: the intended instructions, no spills, and as many loads as the block promises."""

from __future__ import annotations

import re

import llvmlite.ir as ll
import pytest

from tgen.codegen import llvm
from tgen.codegen.llvm import machine_of
from tgen.codegen.micro_kernel import Access, micro_kernel
from tgen.kernels.specs import Product
from tgen.targets.aarch64 import NEON, NEON_DOT, NEON_MATRIX
from tgen.targets.aarch64.by_element import ByElementTile
from tgen.targets.aarch64.matrix import MatrixTile
from tgen.targets.target import Target
from tgen.targets.tile import MacTile

CASES = [
    # target, tile, instructions of a multiply-accumulate
    (NEON, "fmla.f32", ["fmla"] * 4),
    (NEON, "fmla.f64", ["fmla"] * 2),
    (NEON_DOT, "fmla.f32", ["fmla"] * 4),
    (NEON_DOT, "sdot.i8i8", ["sdot"] * 4),
    (NEON_DOT, "udot.u8u8", ["udot"] * 4),
    (NEON_MATRIX, "fmla.f32", ["fmla"] * 4),
    (NEON_MATRIX, "smmla", ["smmla"]),
    (NEON_MATRIX, "ummla", ["ummla"]),
    (NEON_MATRIX, "usmmla", ["usmmla"]),
    (NEON_MATRIX, "bfmmla", ["bfmmla"]),
    (NEON_MATRIX, "bfdot.bf16bf16", ["bfdot"] * 4),
    (NEON_MATRIX, "usdot.u8i8", ["sudot"] * 4),  # the operand of lanes is A
    (NEON_MATRIX, "usdot.i8u8", ["usdot"] * 4),
    (NEON_MATRIX, "fmlal", ["fmlal", "fmlal2"] * 4),
]


def inner_loop(target: Target, tile: MacTile, block: tuple[int, int]) -> tuple[str, str]:
    """Assembly of a micro-kernel on weights, and of the loop over k in it."""
    module = ll.Module("micro")
    module.triple = target.triple
    product = Product(tile.name, block, ((0, 0),), 1, 1, tile.a, tile.accumulate)
    b_tile = tile.n * tile.k * tile.b.size
    access = Access(unit_k=True, b_step=b_tile * block[1], b_tile=b_tile, ahead=True)
    micro_kernel(module, tile, block[0], product, access, target.feature_string).linkage = ""
    code = llvm.assembly(str(module), machine_of(target))
    loop = re.search(r"^(\.LBB\w+):[^\n]*\n((?:\t[^\n]*\n)+?)\tb\.\w+\t\1$", code, re.M)
    assert loop, code
    return code, loop[2]


def loads(code: str) -> int:
    """Vector registers, or parts of them, that are loaded."""
    pairs, single = (len(re.findall(rf"\t{kind}\t{{?\s*[vqd]\d+", code)) for kind in ("ldp", "(?:ldu?r|ld1r?)"))
    return 2 * pairs + single


@pytest.mark.parametrize("target,name,instructions", CASES, ids=[f"{t.name}-{name}" for t, name, _ in CASES])
def test_inner_loop(target: Target, name: str, instructions: list[str]) -> None:
    tile = next(t for t in target.tiles if t.name == name)
    assert isinstance(tile, (ByElementTile, MatrixTile))
    for rows, columns in tile.blocks():
        code, loop = inner_loop(target, tile, (rows, columns))
        assert not re.findall(r"\t(?:st|ld)[a-z]*\tq\d+.*\[sp", code), f"{rows}x{columns} spills"
        multiplications = re.findall(r"\t(\w*(?:mla|dot|fmlal2?))\tv", loop)
        assert sorted(multiplications) == sorted(instructions * (rows * columns)), f"{rows}x{columns}"
        of_a, of_b = (1, tile.steps) if isinstance(tile, ByElementTile) else (2, 1)
        assert loads(loop) == of_a * rows + of_b * columns, f"{rows}x{columns}"
