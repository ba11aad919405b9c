"""What the operators promise at the corners: special values, empty operands, errors. And any shapes and values at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tgen.ir.builder import Builder
from tgen.ir.dtypes import F32
from tgen.ir.errors import TypeMismatch
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Value
from tgen.ir.op import OPS, Op

from .samples import Sample, check
from .test_form import interpret

INF, NAN = math.inf, math.nan


def apply(op: Op, *operands: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(op.reference(*(np.asarray(x) for x in operands)))


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("name", "attributes", "operands", "want"),
    [
        ("relu", {}, [f32(NAN, -0.0, -INF, INF)], [NAN, 0, 0, INF]),
        ("max", {}, [f32(NAN, 1, -INF), f32(1, NAN, INF)], [NAN, NAN, INF]),
        ("sign", {}, [f32(NAN, -0.0, -INF, 1e-45)], [NAN, 0, -1, 1]),
        ("round", {}, [f32(0.5, 1.5, 2.5, -0.5, -1.5, 1e9)], [0, 2, 2, 0, -2, 1e9]),
        ("clip", {}, [f32(NAN, -5, 5), f32(1), f32(-1)], [NAN, -1, -1]),
        ("softplus", {}, [f32(-INF, -200, 0, 200, INF)], [0, 0, math.log(2), 200, INF]),
        ("sigmoid", {}, [f32(-INF, -100, 0, 100, INF)], [0, math.exp(-100), 0.5, 1, 1]),
        ("mish", {}, [f32(-80, 0, 100, INF)], [-80 * math.exp(-80), 0, 100, INF]),
        ("elu", {}, [f32(-INF, 1e-10, -1e-10, NAN)], [-1, 1e-10, -1e-10, NAN]),
        ("thresholded_relu", {}, [f32(NAN, 1, 1.5, INF)], [0, 0, 1.5, INF]),
        ("pow", {}, [f32(-8, 0, NAN, 1, -1, 2), f32(1 / 3, 0, 0, NAN, INF, -1074)], [NAN, 1, 1, 1, 1, 0]),
        ("mod", {"fmod": True}, [f32(-7, 7, 5), f32(3, -3, INF)], [-1, 1, 5]),
        ("mod", {}, [f32(-7, 7), f32(3, -3)], [2, -2]),
        ("is_inf", {"detect_negative": False}, [f32(INF, -INF, NAN)], [True, False, False]),
        ("reduce_max", {}, [f32(1, NAN, 2)], [NAN]),
        ("reduce_log_sum_exp", {}, [f32(1000, 1000)], [1000 + math.log(2)]),
        ("reduce_log_sum_exp", {}, [f32(-INF, -INF)], [-INF]),
        ("reduce_log_sum_exp", {}, [f32(INF, 1)], [INF]),
        ("reduce_mean", {}, [np.array([-3, -4])], [-3]),
        ("arg_max", {}, [f32(1, 3, 3)], [1]),
        ("arg_max", {"select_last_index": True}, [f32(1, 3, 3)], [2]),
    ],
)
def test_corner(name: str, attributes: dict[str, Any], operands: list[np.ndarray], want: list[Any]) -> None:
    op = OPS[name](**attributes)
    got = apply(op, *operands)
    np.testing.assert_allclose(got.astype(np.float64), np.array(want, np.float64), rtol=1e-6, atol=1e-44)
    with np.errstate(all="ignore"):
        check(Sample(op, tuple(operands), None, 1e-6), interpret(Sample(op, tuple(operands)), lambda x: x), got)


@pytest.mark.parametrize(
    ("name", "attributes", "dtypes", "message"),
    [
        ("add", {}, ("f32", "f64"), "differ"),
        ("and", {}, ("f32", "f32"), "takes bool"),
        ("exp", {}, ("i32",), "takes float"),
        ("bit_shift", {}, ("f32", "f32"), "takes int"),
        ("bit_shift", {"direction": "UP"}, ("u8", "u8"), "LEFT or RIGHT"),
        ("bit_cast", {"to": F32}, ("f64",), "same width"),
        ("gelu", {"approximate": "fast"}, ("f32",), "'none' or 'tanh'"),
        ("bf16_part", {"part": 3}, ("f32",), "part"),
        ("reduce_sum", {"axes": (2,)}, ("f32",), "out of range"),
        ("reduce_sum", {"axes": (0, -2)}, ("f32",), "repeat"),
        ("arg_max", {"axis": 5}, ("f32",), "out of range"),
        ("cum_sum", {}, ("bool",), "takes numbers"),
    ],
)
def test_errors_name_what_is_wrong(name: str, attributes: dict[str, Any], dtypes: tuple[str, ...], message: str) -> None:
    b = Builder()
    operands = [b.input(f"x{k}", d, (2, 3)) for k, d in enumerate(dtypes)]
    with pytest.raises(TypeMismatch, match=message):
        b.apply(OPS[name](**attributes), *operands)


def test_bf16_parts_add_up_to_the_float32() -> None:
    rng = np.random.default_rng(3)
    x = (rng.normal(size=4096) * 2.0 ** rng.integers(-80, 120, 4096)).astype(np.float32)
    greatest = np.finfo(np.float32).max
    x[:6] = INF, -INF, greatest, -greatest, 3.39e38, 2.0**-110 * 1.2345678
    parts = [apply(OPS["bf16_part"](part=k), x).astype(np.float64) for k in range(3)]
    assert np.array_equal(sum(parts), x.astype(np.float64))


FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, INF, -INF, NAN, 1e-45, 3e38])
PLAIN = [
    "relu",
    "sign",
    "abs",
    "neg",
    "round",
    "tanh",
    "sigmoid",
    "erf",
    "exp",
    "softplus",
    "elu",
    "hard_swish",
    "is_nan",
    "reduce_max",
]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PLAIN),
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5), elements=FLOATS),
)
def test_form_of_any_operand(name: str, x: np.ndarray) -> None:
    sample = Sample(OPS[name](), (x,), None, 1e-6, 1e-38)
    with np.errstate(all="ignore"):
        check(sample, interpret(sample, lambda e: e), sample.op.reference(x))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["add", "mul", "max", "less", "equal", "div"]), st.data())
def test_broadcasting_of_any_shapes(name: str, data: st.DataObject) -> None:
    shapes = data.draw(arrays.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4)).input_shapes
    x, y = (data.draw(arrays.arrays(np.float32, s, elements=FLOATS)) for s in shapes)
    sample = Sample(OPS[name](), (x, y), None, 1e-6)
    with np.errstate(all="ignore"):
        check(sample, interpret(sample, lambda e: e), sample.op.reference(x, y))


@pytest.mark.parametrize("name", ["add", "where", "reduce_sum", "reduce_log_sum_exp", "arg_max", "cum_sum", "softplus"])
def test_symbolic_shapes(name: str) -> None:
    """Types keep symbols, and a graph over them evaluates for any value."""
    b = Builder()
    x = b.input("x", "f32", ("n", 4))
    made: dict[str, Value] = {
        "add": b.add(x, x),
        "where": b.where(b.less(x, 0.0), x, x),
        "reduce_sum": b.reduce_sum(x, axes=(0,), keepdims=False),
        "reduce_log_sum_exp": b.reduce_log_sum_exp(x, axes=(0,)),
        "arg_max": b.arg_max(x, axis=0),
        "cum_sum": b.cum_sum(x, axis=0),
        "softplus": b.softplus(x),
    }
    b.output("y", made[name])
    for n in (1, 3):
        evaluate(b.build(), {"x": np.ones((n, 4), np.float32)})
