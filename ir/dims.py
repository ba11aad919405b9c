"""Symbolic dimensions: integers, symbols and their sums, products, quotients, maxima.

A shape entry is an `int` or a `Dim`. A `Dim` is a polynomial in canonical form (a sorted sum of integer coefficients times
products of atoms), so two equal dimensions compare equal and hash alike. An atom is a symbol (`seq`) or an application
(`floor((seq + 1)/2)`, `max(a, b)`, `mod(a, b)`). Symbols stand for integers >= 0. Results that are constant come back as
plain `int`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Union, overload

from .errors import TypeMismatch

DimLike = Union[int, "Dim"]
Atom = Union[str, "Apply"]
Monomial = tuple[Atom, ...]


@dataclass(frozen=True)
class Apply:
    """`fn(a, b)` where fn is one of floordiv, mod, max, min, and is not a polynomial of its arguments."""

    fn: str
    a: DimLike
    b: DimLike

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @cached_property
    def _text(self) -> str:
        return f"{self.fn}({self.a}, {self.b})"


@dataclass(frozen=True)
class Dim:
    """Σ coefficient·Π atoms; `terms` is sorted by the text of the monomial."""

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return hash(self._text)  # canonical; extents of deep networks are large trees, and a string is hashed once

    @cached_property
    def _text(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = "*".join(map(str, monomial))
            size = abs(coefficient)
            term = str(size) if not monomial else factors if size == 1 else f"{size}*{factors}"
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} {term}" if text else (f"-{term}" if coefficient < 0 else term)
        return text

    __repr__ = __str__

    def __add__(self, other: DimLike) -> DimLike:
        return _build([*_terms(self), *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> DimLike:
        return self * -1

    def __sub__(self, other: DimLike) -> DimLike:
        return self + (other * -1)

    def __rsub__(self, other: DimLike) -> DimLike:
        return self * -1 + other

    def __mul__(self, other: DimLike) -> DimLike:
        return _build([((*m, *n), c * d) for m, c in _terms(self) for n, d in _terms(other)])

    __rmul__ = __mul__

    def __floordiv__(self, other: DimLike) -> DimLike:
        return floordiv(self, other)

    def __rfloordiv__(self, other: DimLike) -> DimLike:
        return floordiv(other, self)

    def __mod__(self, other: DimLike) -> DimLike:
        return mod(self, other)

    def __rmod__(self, other: DimLike) -> DimLike:
        return mod(other, self)


LONGEST = 1024  # symbols and terms of a dimension


def symbol(name: str) -> Dim:
    """The symbolic dimension `name`, an identifier such as `batch`."""
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or name in FUNCTIONS:
        raise TypeMismatch(f"{name!r} is not a name for a symbolic dimension: letters, digits and _ only")
    return Dim((((name,), 1),))


def _terms(dim: DimLike) -> Iterable[tuple[Monomial, int]]:
    return dim.terms if isinstance(dim, Dim) else (((), int(dim)),)


def _build(terms: Iterable[tuple[Monomial, int]]) -> DimLike:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        key = tuple(sorted(monomial, key=str)) if len(monomial) > 1 else tuple(monomial)
        total[key] = total.get(key, 0) + coefficient
    left = [(m, c) for m, c in total.items() if c]
    if len(left) > 1:
        left.sort(key=_order)
    if not left:
        return 0
    if len(left) == 1 and not left[0][0]:
        return left[0][1]
    return Dim(tuple(left))


def _order(term: tuple[Monomial, int]) -> tuple[int, list[tuple[bool, str]]]:
    """Where a term stands: longer products first, symbols before applications, then by text."""
    return -len(term[0]), [(not isinstance(atom, str), str(atom)) for atom in term[0]]


def _divide_exactly(a: DimLike, b: DimLike) -> DimLike | None:
    """a/b where b is one term that divides each term of a, else None."""
    divisor = tuple(_terms(b))
    if len(divisor) != 1:
        return 1 if a == b else None
    (factors, coefficient), out = divisor[0], []
    for monomial, c in _terms(a):
        rest = list(monomial)
        for factor in factors:
            if factor not in rest:
                return None
            rest.remove(factor)
        if c % coefficient:
            return None
        out.append((tuple(rest), c // coefficient))
    return _build(out)


def floordiv(a: DimLike, b: DimLike) -> DimLike:
    """floor(a / b)."""
    if isinstance(a, int) and isinstance(b, int):
        if b == 0:
            raise TypeMismatch(f"division of dimension {a} by zero")
        return a // b
    exact = _divide_exactly(a, b) if b != 0 else None
    return exact if exact is not None else Dim((((Apply("floordiv", a, b),), 1),))


@overload
def ceildiv(a: int, b: int) -> int: ...


@overload
def ceildiv(a: DimLike, b: DimLike) -> DimLike: ...


def ceildiv(a: DimLike, b: DimLike) -> DimLike:
    """ceil(a / b), for b > 0."""
    exact = _divide_exactly(a, b)
    return exact if exact is not None else floordiv(a + b - 1, b)


def mod(a: DimLike, b: DimLike) -> DimLike:
    """a - b·floor(a / b)."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return 0 if _divide_exactly(a, b) is not None else Dim((((Apply("mod", a, b),), 1),))


def nonnegative(x: DimLike) -> bool:
    """Whether x >= 0 for all values (>= 0) of its symbols, as far as the signs of its terms show."""
    if isinstance(x, int):
        return x >= 0
    return all(c >= 0 and all(map(_atom_nonnegative, monomial)) for monomial, c in x.terms)


