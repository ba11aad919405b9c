"""Machine code for AArch64, linked into a program of its own and run by an emulator on this machine."""

from __future__ import annotations

import functools
import itertools
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tgen.codegen import llvm
from tgen.codegen.llvm import machine_of
from tgen.codegen.runtime import runtime_ir
from tgen.compiler import Compiled
from tgen.executable import Executable
from tgen.targets.aarch64 import NEON, NEON_DOT, NEON_MATRIX
from tgen.targets.aarch64.features import features_of

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
CPUS = {NEON: "cortex-a53", NEON_DOT: "neoverse-n1", NEON_MATRIX: "max,sve=off,sme=off"}  # with little but what the target needs
SECONDS = 120  # that a run may take
_numbers = itertools.count()


def missing() -> str:
    """Why nothing can be run here; "" if it can."""
    lacking = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
    return f"{' and '.join(lacking)} not installed" if lacking else ""


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="tgen-aarch64-")
    weakref.finalize(_folder, folder.cleanup)
    return Path(folder.name)


@functools.cache
def _common_objects() -> tuple[Path, Path]:
    """The thread pool and the driver."""
    pool, driver = _folder() / "pool.o", _folder() / "driver.o"
    pool.write_bytes(llvm.compile_object(runtime_ir(NEON.triple, NEON.spin_hint), machine_of(NEON)))
    _call([COMPILER, "-O1", "-c", str(Path(__file__).with_name("driver.c")), "-o", str(driver)])
    return pool, driver


def link(code: Sequence[bytes]) -> Path:
    """A program of an artefact's code, the pool and the driver."""
    program = _folder() / f"program{next(_numbers)}"
    own = [program.with_suffix(f".{k}.o") for k in range(len(code))]
    for path, data in zip(own, code):
        path.write_bytes(data)
    _call(
        [COMPILER, "-static", *map(str, (*own, *_common_objects())), "-lm", "-o", str(program)]
    )  # the remainder of floats is fmod
    for path in own:
        path.unlink()
    return program


def _call(command: Iterable[str]) -> str:
    done = subprocess.run(list(command), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stderr}"
    return done.stdout


class _Elsewhere:
    """The library of a program that this process cannot load."""

    def address(self, name: str) -> int:
        return 0


class CrossExecutable(Executable):
    """An `Executable` each call of which is a run of the emulator. mode: of floating point, as the caller of native code has it."""

    mode = 0

    def __init__(self, compiled: Compiled, threads: int = 1) -> None:
        super().__init__(compiled.artefact, _Elsewhere(), threads, {}, compiled.text)
        self._cpu = next(cpu for target, cpu in CPUS.items() if target.name == compiled.artefact.manifest.target)
        self._program = link(compiled.artefact.code)
        weakref.finalize(self, self._program.unlink, missing_ok=True)

    def features(self, cpu: str) -> frozenset[str]:
        """What a program finds out about this CPU."""
        return features_of(*map(int, _call([EMULATOR, "-cpu", cpu, str(self._program)]).split()))

    def _execute(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        sizes = self._measure(tuple(a.shape for a in arrays))
        results = [np.empty(shape, dtype) for shape, dtype in sizes.outputs]
        words = [
            self.mode, self.threads, self._manifest.frame.words, sizes.arena, sizes.scratch, self._weights.size,
            len(arrays), len(results), len(sizes.symbols), *(a.nbytes for a in (*arrays, *results)), *sizes.symbols,
        ]  # fmt: skip
        number = next(_numbers)
        source, sink = (_folder() / f"{kind}{number}" for kind in ("in", "out"))
        with open(source, "wb") as file:
            for part in (np.asarray(words, np.int64), self._weights, *arrays):
                file.write(np.ascontiguousarray(part).tobytes())
        _call([EMULATOR, "-cpu", self._cpu, str(self._program), str(source), str(sink)])
        return _outputs(sink.read_bytes(), results, (source, sink))


def _outputs(data: bytes, results: list[Any], files: Iterable[Path]) -> tuple[np.ndarray, ...]:
    at = 0
    for file in files:
        file.unlink()
    for k, like in enumerate(results):
        results[k] = np.frombuffer(data, like.dtype, like.size, at).reshape(like.shape).copy()
        at += like.nbytes
    return tuple(results)
