"""Helpers of the tests: run a graph as machine code on a target, also on targets that this CPU lacks.

Of the same architecture: with the instructions it lacks emulated. Of another: in an emulator of the whole machine where one is installed
(see tests/aarch64), else with their instructions emulated too.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping

import numpy as np

from tgen.codegen import llvm
from tgen.codegen.llvm import machine_of
from tgen.codegen.runtime import process_runtime
from tgen.compiler import compile_graph
from tgen.executable import Executable
from tgen.ir.graph import Graph
from tgen.targets.aarch64 import NEON_MATRIX
from tgen.targets.aarch64 import emulate as aarch64
from tgen.targets.find import all_targets, find_target
from tgen.targets.generic import GENERIC
from tgen.targets.target import Target
from tgen.targets.x86 import AMX, AVX2, AVX512
from tgen.targets.x86 import emulate as x86

from .aarch64.cross import CrossExecutable, missing


def host() -> Target:
    return find_target("host", llvm.host_features(), llvm.host_triple())


def runnable_targets(every: bool = False) -> dict[str, Target]:
    """The targets this machine can run: really, or emulated (wide vectors are split by LLVM).

    every: also those that differ from their neighbours in how they multiply only (those of AArch64 have tests of their own).
    """
    features = llvm.host_features()
    base = host()
    targets = [find_target("generic", features, llvm.host_triple())]
    x86_targets = (t for t in reversed(all_targets()) if t.triple == AVX2.triple)
    for target in (*(x86_targets if every else (AVX2, AVX512, AMX)), NEON_MATRIX):
        if is_native(target) and target.runs_on(features):
            targets.append(target)
        elif target is NEON_MATRIX:
            targets.append(aarch64.emulated(target, base) if missing() else target)
        elif is_native(target):
            targets.append(x86.emulated(target, base))
    return {target.name: target for target in targets}


def is_native(target: Target) -> bool:
    """Whether a target is of this machine's architecture."""
    return not target.triple or target.triple.split("-")[0] == llvm.host_triple().split("-")[0]


def build_executable(
    graph: Graph,
    target: Target | None = None,
    precision: str = "highest",
    threads: int = 1,
    mask: str = "",
    subnormals: str = "auto",
) -> Executable:
    """The graph compiled for a target, without cache."""
    target = target or host()
    compiled = compile_graph(graph, target, precision, subnormals, mask=mask)
    if not is_native(target):
        return CrossExecutable(compiled, threads)
    if target.uses_tiles:
        from tgen.runtime.amx import ask_permission

        ask_permission()
    library = llvm.load(compiled.artefact.code, ["run"], process_runtime(machine_of(host()), host().spin_hint))
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


__all__ = ["GENERIC", "Guarded", "build_executable", "host", "is_native", "run_native", "runnable_targets"]
