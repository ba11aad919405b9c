"""All targets, and the choice of one: by name, by a CPU's name, by features, or by what the CPU at hand can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from ..ir.errors import TgenError
from .aarch64 import NEON, NEON_DOT, NEON_MATRIX
from .aarch64.features import FEATURES as AARCH64_FEATURES
from .features import FeatureBits
from .generic import GENERIC
from .target import Target
from .x86 import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI, AVX_VNNI
from .x86.features import FEATURES as X86_FEATURES

# How a running CPU tells its features, by architecture (the first part of a triple).
FEATURES: Mapping[str, FeatureBits] = {"x86_64": X86_FEATURES, "aarch64": AARCH64_FEATURES}

# Other names of targets: levels of the x86-64 psABI and of the Arm architecture, and CPUs as compilers call them (-mcpu, -march).
ALIASES: Mapping[str, tuple[str, ...]] = {
    "avx2": ("x86-64-v3", "haswell", "broadwell", "skylake", "znver1", "znver2", "znver3"),
    "avx_vnni": ("alderlake", "raptorlake", "meteorlake", "arrowlake", "lunarlake", "sierraforest"),
    "avx512": ("x86-64-v4", "skylake-avx512"),
    "avx512_vnni": ("cascadelake", "icelake-client", "icelake-server", "tigerlake", "rocketlake"),
    "avx512_bf16": ("cooperlake", "znver4", "znver5"),
    "amx": ("sapphirerapids", "emeraldrapids", "graniterapids"),
    "neon": ("armv8-a", "cortex-a53", "cortex-a57", "cortex-a72"),
    "neon_dot": ("armv8.2-a", "cortex-a76", "neoverse-n1", "apple-m1"),
    "neon_matrix": ("armv8.6-a", "neoverse-n2", "neoverse-v1", "neoverse-v2", "apple-m2"),
}


class UnknownTarget(TgenError):
    """No target has this name, or this CPU lacks what the target needs."""


def all_targets() -> tuple[Target, ...]:
    """Every target, best first within an architecture; the last one runs anywhere."""
    return (AMX, AVX512_BF16, AVX512_VNNI, AVX512, AVX_VNNI, AVX2, NEON_MATRIX, NEON_DOT, NEON, GENERIC)


def find_target(name: str, host_features: Iterable[str], host_triple: str) -> Target:
    """The target called `name`, which may be one of `ALIASES`, too. "host": the best whose needs the host's features meet; `avx2+fma+…`
    (features by LLVM's names): the best that needs no others. Raises UnknownTarget.
    """
    if name == "host":
        return _best(host_features, (host_triple.split("-")[0],), host_triple)
    if "+" in name:
        return _best(_features(name), FEATURES, host_triple)
    name = next((target for target, aliases in ALIASES.items() if name in aliases), name)
    for target in all_targets():
        if target.name == name:
            return _at_home(target, host_triple)
    known = ", ".join(t.name for t in all_targets())
    raise UnknownTarget(f"no target is named {name!r}; targets: host, {known}; `tgen targets` tells other names of theirs")


def _features(name: str) -> set[str]:
    """`avx2+fma` as a set; raises UnknownTarget for what no table knows."""
    features = {part for part in name.split("+") if part}
    unknown = sorted(features.difference(*FEATURES.values()))
    if unknown:
        raise UnknownTarget(
            f"no CPU feature is named {unknown[0]!r}; features: {', '.join(sorted(set().union(*FEATURES.values())))}"
        )
    return features


def _best(features: Iterable[str], architectures: Iterable[str], host_triple: str) -> Target:
    """The first target that needs no more than these features."""
    there = set(features)
    runnable = (t for t in all_targets() if t.triple.split("-")[0] in (*architectures, "") and t.runs_on(there))
    return _at_home(next(runnable), host_triple)


def _at_home(target: Target, host_triple: str) -> Target:
    """A target without a triple of its own takes the host's."""
    return dataclasses.replace(target, triple=host_triple) if not target.triple else target
