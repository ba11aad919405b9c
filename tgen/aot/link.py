"""Object files → a shared library, one object, or an archive. A linker is needed (binutils, LLVM's, or the one in ziglang), no compiler.

A shared library is linked against stand-ins for libc and libpthread made here, not against this machine's: so it asks for no newer
versions of their functions than it needs, and libraries for other architectures are linked without a cross toolchain's files.
"""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..codegen import llvm
from ..codegen.llvm import Machine
from ..ir.errors import TgenError
from .elf_files import undefined_symbols

_EMULATION = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}
# Functions whose first version in glibc is another function than the one that is meant: by architecture, with the version.
_VERSIONED = {"x86_64": {"pthread_cond_wait": "GLIBC_2.3.2", "pthread_cond_signal": "GLIBC_2.3.2"}}
_THREADS = frozenset(("pthread_create", "pthread_detach", "pthread_sigmask"))
# What LLVM calls where a CPU has no instruction for it (fused multiply-add, rounding on baseline x86-64) and for remainders.
_MATHS = frozenset(
    name + suffix
    for name in ("fma", "fmod", "floor", "ceil", "trunc", "rint", "nearbyint", "round", "roundeven", "ldexp")
    for suffix in ("", "f")
)


class LinkError(TgenError):
    """No linker was found, or it failed."""


def find_linker(architecture: str, wanted: str = "") -> list[str]:
    """The command of a linker for an architecture. wanted: a path or a name to be used instead of what is found.

    Raises LinkError that names the choices.
    """
    if wanted:
        if shutil.which(wanted) is None:
            raise LinkError(f"there is no linker {wanted!r}")
        return _command(wanted)
    import platform

    names = [f"{architecture}-linux-gnu-ld", "ld.lld", "lld"]
    if platform.machine() == architecture:
        names = ["ld", *names]
    for name in names:
        found = shutil.which(name)
        if found:
            return _command(found)
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "ld.lld"]
    raise LinkError(
        f"no linker for {architecture}: install binutils (Debian: binutils, for other architectures binutils-{architecture.replace('_', '-')}"
        "-linux-gnu), or lld, or the Python package ziglang (pip install 'tgen[link]'); or name one with --linker"
    )


def _command(linker: str) -> list[str]:
    """LLVM's linker is told by its name, or in words, which linker it stands for."""
    return [linker, "-flavor", "gnu"] if Path(linker).name == "lld" else [linker]


def link_shared(
    objects: Sequence[Path],
    name: str,
    exports: Iterable[str],
    aliases: dict[str, str],
    machine: Machine,
    linker: Sequence[str],
    folder: Path,
) -> Path:
    """A shared library. exports: the names it shows; aliases: further names of some of them. folder: for files on the way."""
    architecture = machine.triple.split("-")[0]
    stubs = _stand_ins(objects, machine, linker, folder)
    script = folder / "exports.map"
    script.write_text("{ global: " + " ".join(f"{e};" for e in (*exports, *aliases)) + " local: *; };\n")
    out = folder / f"lib{name}.so"
    _run(
        [
            *linker, "-m", _EMULATION[architecture], "-shared", "-soname", out.name, "-z", "nodelete", "-z", "noexecstack", "-z", "relro",
            "-z", "now", "-z", "defs", "--hash-style=gnu", "--build-id=none", "--gc-sections", "-s", "--version-script", str(script),
            *(f"--defsym={alias}={of}" for alias, of in aliases.items()), "-o", str(out), *map(str, objects), "--as-needed", *map(str, stubs),
        ]
    )  # fmt: skip
    return out


def link_object(objects: Sequence[Path], name: str, machine: Machine, linker: Sequence[str], folder: Path) -> Path:
    """All object files as one."""
    out = folder / f"{name}.o"
    _run([*linker, "-m", _EMULATION[machine.triple.split("-")[0]], "-r", "-o", str(out), *map(str, objects)])
    return out


def archive(member: Path, name: str, symbols: Iterable[str], folder: Path) -> Path:
    """A static library of one object file with an index of its symbols (the format that System V and GNU share)."""
    data = member.read_bytes()
    listed = list(symbols)
    names = b"".join(s.encode() + b"\0" for s in listed)
    names += b"\0" * (len(names) % 2)
    index_bytes = 4 + 4 * len(listed) + len(names)
    at = 8 + 60 + index_bytes
    index = struct.pack(f">{1 + len(listed)}I", len(listed), *[at] * len(listed)) + names
    out = folder / f"lib{name}.a"
    with open(out, "wb") as file:
        file.write(b"!<arch>\n" + _member("/", len(index)) + index + _member(f"{member.name[:14]}/", len(data)) + data)
        file.write(b"\n" * (len(data) % 2))
    return out


def _member(name: str, size: int) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode()


def _stand_ins(objects: Sequence[Path], machine: Machine, linker: Sequence[str], folder: Path) -> list[Path]:
    """Libraries with the names of those that the objects need, and empty functions in them."""
    left = undefined_symbols(objects)
    homes: dict[str, list[str]] = {"libpthread.so.0": [], "libm.so.6": [], "libc.so.6": []}
    for symbol in left:
        homes["libpthread.so.0" if symbol in _THREADS else "libm.so.6" if symbol in _MATHS else "libc.so.6"].append(symbol)
    return [_stand_in(soname, symbols, machine, linker, folder) for soname, symbols in homes.items() if symbols]


def _stand_in(soname: str, functions: Sequence[str], machine: Machine, linker: Sequence[str], folder: Path) -> Path:
    architecture = machine.triple.split("-")[0]
    ir = f'target triple = "{machine.triple}"\n' + "".join(f"define void @{f}() {{\n  ret void\n}}\n" for f in functions)
    source, script, out = folder / f"{soname}.o", folder / f"{soname}.map", folder / soname
    source.write_bytes(llvm.compile_object(ir, machine))
    versions: dict[str, list[str]] = {}
    for function in functions:
        version = _VERSIONED.get(architecture, {}).get(function)
        if version:
            versions.setdefault(version, []).append(function)
    script.write_text("".join(f"{v} {{ global: {' '.join(f'{n};' for n in names)} }};\n" for v, names in versions.items()))
    extra = ["--version-script", str(script)] if versions else []
    _run([*linker, "-m", _EMULATION[architecture], "-shared", "-soname", soname, *extra, "-o", str(out), str(source)])
    return out


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise LinkError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise LinkError(f"the linker {command[0]} failed: {(done.stderr or done.stdout).strip()[:2000]}")
