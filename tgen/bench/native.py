"""Compiled code called as it is: the frame filled once, no checks of inputs, the same results written again and again."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np

from ..artefact import aligned_bytes
from ..codegen import llvm
from ..codegen.runtime import process_runtime
from ..compiler import Compiled
from ..executable import WORK_OF_A_THREAD
from ..frame import RUNTIME_BYTES, Frame
from ..ir.dims import evaluate_dim
from ..ir.graph import symbols_of
from ..targets.target import Target


class NativeRun:
    """One run of a model on these inputs: `run()`, which is entry(frame, threads) by their addresses.

    threads: that it asks for, no more than its work is worth. outputs: by name, but those whose sizes a run finds out. times: cycles [threads, steps, 2] of the last run, if the
    code notes them (`compile_graph(…, profile=True)`); zeros of a thread that took no part.
    """

    def __init__(
        self,
        compiled: Compiled,
        target: Target,
        threads: int,
        feeds: Mapping[str, np.ndarray],
        values: Mapping[str, int],
        outputs: Mapping[str, np.ndarray] | None = None,
    ):
        """outputs: where results are written, contiguous arrays of the right sizes; None: new ones."""
        manifest = compiled.artefact.manifest
        self.threads = max(1, min(threads, evaluate_dim(manifest.work, values) // WORK_OF_A_THREAD))
        found = {*manifest.extents}
        known = {n: t for n, t in manifest.outputs if found.isdisjoint(symbols_of([t]))}
        shapes = {n: [evaluate_dim(d, values) for d in t.shape] for n, t in known.items()}
        made = {n: np.empty(shapes[n], t.dtype.numpy) for n, t in known.items()} if outputs is None else outputs
        self.outputs = dict(made)
        self.times = np.zeros((self.threads, manifest.steps, 2), np.int64)
        arena, scratch = (-(-evaluate_dim(d, values) // 64) * 64 for d in (manifest.arena, manifest.scratch))
        memory, frame = aligned_bytes(arena + scratch * self.threads), aligned_bytes(8 * manifest.frame.words)
        inputs = [np.ascontiguousarray(feeds[name]) for name, _ in manifest.inputs]
        start, weights = memory.ctypes.data, compiled.artefact.weights
        header = {
            Frame.ARENA: start,
            Frame.WEIGHTS: weights.ctypes.data,
            Frame.SCRATCH: start + arena,
            Frame.SCRATCH_BYTES: scratch,
            Frame.TIMES: self.times.ctypes.data,
        }
        pointers = [a.ctypes.data for a in inputs] + [self.outputs[n].ctypes.data if n in known else 0 for n, _ in manifest.outputs]
        words = [header.get(k, 0) for k in range(Frame.HEADER)] + pointers + [values[s] for s in manifest.symbols]
        frame[:] = 0
        frame[RUNTIME_BYTES:].view(np.int64)[: len(words)] = words
        first = manifest.frame.first_extent
        self._extents = manifest.extents, frame[RUNTIME_BYTES:].view(np.int64)[first : first + len(manifest.extents)]
        if target.uses_tiles:
            from ..runtime.amx import ask_permission

            ask_permission()
        self._library = llvm.load(compiled.artefact.code, ["run"], process_runtime(compiled.machine, target.spin_hint))
        self._kept = memory, frame, inputs, weights
        self.entry, self.frame = self._library.address("run"), int(frame.ctypes.data)
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.entry)

    def extents(self) -> dict[str, int]:
        """What the last run found out."""
        names, numbers = self._extents
        return dict(zip(names, numbers.tolist()))

    def run(self) -> None:
        self._run(self.frame, self.threads)