def _atom_nonnegative(atom: Atom) -> bool:
    if isinstance(atom, str):
        return True
    if atom.fn == "max":
        return nonnegative(atom.a) or nonnegative(atom.b)
    return nonnegative(atom.b) and (atom.fn == "mod" or nonnegative(atom.a))


def dim_max(a: DimLike, b: DimLike) -> DimLike:
    """max(a, b); decided at once when the sign of the difference is certain."""
    gap = a - b
    if nonnegative(gap):
        return a
    if nonnegative(gap * -1):
        return b
    a, b = sorted((a, b), key=str)
    return Dim((((Apply("max", a, b),), 1),))


def dim_min(a: DimLike, b: DimLike) -> DimLike:
    """min(a, b); decided at once when the sign of the difference is certain."""
    gap = a - b
    if nonnegative(gap):
        return b
    if nonnegative(gap * -1):
        return a
    a, b = sorted((a, b), key=str)
    return Dim((((Apply("min", a, b),), 1),))


FUNCTIONS = {"floordiv": floordiv, "mod": mod, "max": dim_max, "min": dim_min, "ceildiv": ceildiv}


def product(dims: Iterable[DimLike]) -> DimLike:
    """Π dims; 1 for none."""
    total: DimLike = 1
    for dim in dims:
        total = total * dim
    return total


def is_short(dim: DimLike) -> bool:
    """Whether a dimension is one that a model means: what squares itself again and again soon fills any memory."""
    return not isinstance(dim, Dim) or sum(len(monomial) + 1 for monomial, _ in dim.terms) <= LONGEST


def plain_symbol(dim: DimLike) -> str | None:
    """The symbol that a dimension is; None for every other dimension."""
    if not isinstance(dim, Dim) or len(dim.terms) != 1:
        return None
    ((atoms, factor),) = dim.terms
    return atoms[0] if factor == 1 and len(atoms) == 1 and isinstance(atoms[0], str) else None


def symbols(dim: DimLike) -> Iterator[str]:
    """Names of the symbols of a dimension, with repetitions."""
    for monomial, _ in _terms(dim):
        for atom in monomial:
            if isinstance(atom, str):
                yield atom
            else:
                yield from symbols(atom.a)
                yield from symbols(atom.b)


def substitute(dim: DimLike, values: Mapping[str, DimLike]) -> DimLike:
    """The dimension with symbols replaced; symbols that `values` lacks stay."""
    if isinstance(dim, int):
        return dim
    total: DimLike = 0
    for monomial, coefficient in dim.terms:
        term: DimLike = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                term = term * values.get(atom, symbol(atom))
            else:
                term = term * FUNCTIONS[atom.fn](substitute(atom.a, values), substitute(atom.b, values))
        total = total + term
    return total


def evaluate_dim(dim: DimLike, values: Mapping[str, int]) -> int:
    """The integer a dimension stands for; raises TypeMismatch if a symbol has no value."""
    result = substitute(dim, values)
    if not isinstance(result, int):
        raise TypeMismatch(f"dimension {dim} needs a value for {', '.join(sorted(set(symbols(result))))}")
    return result


def concrete(dims: Iterable[DimLike]) -> tuple[int, ...]:
    """Dimensions that are integers by now; raises TypeMismatch for a symbol."""
    return tuple(evaluate_dim(d, {}) for d in dims)


_TOKEN = re.compile(r"\s*(\d+|[A-Za-z_]\w*|//|[-+*%(),])")


def parse_dim(text: str) -> DimLike:
    """Inverse of `str`: `parse_dim("2*batch + 1")`. Raises TypeMismatch on text that is not a dimension."""
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TypeMismatch(f"{text!r} is not a dimension (at {text[at:]!r})")
        tokens.append(match[1])
        at = match.end()
    value, rest = _parse_sum(tokens, text)
    if rest:
        raise TypeMismatch(f"{text!r} is not a dimension (at {' '.join(rest)!r})")
    return value


def _parse_sum(tokens: list[str], text: str) -> tuple[DimLike, list[str]]:
    value, tokens = _parse_product(tokens, text)
    while tokens and tokens[0] in "+-":
        sign, (other, tokens) = tokens[0], _parse_product(tokens[1:], text)
        value = value + other if sign == "+" else value - other
    return value, tokens


def _parse_product(tokens: list[str], text: str) -> tuple[DimLike, list[str]]:
    value, tokens = _parse_atom(tokens, text)
    while tokens and tokens[0] in ("*", "//", "%"):
        sign, (other, tokens) = tokens[0], _parse_atom(tokens[1:], text)
        value = value * other if sign == "*" else floordiv(value, other) if sign == "//" else mod(value, other)
    return value, tokens


def _parse_atom(tokens: list[str], text: str) -> tuple[DimLike, list[str]]:
    match tokens:
        case ["-", *rest]:
            value, rest = _parse_atom(rest, text)
            return value * -1, rest
        case ["(", *rest]:
            value, rest = _parse_sum(rest, text)
            if rest[:1] == [")"]:
                return value, rest[1:]
        case [name, "(", *rest] if name in FUNCTIONS:
            a, rest = _parse_sum(rest, text)
            if rest[:1] == [","]:
                b, rest = _parse_sum(rest[1:], text)
                if rest[:1] == [")"]:
                    return FUNCTIONS[name](a, b), rest[1:]
        case [word, *rest] if word.isdigit():
            return int(word), rest
        case [word, *rest] if re.match(r"[A-Za-z_]", word):
            return symbol(word), rest
    raise TypeMismatch(f"{text!r} is not a dimension")
