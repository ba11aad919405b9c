"""`Library`: what a library holds: a model's plans for one or more targets over shared weights, and the names of it all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..artefact import Manifest
from ..compiler import manifest_of
from ..frame import Frame
from ..ir.dims import DimLike
from ..ir.errors import InvalidInput
from ..ir.graph import Graph, symbols_of
from ..ir.ops.assume import assumptions
from ..ir.types import TensorType
from ..passes.pipeline import pipeline, run_pipeline
from ..plan.build import build
from ..plan.types import Plan
from ..subnormals import flushes
from ..targets.target import Target
from .weights import Weights, shared_weights

# What C and C++ would not take for the name of a function or a macro.
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Version:
    """The code for one target. manifest: what a run needs to know of it."""

    target: Target
    plan: Plan
    manifest: Manifest


@dataclass(frozen=True)
class Library:
    """name: prefix of everything the library exports. versions: best first. weights_file: its name, "" where weights are embedded."""

    name: str
    precision: str
    versions: tuple[Version, ...]
    weights: Weights
    weights_file: str = ""

    @property
    def architecture(self) -> str:
        """The first part of the triple, which all versions have in common."""
        return self.versions[0].target.triple.split("-")[0]

    @property
    def first(self) -> Manifest:
        """Of the first version; names, types and symbols are those of all."""
        return self.versions[0].manifest

    @property
    def inputs(self) -> tuple[tuple[str, TensorType], ...]:
        return self.first.inputs

    @property
    def outputs(self) -> tuple[tuple[str, TensorType], ...]:
        return self.first.outputs

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.first.symbols

    @property
    def extents(self) -> tuple[str, ...]:
        """Symbols whose values a run finds out."""
        return self.first.extents

    def is_found(self, output: int) -> bool:
        """Whether the shape of an output is known after a run only."""
        return not {*self.extents}.isdisjoint(symbols_of([self.outputs[output][1]]))

    @property
    def assumptions(self) -> tuple[tuple[DimLike, DimLike], ...]:
        return self.first.assumptions

    @property
    def frame(self) -> Frame:
        """Of the version with the largest one; all agree but for their ends."""
        return max((v.manifest.frame for v in self.versions), key=lambda frame: frame.words)

    def private(self, name: str) -> str:
        """The name, for the linker, of what belongs to the library alone."""
        return f"{self.name}__{name}"


def plan_library(
    name: str, graph: Graph, targets: Sequence[Target], precision: str, subnormals: str = "auto", weights_file: str = ""
) -> Library:
    """A library's plans. targets: all of one architecture, best first. subnormals: see `flushes`.

    Raises InvalidInput for a name that is no C identifier or targets that do not go together.
    """
    if not _IDENTIFIER.match(name):
        raise InvalidInput(f"{name!r} cannot be the name of a C library: letters, digits and _ only, a letter first")
    architectures = {target.triple.split("-")[0] for target in targets}
    if len(architectures) != 1:
        raise InvalidInput(f"a library is for one architecture; these targets are for {', '.join(sorted(architectures))}")
    assumed = assumptions(graph)
    plans, shared = shared_weights([build(run_pipeline(graph, pipeline(target, precision, "")), assumed) for target in targets])
    flush = flushes(graph, subnormals)
    versions = tuple(Version(target, plan, manifest_of(plan, target, assumed, flush)) for target, plan in zip(targets, plans))
    symbols: Mapping[tuple[str, ...], None] = dict.fromkeys(v.manifest.symbols for v in versions)
    assert len(symbols) == 1, symbols  # they are the inputs' symbols, which no pass changes
    return Library(name, precision, versions, shared, weights_file)
