"""`tgen bench MODEL`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from . import common

SUMMARY = "measure a model beside other runtimes, in turns"
EPILOG = """\
Each contestant has a process of its own, stopped while another is measured: an idle pool of threads that spins would slow its
neighbours. They take turns in one run, so that a noisy machine is noisy for all. Shown are the median of a run, percentiles, the
ratio to tgen with the interval of nine rounds in ten, GFLOP/s and the fraction of this machine's roofline, which is measured too.

examples:
  tgen bench model.onnx
  tgen bench model.onnx --vs onnxruntime,openvino --shapes batch=1,seq=128 --threads 2
  tgen bench minilm/ --shapes seq=128 --precision medium --json > row.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    parser.add_argument(
        "--vs", type=names, default=[], metavar="NAME,…", help="others to measure: onnxruntime, openvino, openvino-bf16, torch"
    )
    parser.add_argument("--json", action="store_true", help="print rows of JSON instead of a table")
    common.compile_arguments(parser)


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def run(args: argparse.Namespace) -> int:
    from tgen import frontends

    frontends.load(args.model, shapes=args.shapes or None)  # a bad model is refused before any contestant is started
    from tgen import bench

    with common.progress(quiet=args.json) as tell:
        report = bench.compare(
            args.model,
            args.vs,
            shapes=args.shapes,
            threads=args.threads,
            precision=args.precision,
            target=args.target,
            progress=tell,
        )
    if args.json:
        print(json.dumps(report.to_json(), indent=1))
        return 0
    print(", ".join(f"{key} {value}" for key, value in report.facts.items()))
    common.print_table(["contestant", *(f">{t}" for t in TITLES)], [cells(row) for row in report.rows])
    return 0


TITLES = ("median ms", "p10", "p99", "× tgen", "interval", "GFLOP/s", "of roofline", "difference", "load s", "MB")


def cells(row: Any) -> list[object]:
    """A contestant's line of the table."""
    if row.failed:
        return [row.name, row.failed, *[""] * (len(TITLES) - 1)]
    numbers = [f"{v:.4g}" for v in (row.median, row.p10, row.p99, row.ratio)]
    rest = ["" if row.error is None else f"{row.error:.1e}", f"{row.load_seconds:.2f}", f"{row.megabytes:.0f}"]
    speed = [f"{row.gflops:.0f}", f"{row.roofline:.0%}"]
    return [row.name, *numbers, f"{row.ratio_low:.2f}–{row.ratio_high:.2f}", *speed, *rest]
