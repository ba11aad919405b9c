"""Programs that measure ceilings: they stay in their area and multiply; the roofline is arithmetic."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tests.native import host, is_native, runnable_targets
from tgen.artefact import aligned_bytes
from tgen.bench import calibrate
from tgen.bench.calibrate import Ceilings, Level, measure, model_tiles, product_peak
from tgen.codegen import llvm
from tgen.codegen.ceilings import emit_peak, emit_read, read_unit
from tgen.codegen.llvm import machine_of
from tgen.codegen.runtime import process_runtime
from tgen.frame import RUNTIME_BYTES
from tgen.ir.dtypes import F32
from tgen.targets.find import find_target

CEILINGS = Ceilings({"fma": 100.0}, (Level(10, 50.0), Level(100, 20.0), Level(1000, 5.0)))


def run_alone(ir: str, name: str, target, memory: np.ndarray, area: int, rounds: int) -> None:
    """The program as thread 0 of one."""
    symbols = process_runtime(machine_of(host()), host().spin_hint)
    library = llvm.load([llvm.compile_object(ir, machine_of(target))], [name], symbols)
    frame = aligned_bytes(RUNTIME_BYTES + 64)
    frame[RUNTIME_BYTES:].view(np.int64)[:3] = (memory.ctypes.data, area, rounds)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(library.address(name))(0, 1, frame.ctypes.data)


TILES = [(t, tile) for t in runnable_targets().values() if is_native(t) for tile in model_tiles(t)]


@pytest.mark.parametrize(("target", "tile"), TILES, ids=[f"{t.name}-{tile.name}" for t, tile in TILES])
def test_peak_stays_in_its_area(target, tile) -> None:
    """Operands are read, results written behind them, nothing further; infinities would spread from what lies outside."""
    peak = emit_peak(target, tile)
    memory = aligned_bytes(peak.area + 4096)
    memory[:] = 0
    ones = np.ones(peak.area // tile.a.size, tile.a.numpy).view(np.uint8)
    memory[: ones.size] = ones
    before = memory.copy()
    run_alone(peak.ir, "peak", target, memory, peak.area, 1)
    np.testing.assert_array_equal(memory[peak.area :], before[peak.area :])
    changed = np.flatnonzero(memory != before)
    results = memory[changed[0] & -64 : changed[-1] + 1 & -4].view(np.float32)
    block = max(tile.blocks(), key=lambda b: b[0] * b[1] / (b[0] + b[1]))
    each = peak.flops / 2 / (block[0] * tile.m * block[1] * tile.n)
    assert results.size == block[0] * tile.m * block[1] * tile.n and (results == each).all(), "so many products of ones"


def test_read_takes_all_of_its_area() -> None:
    target = host()
    area = 16 * read_unit(target)
    memory = aligned_bytes(2 * area)
    memory.view(np.float32)[:] = 1.0
    run_alone(emit_read(target), "read", target, memory, area, 1)
    assert memory.view(np.float32)[: target.lanes].sum() == area // 4


def test_roofline() -> None:
    assert [CEILINGS.rate(x) for x in (1, 10, 99, 100, 5000)] == [50, 50, 50, 20, 5]
    assert CEILINGS.floor_seconds(1000, 10, peak=100.0) == 10, "arithmetic takes longer"
    assert CEILINGS.floor_seconds(1, 10, 100, peak=100.0) == 10 / 50 + 100 / 20
    assert CEILINGS.floor_seconds(1, 10, peak=100.0, held=5000) == 10 / 5


def test_measure() -> None:
    target = find_target("generic", llvm.host_features(), llvm.host_triple())
    found = measure(target, 2, ("generic.i32",))
    assert set(found.flops) == {"generic.f32", "generic.i32"} and all(x > 0 for x in found.flops.values())
    sizes = [level.bytes for level in found.levels]
    assert sizes == sorted(sizes) and sizes[-1] == 2 * calibrate.MEMORY_BYTES and all(level.rate > 0 for level in found.levels)


def test_peak_of_a_precision() -> None:
    """One, three or six bfloat16 products, where that is faster than one of float32."""
    amx = next(t for t in runnable_targets().values() if any(tile.a is not F32 for tile in model_tiles(t)))
    found = Ceilings(
        {t.name: 100.0 if t.a is F32 else 1200.0 if t.name == model_tiles(amx)[0].name else 0.0 for t in model_tiles(amx)}, ()
    )
    assert [product_peak(found, amx, p) for p in ("highest", "high", "medium")] == [200, 400, 1200]
