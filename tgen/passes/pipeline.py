"""The passes, in order. The driver verifies and observes; passes do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph
from ..targets.target import Target
from .cse import cse
from .decompose import decompose
from .epilogue import epilogue
from .fold import fold
from .inline import inline
from .lower import lower
from .precision import precision
from .rows import rows
from .select import select


@dataclass(frozen=True)
class Pass:
    """name: as `tgen show --after` takes it. run: a graph in, a graph of the same meaning out."""

    name: str
    run: Callable[[Graph], Graph]


def pipeline(target: Target, level: str = "highest") -> tuple[Pass, ...]:
    """All passes from a loaded graph to one that can be planned. level: the precision asked for."""
    return (
        Pass("fold-model", fold),
        Pass("decompose", decompose),
        Pass("fold", fold),
        Pass("cse", cse),
        Pass("precision", lambda g: precision(g, level, target)),
        Pass("lower", lower),
        Pass("select", lambda g: select(g, target)),
        Pass("fold-packing", fold),
        Pass("lower-packing", lower),
        Pass("inline", inline),
        Pass("epilogue", epilogue),
        Pass("rows", rows),
    )


def run_pipeline(graph: Graph, passes: Sequence[Pass], *, observe: Callable[[str, Graph, float], None] | None = None) -> Graph:
    """The graph after all passes. observe(pass name, graph after it, seconds it took): called after each."""
    for step in passes:
        start = time.perf_counter()
        graph = step.run(graph)
        if observe:
            observe(step.name, graph, time.perf_counter() - start)
    return graph
