"""exp, log and the trigonometric and hyperbolic functions: one scalar function each, floats only."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ..expr import Expr, call
from ..op import op
from .elementwise import Elementwise, wide


class _Function(Elementwise):
    """Base. scalar: the function of `scalars`, which is also NumPy's name of it."""

    kinds: ClassVar[str] = "float"
    scalar: ClassVar[str]

    def body(self, x: Expr) -> Expr:
        return call(self.scalar, x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return getattr(np, self.scalar)(wide(x)).astype(x.dtype)


@op
class Exp(_Function):
    """e^x"""

    scalar: ClassVar[str] = "exp"


@op
class Log(_Function):
    """Natural logarithm; -inf at 0, NaN below."""

    scalar: ClassVar[str] = "log"


@op
class Sin(_Function):
    """sin x, radians"""

    scalar: ClassVar[str] = "sin"


@op
class Cos(_Function):
    """cos x, radians"""

    scalar: ClassVar[str] = "cos"


@op
class Tan(_Function):
    """tan x, radians"""

    scalar: ClassVar[str] = "tan"


@op
class Asin(_Function):
    """arcsin x; NaN outside [-1, 1]"""

    scalar: ClassVar[str] = "arcsin"


@op
class Acos(_Function):
    """arccos x; NaN outside [-1, 1]"""

    scalar: ClassVar[str] = "arccos"


@op
class Atan(_Function):
    """arctan x"""

    scalar: ClassVar[str] = "arctan"


@op
class Sinh(_Function):
    """(e^x - e^-x)/2"""

    scalar: ClassVar[str] = "sinh"


@op
class Cosh(_Function):
    """(e^x + e^-x)/2"""

    scalar: ClassVar[str] = "cosh"


@op
class Tanh(_Function):
    """sinh x / cosh x"""

    scalar: ClassVar[str] = "tanh"


@op
class Asinh(_Function):
    """arsinh x"""

    scalar: ClassVar[str] = "arcsinh"


@op
class Acosh(_Function):
    """arcosh x; NaN below 1"""

    scalar: ClassVar[str] = "arccosh"


@op
class Atanh(_Function):
    """artanh x; ±inf at ±1, NaN outside"""

    scalar: ClassVar[str] = "arctanh"


@op
class Erf(Elementwise):
    """2/√π·∫₀ˣ e^(-t²) dt"""

    kinds: ClassVar[str] = "float"

    def body(self, x: Expr) -> Expr:
        return call("erf", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return erf64(x).astype(x.dtype)


def erf64(x: np.ndarray) -> np.ndarray:
    """erf in float64, by the C library."""
    flat = wide(x).reshape(-1)
    return np.array([math.erf(v) for v in flat.tolist()], np.float64).reshape(x.shape)
