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
    visible = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else visible
    return Facts(visible, affinity, min(_quotas(Path(root)), default=None))


def budget(root: Path | str = "/") -> int:
    """Threads worth starting in this process."""
    return facts(root).budget


def explain(root: Path | str = "/") -> list[str]:
    """The facts and the budget, a line each."""
    known = facts(root)
    quota = f"{known.quota:g} CPUs" if known.quota is not None else "none"
    return [f"CPUs visible: {known.visible}", f"affinity: {known.affinity}", f"cgroup quota: {quota}", f"threads: {known.budget}"]


def _quotas(root: Path) -> Iterator[float]:
    """Quotas, in CPUs, of this process's cgroups and all their ancestors, versions 1 and 2: any of them may bind."""
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in (*_upwards(mounts, path), *_upwards(mounts / "unified", path)):
                yield from _quota(*_text(folder / "cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            for base in dict.fromkeys((mounts / controllers, mounts / "cpu")):
                for folder in _upwards(base, path):
                    yield from _quota(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _upwards(base: Path, path: str) -> Iterator[Path]:
    """base/path and every folder above it down to base; in a container the path may lie outside what is mounted."""
    parts = [p for p in path.split("/") if p and p != ".."]
    for count in range(len(parts), -1, -1):
        yield base.joinpath(*parts[:count])


def _quota(granted: str = "", period: str = "") -> Iterator[float]:
    """granted/period; nothing where there is no limit ("max", -1) or the text is no number."""
    try:
        quota = int(granted) / int(period)
    except (ValueError, ZeroDivisionError):
        return
    if quota > 0:
        yield quota


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
