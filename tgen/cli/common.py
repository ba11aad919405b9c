"""What the commands share: their common options, and how they print."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import PRECISIONS, SUBNORMALS

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 140  # columns of a table where the output is no terminal


def model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="an .onnx file or a Hugging Face folder")
    parser.add_argument(
        "--shapes",
        type=shapes_from_text,
        default={},
        metavar="NAME=N,…",
        help="sizes for the model's symbolic dimensions, such as batch=1,seq=128",
    )


def target_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="highest",
        help="highest: as good as float32 (default); high, medium: bfloat16 in two parts, in one part, where the CPU gains by it",
    )
    parser.add_argument(
        "--subnormals",
        choices=SUBNORMALS,
        default="auto",
        help="numbers below 1.2e-38: keep, flush (taken for zeros), auto: flush if weights are such numbers (default)",
    )
    parser.add_argument("--target", default="host", help="machine to compile for (default: this one); tgen targets lists them")


def compile_arguments(parser: argparse.ArgumentParser) -> None:
    target_arguments(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="threads to use (default: the CPUs this process may use)")
    parser.add_argument("--no-cache", action="store_true", help="compile anew, neither reading nor writing the cache on disk")


def compile_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `tgen.compile` that `compile_arguments` stands for."""
    names = ("precision", "subnormals", "threads", "target")
    return {**{name: getattr(args, name) for name in names}, "cache": not args.no_cache}


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def shapes_from_text(text: str) -> dict[str, int]:
    """`batch=1,seq=128` → {"batch": 1, "seq": 128}."""
    shapes = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, extent = part.partition("=")
        if not equals or not name.strip().isidentifier() or not extent.strip().isdecimal():
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=N, such as batch=1,seq=128")
        shapes[name.strip()] = int(extent)
    return shapes


def console(stderr: bool = False) -> Console:
    """A console that prints text as it stands: a type such as f32[batch, 3] is no markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, markup=False, highlight=False, width=width)


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is going on; gone when it is over. quiet: says nothing."""
    if quiet:
        yield lambda text: None
        return
    with console(stderr=True).status("") as status:
        yield status.update


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Rows under headings; a heading that starts with `>` sets its column flush right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        right = heading.startswith(">")
        table.add_column(heading.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console().print(table)


def seconds(value: float) -> str:
    """A duration in the unit that reads best: 12.3 µs, 4.56 ms, 1.20 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
