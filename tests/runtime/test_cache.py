"""The compile cache: whole entries or none, whoever writes, dies or damages; never an error where the disk does not play along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tgen.cache import Cache, default_cache, default_root


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def only_file(cache: Cache) -> Path:
    assert cache.root is not None
    (path,) = cache.root.iterdir()
    return path


def test_parts_come_back_in_one_piece(cache: Cache) -> None:
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert cache.put("k", [b"ab", b"", numbers, np.zeros((0, 3)), memoryview(b"c")])
    entry = cache.get("k")
    assert entry == b"ab" + numbers.tobytes() + b"c"
    assert entry.readonly
    assert cache.get("other") is None


def test_entries_are_aligned_and_may_be_empty(cache: Cache) -> None:
    assert cache.put("k", [b"x" * 100]) and cache.put("empty", [])
    assert np.frombuffer(cache.get("k"), np.uint8).ctypes.data % 64 == 0
    assert cache.get("empty") == b""


def test_parts_are_asked_for_one_after_another(cache: Cache) -> None:
    """So that one can be written while the next is still made; what fails to be made leaves nothing."""
    asked: list[int] = []

    def parts(fails: bool) -> Iterator[bytes]:
        for k in range(3):
            asked.append(k)
            if fails and k == 2:
                raise ValueError("not made")
            yield bytes([k]) * (5 << 20)

    assert cache.put("k", parts(False)) and asked == [0, 1, 2]
    entry = cache.get("k")
    assert entry is not None and [entry[k * (5 << 20)] for k in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="not made"):
        cache.put("other", parts(True))
    assert cache.get("other") is None and only_file(cache).name == "k.tgen"


def test_an_entry_in_use_outlives_its_replacement(cache: Cache) -> None:
    cache.put("k", [b"old" * 5000])
    entry = cache.get("k")
    cache.put("k", [b"new"])
    only_file(cache).unlink()
    assert entry == b"old" * 5000


@pytest.mark.parametrize("damage", ["flip", "zero page", "truncate", "longer", "head", "nothing", "swapped pages"])
def test_damaged_entries_are_removed(cache: Cache, damage: str, rng: np.random.Generator) -> None:
    cache.put("k", [rng.bytes(20000)])
    path = only_file(cache)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-7] ^= 4
    elif damage == "zero page":
        data[4096:8192] = bytes(4096)
    elif damage == "swapped pages":
        data[4096:8192], data[8192:12288] = data[8192:12288], data[4096:8192]
    elif damage == "head":
        data[3] ^= 1
    path.write_bytes({"truncate": data[:-1], "longer": data + b"x", "nothing": b""}.get(damage, data))
    assert cache.get("k") is None
    assert not path.exists()
    assert cache.put("k", [b"again"]) and cache.get("k") == b"again"


def test_an_entry_under_another_name_is_damaged(cache: Cache) -> None:
    cache.put("a", [b"code of a"])
    path = only_file(cache)
    path.rename(path.with_name("b.tgen"))
    assert cache.get("b") is None


@pytest.mark.parametrize("key", ["", "../up", "a/b", ".hidden", "a b", "x" * 200])
def test_keys_are_plain_names(cache: Cache, key: str) -> None:
    with pytest.raises(ValueError, match="cache key"):
        cache.put(key, [b""])


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=3 * 1064 + 500)
    for n, key in enumerate("abc"):
        cache.put(key, [bytes(1000)])
        os.utime(tmp_path / f"{key}.tgen", (1000 + n, 1000 + n))
    assert cache.get("a") is not None  # used again: now the youngest
    cache.put("d", [bytes(1000)])
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["a", "c", "d"]


def test_an_entry_beyond_the_cap_is_not_kept_and_removes_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=2000)
    assert cache.put("small", [bytes(500)])
    assert not cache.put("large", [bytes(3000)])
    assert [p.stem for p in tmp_path.iterdir()] == ["small"]


def test_unusable_folders_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no-such-place")):
        cache = Cache(root)
        assert not cache.put("k", [b"x"])
        assert cache.get("k") is None


def test_a_full_disk_is_no_error(cache: Cache) -> None:
    """A limit on file sizes makes write fail half-way, as a full disk does."""
    code = f"""
import resource, signal
from tgen.cache import Cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
cache = Cache({str(cache.root)!r})
print(cache.put("large", [bytes(100000)]), cache.put("small", [b"x"]))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False True\n"
    assert only_file(cache).stem == "small"


def test_read_only_entries_are_read(cache: Cache) -> None:
    cache.put("k", [b"x"])
    only_file(cache).chmod(0o400)
    cache.root.chmod(0o500)
    try:
        assert cache.get("k") == b"x"
    finally:
        cache.root.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_machine_code_is_not_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("k", [b"x"])
    os.chown(only_file(cache), 12345, -1)
    assert cache.get("k") is None
    assert only_file(cache).exists()
    os.chown(only_file(cache), 0, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # root's are, by anyone
    assert cache.get("k") == b"x"


def _write_forever(root: Path, byte: int) -> None:
    cache = Cache(root)
    while True:
        cache.put("k", [bytes([byte]) * 300_000])


def test_concurrent_writers_and_killed_ones(cache: Cache) -> None:
    cache.put("k", [bytes(300_000)])
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_forever, args=(cache.root, n)) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    stop, seen = time.monotonic() + 1.5, set()
    while time.monotonic() < stop:
        entry = cache.get("k")
        assert entry is not None and len(entry) == 300_000
        assert entry[0] == entry[-1] == entry[150_000]
        seen.add(entry[0])
    for writer in writers:
        assert writer.is_alive()
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert len(seen) > 1
    assert cache.get("k") is not None


def test_what_dead_writers_left_is_removed_what_live_ones_write_is_not(cache: Cache) -> None:
    import fcntl

    cache.put("k", [b"x"])
    dead, live, young = (cache.root / f"{name}.tmp" for name in ("dead", "live", "young"))
    for path in (dead, live, young):
        path.write_bytes(b"half")
    for path in (dead, live):
        os.utime(path, (time.time() - 600,) * 2)
    with open(live, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        cache.put("k", [b"y"])
    assert sorted(p.name for p in cache.root.iterdir()) == ["k.tgen", "live.tmp", "young.tmp"]


def test_checking_is_fast(cache: Cache) -> None:
    """100 MB within 60 ms on an idle machine; the limit here leaves room for a busy one."""
    cache.put("k", [bytes(100 << 20)])
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        assert cache.get("k") is not None
        best = min(best, time.perf_counter() - start)
    assert best < 0.25, f"{best * 1e3:.0f} ms"


def test_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().root == default_root() == tmp_path / "tgen"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_root() == tmp_path / "home" / ".cache" / "tgen"


def test_a_user_without_a_home_has_no_cache_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    cache = default_cache()
    assert not cache.put("k", [b"x"])
    assert cache.get("k") is None
