"""This machine's ceilings, measured: multiply-adds a second by each instruction, bytes read a second from each level of memory.

Programs are made for the target and run on as many threads as the models do; the best of several short runs counts.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..artefact import aligned_bytes
from ..codegen import llvm
from ..codegen.ceilings import emit_peak, emit_read, read_unit
from ..codegen.llvm import machine_of
from ..codegen.runtime import process_runtime
from ..frame import RUNTIME_BYTES
from ..ir.dtypes import BF16, F32
from ..passes.precision import PRODUCTS
from ..targets.target import Target
from ..targets.tile import MacTile

MEMORY_BYTES = 64 << 20  # of a thread: more than its share of any cache
RUN_SECONDS = 0.001  # of one run, about: the shorter, the likelier that nobody disturbs it
ATTEMPTS = 5  # of which the best tells how many rounds a run should have
SPEND_SECONDS = 0.15  # on the runs of one program

Measure = Callable[[int], float]  # rounds → seconds


@dataclass(frozen=True)
class Level:
    """Reading `bytes` (of all threads together) again and again runs at `rate` bytes a second."""

    bytes: int
    rate: float


@dataclass(frozen=True)
class Ceilings:
    """flops: operations a second (a multiply-add is two) by name of the tile; levels: smallest first; all threads together."""

    flops: Mapping[str, float]
    levels: tuple[Level, ...]

    def rate(self, held: float) -> float:
        """Bytes a second at which so many bytes can be read again and again, at best: as the largest level measured that is no larger."""
        return max((level for level in self.levels if level.bytes <= held), key=lambda x: x.bytes, default=self.levels[0]).rate

    def floor_seconds(
        self, operations: float, weights: float, near: float = 0.0, *, peak: float, held: float | None = None
    ) -> float:
        """The roofline: the least time for so many operations at `peak` a second, over so many bytes.

        weights: bytes of weights read, out of `held` in the whole model (None: those are all), which are read in every run.
        near: other bytes; they may still be where whoever made them left them.
        """
        memory = weights / self.rate(weights if held is None else held) + near / self.rate(near)
        return max(operations / peak, memory)


def measure(target: Target, threads: int, tiles: tuple[str, ...] = ()) -> Ceilings:
    """The ceilings of `threads` threads of this machine, for its floating-point tiles at the model's dtypes and those named.

    Takes some 0.1 s for a tile and as much for a level of memory, once a process.
    """
    wanted = [t for t in target.tiles if t.name in tiles or t in model_tiles(target)]
    return Ceilings(MappingProxyType({t.name: _peak(target, threads, t) for t in wanted}), _levels(target, threads))


def model_tiles(target: Target) -> tuple[MacTile, ...]:
    """The tiles that products of float32 matrices may be done with: of float32, and of bfloat16 parts."""
    return tuple(t for t in target.tiles if t.a is t.b and t.a in (F32, BF16) and t.accumulate is F32)


def product_peak(ceilings: Ceilings, target: Target, precision: str) -> float:
    """Operations a second of a float32 matrix product at this precision: directly, or by as many bfloat16 products as that takes."""
    return max(ceilings.flops[t.name] / (1 if t.a is F32 else len(PRODUCTS[precision])) for t in model_tiles(target))


@functools.cache
def _peak(target: Target, threads: int, tile: MacTile) -> float:
    peak = emit_peak(target, tile)
    memory = _random(tile, peak.area * threads)
    rounds, seconds = _best(_runner(peak.ir, "peak", target, threads, memory, peak.area))
    return peak.flops * rounds * threads / seconds


@functools.cache
def _levels(target: Target, threads: int) -> tuple[Level, ...]:
    """Sizes that stay in half of L1 and of L2, and from a few times L2 up to what no cache holds."""
    l1, l2 = target.caches.l1, target.caches.l2
    memory = aligned_bytes(MEMORY_BYTES * threads)
    memory[:] = 0
    code, found = emit_read(target), []
    for size in sorted({l1 // 2, l2 // 2, 4 * l2, 16 * l2, MEMORY_BYTES}):
        area = size - size % read_unit(target)
        rounds, seconds = _best(_runner(code, "read", target, threads, memory, area))
        found.append(Level(area * threads, area * rounds * threads / seconds))
    return tuple(found)


def _random(tile: MacTile, size: int) -> np.ndarray:
    """Random signed operands: constant ones draw less power and run faster than any real product."""
    rng, block = np.random.default_rng(0), aligned_bytes(size)
    if tile.a.is_float:
        values = rng.standard_normal(size // tile.a.size).astype(tile.a.numpy)
        block[: values.nbytes] = values.view(np.uint8)
    else:
        block[:] = rng.integers(0, 256, size, dtype=np.uint8)
    return block


def _runner(ir: str, name: str, target: Target, threads: int, memory: np.ndarray, area: int) -> Measure:
    """Seconds that so many rounds of a program of `tgen.codegen.ceilings` take on all threads."""
    if target.uses_tiles:
        from ..runtime.amx import ask_permission

        ask_permission()
    machine = machine_of(target)
    runtime = process_runtime(machine, target.spin_hint)
    library = llvm.load([llvm.compile_object(ir, machine)], [name], runtime)
    parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(runtime["tgen_parallel"])
    frame = aligned_bytes(RUNTIME_BYTES + 64)
    frame[:] = 0
    words = frame[RUNTIME_BYTES:].view(np.int64)

    def run(rounds: int) -> float:
        words[:3] = (memory.ctypes.data, area, rounds)
        begin = time.perf_counter()
        parallel(library.address(name), frame.ctypes.data, threads)
        return time.perf_counter() - begin

    return run


def _best(run: Measure) -> tuple[int, float]:
    """(rounds, least seconds) of runs that take about RUN_SECONDS each, SPEND_SECONDS in all."""
    rounds = 1
    while (seconds := min(run(rounds) for _ in range(ATTEMPTS))) < RUN_SECONDS / 2:
        rounds *= max(2, min(64, int(RUN_SECONDS / max(seconds, 1e-9))))
    end = time.perf_counter() + SPEND_SECONDS
    while time.perf_counter() < end:
        seconds = min(seconds, run(rounds))
    return rounds, seconds
