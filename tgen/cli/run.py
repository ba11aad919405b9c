"""`tgen run MODEL`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common, inputs

if TYPE_CHECKING:
    import numpy as np

SUMMARY = "compile a model, run it and say what came out"
EPILOG = """\
examples:
  tgen run model.onnx                                      random inputs, a summary of each output
  tgen run minilm/ --shapes batch=1,seq=32 --seed 7
  tgen run model.onnx --input x=photo.npy --output y.npz   outputs saved by name, read with numpy.load

Without --input an input is random: floats are normal, integers stay inside the tables they index.
A dimension that nothing fixes is 1 if it is a batch, else 16.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    inputs.input_arguments(parser)
    parser.add_argument("--output", type=Path, metavar="FILE.npz", help="save the outputs, by name")
    parser.add_argument("--reference", action="store_true", help="run the NumPy reference instead of compiled code (slow)")
    parser.add_argument(
        "--ragged", default="", metavar="INPUT", help="the input [batch, seq] that masks padding: run over its tokens alone"
    )
    common.compile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import tgen
    from tgen import frontends

    graph = frontends.load(args.model, shapes=args.shapes or None)
    feeds = inputs.feeds_for(graph, args.inputs, args.shapes, args.seed)
    if args.reference:
        start = time.perf_counter()
        outputs = tgen.reference(graph, feeds)
        took = f"reference run {common.seconds(time.perf_counter() - start)}"
    else:
        executable = tgen.compile(graph, ragged=args.ragged, **common.compile_options(args))
        start = time.perf_counter()
        outputs = executable.run(feeds)
        took = f"{compiled(executable.report)}; first run {common.seconds(time.perf_counter() - start)}"
    if args.output:
        save(args.output, outputs)
    out = common.console()
    common.print_table(("input", "type", ">values"), [(n, type_text(a), values_text(a)) for n, a in feeds.items()])
    common.print_table(
        ("output", "type", ">least", ">mean", ">greatest", ">not finite"),
        [(n, type_text(a), *summary(a)) for n, a in outputs.items()],
    )
    out.print(took)
    if args.output:
        out.print(f"saved {args.output}")
    return 0


def compiled(report: Mapping[str, Any]) -> str:
    """`compiled in 1.2 s` or `taken from the cache in 80 ms`."""
    how = "taken from the cache" if report["cached"] else "compiled"
    return f"{how} in {common.seconds(report['compile_seconds'])}"


def save(path: Path, outputs: Mapping[str, np.ndarray]) -> None:
    """Writes exactly `path`, as numpy.savez would; but any name will do for an output, and text is stored without pickle."""
    import zipfile

    import numpy as np

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in outputs.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array.astype(str) if array.dtype == object else array, allow_pickle=False)


def type_text(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)}"


def values_text(array: np.ndarray, count: int = 5) -> str:
    """The first few values."""
    shown = ", ".join(f"{v:.4g}" if array.dtype.kind == "f" else str(v) for v in array.reshape(-1)[:count].tolist())
    return f"{shown}, …" if array.size > count else shown


def summary(array: np.ndarray) -> tuple[str, str, str, str]:
    """Least, mean and greatest of the finite values, and how many are NaN or infinite."""
    import numpy as np

    if array.dtype.kind not in "fiub" and array.dtype.kind != "V":
        return (values_text(array, 1), "", "", "")
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    lost = str(wide.size - finite.size)
    if not finite.size:
        return ("-", "-", "-", lost)
    return (f"{finite.min():.6g}", f"{finite.mean():.6g}", f"{finite.max():.6g}", lost)
