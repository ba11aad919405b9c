"""The scalar body language: one object for equal expressions, folding of index arithmetic, NumPy meaning."""

from __future__ import annotations

import copy
import gc
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgen.ir.dims import symbol
from tgen.ir.dtypes import BF16, BOOL, F16, F32, F64, I8, I32, I64, U8, U32, DType
from tgen.ir.errors import TypeMismatch
from tgen.ir.expr import (
    Arg,
    Call,
    Const,
    Expr,
    Index,
    Load,
    affine,
    bitcast,
    call,
    cast,
    cast_array,
    const,
    evaluate_expr,
    index,
    select,
    shift_axes,
    size,
    transform,
    walk,
)
from tgen.ir.scalars import truncated_division, truncated_remainder


def evaluate(x: Expr, *arrays: Any, **sizes: int) -> np.ndarray:
    return evaluate_expr(x, lambda leaf: arrays[leaf.operand if isinstance(leaf, (Arg, Load)) else leaf.axis], sizes)  # type: ignore[attr-defined]


def test_equal_expressions_are_one_object() -> None:
    x = Arg(F32, 0)
    assert x + 1.0 is x + 1.0
    assert x + 1.0 is not x + 2.0
    assert const(0.0, F32) is not const(-0.0, F32)
    assert const(math.nan, F32) is const(math.nan, F32)
    for made in (pickle.loads(pickle.dumps(x * 2.0 + 1.0)), copy.deepcopy(x * 2.0 + 1.0)):
        assert made is x * 2.0 + 1.0


def test_unused_expressions_are_let_go() -> None:
    table = type(Arg(F32, 0))._table
    gc.collect()
    before = len(table)
    made = Arg(F32, 12345) + 54321.0
    assert len(table) > before
    del made
    gc.collect()
    assert len(table) <= before


def test_numbers_take_the_dtype_of_the_expression() -> None:
    x = Arg(F16, 0)
    assert (x + 0.1).args[1] is const(0.1, F16)
    assert const(0.1, F16).value == float(np.float16(0.1))  # type: ignore[attr-defined]
    assert const(1e300, F32).value == math.inf  # type: ignore[attr-defined]
    assert (1.0 / x).args[0] is const(1.0, F16)
    with pytest.raises(OverflowError):
        const(300, U8)


def test_dtypes_are_checked() -> None:
    for bad in (
        lambda: call("add", Arg(F32, 0), Arg(F64, 1)),
        lambda: call("exp", Arg(I32, 0)),
        lambda: call("sqrt", Arg(F32, 0), Arg(F32, 1)),
        lambda: call("shl", Arg(F32, 0), Arg(F32, 1)),
        lambda: select(Arg(F32, 0), Arg(F32, 1), Arg(F32, 2)),
        lambda: select(Arg(BOOL, 0), Arg(F32, 1), Arg(F64, 2)),
        lambda: bitcast(Arg(F32, 0), I64),
    ):
        with pytest.raises(TypeMismatch):
            bad()


def test_index_arithmetic_folds() -> None:
    i, n = index(0), symbol("n")
    assert i + 0 is i and 0 + i is i and i * 1 is i and i - 0 is i
    assert i * 0 is const(0, I64)
    assert size(n) + 1 is size(n + 1)
    assert size(n) * size(n) is size(n * n)
    assert size(n) - size(n) is const(0, I64)
    assert Arg(F32, 0) + 0.0 is not Arg(F32, 0), "-0.0 + 0.0 is 0.0: floats are not folded"


def test_affine() -> None:
    i, j, n = index(0), index(1), symbol("n")
    assert affine(i * 3 + j * size(n) - (j - 2)) == ({0: 3, 1: n - 1}, 2)
    assert affine(-(i - j)) == ({0: -1, 1: 1}, 0)
    assert affine((i - j) + j) == ({0: 1}, 0)
    assert affine(const(7, I64)) == ({}, 7)
    for other in (i * j, i / 2, call("max", i, j), Load(I64, 0, (i,))):
        assert affine(other) is None


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-4, 4)), max_size=5),
    st.integers(-9, 9),
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
)
def test_affine_is_the_value(terms: list[tuple[int, int]], constant: int, at: list[int]) -> None:
    x: Expr = const(constant, I64)
    for axis, factor in terms:
        x = x + index(axis) * factor
    form = affine(x)
    assert form is not None
    coefficients, rest = form
    assert evaluate(x, *map(np.int64, at)) == sum(c * at[axis] for axis, c in coefficients.items()) + rest


