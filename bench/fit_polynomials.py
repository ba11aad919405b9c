"""Derives the coefficients of `tgen.ir.polynomials`: minimax polynomials by the Remez exchange, in 100-digit arithmetic.

    python bench/fit_polynomials.py | ruff format - > ir/mathlib/polynomials.py        (needs mpmath, numpy and ruff)

Each row of FITS is one function f on an interval, a degree for float32 and float64, and a weight w: the polynomial P of that
degree minimises max |w·(P - f)|, where w turns the error of P into a relative error of the final result.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 100
Function = Callable[[mp.mpf], mp.mpf]
LN2, QUARTER, NEAR = mp.log(2), (mp.pi / 4) ** 2, mp.mpf("1e-20")


def beside_zero(f: Function) -> Function:
    """f without its 0/0 at 0: the value 1e-20 beside it, which is as good in float64."""
    return lambda x: f(x if abs(x) > NEAR else NEAR)


def remez(f: Function, w: Function, low: mp.mpf, high: mp.mpf, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients, lowest first, and max |w·(P - f)|."""
    n = degree + 2
    points = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / (n - 1)) for k in range(n)]
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / (24 * n)) for k in range(24 * n + 1)]
    values, floor = [f(x) for x in grid], max(abs(w(x)) for x in grid) / 1000
    weights = [abs(w(x)) + floor for x in grid]  # a weight that vanishes inside would break the exchange
    coefficients, worst = [], mp.mpf(0)
    for _ in range(12):
        rows = [[x**j for j in range(degree + 1)] + [(-1) ** k / (abs(w(x)) + floor)] for k, x in enumerate(points)]
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in points]))
        coefficients, level = [solved[j] for j in range(degree + 1)], abs(solved[degree + 1])
        error = [v * (mp.polyval(coefficients[::-1], x) - y) for x, y, v in zip(grid, values, weights)]
        worst = max(map(abs, error))
        if worst <= level * mp.mpf("1.01"):
            break
        runs: list[int] = []
        for k, e in enumerate(error):  # the greatest error of each run of one sign
            if runs and e * error[runs[-1]] > 0:
                runs[-1] = k if abs(e) > abs(error[runs[-1]]) else runs[-1]
            else:
                runs.append(k)
        while len(runs) > n:
            runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
        if len(runs) < n:
            break
        points = [grid[k] for k in runs]
    return coefficients, worst


def of_square(g: Function) -> Function:
    return lambda z: g(mp.sqrt(z))


def erfcx(x: mp.mpf) -> mp.mpf:
    return mp.erfc(x) * mp.exp(x * x)


ROOT = mp.sqrt(2)
EXPM1: Function = lambda r: (mp.expm1(r) - r) / r**2
ASIN = of_square(lambda x: (mp.asin(x) / x - 1) / x**2)
ATAN = of_square(lambda x: (mp.atan(x) / x - 1) / x**2)
# name: (law, f, w, low, high, degree for float32, for float64)
FITS: dict[str, tuple[str, Function, Function, mp.mpf, mp.mpf, int | None, int | None]] = {
    "EXP": ("e^r = 1 + r + r²·P(r), |r| ≤ ln 2", EXPM1, lambda r: r**2 / mp.exp(r), -LN2 * 1.001, LN2 * 1.001, 5, 11),
    "EXP2": (
        "2^r = 1 + r·P(r), |r| ≤ 1",
        lambda r: mp.expm1(r * LN2) / r,
        lambda r: r / mp.mpf(2) ** r,
        mp.mpf(-1),
        mp.mpf(1),
        6,
        12,
    ),
    "EXPM1": ("e^r - 1 = r + r²·P(r), |r| ≤ ln 2/2", EXPM1, lambda r: r, -LN2 / 2 * 1.001, LN2 / 2 * 1.001, 4, 9),
    "LOG": (
        "ln(1 + f) = f + f²·P(f), √½ ≤ 1 + f < √2",
        lambda f: (mp.log1p(f) - f) / f**2,
        lambda f: f,
        1 / ROOT - 1,
        ROOT - 1,
        8,
        19,
    ),
    "SIN": (
        "sin r = r + r³·P(r²), |r| ≤ π/4",
        of_square(lambda r: (mp.sin(r) / r - 1) / r**2),
        lambda z: z,
        mp.mpf(0),
        QUARTER * 1.001,
        2,
        5,
    ),
    "COS": (
        "cos r = 1 - r²/2 + r⁴·P(r²), |r| ≤ π/4",
        of_square(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4),
        lambda z: z**2,
        mp.mpf(0),
        QUARTER * 1.001,
        2,
        5,
    ),
    "ASIN": ("arcsin s = s + s³·P(s²), |s| ≤ ½", ASIN, lambda z: z, mp.mpf(0), mp.mpf("0.25"), 4, 11),
    "ATAN": ("arctan t = t + t³·P(t²), |t| ≤ 1", ATAN, lambda z: z, mp.mpf(0), mp.mpf(1), 8, 20),
    "ERF_LOG": (
        "erf x = 1 - e^(-x·P(x)), 0 ≤ x ≤ 4",
        lambda x: -mp.log(mp.erfc(x)) / x,
        lambda x: mp.erfc(x) * x / mp.erf(x) if x else mp.mpf(1),
        mp.mpf(0),
        mp.mpf(4),
        9,
        None,
    ),
    "ERF": ("erf x = x·P(x²), |x| ≤ 1", of_square(lambda x: mp.erf(x) / x), lambda z: mp.mpf(1), mp.mpf(0), mp.mpf(1), None, 12),
    "ERFC": (
        "erfc x = e^(-x²)·P(u), 1 ≤ x ≤ 6, u = (x - 2.2)/(x + 2.2)",
        lambda u: erfcx(mp.mpf("2.2") * (1 + u) / (1 - u)),
        lambda u: 1 / erfcx(mp.mpf("2.2") * (1 + u) / (1 - u)),
        mp.mpf("-0.376"),
        mp.mpf("0.4635"),
        None,
        16,
    ),
    "POW_LOG2": (
        "log2(1 + f) = f·P(f), √½ ≤ 1 + f < √2, for a float32 pow",
        lambda f: mp.log1p(f) / f / LN2,
        lambda f: f / mp.log1p(f),
        1 / ROOT - 1,
        ROOT - 1,
        None,
        13,
    ),
    "POW_EXP2": (
        "2^r = P(r), |r| ≤ ½, for a float32 pow",
        lambda r: mp.mpf(2) ** r,
        lambda r: mp.mpf(2) ** -r,
        mp.mpf(-0.5),
        mp.mpf(0.5),
        None,
        7,
    ),
}


def show(name: str, law: str, coefficients: list[mp.mpf], bits: int, error: float) -> None:
    rounded = [np.float32(c) if bits == 32 else float(c) for c in coefficients]
    print(f"# {law}: {error:.1e}")
    print(f"{name} = (" + ", ".join(repr(float(c)) for c in rounded) + ",)")


def main() -> None:
    print(
        '"""Coefficients, lowest degree first. Written by bench/fit_polynomials.py; the figure is the greatest relative error."""\n'
    )
    print("from __future__ import annotations\n")
    for name, (law, f, w, low, high, *degrees) in FITS.items():
        for bits, degree in zip((32, 64), degrees):
            if degree is not None:
                coefficients, error = remez(beside_zero(f), w, low, high, degree)
                show(f"{name}_{bits}", law, coefficients, bits, float(error))


if __name__ == "__main__":
    main()
