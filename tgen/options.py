"""Options from the environment: the only reader of TGEN_* variables.

    TGEN_CACHE     folder of the compile cache, or "off"
    TGEN_THREADS   most threads of a run
    TGEN_TARGET    target that "host" stands for
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .ir.errors import InvalidInput

_OFF = ("off", "0", "no", "false")


@dataclass(frozen=True)
class Options:
    """cache: a folder, False for none, None for the usual place. threads, target: None for the usual choice."""

    cache: str | bool | None = None
    threads: int | None = None
    target: str | None = None


def current(environment: Mapping[str, str] | None = None) -> Options:
    """The options of this process; raises InvalidInput naming the variable that makes no sense."""
    env = os.environ if environment is None else environment
    cache, threads = env.get("TGEN_CACHE", ""), env.get("TGEN_THREADS", "")
    if threads and not (threads.isdigit() and int(threads) > 0):
        raise InvalidInput(f"TGEN_THREADS={threads!r}: a whole number of at least 1")
    return Options(
        cache=False if cache.lower() in _OFF else cache or None,
        threads=int(threads) if threads else None,
        target=env.get("TGEN_TARGET") or None,
    )
