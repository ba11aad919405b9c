"""`tgen show MODEL`."""

from __future__ import annotations

import argparse

from . import common

SUMMARY = "print a model at any level between its file and machine code"
LEVELS = ("graph", "plan", "program", "llvm", "asm")
EPILOG = """\
levels, from the file down:
  graph    operators and their types, as loaded; --after PASS: as that pass leaves it (--after list names the passes)
  plan     the steps of a run, their memory and kernels
  program  the kernels, before they meet a machine
  llvm     the LLVM module
  asm      machine code, as assembly

examples:
  tgen show model.onnx
  tgen show model.onnx --after fuse
  tgen show minilm/ --shapes seq=128 --level asm | less
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    parser.add_argument("--level", choices=LEVELS, default="graph", help="what to print (default: graph)")
    parser.add_argument("--after", metavar="PASS", help="the graph after this pass; `list` names them in order")
    common.compile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    print(text_of(args).rstrip("\n"))
    return 0


def text_of(args: argparse.Namespace) -> str:
    """The text asked for. Raises InvalidInput for a pass that does not exist."""
    import tgen
    from tgen import frontends

    if args.after == "list":
        return pass_list(args)
    graph = frontends.load(args.model, shapes=args.shapes or None)
    if args.after is not None:
        return graph_after(args, graph)
    if args.level == "graph":
        return str(graph)
    executable = tgen.compile(graph, **common.compile_options(args))
    return {"plan": lambda: str(executable.plan), "llvm": lambda: executable.llvm_ir, "asm": executable.assembly}[args.level]()
