"""`tgen targets`."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path

from . import common

SUMMARY = "what this machine has, and the targets that fit it"
EPILOG = """\
A target is chosen by the features the CPU reports, never by its name. `chosen` is what --target host stands for here; another one
that `runs here` can be asked for by name; the rest can be built for (tgen build) and looked at, not run. --target also takes the other
names, and features joined by + (avx2+fma+f16c+bmi2): the best target that needs no others.

example:
  tgen targets
  tgen run model.onnx --target generic
"""
# Features that decide something, in the order they came to be; a CPU reports some hundred.
NOTABLE: tuple[str, ...] = (
    *("sse4.2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512vnni", "avx512bf16", "avx512fp16", "avxvnni"),
    *("amx-tile", "amx-int8", "amx-bf16", "amx-fp16", "neon", "dotprod", "bf16", "i8mm", "fullfp16", "sve", "sve2", "sme"),
)
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-features", action="store_true", help="every CPU feature by LLVM's name")


def run(args: argparse.Namespace) -> int:
    from tgen.codegen import llvm
    from tgen.runtime import threads
    from tgen.targets.find import ALIASES, all_targets, find_target

    features, triple = llvm.host_features(), llvm.host_triple()
    chosen = find_target("host", features, triple)
    out = common.console()
    for name, text in (
        ("machine", f"{platform.machine()}, {triple}"),
        ("features", ", ".join(sorted(features) if args.all_features else [f for f in NOTABLE if f in features])),
        ("caches", ", ".join(cache_sizes()) or "not told by this system"),
        ("threads", f"{threads.budget()} ({'; '.join(threads.explain())})"),
        ("code generator", f"LLVM {llvm.llvm_version()}"),
    ):
        out.print(f"{name:>16}  {text}", soft_wrap=True)
    rows: list[Sequence[object]] = []
    for target in all_targets():
        here = target.triple.split("-")[0] in ("", triple.split("-")[0]) and target.runs_on(features)
        missing = ", ".join(n for n in target.needs if n not in features)
        state = "chosen" if target.name == chosen.name else "runs here" if here else f"lacks {missing or target.triple}"
        tiles = ", ".join(dict.fromkeys(t.name.split(".")[0] for t in target.tiles))
        rows.append((target.name, ", ".join(ALIASES.get(target.name, ())), state, f"{target.lanes} x f32", tiles))
    common.print_table(("target", "other names", "on this machine", ">vector", "multiply-accumulate instructions"), rows)
    return 0


def cache_sizes(root: Path = CACHES) -> list[str]:
    """`L1d 32K`, `L2 512K`, … of the first CPU, as Linux tells them; empty where it doesn't."""
    sizes = []
    for index in sorted(root.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            sizes.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return sizes
