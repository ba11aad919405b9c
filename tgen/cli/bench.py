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

contestants:
  tgen:OPTION            tgen with another precision or target: tgen:medium, tgen:generic
  onnxruntime            float32
  openvino[-bf16]        with float32 or bfloat16 asked for; the note says what it runs as
  torch[-bf16]           eager; Hugging Face folders only
  torch-inductor[-bf16]  torch.compile; the same
Those that read only .onnx files get a folder exported by torch.

examples:
  tgen bench model.onnx
  tgen bench model.onnx --vs onnxruntime,openvino --shapes batch=1,seq=128 --threads 2
  tgen bench minilm/ --shapes seq=128 --vs tgen:medium,openvino-bf16,torch-inductor-bf16 --json > rows.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    parser.add_argument("--vs", type=names, default=[], metavar="NAME,…", help="others to measure: see below")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    common.compile_arguments(parser)


def names(text: str) -> list[str]:
    """`a, b` → ["a", "b"]; argparse's error for a contestant that nobody knows."""
    from tgen.bench.contestants import base_name
    from tgen.ir.errors import InvalidInput

    found = [part.strip() for part in text.split(",") if part.strip()]
    try:
        for name in found:
            base_name(name)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return found


def run(args: argparse.Namespace) -> int:
    from tgen import bench

    with common.progress(quiet=args.json) as tell:
        report = bench.compare(args.model, args.vs, shapes=args.shapes, progress=tell, **common.compile_options(args))
    if args.json:
        print(json.dumps(report.to_json(), indent=1))
        return 0
    print(", ".join(f"{key} {value}" for key, value in report.facts.items()))
    common.print_table(["contestant", *(f">{t}" for t in TITLES), "note"], [cells(row) for row in report.rows])
    for row in report.rows:
        if row.failed:
            print(f"{row.name} is not measured: {row.failed}")
    return 0


TITLES = ("median ms", "p10", "p99", "× tgen", "interval", "GFLOP/s", "of roofline", "difference", "load s", "MB")


def cells(row: Any) -> list[object]:
    """A contestant's line of the table."""
    if row.failed:
        return [row.name, *["–"] * len(TITLES), "see below"]
    numbers = [f"{v:.4g}" for v in (row.median, row.p10, row.p99, row.ratio)]
    rest = ["" if row.error is None else f"{row.error:.1e}", f"{row.load_seconds:.2f}", f"{row.megabytes:.0f}", row.note]
    speed = [f"{row.gflops:.0f}", f"{row.roofline:.0%}"]
    return [row.name, *numbers, f"{row.ratio_low:.2f}–{row.ratio_high:.2f}", *speed, *rest]
