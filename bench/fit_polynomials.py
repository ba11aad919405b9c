"""Derives the coefficients of `tgen.ir.mathlib.polynomials`: minimax polynomials by the Remez exchange, in 100-digit arithmetic.

    python bench/fit_polynomials.py | ruff format - > ir/mathlib/polynomials.py        (needs mpmath, numpy and ruff)

Each row of FITS is one function f on an interval, a degree for float32 and float64, and a weight w: the polynomial P of that
degree minimises max |w·(P - f)|, where w turns the error of P into a relative error of the final result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import mpmath as mp
import numpy as np

mp.mp.dps = 100
Function = Callable[[mp.mpf], mp.mpf]
LN2, QUARTER, NEAR = mp.log(2), (mp.pi / 4) ** 2, mp.mpf("1e-20")


def beside_zero(f: Function) -> Function:
    """f without its 0/0 at 0: the value 1e-20 beside it, which is as good in float64."""
    return lambda x: f(x if abs(x) > NEAR else NEAR)


def powers(degree: int) -> list[Function]:
    return [lambda x, j=j: x**j for j in range(degree + 1)]  # type: ignore[misc]


def remez(f: Function, w: Function, low: mp.mpf, high: mp.mpf, basis: Sequence[Function]) -> tuple[list[mp.mpf], mp.mpf]:
    """c that makes max |w·(Σ c_j·basis_j - f)| least, and that maximum."""
    n = len(basis) + 1
    points = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / (n - 1)) for k in range(n)]
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / (24 * n)) for k in range(24 * n + 1)]
    values, floor = [f(x) for x in grid], max(abs(w(x)) for x in grid) / 1000
    weights = [abs(w(x)) + floor for x in grid]  # a weight that vanishes inside would break the exchange
    terms = [[b(x) for b in basis] for x in grid]
    coefficients, worst = [], mp.mpf(0)
    for _ in range(12):
        rows = [[b(x) for b in basis] + [(-1) ** k / (abs(w(x)) + floor)] for k, x in enumerate(points)]
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in points]))
        coefficients, level = [solved[j] for j in range(n - 1)], abs(solved[n - 1])
        error = [v * (mp.fdot(coefficients, t) - y) for t, y, v in zip(terms, values, weights)]
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


@functools.cache
def mills(a: mp.mpf) -> mp.mpf:
    """Φ(-a)·e^(a²/2) of the normal distribution"""
    return erfcx(a / mp.sqrt(2)) / 2


ROOT = mp.sqrt(2)
EXPM1: Function = lambda r: (mp.expm1(r) - r) / r**2
ASIN = of_square(lambda x: (mp.asin(x) / x - 1) / x**2)
ATAN = of_square(lambda x: (mp.atan(x) / x - 1) / x**2)
SINH = of_square(lambda x: (mp.sinh(x) / x - 1) / x**2)
ATANH = of_square(lambda x: (mp.atanh(x) / x - 1) / x**2)
# name: (law, f, w, low, high, degree for float32, for float64)
FITS: dict[str, tuple[str, Function, Function, mp.mpf, mp.mpf, int | None, int | None]] = {
    "EXP": ("e^r = 1 + r + r²·P(r), |r| ≤ ln 2", EXPM1, lambda r: r**2 / mp.exp(r), -LN2 * 1.001, LN2 * 1.001, 5, 11),
    "EXP_SHORT": (
        "e^r = 1 + r·P(r), |r| ≤ ln 2/2",
        lambda r: mp.expm1(r) / r,
        lambda r: r / mp.exp(r),
        -LN2 / 2 * 1.001,
        LN2 / 2 * 1.001,
        5,
        10,
    ),
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
    "TAN": (
        "tan r = r + r³·P(r²), |r| ≤ π/4",
        of_square(lambda r: (mp.tan(r) / r - 1) / r**2),
        lambda z: z,
        mp.mpf(0),
        QUARTER * 1.001,
        6,
        13,
    ),
    "SINH": ("sinh x = x + x³·P(x²), |x| ≤ 1", SINH, lambda z: z, mp.mpf(0), mp.mpf(1), 2, 6),
    "ATANH": ("artanh x = x + x³·P(x²), |x| ≤ ½", ATANH, lambda z: z, mp.mpf(0), mp.mpf("0.25"), 5, 13),
    "ACOSH": (
        "arcosh(1 + t) = √(2t)·(1 + t·P(t)), 0 ≤ t ≤ ½",
        lambda t: (mp.acosh(1 + t) / mp.sqrt(2 * t) - 1) / t,
        lambda t: t,
        mp.mpf(0),
        mp.mpf("0.5"),
        5,
        13,
    ),
    "ASIN": ("arcsin s = s + s³·P(s²), |s| ≤ ½", ASIN, lambda z: z, mp.mpf(0), mp.mpf("0.25"), 4, 11),
    "ATAN": ("arctan t = t + t³·P(t²), |t| ≤ 1", ATAN, lambda z: z, mp.mpf(0), mp.mpf(1), 8, 20),
    "ERF_LOG": (
        "erf x = 1 - e^(-x - x·P(x)), 0 ≤ x ≤ 4",
        lambda x: -mp.log(mp.erfc(x)) / x - 1,
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


def normal_tail(density: mp.mpf, degree: int = 4) -> tuple[list[mp.mpf], list[mp.mpf], mp.mpf]:
    """B and A with Φ(-a)·e^(a²/2) = density·B(a)/(a·B(a) + A(a)) for 0 ≤ a ≤ 14.4, B(0) = 1, and the greatest relative error.

    Linear for a given denominator, so it is solved again and again with the last one in the weight.
    """
    high = mp.mpf("14.4")
    b, a = [mp.mpf(1)], [2 * density]
    for _ in range(6):
        under = beside_zero(lambda x, p=b[::-1], q=a[::-1]: x * mp.polyval(p, x) + mp.polyval(q, x))
        basis: list[Function] = [lambda x, j=j: (x * mills(x) - density) * x**j for j in range(1, degree + 1)]  # type: ignore[misc]
        basis += [lambda x, j=j: mills(x) * x**j for j in range(1, degree + 1)]  # type: ignore[misc]
        start: Function = lambda x: density - mills(x) * (x + 2 * density)
        weight: Function = lambda x, d=under: 1 / (mills(x) * d(x))  # type: ignore[misc]
        solved, worst = remez(start, weight, mp.mpf(0), high, basis)
        b, a = [mp.mpf(1), *solved[:degree]], [2 * density, *solved[degree:]]
    return b, a, worst


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
                coefficients, error = remez(beside_zero(f), w, low, high, powers(degree))
                show(f"{name}_{bits}", law, coefficients, bits, float(error))
    density = mp.mpf(float(np.float32(float(1 / mp.sqrt(2 * mp.pi)))))
    above, below, worst = normal_tail(density)
    law = f"Φ(-a) = e^(-a²/2)·{float(density)}·B(a)/(a·B(a) + A(a)), 0 ≤ a ≤ 14.4"
    show("TAIL_B_32", law, above, 32, float(worst))
    show("TAIL_A_32", "A of the same", below, 32, float(worst))


if __name__ == "__main__":
    main()
