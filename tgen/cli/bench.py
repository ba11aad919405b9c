"""`tgen bench MODEL`."""

from __future__ import annotations

import argparse
import json

from . import common

SUMMARY = "measure a model beside other runtimes, in turns"
EPILOG = """\
Each contestant has a process of its own, stopped while another is measured: an idle pool of threads that spins would slow its
neighbours. They take turns in one run, so that a noisy machine is noisy for all. Shown are median and 99th percentile of a run.

examples:
  tgen bench model.onnx
  tgen bench model.onnx --vs onnxruntime,openvino --shapes batch=1,seq=128 --threads 2
  tgen bench minilm/ --shapes seq=128 --precision medium --json > row.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    parser.add_argument("--vs", type=names, default=[], metavar="NAME,…", help="others to measure: onnxruntime, openvino, torch")
    parser.add_argument("--json", action="store_true", help="print rows of JSON instead of a table")
    common.compile_arguments(parser)


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def run(args: argparse.Namespace) -> int:
    from tgen import frontends

    frontends.load(args.model, shapes=args.shapes or None)  # a bad model is refused before any contestant is started
    from tgen import bench

    rows = bench.compare(
        args.model, vs=args.vs, shapes=args.shapes, threads=args.threads, precision=args.precision, target=args.target
    )
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        common.print_table([f">{key}" if k else key for k, key in enumerate(rows[0])], [list(row.values()) for row in rows])
    return 0
