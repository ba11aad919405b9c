"""The compile cache: entries by key in one folder, each a file that is checked before it is used.

An entry is written to a temporary file and renamed: readers see all of it or nothing, whoever writes at the same time or dies on the
way. A damaged entry is removed and counts as absent. A disk that is full or read-only is no error: nothing is kept then. Entries hold
machine code, so those that another user (but root) wrote are not used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import struct
import tempfile
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 4 << 30
_MAGIC = b"tgencch3"
_HEAD = struct.Struct("<8sQI44x")  # magic, bytes of the payload, checksum of key and payload; 64 bytes keep the payload aligned
_PIECE = 4 << 20  # bytes of a payload that have a checksum of their own: several are computed at once
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,150}")
_FRESH_SECONDS = 60.0  # a temporary file younger than this may have a writer that has not locked it yet
_STALE_SECONDS = 86400.0  # one older than this has none, also where files cannot be locked


class Cache:
    """root: the folder; None: the user's own, `default_root()`. max_bytes: entries not used for longest are removed to stay below."""

    def __init__(self, root: str | os.PathLike[str] | None = None, max_bytes: int = MOST_BYTES) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.max_bytes = max_bytes

    def get(self, key: str) -> memoryview | None:
        """The entry, mapped read-only and checked, or None. It starts at a multiple of 64 bytes and stays valid when it is replaced."""
        path = self._path(key)
        if path is None:
            return None
        try:
            mapped = _mapped(path)
            payload = _checked(memoryview(mapped), key) if mapped is not None else None
            if payload is None:
                path.unlink()
        except OSError:
            return None
        if payload is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # last use, for the size cap
        return payload

    def put(self, key: str, parts: Iterable[Any]) -> bool:
        """Keeps the parts, one after another, under the key. False when that was not possible, or the entry is beyond max_bytes.

        parts: bytes, or C-contiguous arrays of plain dtypes. Each is written before the next one is asked for.
        """
        path = self._path(key)
        if path is None:
            return False
        try:
            _write(path, key, parts, self.max_bytes)
            self._trim(path)
        except OSError:
            return False
        return True

    def _path(self, key: str) -> Path | None:
        if not _KEY.fullmatch(key):
            raise ValueError(f"cache key {key!r}: letters, digits, '_', '-' and '.', at most 151")
        return self.root / f"{key}.tgen" if self.root is not None else None

    def _trim(self, newest: Path) -> None:
        """Removes what dead writers left, and the entries beyond the size cap, those not used for longest first."""
        entries = []
        for path in newest.parent.iterdir():
            with contextlib.suppress(OSError):
                if path.suffix == ".tmp":
                    _remove_if_dead(path)
                elif path.suffix == ".tgen" and path != newest:
                    facts = path.stat()
                    entries.append((facts.st_mtime_ns, facts.st_size, path))
        total = sum(size for _, size, _ in entries) + newest.stat().st_size
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total <= self.max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size


def _mapped(path: Path) -> mmap.mmap | None:
    """The file's bytes; None for one that cannot be an entry. Raises OSError where there is none to be had, or it is another user's."""
    with open(path, "rb") as file:
        facts = os.fstat(file.fileno())
        if facts.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{path} belongs to another user")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if facts.st_size >= _HEAD.size else None


def _checked(data: memoryview, key: str) -> memoryview | None:
    """The payload, if it is whole and was stored under this key."""
    magic, size, checksum = _HEAD.unpack(data[: _HEAD.size])
    payload = data[_HEAD.size :]
    if magic != _MAGIC or payload.nbytes != size or _checksum(key, payload) != checksum:
        return None
    return payload


def _checksum(key: str, payload: memoryview) -> int:
    """Of the key and of the pieces' checksums."""
    with ThreadPoolExecutor(2, "tgen-cache") as threads:
        return _combined(key, threads.map(lambda at: zlib.crc32(payload[at : at + _PIECE]), range(0, payload.nbytes, _PIECE)))


def _combined(key: str, pieces: Iterable[int]) -> int:
    return zlib.crc32(b"".join(piece.to_bytes(4, "little") for piece in pieces), zlib.crc32(key.encode()))


def _write(path: Path, key: str, parts: Iterable[Any], most: int) -> None:
    """All or nothing; raises OSError, also for more than `most` bytes. The writer holds a lock on its temporary file, which ends with
    it however it dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(".tmp", "", path.parent)
    try:
        with open(handle, "w+b") as file:
            _lock(file.fileno())
            file.write(bytes(_HEAD.size))
            pieces: list[int] = []
            for part in parts:
                _append(file, part, most, pieces)
            head = _HEAD.pack(_MAGIC, file.tell() - _HEAD.size, _combined(key, pieces))
            file.seek(0)
            file.write(head)
            file.flush()
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _append(file: IO[bytes], part: Any, most: int, pieces: list[int]) -> None:
    """Writes a part. pieces: their checksums so far, the last one of a piece that need not be full yet."""
    view = memoryview(part)
    if file.tell() + view.nbytes > most:
        raise OSError(errno.EFBIG, "entry beyond the size cap")
    while view.nbytes:
        flat, filled = view.cast("B"), (file.tell() - _HEAD.size) % _PIECE
        now, view = flat[: _PIECE - filled], flat[_PIECE - filled :]
        file.write(now)
        pieces.append(zlib.crc32(now, pieces.pop() if filled else 0))


def _lock(handle: int) -> bool:
    """Takes the file's lock without waiting. False if another process holds it, or the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_if_dead(path: Path) -> None:
    """Removes a temporary file that nobody writes any more."""
    with open(path, "rb") as file:
        age = time.time() - os.fstat(file.fileno()).st_mtime
        if age > _STALE_SECONDS or (age > _FRESH_SECONDS and _lock(file.fileno())):
            path.unlink()


def default_root() -> Path | None:
    """`$XDG_CACHE_HOME/tgen` or `~/.cache/tgen`; None for a user without a home. As XDG says, a path that is not absolute is ignored."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "tgen"
    try:
        return Path.home() / ".cache" / "tgen"
    except RuntimeError:
        return None


def default_cache() -> Cache:
    """The user's cache; it keeps nothing for a user without a home."""
    return Cache()
