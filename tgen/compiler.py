"""The road from a graph to an artefact, on one screen: passes, plan, code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import options, trace
from .artefact import Artefact, Manifest, aligned_bytes, serialised
from .codegen import llvm
from .codegen.compilers import Compilers
from .codegen.llvm import machine_of
from .codegen.program import emit_modules
from .collector import uncollected
from .ir.dims import DimLike
from .ir.graph import Graph, Tensor
from .ir.ops.assume import assumptions
from .passes.pipeline import pipeline, run_pipeline
from .plan.build import build
from .plan.types import Plan, segment_of
from .subnormals import flushes
from .targets.target import Target

LARGE = 400  # nodes of a graph whose passes take longer than a helper (see `Compilers`) needs to start


@dataclass(frozen=True)
class Compiled:
    """An artefact and the levels it came from, for those who want to look. modules: LLVM IR of each of the artefact's objects."""

    artefact: Artefact
    plan: Plan
    modules: tuple[str, ...]
    machine: llvm.Machine

    @property
    def ir(self) -> str:
        """All modules, one after the other."""
        return "\n".join(self.modules)

    def text(self, what: str) -> str:
        """plan, llvm or asm."""
        if what == "asm":
            return _assembly(self.modules, self.machine)
        return str(self.plan) if what == "plan" else self.ir


@uncollected()
def compile_graph(
    graph: Graph,
    target: Target,
    precision: str,
    subnormals: str = "auto",
    observe: Callable[..., Any] | None = None,
    mask: str = "",
    profile: bool = False,
    keep: Callable[[Iterator[Any]], object] | None = None,
) -> Compiled:
    """Everything that can be done once. subnormals: see `flushes`; observe(pass name, graph): called after each pass; mask: see
    `tgen.ragged`.

    keep: called with the artefact's parts (see `serialised`) while they are made.
    profile: code that notes times in each step (see `emit_program`); its caller gives it a place for them.
    """
    machine = machine_of(target)
    with ThreadPoolExecutor(1, "tgen-pack") as packer, Compilers(machine, len(graph.nodes) >= LARGE) as compilers:
        fused = run_pipeline(graph, pipeline(target, precision, mask), observe=observe)
        assumed = assumptions(graph)
        plan = build(fused, assumed)
        manifest = manifest_of(plan, target, assumed, flushes(graph, subnormals))
        # Packing, LLVM and writing need the interpreter little: they are done beside the rest and each other.
        block = aligned_bytes(plan.weight_bytes)
        parts = packed_weights(plan, block, packer)
        modules: list[str] = []
        objects: list[Future[bytes]] = []
        for ir in emit_modules(plan, target, profile, manifest.flushes):
            modules.append(ir)
            objects.append(compilers.submit(ir))
        _dump({"plan": lambda: str(plan), "llvm": lambda: "\n".join(modules), "asm": lambda: _assembly(modules, machine)})
        if keep:
            keep(serialised(manifest, (part.result() for part in parts), (each.result() for each in objects)))
        for part in parts:
            part.result()
        code = tuple(each.result() for each in objects)
    return Compiled(Artefact(manifest, code, block), plan, tuple(modules), machine)


def _assembly(modules: Iterable[str], machine: llvm.Machine) -> str:
    return "\n".join(llvm.assembly(ir, machine) for ir in modules)


def manifest_of(plan: Plan, target: Target, assumed: Iterable[tuple[DimLike, DimLike]], flush: bool) -> Manifest:
    """What a run of the plan's code needs to know. assumed: see `assumptions`; pairs that name extents are looked at by the code itself."""
    before = tuple(pair for pair in assumed if not segment_of(plan.extents, *pair))
    return Manifest(
        plan.name, target.name, plan.inputs, plan.outputs, plan.symbols, plan.arena, plan.scratch, plan.usual_work,
        len(plan.steps), len(plan.kernels), target.needs, before, plan.extents, plan.messages, plan.unbounded, plan.texts, flush,
    )  # fmt: skip


def _dump(levels: dict[str, Callable[[], str]]) -> None:
    """What TGEN_DUMP asks for of these levels, on standard error."""
    wanted = options.current().dump
    for name, text in levels.items():
        if name in wanted:
            trace.show(name, text())


def packed_weights(plan: Plan, block: np.ndarray, threads: Executor) -> list[Future[np.ndarray]]:
    """Writes all constants into a block of bytes, as the plan places them; gives the block's parts, in order, as they are done."""
    places = sorted(plan.weights, key=lambda place: place[0])
    ends = [*(at for at, _ in places[1:]), block.size]
    return [threads.submit(_placed, block, at, end, tensor) for (at, tensor), end in zip(places, ends)]


def _placed(block: np.ndarray, start: int, end: int, tensor: Tensor) -> np.ndarray:
    raw = np.ascontiguousarray(tensor.array).reshape(-1).view(np.uint8)
    block[start : start + raw.size] = raw
    return block[start:end]
