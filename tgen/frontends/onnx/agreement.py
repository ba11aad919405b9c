"""Extents that look different and must be equal for a model to run: what is assumed of them, and checked before each run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ...ir.dims import Dim, DimLike, nonnegative, plain_symbol, product, symbols

Shape = Sequence[DimLike]


class Equation(Exception):
    """symbol, of the inputs, is this dimension in every run that the model allows: the import begins again with what is known now."""

    def __init__(self, symbol: str, dim: DimLike) -> None:
        super().__init__(f"{symbol} = {dim}")
        self.symbol, self.dim = symbol, dim


def solved(pair: Sequence[object], free: Collection[str]) -> Equation | None:
    """What makes two dimensions equal: the value of one of these symbols, in integers and others of them; None if nothing does."""
    for x, y in (pair[::-1], pair):
        if isinstance(x, Dim) and isinstance(y, (int, Dim)) and (symbol := plain_symbol(x)) in free:
            others = set(symbols(y))
            if symbol is not None and symbol not in others and others.issubset(free):
                return Equation(symbol, y)
    return None


def agreement(shapes: Iterable[Shape], found: frozenset[str] = frozenset()) -> dict[int, DimLike]:
    """What shapes that broadcast together are assumed to have: axis, counted from the end (1 is the last) → extent.

    min(n, seq) that meets seq is seq: so models slice a table of n positions to the length of their input. Different formulas
    of the same symbols are the shortest: `2·ceil(h / 32)` meets `ceil(h / 16)` where what was halved is doubled again. A formula
    that meets a number is that number.
    An extent that a run finds out (its symbol is in `found`) is taken to be what it meets.
    Any runtime would fail for sizes where they differ (or broadcast, if one happens to be 1).
    """
    shapes = [tuple(s) for s in shapes]
    wanted: dict[int, DimLike] = {}
    for axis in range(1, max(map(len, shapes), default=0) + 1):
        entries = list(dict.fromkeys(s[-axis] for s in shapes if len(s) >= axis and s[-axis] != 1))
        if len(entries) > 1:
            plain = [d for d in entries if all(d == e or is_clamped(e, d) for e in entries)]
            if len(plain) == 1:
                wanted[axis] = plain[0]
            elif len(before := [d for d in entries if found.isdisjoint(symbols(d))]) <= 1:
                wanted[axis] = (before or entries)[0]
            elif may_be_equal(entries):
                wanted[axis] = min(entries, key=lambda d: len(str(d)))
    return wanted


def assumed_shape(shape: Shape, wanted: Mapping[int, DimLike]) -> tuple[DimLike, ...]:
    """The shape with the extents of an agreement; 1 stays, it broadcasts."""
    return tuple(d if d == 1 else wanted.get(len(shape) - k, d) for k, d in enumerate(shape))


def unclamped(shape: Shape, elements: DimLike) -> tuple[DimLike, ...]:
    """The shape with min(n, seq) taken for seq where that gives it so many elements; else the shape."""
    if product(shape) == elements:
        return tuple(shape)
    plain = tuple(_without_limits(d) for d in shape)
    return plain if product(plain) == elements else tuple(shape)


def is_clamped(x: DimLike, dim: DimLike) -> bool:
    """Whether x is dim held within fixed limits: min(512, dim), max(0, min(512, dim))."""
    return x != dim and _without_limits(x, dim) == dim


def _without_limits(x: DimLike, until: DimLike | None = None) -> DimLike:
    """What stands inside of fixed limits; `until`: stops at this."""
    while x != until and isinstance(x, Dim) and len(x.terms) == 1 and x.terms[0][1] == 1 and len(x.terms[0][0]) == 1:
        atom = x.terms[0][0][0]
        if isinstance(atom, str) or atom.fn not in ("min", "max"):
            break
        inner = [a for a in (atom.a, atom.b) if not isinstance(a, int)]
        if len(inner) != 1:
            break
        x = inner[0]
    return x


def may_be_equal(entries: Sequence[DimLike]) -> bool:
    """Whether these are formulas of the same symbols, perhaps with a number, none of which is certainly greater than another.

    A symbol and a number are not: the symbol is that number then, which is better known than taken for granted (`Equation`).
    """
    formulas = [d for d in entries if isinstance(d, Dim)]
    if len({frozenset(symbols(d)) for d in formulas}) != 1 or (len(formulas) < len(entries) and any(map(plain_symbol, formulas))):
        return False
    gaps = [formulas[0] - d for d in entries]
    return not any(nonnegative(gap - 1) or nonnegative(-1 - gap) for gap in gaps)
