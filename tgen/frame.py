"""`Frame`: how a call hands its pointers and sizes to native code. What runs a model needs this, and nothing of what compiles it."""

from __future__ import annotations

from dataclasses import dataclass

RUNTIME_BYTES = 256  # of the frame: belong to `tgen_parallel` and `tgen_barrier`


@dataclass(frozen=True)
class Frame:
    """Layout of what a call hands to native code, in 8-byte words from RUNTIME_BYTES on.

    arena, weights, scratch (pointers), scratch bytes a thread, times (pointer; used by profiling code only: see `emit_program`); then
    pointers of inputs and outputs, values of symbols, chunk counters.
    """

    inputs: int
    outputs: int
    symbols: int
    steps: int

    TIMES = 4
    HEADER = 5

    @property
    def first_symbol(self) -> int:
        return self.HEADER + self.inputs + self.outputs

    @property
    def first_counter(self) -> int:
        return self.first_symbol + self.symbols

    @property
    def words(self) -> int:
        return RUNTIME_BYTES // 8 + self.first_counter + self.steps
