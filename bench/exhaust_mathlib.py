"""Every float32 through the compiled functions of mathlib: the greatest error of each, in units of the last place.

    PYTHONPATH=. python bench/exhaust_mathlib.py [--stride 16] [FUNCTION ...]        (minutes a function; run from the root of the tree)

Exits with 1 if one is beyond the bound that tests/ir/test_mathlib.py states. A stride above 1 takes every so many numbers, from a random one on.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from tests.ir.test_mathlib import BOUNDS, REDUCED, compiled, find, true_function, ulps
from tgen.ir.dtypes import F32
from tgen.ir.expr import Arg, call

CHUNK = 1 << 22


def greatest_error(fn: str, stride: int) -> tuple[float, float]:
    """(error, where) over float32 numbers a stride apart."""
    worst, target = (-1.0, 0.0), find("host")
    begin = int(np.random.default_rng().integers(stride))
    for start in range(begin, 1 << 32, CHUNK * stride):
        x = np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
        x = x[~(np.abs(x) > REDUCED.get(fn, math.inf))]
        if not x.size:
            continue
        with np.errstate(all="ignore"):
            error = ulps(compiled(call(fn, Arg(F32, 0)), x, target=target), true_function(fn)(x.astype(np.float64)))
        k = int(np.argmax(error))
        worst = max(worst, (float(error[k]), float(x[k])))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", default=list(BOUNDS))
    parser.add_argument("--stride", type=int, default=1)
    chosen = parser.parse_args()
    good = True
    for fn in chosen.functions:
        error, where = greatest_error(fn, chosen.stride)
        good &= error <= BOUNDS[fn]
        print(f"{fn:9} {error:.3f} ulp at {where!r}, bound {BOUNDS[fn]}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
