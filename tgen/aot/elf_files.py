"""ELF files read, as far as linking and loading need it (System V ABI, chapters 4 and 5): symbol tables, and whether a file is whole."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMTAB, _GLOBAL = 2, 1
_SHARED, _LOAD = 3, 1
_HEADER_BYTES = 64
MACHINES = {"x86_64": 62, "aarch64": 183}


@dataclass(frozen=True)
class Symbol:
    """binding: 0 local, 1 global, 2 weak; section: 0 where it is not defined here."""

    name: str
    binding: int
    section: int


def symbols_of(path: Path) -> Iterator[Symbol]:
    """The symbols of an object file."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (at,) = struct.unpack_from("<Q", data, 40)
        size, count = struct.unpack_from("<HH", data, 58)
        sections = [_SECTION.unpack_from(data, at + k * size) for k in range(count)]
        for section in sections:
            if section[1] != _SYMTAB:
                continue
            names = sections[section[6]][4]
            for k in range(section[5] // _SYMBOL.size):
                name, info, _, where, _, _ = _SYMBOL.unpack_from(data, section[4] + k * _SYMBOL.size)
                yield Symbol(data[names + name : data.find(b"\0", names + name)].decode(), info >> 4, where)


def undefined_symbols(objects: Iterable[Path]) -> list[str]:
    """Names that some object needs (not only if it is there) and none defines, sorted."""
    wanted: set[str] = set()
    defined: set[str] = set()
    for path in objects:
        for symbol in symbols_of(path):
            if symbol.binding == _GLOBAL:
                (defined if symbol.section else wanted).add(symbol.name)
    return sorted(wanted - defined)


def what_is_wrong(path: Path, architecture: str) -> str:
    """Why a file is no shared library that this machine can load; "" if it is one. The system's loader would crash on a file cut short."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:6] != b"\x7fELF\x02\x01":
            return "it is no 64-bit ELF file"
        kind, machine = struct.unpack_from("<HH", header, 16)
        if kind != _SHARED:
            return "it is no shared library"
        if machine != MACHINES.get(architecture):
            names = {number: name for name, number in MACHINES.items()}
            return f"it is for {names.get(machine, f'machine {machine}')}, and this is {architecture}"
        (at,) = struct.unpack_from("<Q", header, 32)
        _, count = struct.unpack_from("<HH", header, 54)
        file.seek(at)
        table = file.read(count * _SEGMENT.size)
    if len(table) < count * _SEGMENT.size:
        return "it is cut short"
    segments = [_SEGMENT.unpack_from(table, k * _SEGMENT.size) for k in range(count)]
    return "it is cut short" if any(s[0] == _LOAD and s[2] + s[5] > size for s in segments) else ""
