"""The environment variables that steer tgen, read here and nowhere else.

| variable | values | meaning |
|---|---|---|
| `TGEN_TARGET` | a name that `tgen targets` lists | the target where none is asked for |
| `TGEN_THREADS` | 1, 2, … | most threads of a run, where none are asked for |
| `TGEN_CACHE` | `off`, or a folder | keep compiled models nowhere, or there (default: the user's cache folder) |
| `TGEN_DUMP` | some of passes, times, plan, llvm, asm; commas between | print these levels to standard error while compiling |
| `TGEN_VERIFY` | `on`, `off` | check the graph before and after each pass (default: on) |

A variable that is empty counts as not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .ir.errors import InvalidInput

DUMPS = ("passes", "times", "plan", "llvm", "asm")
_ON, _OFF = ("on", "1", "yes", "true"), ("off", "0", "no", "false")


@dataclass(frozen=True)
class Options:
    """target: name, or None for the best of this CPU. threads: at most so many, None for all CPUs of the process.

    cache: False (none), True (the user's cache folder) or a folder. dump: levels to print. verify: check graphs between passes.
    """

    target: str | None = None
    threads: int | None = None
    cache: bool | Path = True
    dump: frozenset[str] = frozenset()
    verify: bool = True


def current(environment: Mapping[str, str] | None = None) -> Options:
    """The options that the environment asks for. Raises InvalidInput naming the variable, what it is and what it may be."""
    source = os.environ if environment is None else environment

    def text(name: str) -> str:
        return source.get(name, "").strip()

    return Options(
        target=text("TGEN_TARGET") or None,
        threads=_threads(text("TGEN_THREADS")),
        cache=_cache(text("TGEN_CACHE")),
        dump=_dump(text("TGEN_DUMP")),
        verify=_verify(text("TGEN_VERIFY")),
    )


def _threads(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InvalidInput(f"TGEN_THREADS={text}: wanted a number of threads, 1 or more")
    return int(text)


def _cache(text: str) -> bool | Path:
    if not text or text.lower() in _ON:
        return True
    if text.lower() in _OFF:
        return False
    folder = Path(text).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"TGEN_CACHE={text}: wanted `off` or a folder; this is a file")
    return folder


def _dump(text: str) -> frozenset[str]:
    levels = frozenset(filter(None, (part.strip() for part in text.split(","))))
    unknown = sorted(levels - set(DUMPS))
    if unknown:
        raise InvalidInput(f"TGEN_DUMP={text}: no level is named {unknown[0]!r}; levels: {', '.join(DUMPS)}")
    return levels


def _verify(text: str) -> bool:
    if text.lower() in ("", *_ON):
        return True
    if text.lower() in _OFF:
        return False
    raise InvalidInput(f"TGEN_VERIFY={text}: wanted `on` or `off`")
