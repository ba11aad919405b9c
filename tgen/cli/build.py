"""`tgen build MODEL -o FOLDER`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from . import common

SUMMARY = "make a library with a C interface that runs a model without Python"
EPILOG = """\
The folder gets libNAME.so, NAME.h, NAME.json (inputs, outputs, memory, hashes) and example.c with its build line. The library needs
libc and POSIX threads, nothing else; docs/deploy.md shows how C, C++, Go, Rust and Python call it.

examples:
  tgen build model.onnx -o dist/
  tgen build minilm/ -o dist/ --name minilm --weights-file              weights in a file of their own, shared by processes
  tgen build model.onnx -o dist/ --target x86-64-v3,x86-64-v4,amx       code for a fleet: the best is chosen where it is loaded
  tgen build model.onnx -o dist/ --target neoverse-n1                   for another architecture
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.model_argument(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument("--name", default="", help="of the library and its functions, a C identifier (default: the model's)")
    common.target_arguments(parser)
    parser.add_argument(
        "--format", choices=("so", "a", "o"), default="so", help="shared library (default), archive, or object file"
    )
    parser.add_argument(
        "--weights-file", action="store_true", help="weights in NAME.weights, mapped into memory, not in the library"
    )
    parser.add_argument(
        "--linker", default="", metavar="PATH", help="the linker to use (default: ld, ld.lld or the one of ziglang)"
    )


def run(args: argparse.Namespace) -> int:
    from tgen.aot.build import build

    start = time.perf_counter()
    with common.progress() as say:
        built = build(
            args.model, args.output, name=args.name, targets=args.target.split(","), precision=args.precision,
            subnormals=args.subnormals, shapes=args.shapes or None, format=args.format, weights_file=args.weights_file,
            linker=args.linker, progress=say,
        )  # fmt: skip
    common.print_table(("file", ">bytes"), [(path, f"{path.stat().st_size:,}") for path in built.files])
    code = ", ".join(f"{size:,} bytes of code for {target}" for target, size in built.code_bytes.items())
    out = common.console()
    out.print(f"{code}; {built.weight_bytes:,} bytes of weights; built in {common.seconds(time.perf_counter() - start)}")
    if args.format == "so":
        out.print(f"try it: cd {args.output} && {built.build_line} && ./{built.name}-example", soft_wrap=True)
    return 0
