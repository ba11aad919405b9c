"""What the suite's rows are made of, and what machine they hold for."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tgen.bench.contestants import NAMES
from tgen.bench.rows import Row
from tgen.codegen import llvm
from tgen.ir.dtypes import BF16
from tgen.runtime.threads import budget
from tgen.targets.find import find_target
from tgen.targets.target import Target

PACKAGES = ("numpy", "llvmlite", "onnxruntime", "openvino", "torch", "transformers")
FEATURES = ("avx2", "fma", "avx512f", "avx512vnni", "avx512bf16", "amx-tile", "amx-bf16", "amx-int8")


class Missing(Exception):
    """A row that this machine cannot have; the message says why."""


@dataclass(frozen=True)
class Settings:
    """rounds, burst: of a comparison, in seconds; threads: of the models; model: folder of MiniLM, or why there is none."""

    rounds: int
    burst: float
    threads: int
    model: Path | str

    @property
    def folder(self) -> Path:
        if isinstance(self.model, str):
            raise Missing(f"MiniLM is not here: {self.model}")
        return self.model


@dataclass(frozen=True)
class Table:
    """Headings and rows of text, and lines that stand below."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), *(f"\n{note}" for note in self.notes)])


@dataclass(frozen=True)
class Measurement:
    """One row of the table of aims. run: raises Missing for what this machine cannot do."""

    name: str
    aim: str
    run: Callable[[Settings], Table]


def host() -> Target:
    return find_target("host", llvm.host_features(), llvm.host_triple())


def need_bf16(target: Target | None = None) -> None:
    """Raises Missing where a product of bfloat16 is no faster than one of float32."""
    chosen = target or host()
    if not any(tile.a is BF16 for tile in chosen.tiles):
        raise Missing(f"{chosen.name} has no instruction that multiplies bfloat16 (AMX, or AVX-512 with BF16)")


def need_feature(feature: str) -> None:
    if feature not in llvm.host_features():
        raise Missing(f"this CPU has no {feature}")


def need_packages(*names: str) -> None:
    """Raises Missing where one is not installed."""
    missing = [name for name in names if _version(name) is None]
    if missing:
        raise Missing(f"not installed: {', '.join(missing)}")


def row_text(row: Row) -> list[str]:
    """A contestant as cells: name, median, p10, p99, ratio with its interval, GFLOP/s, of the roofline, difference, note."""
    if row.failed:
        return [row.name, *["–"] * 6, "", f"not measured: {row.failed}"]
    times = [f"{x:.4g}" for x in (row.median, row.p10, row.p99)]
    ratio = f"{row.ratio:.2f} ({row.ratio_low:.2f}–{row.ratio_high:.2f})"
    difference = "" if row.error is None else f"{row.error:.1e}"
    return [row.name, *times, ratio, *row.speed, difference, row.note]


ROW_HEADINGS = ("contestant", "median ms", "p10", "p99", "× tgen (9 of 10 rounds)", "GFLOP/s", "of roofline", "difference", "note")


def ratio_text(ratios: Sequence[float]) -> str:
    """Median and interval of nine rounds in ten."""
    low, middle, high = np.quantile(ratios, (0.05, 0.5, 0.95))
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def machine_text() -> str:
    """Date, CPU, features, versions and load, as lines of a list."""
    features = llvm.host_features()
    has = [f for f in FEATURES if f in features]
    lacks = [f for f in FEATURES if f not in features]
    versions = [f"{name} {_version(name)}" for name in ("tgen", *PACKAGES) if _version(name)]
    return "\n".join(
        [
            f"* {datetime.date.today()}, {_cpu()}, {os.cpu_count()} CPUs, {budget()} of them for this process",
            f"* has {', '.join(has) or 'none of the features tgen looks for'}; lacks {', '.join(lacks) or 'none'}; target {host().name}",
            f"* Python {platform.python_version()}, LLVM {llvm.llvm_version()}, {', '.join(versions)}",
            f"* load average {', '.join(f'{x:.1f}' for x in os.getloadavg())}; contestants known: {', '.join(NAMES)}",
        ]
    )


def _cpu() -> str:
    """The name that the system gives the CPU: for the reader; nothing depends on it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