def test_transform_and_walk_share_subterms() -> None:
    x: Expr = Arg(F32, 0)
    for _ in range(60):
        x = x + x  # 2^60 paths
    assert len(list(walk(x))) == 61
    replaced = transform(x, lambda n: Arg(F32, 1) if n is Arg(F32, 0) else None)
    assert Arg(F32, 0) not in set(walk(replaced)) and len(list(walk(replaced))) == 61
    assert transform(x, lambda n: None) is x


def test_shift_axes() -> None:
    body = Load(F32, 0, (index(0), index(1)))
    assert shift_axes(body, {0: index(1), 1: index(0)}) is Load(F32, 0, (index(1), index(0)))
    assert shift_axes(body, {1: index(0) * 2 + 1}) is Load(F32, 0, (index(0), index(0) * 2 + 1))


def test_text() -> None:
    body = select(Arg(F32, 0) < 0, cast(Arg(I32, 1), F32), Load(F32, 2, (index(0), size(symbol("n")) - 1)))
    assert str(body.args[0]).startswith("lt(arg0")
    assert isinstance(body, Call) and isinstance(index(3), Index) and isinstance(const(1, F32), Const)


def test_loads_and_sizes_evaluate() -> None:
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    got = evaluate(Load(F32, 0, (const(1, I64), size(symbol("n")) - 1)), table, n=4)
    assert got == table[1, 3]


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_half_precision_rounds_after_each_operation(dtype: DType) -> None:
    x = np.array([1.0], dtype.numpy)
    tiny = np.array([dtype.numpy.type(2.0**-12)], dtype.numpy)
    got = evaluate((Arg(dtype, 0) + Arg(dtype, 1)) - Arg(dtype, 0), x, tiny)
    assert got.dtype == dtype.numpy and got == 0


@pytest.mark.parametrize(
    ("dtype", "value", "want"),
    [
        (I8, 200.7, 127), (I8, -200.7, -128), (I8, -1.9, -1), (U8, -1.0, 0), (U8, 255.9, 255), (I32, 3e9, 2**31 - 1),
        (I64, 1e30, 2**63 - 1), (I64, -math.inf, -(2**63)), (U32, math.inf, 2**32 - 1), (I32, math.nan, 0), (BOOL, 0.5, True),
        (BOOL, math.nan, True), (BOOL, -0.0, False),
    ],
)  # fmt: skip
def test_cast_saturates(dtype: DType, value: float, want: int) -> None:
    for source in (F32, F64):
        assert cast_array(np.array(value, source.numpy), dtype) == want
        assert evaluate(cast(Arg(source, 0), dtype), np.array(value, source.numpy)) == want


def test_cast_wraps_between_integers() -> None:
    assert evaluate(cast(Arg(I32, 0), U8), np.int32(-1)) == 255
    assert evaluate(cast(Arg(I32, 0), I8), np.int32(200)) == -56
    assert cast(Arg(I32, 0), I32) is Arg(I32, 0)
    assert cast(const(2, I32), F32) is const(2.0, F32)


def test_bitcast() -> None:
    assert evaluate(bitcast(Arg(F32, 0), I32), np.float32(1.0)) == 0x3F800000
    assert evaluate(bitcast(Arg(I32, 0), F32), np.int32(-(2**31))) == 0 and bitcast(Arg(F32, 0), F32) is Arg(F32, 0)


@given(st.integers(-128, 127), st.integers(-128, 127))
def test_integer_division(a: int, b: int) -> None:
    quotient, remainder = truncated_division(np.int8(a), np.int8(b)), truncated_remainder(np.int8(a), np.int8(b))
    if b == 0:
        assert (quotient, remainder) == (0, a)
    elif (a, b) == (-128, -1):
        assert (quotient, remainder) == (-128, 0)
    else:
        assert quotient == math.trunc(a / b) and remainder == math.fmod(a, b)


@given(st.integers(0, 255), st.integers(0, 255))
def test_shifts_by_the_width_or_more_give_zero(a: int, b: int) -> None:
    x, y = Arg(U8, 0), Arg(U8, 1)
    assert evaluate(call("shl", x, y), np.uint8(a), np.uint8(b)) == (a << b) & 255
    assert evaluate(call("shr", x, y), np.uint8(a), np.uint8(b)) == a >> b


def test_nan_goes_through_max_and_min() -> None:
    for fn in ("max", "min"):
        assert np.isnan(evaluate(call(fn, Arg(F32, 0), 1.0), np.float32(math.nan)))
        assert np.isnan(evaluate(call(fn, const(1.0, F32), Arg(F32, 0)), np.float32(math.nan)))


def test_fma_rounds_once() -> None:
    a = np.float32(1 + 2**-12)
    assert evaluate(call("fma", Arg(F32, 0), Arg(F32, 0), -1.0), a) == np.float32(float(a) * float(a) - 1)
