"""`tgen bench MODEL`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common

if TYPE_CHECKING:
    from tgen.bench.profile import Profile

SUMMARY = "measure a model beside other runtimes, in turns, or step by step"
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

--profile measures tgen alone, step by step: where the time goes, how near each step comes to the roofline, how long threads wait for
each other, and what memory a run takes. The counters are in code compiled for this, which the cache never sees.

examples:
  tgen bench model.onnx
  tgen bench model.onnx --vs onnxruntime,openvino --shapes batch=1,seq=128 --threads 2
  tgen bench minilm/ --shapes seq=128 --vs tgen:medium,openvino-bf16,torch-inductor-bf16 --json > rows.json
  tgen bench minilm/ --shapes seq=128 --profile --html profile.html
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--vs", type=names, default=[], metavar="NAME,…", help="others to measure: see below")
    what.add_argument("--profile", action="store_true", help="a table of the steps of a run, summed by kernel")
    parser.add_argument("--steps", action="store_true", help="with --profile: every step by itself")
    parser.add_argument("--html", type=Path, metavar="FILE", help="with --profile: write it as one page too, with a timeline")
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
    if (args.steps or args.html) and not args.profile:
        from tgen.ir.errors import InvalidInput

        raise InvalidInput("--steps and --html belong to --profile")
    return _profile(args) if args.profile else _compare(args)


def _compare(args: argparse.Namespace) -> int:
    from tgen import bench

    with common.progress(quiet=args.json) as tell:
        report = bench.compare(args.model, args.vs, shapes=args.shapes, progress=tell, **common.compile_options(args))
    if args.json:
        print(json.dumps(report.to_json(), indent=1))
        return 0
    print(_facts(report.facts))
    common.print_table(["contestant", *(f">{t}" for t in TITLES), "note"], [cells(row) for row in report.rows])
    for row in report.rows:
        if row.failed:
            print(f"{row.name} is not measured: {row.failed}")
    return 0


def _profile(args: argparse.Namespace) -> int:
    from tgen.bench.page import page
    from tgen.bench.profile import profile

    options = {key: value for key, value in common.compile_options(args).items() if key != "cache"}
    with common.progress(quiet=args.json) as tell:
        found = profile(args.model, shapes=args.shapes, progress=tell, **options)
    if args.html:
        args.html.write_text(page(found))
    if args.json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        _print_profile(found, steps=args.steps)
    return 0


def _print_profile(found: Profile, steps: bool) -> None:
    from tgen.bench.page import TITLES, ceilings, figures, summary

    print(_facts(found.facts))
    common.print_table(["run", ">"], summary(found))
    common.print_table(["ceiling of this machine", ">"], ceilings(found))
    rows = found.rows if steps else found.by_kernel()
    lines = [[row.number if steps else row.steps, row.what, row.origin, *figures(row)] for row in rows]
    common.print_table([">step" if steps else ">steps", "what", "where in the model", *(f">{t}" for t in TITLES)], lines)


def _facts(facts: Mapping[str, Any]) -> str:
    """`model m.onnx, shapes batch=1 seq=128, threads 2`."""
    shapes = " ".join(f"{name}={size}" for name, size in facts["shapes"].items()) or "fixed"
    return ", ".join(f"{key} {shapes if key == 'shapes' else value}" for key, value in facts.items())


TITLES = ("median ms", "p10", "p99", "× tgen", "interval", "GFLOP/s", "of roofline", "difference", "load s", "MB")


def cells(row: Any) -> list[object]:
    """A contestant's line of the table."""
    if row.failed:
        return [row.name, *["–"] * len(TITLES), "see below"]
    numbers = [f"{v:.4g}" for v in (row.median, row.p10, row.p99, row.ratio)]
    rest = ["" if row.error is None else f"{row.error:.1e}", f"{row.load_seconds:.2f}", f"{row.megabytes:.0f}", row.note]
    return [row.name, *numbers, f"{row.ratio_low:.2f}–{row.ratio_high:.2f}", *row.speed, *rest]
