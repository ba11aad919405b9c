"""The symbol tables of ELF files, as far as linking needs them (System V ABI, chapter 4)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _GLOBAL = 2, 1


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
