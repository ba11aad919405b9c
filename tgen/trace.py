"""Looking at a compilation: the levels that TGEN_DUMP names, on standard error."""

from __future__ import annotations

import sys

from .ir.graph import Graph


def show(title: str, text: str) -> None:
    """`text` under a line that says what it is."""
    print(f"---- {title}", text, sep="\n", file=sys.stderr)


def show_pass(name: str, before: Graph, after: Graph) -> None:
    """The graph that a pass made; `(unchanged)` when it is the graph it was given."""
    show(f"after {name}", "(unchanged)" if after is before else str(after))


def show_time(name: str, before: Graph, after: Graph, seconds: float) -> None:
    """A row: the pass, its time, how many nodes it found and left."""
    nodes = "(unchanged)" if after is before else f"{len(before.nodes)} -> {len(after.nodes)} nodes"
    print(f"pass {name:<16} {seconds * 1e3:9.2f} ms  {nodes}", file=sys.stderr)
