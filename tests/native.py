"""Helpers of the tests: run a graph as machine code on a target, also on targets that this CPU lacks (emulated)."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping

import numpy as np

from tgen.codegen import llvm
from tgen.codegen.runtime import process_runtime
from tgen.compiler import compile_graph, machine_of
from tgen.executable import Executable
from tgen.ir.graph import Graph
from tgen.targets.find import all_targets, find_target
from tgen.targets.generic import GENERIC
from tgen.targets.target import Target
from tgen.targets.x86 import AMX, AVX2, AVX512
from tgen.targets.x86.emulate import emulated


def host() -> Target:
    return find_target("host", llvm.host_features(), llvm.host_triple())


def runnable_targets(every: bool = False) -> dict[str, Target]:
    """The targets this machine can run: really, or with what it lacks emulated (wide vectors are split by LLVM).

    every: also those that differ from their neighbours in how they multiply only.
    """
    features = llvm.host_features()
    generic = find_target("generic", features, llvm.host_triple())
    targets = {"generic": generic}
    base = host()
    for target in all_targets()[-2::-1] if every else (AVX2, AVX512, AMX):
        if target.runs_on(features):
            targets[target.name] = target
        elif base.triple.startswith("x86_64"):
            copy = emulated(target, base)
            targets[copy.name] = copy
    return targets


def build_executable(
    graph: Graph, target: Target | None = None, precision: str = "highest", threads: int = 1, mask: str = ""
) -> Executable:
    """The graph compiled for a target, without cache."""
    target = target or host()
    compiled = compile_graph(graph, target, precision, mask=mask)
    if target.uses_tiles:
        from tgen.runtime.amx import ask_permission

        ask_permission()
    library = llvm.load([compiled.artefact.code], ["run"], process_runtime(machine_of(host()), host().spin_hint))
    return Executable(compiled.artefact, library, threads, {}, compiled.text)


def run_native(
    graph: Graph, feeds: Mapping[str, np.ndarray], target: Target | None = None, precision: str = "highest"
) -> dict[str, np.ndarray]:
    return build_executable(graph, target, precision).run(feeds)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """A copy of an array whose last (or first) byte touches a page that must not be read or written: a stray access is a crash."""

    def __init__(self, array: np.ndarray, after: bool = True) -> None:
        page = mmap.PAGESIZE
        body = -(-max(array.nbytes, 1) // page) * page
        self.memory = mmap.mmap(-1, body + 2 * page)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        start = page + (body - array.nbytes if after else 0)
        self.array = np.frombuffer(self.memory, array.dtype, array.size, start).reshape(array.shape)
        self.array[...] = array
        for guard in (base, base + page + body):
            assert _libc.mprotect(guard, page, 0) == 0
        self._base, self._size = base, body + 2 * page

    def release(self) -> None:
        """Makes the pages ordinary again (NumPy keeps the memory mapped as long as the array lives)."""
        assert _libc.mprotect(self._base, self._size, mmap.PROT_READ | mmap.PROT_WRITE) == 0


__all__ = ["GENERIC", "Guarded", "build_executable", "host", "run_native", "runnable_targets"]
