"""`Frame`: how a call hands its pointers and sizes to native code. What runs a model needs this, and nothing of what compiles it."""

from __future__ import annotations

from dataclasses import dataclass

INTERRUPTED = -1  # a status
RUNTIME_BYTES = 256  # of the frame: belong to `tgen_parallel` and `tgen_barrier`


@dataclass(frozen=True)
class Frame:
    """Layout of what a call hands to native code, in 8-byte words from RUNTIME_BYTES on.

    arena, weights, scratch (pointers), scratch bytes a thread, times (pointer; used by profiling code only: see `emit_program`), status
    (written by the run: 0, INTERRUPTED, or the number of the message that it ends with, from 1: those of extents, then those of checks),
    interrupts (of the process, when the run began: of use to loops that may have no end); then
    pointers of inputs and outputs, values of symbols, of extents (written by the run), pointer and size of the arena's segment of each extent (kept
    from run to run), flags of checks, chunk counters. The pointer to an output whose size is found out in a run is written by the run.
    """

    inputs: int
    outputs: int
    symbols: int
    steps: int
    extents: int = 0
    checks: int = 0

    ARENA, WEIGHTS, SCRATCH, SCRATCH_BYTES, TIMES, STATUS, INTERRUPTS = range(7)
    HEADER = 7

    @property
    def first_symbol(self) -> int:
        return self.HEADER + self.inputs + self.outputs

    @property
    def first_extent(self) -> int:
        return self.first_symbol + self.symbols

    @property
    def first_segment(self) -> int:
        return self.first_extent + self.extents

    @property
    def first_flag(self) -> int:
        return self.first_segment + 2 * self.extents

    @property
    def first_counter(self) -> int:
        return self.first_flag + self.checks

    @property
    def words(self) -> int:
        return RUNTIME_BYTES // 8 + self.first_counter + self.steps
