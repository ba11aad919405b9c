"""`Target`: where code runs, as a record of facts. Chosen by CPU features, never by the CPU's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..ir.errors import TgenError
from .tile import MacTile


class UnknownTarget(TgenError):
    """No target has this name, or this CPU lacks what the target needs."""


@dataclass(frozen=True)
class Caches:
    """Bytes a core: what the cost model and blocking reckon with."""

    l1: int = 32 << 10
    l2: int = 512 << 10


@dataclass(frozen=True)
class Target:
    """triple, cpu, features: as LLVM takes them (cpu is a scheduling model). lanes: float32 lanes of a vector.

    needs: CPU features the code uses. tiles: multiply-accumulate instructions, best first for a tie. spin_hint: LLVM IR line of the
    instruction that waits politely. uses_tiles: the process must ask the kernel's permission (AMX). converts_f16: has an
    instruction between float16 and float32.
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

    @property
    def feature_string(self) -> str:
        return ",".join(f"+{f}" for f in self.features)

    def runs_on(self, features: Iterable[str]) -> bool:
        return set(self.needs) <= set(features)


def all_targets() -> tuple[Target, ...]:
    """Every target, best first."""
    from .generic import GENERIC
    from .x86 import AVX2, AVX512, AMX

    return (AMX, AVX512, AVX2, GENERIC)


def find_target(name: str, host_features: Iterable[str], host_triple: str) -> Target:
    """The target called `name`; "host" is the best whose needs the host's features meet. Raises UnknownTarget."""
    features = set(host_features)
    architecture = host_triple.split("-")[0]
    if name == "host":
        runnable = (t for t in all_targets() if t.triple.split("-")[0] in (architecture, "") and t.runs_on(features))
        return _at_home(next(runnable), host_triple)
    for target in all_targets():
        if target.name == name:
            return _at_home(target, host_triple)
    raise UnknownTarget(f"no target is named {name!r}; targets: host, {', '.join(t.name for t in all_targets())}")


def _at_home(target: Target, host_triple: str) -> Target:
    """A target without a triple of its own takes the host's."""
    import dataclasses

    return dataclasses.replace(target, triple=host_triple) if not target.triple else target
