"""The thread budget: affinity and quotas of cgroups, in file trees as Linux, Docker and Kubernetes make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tgen.runtime import threads
from tgen.runtime.threads import Facts, budget, explain, facts


@pytest.fixture(autouse=True)
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def tree(root: Path, membership: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": membership, **{f"sys/fs/cgroup/{n}": t for n, t in files.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"
CASES = {
    "v2": ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
    "v2 no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "v2 nested, own binds": (
        "0::/a/b\n",
        {"cpu.max": "max 100000", "a/cpu.max": "400000 100000", "a/b/cpu.max": "150000 100000"},
        1.5,
    ),
    "v2 nested, ancestor binds": ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
    "v2 container sees its host's path": ("0::/kubepods/pod7/c1\n", {"cpu.max": "250000 100000"}, 2.5),
    "v2 outside of the namespace": ("0::/../../other\n", {"cpu.max": "200000 100000"}, 2),
    "v2 period": ("0::/\n", {"cpu.max": "25000 50000"}, 0.5),
    "v1": (V1, {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000\n"}, 4),
    "v1 no limit": (
        V1,
        {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "v1 mounted at the container": (V1, {"cpu/cpu.cfs_quota_us": "350000", "cpu/cpu.cfs_period_us": "100000"}, 3.5),
    "v1 and v2 together": (
        "2:cpu:/\n0::/x\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "9", "unified/x/cpu.max": "6 2"},
        3,
    ),
    "other controllers": (
        "5:cpuset,cpuacct:/\n",
        {"cpuset,cpuacct/cpu.cfs_quota_us": "1", "cpuset,cpuacct/cpu.cfs_period_us": "1"},
        None,
    ),
    "nonsense": ("0::/\nnoise\n7\n", {"cpu.max": "many"}, None),
    "empty": ("0::/\n", {"cpu.max": ""}, None),
    "division by zero": ("0::/\n", {"cpu.max": "100 0"}, None),
}


@pytest.mark.parametrize("membership, files, quota", CASES.values(), ids=CASES)
def test_quota(tmp_path: Path, membership: str, files: dict[str, str], quota: float | None) -> None:
    assert facts(tree(tmp_path, membership, files)) == Facts(16, 8, quota)


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert facts(tmp_path) == Facts(16, 8, None)
    assert budget(tmp_path) == 8


@pytest.mark.parametrize("affinity, quota, wanted", [(8, None, 8), (8, 3.9, 3), (2, 3.9, 2), (8, 0.2, 1), (1, None, 1)])
def test_budget_is_the_floor_of_the_least(affinity: int, quota: float | None, wanted: int) -> None:
    assert Facts(16, affinity, quota).budget == wanted


def test_explain_says_every_fact(tmp_path: Path) -> None:
    lines = explain(tree(tmp_path, "0::/\n", {"cpu.max": "250000 100000"}))
    assert lines == ["CPUs visible: 16", "affinity: 8", "cgroup quota: 2.5 CPUs", "threads: 2"]


def test_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= threads.budget() <= len(os.sched_getaffinity(0))
