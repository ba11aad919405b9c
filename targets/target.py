"""`Target`: where code runs, as a record of facts. Chosen by CPU features, never by the CPU's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .tile import MacTile


@dataclass(frozen=True)
class Caches:
    """Bytes a core: what the cost model and blocking reckon with. l2_speed, beyond: bytes a cycle from L2, and from L3 or memory.
    ways: lines of L1 for addresses that are a multiple of l1/ways apart.
    """

    l1: int = 32 << 10
    l2: int = 512 << 10
    l2_speed: float = 32.0
    beyond: float = 8.0
    ways: int = 8


@dataclass(frozen=True)
class Target:
    """triple, cpu, features: as LLVM takes them (cpu is a scheduling model). lanes: float32 lanes of a vector.

    needs: CPU features the code uses. tiles: multiply-accumulate instructions, best first for a tie. spin_hint: LLVM IR line of the
    instruction that waits politely. uses_tiles: the process must ask the kernel's permission (AMX). converts_f16: has an
    instruction between float16 and float32. masks: loads and stores some lanes of a vector as fast as all. clock: the register that
    counts time ("": LLVM's cycle counter will do).
    """

    name: str
    triple: str
    cpu: str
    features: tuple[str, ...]
    needs: tuple[str, ...]
    lanes: int
    registers: int
    tiles: tuple[MacTile, ...]
    caches: Caches = Caches()
    spin_hint: str = ""
    uses_tiles: bool = False
    converts_f16: bool = True
    masks: bool = False
    clock: str = ""

    @property
    def feature_string(self) -> str:
        return ",".join(f"+{f}" for f in self.features)

    def runs_on(self, features: Iterable[str]) -> bool:
        return set(self.needs) <= set(features)
