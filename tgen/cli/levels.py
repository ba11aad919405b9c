"""The levels of a model under the options of a command: its target, the graph after each pass, the plan and its texts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgen.compiler import Compiled
    from tgen.ir.graph import Graph
    from tgen.targets.target import Target


def target_of(args: argparse.Namespace) -> Target:
    """The target of `--target`; one that this CPU cannot run is fine for looking at. Raises UnknownTarget."""
    from tgen import options
    from tgen.codegen import llvm
    from tgen.targets.find import find_target

    name = (options.current().target if args.target == "host" else None) or args.target
    return find_target(name, llvm.host_features(), llvm.host_triple())


def pass_names(args: argparse.Namespace) -> list[str]:
    """The passes in order."""
    from tgen.passes.pipeline import pipeline

    return [p.name for p in pipeline(target_of(args), args.precision)]


def graphs_after(args: argparse.Namespace, graph: Graph) -> list[tuple[str, Graph]]:
    """(name of a pass, the graph as it leaves it), in order."""
    from tgen.passes.pipeline import pipeline, run_pipeline

    seen: list[tuple[str, Graph]] = []
    run_pipeline(graph, pipeline(target_of(args), args.precision), observe=lambda name, after, _: seen.append((name, after)))
    return seen


def compiled(args: argparse.Namespace, graph: Graph) -> Compiled:
    """The plan and the texts of the levels below it."""
    from tgen.compiler import compile_graph

    return compile_graph(graph, target_of(args), args.precision, args.subnormals)
