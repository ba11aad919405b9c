"""AMX needs the kernel's permission once a process (threads and forked children inherit it)."""

from __future__ import annotations

import ctypes
import functools

from ..ir.errors import TgenError

_SYS_ARCH_PRCTL = 158  # x86-64
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


class NoTilePermission(TgenError):
    """The kernel does not let this process use AMX tiles."""


@functools.cache
def ask_permission() -> None:
    """arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA); raises NoTilePermission when the kernel refuses."""
    result = ctypes.CDLL(None, use_errno=True).syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    if result != 0:
        raise NoTilePermission(f"arch_prctl refused AMX tile data (errno {ctypes.get_errno()}): use target='avx512'")
