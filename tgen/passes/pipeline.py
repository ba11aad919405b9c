"""The passes, in order. The driver verifies, times, prints and observes; passes do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import options, trace
from ..ir.errors import InvalidGraph
from ..ir.graph import Graph, Node, map_regions
from ..ir.verify import Kind, verify
from ..ragged import over_tokens
from ..targets.target import Target
from .attention import attention
from .capture import capture
from .cse import cse
from .decompose import decompose
from .divisions import divisions
from .epilogue import epilogue
from .fold import fold
from .frames import frames
from .inline import inline
from .integers import cycles_on, integers
from .layout import layout
from .lookups import lookups
from .lower import lower
from .narrow import narrow
from .outside import outside
from .precision import faster_on, precision
from .quantised import quantised
from .rows import rows
from .select import select
from .select_attention import select_attention
from .simplify import simplify
from .winograd import chooses_on, winograd


@dataclass(frozen=True)
class Pass:
    """name: as `tgen show --after` takes it. run: a graph in, a graph of the same meaning out; the same object if nothing changed."""

    name: str
    run: Callable[[Graph], Graph]

    def over_regions(self, graph: Graph) -> Graph:
        """The graph after the pass, and the graphs inside its ops too."""
        return map_regions(self.run(graph), self.over_regions)


def pipeline(target: Target, level: str = "highest", mask: str = "") -> tuple[Pass, ...]:
    """All passes from a loaded graph to one that can be planned. level: the precision asked for; mask: of a ragged batch, if it is one."""
    over = (Pass("ragged", lambda g: over_tokens(g, mask)),) if mask else ()
    return (
        Pass("quantised", quantised),  # before 8-bit weights are folded to float32
        Pass("fold-model", fold),  # weights that the model computes: before composites hide in small ops
        Pass("attention", attention),  # while a softmax is still one op
        Pass("decompose", decompose),
        Pass("winograd", lambda g: winograd(g, chooses=chooses_on(target, level))),
        Pass("fold", fold),
        Pass("capture", capture),
        Pass("simplify", simplify),
        Pass("lookups", lookups),
        Pass("layout", layout),
        Pass("precision", lambda g: precision(g, level, bf16_products=faster_on(target))),
        Pass("integers", lambda g: integers(g, cycles=cycles_on(target))),
        Pass("divisions", divisions),
        Pass("frames", frames),
        Pass("cse", cse),  # also the parts of an operand of several products
        Pass("lower", lower),
        *over,
        Pass("narrow", narrow),
        Pass("select", lambda g: select(g, target)),
        Pass("select-attention", lambda g: select_attention(g, target)),
        Pass("fold-packing", fold),  # of weights
        Pass("lower-packing", lower),  # of everything else
        Pass("inline", inline),
        Pass("epilogue", epilogue),
        Pass("rows", rows),
        Pass("outside", outside),
    )


def run_pipeline(graph: Graph, passes: Sequence[Pass], *, observe: Callable[[str, Graph, float], None] | None = None) -> Graph:
    """The graph after all passes. observe(pass name, graph after it, seconds it took): called after each.

    TGEN_DUMP=passes,times prints each; TGEN_VERIFY=off leaves out verification. Raises InvalidGraph naming the pass that left a
    graph that is not valid.
    """
    settings = options.current()
    verified: set[Node] = set()
    kinds: set[Kind] = set()
    if settings.verify:
        verify(graph, kinds=kinds)
        verified.update(graph.nodes)
    for step in passes:
        before, start = graph, time.perf_counter()
        graph = step.over_regions(before)
        seconds = time.perf_counter() - start
        if "passes" in settings.dump:
            trace.show_pass(step.name, before, graph)
        if "times" in settings.dump:
            trace.show_time(step.name, before, graph, seconds)
        if settings.verify and graph is not before:
            _verify_after(step, before, graph, verified, kinds)
        if observe:
            observe(step.name, graph, seconds)
    return graph


def _verify_after(step: Pass, before: Graph, after: Graph, verified: set[Node], kinds: set[Kind]) -> None:
    """Valid, and seen from outside the same: inputs, names and types of outputs. Nodes and kinds known to be valid are not looked at
    again.
    """
    try:
        verify(after, verified, kinds)
    except InvalidGraph as error:
        raise InvalidGraph(f"after pass {step.name}: {error}") from error
    verified.update(after.nodes)
    if after.inputs != before.inputs or after.name != before.name:
        raise InvalidGraph(f"pass {step.name} changed the inputs or the name of graph {before.name!r}")
    was, now = ([(name, value.type) for name, value in g.outputs] for g in (before, after))
    if was != now:
        raise InvalidGraph(f"pass {step.name} changed the outputs of graph {before.name!r} from {was} to {now}")
