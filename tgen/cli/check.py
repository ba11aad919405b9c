"""`tgen check MODEL`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common, inputs, levels

if TYPE_CHECKING:
    import numpy as np

    from tgen.ir.graph import Graph

    from .compare import Deviation

SUMMARY = "compare every level and every operator with the NumPy reference"
EPILOG = """\
What is compared, on one set of inputs, with the reference's run of the model as loaded:
  each pass     the reference's run of the graph as the pass leaves it
  op by op      compiled code that gives out every value of the model; the first that deviates is named
  compiled      compiled code as it really runs
  onnxruntime   with --against onnxruntime, ONNX Runtime's outputs too (.onnx files)
The figure is max |got - wanted| / max |wanted| of the worst output. Exit code 1 if one is above the tolerance.

examples:
  tgen check model.onnx
  tgen check minilm/ --shapes batch=2,seq=16 --precision medium
  tgen check model.onnx --input x=photo.npy --against onnxruntime
"""

OP_BY_OP = "op by op"
Level = tuple[str, Callable[[], "list[Deviation]"]]


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    inputs.input_arguments(parser)
    parser.add_argument("--against", choices=["onnxruntime"], help="compare with this runtime too")
    parser.add_argument("--tolerance", type=float, metavar="X", help="relative error that is let pass (default: by precision)")
    common.compile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import tgen
    from tgen import frontends

    from .compare import TOLERANCES, worst_of

    tolerance = TOLERANCES[args.precision] if args.tolerance is None else args.tolerance
    graph = frontends.load(args.model, shapes=args.shapes or None)
    feeds = inputs.feeds_for(graph, args.inputs, args.shapes, args.seed)
    wanted = tgen.reference(graph, feeds)
    rows, failed = [], {}
    for level, measure in measures(args, graph, feeds, wanted):
        deviations = measure()
        if not deviations:
            continue
        first = next((d for d in deviations if d.exceeds(tolerance)), None)
        shown = first or worst_of(deviations)
        figure = f"{shown.relative:.2e}" if shown.relative else "none"
        rows.append((level, len(deviations), figure, shown.name, "DEVIATES" if first else "agrees"))
        if first:
            failed[level] = first
    common.print_table(("level", ">values", ">relative error", "worst, or first that deviates", ""), rows)
    out = common.console()
    for level in dict.fromkeys((*list(failed)[:1], *(n for n in (OP_BY_OP, args.against) if n in failed))):
        out.print(f"{level}: {failed[level].name} deviates: {failed[level]}", soft_wrap=True)
    given = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in feeds.items())
    out.print(f"tolerance {tolerance:g}; inputs: {given}", soft_wrap=True)
    return 1 if failed else 0


def measures(
    args: argparse.Namespace, graph: Graph, feeds: dict[str, np.ndarray], wanted: dict[str, np.ndarray]
) -> Iterator[Level]:
    """(name, what measures it) of each level, from the file down."""
    import tgen

    options = common.compile_options(args)
    for name, after in levels.graphs_after(args, graph):
        yield f"after {name}", lambda after=after: outputs_of(tgen.reference(after, feeds), wanted)  # type: ignore[misc]
    yield OP_BY_OP, lambda: op_by_op(graph, feeds, options)
    yield "compiled", lambda: outputs_of(tgen.compile(graph, **options).run(feeds), wanted)
    if args.against:
        yield args.against, lambda: outputs_of(onnxruntime_run(args.model, feeds, wanted), wanted)


def outputs_of(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> list[Deviation]:
    from .compare import compare

    return [compare(name, got[name], array) for name, array in wanted.items()]


def op_by_op(graph: Graph, feeds: dict[str, np.ndarray], options: dict[str, Any]) -> list[Deviation]:
    """Every value of the graph, in order, compiled code against the reference."""
    import dataclasses

    import tgen
    from tgen.ir.graph import Value

    nodes = [n for n in graph.nodes if n.op.name not in ("input", "constant")]
    values = {
        f"{k} {n.op.name}{f' ({n.origin})' if n.origin else ''}{f' result {i}' if i else ''}": Value(n, i)
        for k, n in enumerate(nodes)
        for i in range(len(n.types))
    }
    opened = dataclasses.replace(graph, outputs=tuple(values.items()))
    return outputs_of(tgen.compile(opened, **{**options, "cache": False}).run(feeds), tgen.reference(opened, feeds))


def onnxruntime_run(model: Path, feeds: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ONNX Runtime's outputs by name. Raises Unsupported for a model that is no .onnx file, TgenError where it fails."""
    from tgen.ir.errors import TgenError, Unsupported

    if model.suffix != ".onnx":
        raise Unsupported(f"--against onnxruntime needs an .onnx file; {model} is none")
    try:
        import onnxruntime
    except ImportError as error:
        raise TgenError("the package onnxruntime is not installed; pip install onnxruntime brings it") from error
    try:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        return dict(zip(wanted, session.run(list(wanted), feeds), strict=True))
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        raise TgenError(f"onnxruntime: {error}") from error
