"""The command line: `tgen COMMAND …`. A command is one file here: `SUMMARY`, `EPILOG`, `arguments(parser)` and `run(args)`.

Exit codes: 0 done; 1 the model, its input or the run is at fault (or a check found a deviation); 2 the command line is.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = ("run", "build", "show", "check", "bench", "targets", "demo")
DESCRIPTION = """\
tgen compiles a trained model to machine code for this computer's CPU.

A MODEL is an .onnx file, or a folder as Hugging Face lays them out (config.json beside model.safetensors)."""
FIRST_STEPS = """\
first steps:
  tgen demo                          search a text collection by meaning with a compiled model
  tgen run model.onnx                compile, run on random input, say what came out
  tgen check model.onnx              compare every step with the NumPy reference
  tgen bench model.onnx              how fast, beside other runtimes
  tgen build model.onnx -o dist/     a library with a C interface, for programs without Python
  tgen COMMAND --help                each command, with an example
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; argv is without the program's name. Returns the exit code."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed its help or its complaint
        return int(stop.code or 0)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if args.debug:
            raise
        return _fail(_explain(error), 1)


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="tgen", description=DESCRIPTION, epilog=FIRST_STEPS, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"tgen {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"{__name__}.{name}")
        about = f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}."
        sub = commands.add_parser(name, help=command.SUMMARY, description=about, epilog=command.EPILOG, formatter_class=form)
        command.arguments(sub)
        sub.add_argument("--debug", action="store_true", help="on an error, show the Python traceback")
        sub.set_defaults(run=command.run)
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tgen")
    except PackageNotFoundError:
        return "(not installed)"


def _explain(error: Exception) -> str:
    from tgen.ir.errors import TgenError

    if isinstance(error, TgenError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"{type(error).__name__}: {error} (a fault of tgen; --debug shows where)"


def _fail(message: str, code: int) -> int:
    print(f"tgen: error: {message}", file=sys.stderr)
    return code
