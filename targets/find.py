"""All targets, and the choice of one: by name, or by what the CPU can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..ir.errors import TgenError
from .aarch64 import NEON, NEON_DOT, NEON_MATRIX
from .generic import GENERIC
from .target import Target
from .x86 import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI, AVX_VNNI


class UnknownTarget(TgenError):
    """No target has this name, or this CPU lacks what the target needs."""


def all_targets() -> tuple[Target, ...]:
    """Every target, best first within an architecture; the last one runs anywhere."""
    return (AMX, AVX512_BF16, AVX512_VNNI, AVX512, AVX_VNNI, AVX2, NEON_MATRIX, NEON_DOT, NEON, GENERIC)


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
    return dataclasses.replace(target, triple=host_triple) if not target.triple else target
