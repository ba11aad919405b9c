"""The choice of instruction and block for typical shapes of weights, on each target."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tgen.ir.dims import symbol
from tgen.ir.dtypes import BF16, F16, F32, I8, I32, U8
from tgen.ir.ops.fused import FewRows
from tgen.kernels.specs import row_blocks
from tgen.passes.cost import ONE, Choice, Shape, choose, cycles
from tgen.passes.few_rows import GAIN, few_rows, packing_of
from tgen.passes.precision import PRODUCTS, faster_on
from tgen.targets.find import all_targets
from tgen.targets.tile import MacTile

TARGETS = {t.name: t for t in all_targets()}
FLOATS, HALVES, BYTES = (F32, F32, F32), (BF16, BF16, F32), (U8, I8, I32)
CASES = [
    # target, dtypes, rows, instruction, block
    ("amx", HALVES, 1, "vdpbf16ps", (1, None)),  # one row: vector code reads weights fastest
    ("amx", HALVES, 2, "vdpbf16ps", (2, None)),
    ("amx", HALVES, 8, "tdpbf16ps", (1, None)),  # a row of tiles
    ("amx", HALVES, 16, "tdpbf16ps", (1, None)),
    ("amx", HALVES, 32, "tdpbf16ps", (2, None)),
    ("amx", HALVES, 128, "tdpbf16ps", (2, 2)),
    ("amx", BYTES, 1, "vpdpbusd", (1, None)),
    ("amx", BYTES, 128, "tdpbusd", (2, 2)),
    ("avx512_bf16", HALVES, 128, "vdpbf16ps", (None, None)),
    ("avx512_vnni", BYTES, 128, "vpdpbusd", (None, None)),
    ("avx512", FLOATS, 1, "vfmadd231ps", (1, None)),
    ("avx512", FLOATS, 6, "vfmadd231ps", (6, None)),
    ("avx2", FLOATS, 1, "vfmadd231ps", (1, None)),
    ("avx2", FLOATS, 6, "vfmadd231ps", (6, 2)),
    ("neon", FLOATS, 1, "fmla", (1, None)),
    ("neon", FLOATS, 128, "fmla", (None, None)),
    ("neon_dot", (I8, I8, I32), 128, "sdot", (None, None)),
    ("neon_matrix", HALVES, 128, "bfmmla", (None, None)),
    ("neon_matrix", BYTES, 128, "usmmla", (None, None)),
    ("neon_matrix", (F16, F16, F32), 1, "fmlal", (1, None)),  # halves what is read
]


@pytest.mark.parametrize("target,types,m,instruction,block", CASES)
@pytest.mark.parametrize("size", [(1024, 1024), (384, 1536), (1536, 384)])
def test_instruction_and_block(target, types, m, instruction, block, size) -> None:
    choice = choose(TARGETS[target], types, Shape(m, *size, weights=True))
    assert choice is not None
    assert choice.tile.name.startswith(instruction), choice
    assert all(want in (None, got) for want, got in zip(block, choice.block)), choice


@pytest.mark.parametrize("level,rows", [("medium", 1), ("high", 128), ("highest", 128)])
def test_parts_where_they_are_faster(level, rows) -> None:
    """bfloat16 at once halves what is read; as float32 it pays only where multiplying is what takes the time, and only with AMX."""
    shape = Shape(rows, 1024, 1024, weights=True)
    assert faster_on(TARGETS["amx"])(shape, PRODUCTS[level])
    assert faster_on(TARGETS["avx512_bf16"])(shape, PRODUCTS[level]) == (level == "medium")
    assert faster_on(TARGETS["neon_matrix"])(shape, PRODUCTS[level]) == (level != "highest")
    assert not faster_on(TARGETS["avx512"])(shape, PRODUCTS[level])
    few = Shape(2, 1024, 1024, weights=True)
    assert faster_on(TARGETS["amx"])(few, PRODUCTS[level]) == (level == "medium")


def test_more_work_costs_more() -> None:
    """In every dimension; a symbol costs what is typical for it; weights from far away cost more than what is near."""
    for target in TARGETS.values():
        costs = []
        for shape in (Shape(1, 64, 64), Shape(40, 64, 64), Shape(40, 128, 64), Shape(40, 128, 128), Shape(128, 128, 128)):
            choice = choose(target, FLOATS, shape)
            assert choice is not None
            costs.append(choice.cycles)
        assert costs == sorted(costs) and len(set(costs)) == len(costs)
        symbolic, cold = (
            choose(target, FLOATS, Shape(symbol("m"), 128, 128)),
            choose(target, FLOATS, Shape(1, 128, 128, weights=True)),
        )
        near = choose(target, FLOATS, Shape(1, 128, 128), ONE)
        assert symbolic is not None and cold is not None and near is not None
        assert symbolic.cycles == costs[-1]
        assert cold.cycles > near.cycles


@pytest.mark.parametrize(
    "target,types,most,instruction",
    [("amx", HALVES, 2, "vdpbf16ps"), ("amx", BYTES, 10, "vpdpbusd"), ("avx2", FLOATS, 0, ""), ("avx512", FLOATS, 0, "")],
)
def test_few_rows(target, types, most, instruction) -> None:
    """Vector code instead of tiles; where vectors wait for memory anyway there is one way only."""
    found = few(target, types, Shape(symbol("m"), 1024, 1024, weights=True))
    assert [(f.most, f.tile.split(".")[0]) for f in found] == ([(most, instruction)] if most else [])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("types", [FLOATS, HALVES, BYTES])
@pytest.mark.parametrize("near", [False, True])
def test_few_rows_are_noticeably_faster(target, types, near) -> None:
    """Up to the greatest number of them, and not at the next; what serves them reads the same layout."""
    shape = Shape(symbol("m"), 192, 128, weights=True, near=near)
    base = choose(TARGETS[target], types, shape)
    tiles = {t.name: t for t in TARGETS[target].tiles}
    first = 1
    for f in few(target, types, shape):
        assert base is not None
        tile, packing = tiles[f.tile], packing_of(base)
        assert (tile.n, tile.k_pack, tile.k * f.inner, f.block[1]) == (packing.n, packing.k_pack, packing.k, packing.nr * f.panels)
        assert f.depth_block % packing.k == 0
        gains = [gain(target, base, tile, f.block, dataclasses.replace(shape, m=m)) for m in range(first, f.most + 2)]
        assert min(gains[:-1]) >= GAIN > gains[-1]
        first = f.most + 1


def few(target: str, types: Any, shape: Shape) -> tuple[FewRows, ...]:
    base = choose(TARGETS[target], types, shape)
    return () if base is None else few_rows(TARGETS[target], base, shape)


def gain(target: str, base: Choice, tile: MacTile, block: tuple[int, int], shape: Shape) -> float:
    caches = TARGETS[target].caches
    return cycles(base.tile, base.block, shape, caches) / cycles(tile, block, shape, caches)


@pytest.mark.parametrize("pitch,most", [(1024, 14), (2048, 14), (4096, 8), (4096 + 64, 14)])
def test_rows_that_drive_each_other_out(pitch, most) -> None:
    """A way of L1 has eight lines for rows that lie a multiple of 4096 bytes apart: more rows cost more than their share, others do not."""
    target = TARGETS["avx512"]
    tile = next(t for t in target.tiles if t.name.startswith("vfmadd231ps"))
    apart, near = (Shape(14, 32, 1024, pitch=p) for p in (pitch, 64))
    times = [[cycles(tile, (m, 2), dataclasses.replace(s, m=m), target.caches) for m in range(1, 15)] for s in (apart, near)]
    assert [m for m, (x, y) in enumerate(zip(*times), 1) if x == y] == list(range(1, most + 1))


@pytest.mark.parametrize("block,least", [(6, 4), (13, 4), (9, 3), (2, 1), (4, 4)])
def test_rows_are_cut_into_blocks(block, least) -> None:
    """All of them into no more than needed; the last has the least rows if there are so many."""
    for extent in range(1, 70):
        full, last = row_blocks(extent, block, least)
        assert full * block + sum(last) == extent
        assert all(0 < rows <= block for rows in last)
        assert full + len(last) == -(-extent // block)
        assert (*[block] * full, *last)[-1] >= min(least, extent)
