"""An object file of nothing but constant data: what holds embedded weights. Assemblers would take seconds for what is a copy.

Layout: ELF header, data, symbol table, names, section names, section headers (System V ABI, chapter 4).
"""

from __future__ import annotations

import struct

from .elf_files import MACHINES

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NAMES = b"\0.rodata\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack\0"
_PROGBITS, _SYMTAB, _STRTAB, _ALLOC = 1, 2, 3, 2
_HEADER_BYTES = 64


def data_object(name: str, data: memoryview | bytes, architecture: str, alignment: int = 4096) -> list[bytes | memoryview]:
    """A relocatable file, in pieces, whose hidden symbol `name` is the data. architecture: the first part of a target triple."""
    strings = b"\0" + name.encode() + b"\0"
    size = memoryview(data).nbytes
    symbols = _SYMBOL.pack(0, 0, 0, 0, 0, 0) + _SYMBOL.pack(1, 1 << 4 | 1, 2, 1, 0, size)  # global, object, hidden, in section 1
    start = -(-_HEADER_BYTES // alignment) * alignment
    gap = -size % 8
    at_symbols = start + size + gap
    at_strings = at_symbols + len(symbols)
    at_names = at_strings + len(strings)
    at_sections = -(-(at_names + len(_NAMES)) // 8) * 8
    sections = (
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (_NAMES.index(b".rodata"), _PROGBITS, _ALLOC, 0, start, size, 0, 0, alignment, 0),
        (_NAMES.index(b".symtab"), _SYMTAB, 0, 0, at_symbols, len(symbols), 3, 1, 8, _SYMBOL.size),
        (_NAMES.index(b".strtab"), _STRTAB, 0, 0, at_strings, len(strings), 0, 0, 1, 0),
        (_NAMES.index(b".shstrtab"), _STRTAB, 0, 0, at_names, len(_NAMES), 0, 0, 1, 0),
        (_NAMES.index(b".note.GNU-stack"), _PROGBITS, 0, 0, at_names, 0, 0, 0, 1, 0),  # wants no executable stack
    )
    table = b"".join(_SECTION.pack(*section) for section in sections)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 1, MACHINES[architecture], 1, 0, 0, at_sections, 0, _HEADER_BYTES, 0, 0, _SECTION.size, len(sections), 4,
    )  # fmt: skip
    tail = bytes(gap) + symbols + strings + _NAMES
    return [header.ljust(start, b"\0"), data, tail.ljust(at_sections - start - size, b"\0"), table]
