"""Symbolic dimensions: canonical form, arithmetic that commutes with evaluation, text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgen.ir.dims import (
    Dim,
    DimLike,
    ceildiv,
    dim_max,
    dim_min,
    evaluate_dim,
    floordiv,
    mod,
    parse_dim,
    product,
    substitute,
    symbol,
    symbols,
)
from tgen.ir.dtypes import F32
from tgen.ir.errors import TypeMismatch
from tgen.ir.types import TensorType, broadcast, contiguous_strides, parse_type

VALUES = {"a": 3, "b": 5, "seq": 128}
ATOMS = st.one_of(st.integers(0, 9), st.sampled_from(list(VALUES)).map(symbol))


def combined(children: st.SearchStrategy[DimLike]) -> st.SearchStrategy[DimLike]:
    pair = st.tuples(children, children)
    return st.one_of(
        pair.map(lambda p: p[0] + p[1]),
        pair.map(lambda p: p[0] - p[1]),
        pair.map(lambda p: p[0] * p[1]),
        pair.map(lambda p: dim_max(*p)),
        pair.map(lambda p: dim_min(*p)),
        st.tuples(children, st.integers(1, 7)).map(lambda p: floordiv(*p)),
        st.tuples(children, st.integers(1, 7)).map(lambda p: mod(*p)),
        st.tuples(children, st.integers(1, 7)).map(lambda p: ceildiv(*p)),
    )


DIMS = st.recursive(ATOMS, combined, max_leaves=6)


def value(dim: DimLike) -> int:
    return evaluate_dim(dim, VALUES)


@given(DIMS, DIMS, st.integers(1, 9))
def test_arithmetic_is_that_of_the_values(x: DimLike, y: DimLike, n: int) -> None:
    assert value(x + y) == value(x) + value(y)
    assert value(x - y) == value(x) - value(y)
    assert value(x * y) == value(x) * value(y)
    assert value(floordiv(x, n)) == value(x) // n
    assert value(ceildiv(x, n)) == -(-value(x) // n)
    assert value(mod(x, n)) == value(x) % n
    assert value(dim_max(x, y)) == max(value(x), value(y))
    assert value(dim_min(x, y)) == min(value(x), value(y))
    assert value(product([x, y, n])) == value(x) * value(y) * n


@given(DIMS, DIMS, DIMS)
def test_equal_polynomials_are_one_value(x: DimLike, y: DimLike, z: DimLike) -> None:
    for left, right in ((x + y, y + x), (x * y, y * x), ((x + y) * z, x * z + y * z), (x - x, 0), ((x + y) + z, x + (y + z))):
        assert left == right and hash(left) == hash(right)


@given(DIMS)
def test_text_reads_back(x: DimLike) -> None:
    assert parse_dim(str(x)) == x


@given(DIMS, DIMS)
def test_substitution_and_then_evaluation(x: DimLike, y: DimLike) -> None:
    assert value(substitute(x, {"a": y})) == evaluate_dim(x, {**VALUES, "a": value(y)})


def test_exact_division_leaves_no_quotient() -> None:
    n = symbol("n")
    assert floordiv(12 * n * n + 4 * n, 4 * n) == 3 * n + 1
    assert ceildiv(6 * n, 3) == 2 * n
    assert mod(8 * n, 4) == 0
    assert isinstance(floordiv(n, 2), Dim)


def test_symbols_and_names() -> None:
    n, m = symbol("n"), symbol("m")
    assert set(symbols(floordiv(n + m, 2) * n)) == {"n", "m"}
    for name in ("", "2n", "a b", "max"):
        with pytest.raises(TypeMismatch):
            symbol(name)


@pytest.mark.parametrize("text", ["", "a +", "(a", "a $ b", "max(a)", "1 2"])
def test_text_that_is_not_a_dimension(text: str) -> None:
    with pytest.raises(TypeMismatch):
        parse_dim(text)


def test_missing_symbol_is_named() -> None:
    with pytest.raises(TypeMismatch, match="seq"):
        evaluate_dim(symbol("seq") + 1, {})
    with pytest.raises(TypeMismatch, match="zero"):
        floordiv(3, 0)


SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(SHAPES, SHAPES)
def test_broadcast_is_numpys(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    try:
        want = np.broadcast_shapes(x, y)
    except ValueError:
        with pytest.raises(TypeMismatch):
            broadcast(x, y)
    else:
        assert broadcast(x, y) == want


def test_a_symbol_is_never_taken_to_be_one() -> None:
    n = symbol("n")
    assert broadcast((n, 1), (1, 4)) == (n, 4)
    with pytest.raises(TypeMismatch, match="n against 4"):
        broadcast((n,), (4,))


def test_types() -> None:
    t = parse_type("f32[batch, 2*seq + 1, 8]")
    assert parse_type(str(t)) == t
    assert t.substitute({"batch": 2, "seq": 3}) == TensorType(F32, (2, 7, 8))
    assert contiguous_strides(t.shape) == (16 * symbol("seq") + 8, 8, 1)
    assert TensorType(F32, ()).elements == 1
    with pytest.raises(TypeMismatch):
        parse_type("f31[3]")
