"""How many threads a process may really use: CPU affinity and cgroup quota, never the number of CPUs of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    """visible: CPUs of the machine; affinity: CPUs this process may run on; quota: CPUs' worth of time a cgroup grants, or None."""

    visible: int
    affinity: int
    quota: float | None

    @property
    def budget(self) -> int:
        """max(1, floor(min(affinity, quota)))."""
        return max(1, int(min(self.affinity, self.quota if self.quota is not None else self.affinity)))


def facts(root: Path | str = "/") -> Facts:
    """What holds for this process. root: of the file system that /proc and /sys are read from (for tests)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [q for q in _quotas(Path(root)) if q > 0]
    return Facts(os.cpu_count() or 1, affinity, min(quotas) if quotas else None)


def budget(root: Path | str = "/") -> int:
    """Threads worth starting in this process."""
    return facts(root).budget


def explain(root: Path | str = "/") -> list[str]:
    """The facts and the budget, a line each."""
    known = facts(root)
    quota = f"{known.quota:g} CPUs" if known.quota is not None else "none"
    return [f"CPUs visible: {known.visible}", f"affinity: {known.affinity}", f"cgroup quota: {quota}", f"threads: {known.budget}"]


def _quotas(root: Path) -> Iterator[float]:
    """Quotas of this process's cgroups and all their ancestors, versions 1 and 2: any of them may bind."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if number == "0" and not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", path):
                yield _v2(_text(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for base in (root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"):
                for folder in _upwards(base, path):
                    yield _v1(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _upwards(base: Path, path: str) -> Iterator[Path]:
    """base/path and every folder above it down to base; in a container the path may lie outside what is mounted."""
    parts = [p for p in path.split("/") if p and p != ".."]
    for count in range(len(parts), -1, -1):
        yield base.joinpath(*parts[:count])


def _v2(text: str) -> float:
    words = text.split()
    return _ratio(words[0], words[1]) if len(words) == 2 else 0.0


def _v1(quota: str, period: str) -> float:
    return _ratio(quota.strip(), period.strip())


def _ratio(quota: str, period: str) -> float:
    """quota/period, or 0 when there is no limit ("max", -1) or the text is no number."""
    try:
        return max(0.0, int(quota) / int(period))
    except (ValueError, ZeroDivisionError):
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
