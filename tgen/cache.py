"""The compile cache: entries by key in one folder, each a file that is checked before it is used.

An entry is written to a temporary file and renamed: readers see all of it or nothing, whoever writes at the same time or dies on the
way. A damaged entry is removed and counts as absent. A disk that is full or read-only is no error: nothing is kept then.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BYTES = 4 << 30
_MAGIC = b"tgencch1"
_HEAD = struct.Struct("<8sQI44x")  # magic, bytes of the payload, CRC-32 of the payload; 64 bytes keep the payload aligned
_STALE_SECONDS = 3600.0  # a temporary file older than this was left by a writer that died


class Cache:
    """root: the folder. max_bytes: beyond it the entries not used for longest are removed."""

    def __init__(self, root: Path | str, max_bytes: int = MOST_BYTES) -> None:
        self.root, self.max_bytes = Path(root), max_bytes

    def _path(self, key: str) -> Path:
        return self.root / f"{key}.tgen"

    def get(self, key: str) -> memoryview | None:
        """The entry, mapped read-only and checked, or None."""
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return None
        payload = _checked(memoryview(mapped))
        if payload is None:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # last use, for the size cap
        return payload

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        """Keeps the parts, one after another, under the key. False when that was not possible."""
        views = [memoryview(p).cast("B") for p in parts if len(p)]
        checksum = 0
        for view in views:
            checksum = zlib.crc32(view, checksum)
        head = _HEAD.pack(_MAGIC, sum(v.nbytes for v in views), checksum)
        temporary = None
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(".tmp", key, self.root)
            with open(handle, "wb") as file:
                for part in (head, *views):
                    file.write(part)
            os.replace(temporary, self._path(key))
            self._trim()
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            return False
        return True

    def _trim(self) -> None:
        """Removes what dead writers left, and the oldest entries beyond the size cap."""
        entries = []
        for path in self.root.iterdir():
            with contextlib.suppress(OSError):
                facts = path.stat()
                if path.suffix == ".tmp" and time.time() - facts.st_mtime > _STALE_SECONDS:
                    path.unlink()
                elif path.suffix == ".tgen":
                    entries.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries, key=lambda e: e[0])[:-1]:
            if total <= self.max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size


def _checked(data: memoryview) -> memoryview | None:
    if data.nbytes < _HEAD.size:
        return None
    magic, size, checksum = _HEAD.unpack(data[: _HEAD.size])
    payload = data[_HEAD.size :]
    if magic != _MAGIC or payload.nbytes != size or zlib.crc32(payload) != checksum:
        return None
    return payload


def default_root() -> Path:
    """`$XDG_CACHE_HOME/tgen`, or `~/.cache/tgen`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tgen"


def default_cache() -> Cache:
    return Cache(default_root())
