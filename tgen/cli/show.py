"""`tgen show MODEL`."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from . import common, levels

if TYPE_CHECKING:
    from tgen.ir.graph import Graph
    from tgen.plan.types import Plan

SUMMARY = "print a model at any level between its file and machine code"
LEVELS = ("graph", "plan", "program", "llvm", "asm")
EPILOG = """\
levels, from the file down:
  graph    operators and their types, as loaded; --after PASS: as that pass leaves it (--after list names the passes)
  plan     the steps of a run, their memory and kernels
  program  the kernels: their loops and bodies
  llvm     the LLVM module
  asm      machine code, as assembly

A target that this CPU cannot run can be looked at all the same.

examples:
  tgen show model.onnx
  tgen show model.onnx --after list
  tgen show model.onnx --choices --target amx --precision medium
  tgen show minilm/ --shapes seq=128 --level asm --target avx512 | less
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    parser.add_argument("--level", choices=LEVELS, default="graph", help="what to print (default: graph)")
    parser.add_argument("--after", metavar="PASS", help="the graph after this pass; `list` names them in order")
    parser.add_argument(
        "--choices", action="store_true", help="each product of matrices: instructions it could be done with, and their cost"
    )
    common.target_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from tgen import frontends

    graph = frontends.load(args.model, shapes=args.shapes or None)
    print(text_of(args, graph).rstrip("\n"))
    return 0


def text_of(args: argparse.Namespace, graph: Graph) -> str:
    """The text asked for. Raises InvalidInput for a pass that does not exist."""
    if args.after == "list":
        return "\n".join(levels.pass_names(args))
    if args.after is not None:
        return str(graph_after(args, graph))
    if args.choices:
        from .choices import choices

        return choices(graph_before(args, graph, "select"), levels.target_of(args), args.precision)
    if args.level == "graph":
        return str(graph)
    made = levels.compiled(args, graph)
    return programs(made.plan) if args.level == "program" else made.text(args.level)


def graph_after(args: argparse.Namespace, graph: Graph) -> Graph:
    from tgen.ir.errors import InvalidInput

    after = dict(levels.graphs_after(args, graph))
    if args.after not in after:
        raise InvalidInput(f"no pass is named {args.after!r}; passes: {', '.join(after)}")
    return after[args.after]


def graph_before(args: argparse.Namespace, graph: Graph, name: str) -> Graph:
    """The graph that the pass of this name is given."""
    for after, left in levels.graphs_after(args, graph):
        if after == name:
            break
        graph = left
    return graph


def programs(plan: Plan) -> str:
    """Every kernel of the plan, with the number of steps that run it."""
    from tgen.plan.types import describe

    counts = Counter(k for step in plan.steps for k in (step.kernel, *(case.kernel for case in step.cases)))
    return "\n".join(f"kernel {k} (runs {counts[k]} x): {describe(kernel)}" for k, kernel in enumerate(plan.kernels))
