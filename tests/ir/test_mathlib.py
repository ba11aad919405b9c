"""The expanded functions: accuracy over the whole range of every float dtype, special values, and only primitives left."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.native import run_native
from tgen.codegen import llvm
from tgen.ir import mathlib
from tgen.ir.builder import Builder
from tgen.ir.dtypes import BF16, F16, F32, F64, I8, I32, I64, U8, U32, DType, dtype_of
from tgen.ir.errors import TypeMismatch
from tgen.ir.expr import Arg, Call, Expr, Load, bitcast, call, const, evaluate_expr, index, minimum, transform, walk
from tgen.ir.loops import LoopProgram, Stage
from tgen.ir.mathlib.exponential import exp_weight
from tgen.ir.ops.activation import Activation, Gelu, Silu
from tgen.ir.ops.fused import Loops
from tgen.ir.scalars import SCALARS, normal_gelu
from tgen.ir.types import TensorType
from tgen.targets.find import find_target
from tgen.targets.target import Target

# bounds in units of the last place, as the docstrings of the modules say
BOUNDS = {
    "exp": 2.0, "exp2": 2.0, "expm1": 2.0, "log": 2.0, "log2": 2.0, "log1p": 2.0, "rsqrt": 1.5,
    "sinh": 2.0, "cosh": 2.0, "tanh": 2.0, "arcsinh": 2.0, "arccosh": 2.0, "arctanh": 2.0,
    "sin": 2.0, "cos": 2.0, "tan": 2.0, "arcsin": 2.0, "arccos": 2.0, "arctan": 2.0,
    "erf": 2.0, "sigmoid": 2.5, "gelu": 4.1,
}  # fmt: skip
WIDE_BOUNDS = {**BOUNDS, **dict.fromkeys(("expm1", "cosh", "sin", "cos", "tanh", "sigmoid"), 2.5), "tan": 3.5}
# primitive operations of the float32 form, bitcasts and negations (free in a multiply-add) not counted: a change for the worse is noticed
OPERATIONS = {"exp": 16, "erf": 26, "tanh": 19, "sigmoid": 15, "gelu": 32, "log": 33, "sin": 28, "expm1": 19}
REDUCED = {"sin": 2.0**29, "cos": 2.0**29, "tan": 2.0**29}  # float32 arguments the bound holds for; float64: 10^6
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, math.inf, -math.inf, math.nan]


def expanded(fn: str, *arrays: np.ndarray, dtype: DType) -> np.ndarray:
    body = mathlib.expand(call(fn, *(Arg(dtype, k) for k in range(len(arrays)))))
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return np.broadcast_to(evaluate_expr(body, lambda x: arrays[x.operand], {}), shape)  # type: ignore[attr-defined]


def find(name: str) -> Target:
    return find_target(name, llvm.host_features(), llvm.host_triple())


def compiled(body: Expr, *arrays: np.ndarray, target: Target) -> np.ndarray:
    """The body over arrays of one length, as machine code."""
    b, position = Builder(), index(0)
    operands = [b.input(f"x{k}", dtype_of(str(x.dtype)), x.shape) for k, x in enumerate(arrays)]
    loaded = transform(body, lambda x: Load(x.dtype, x.operand, (position,)) if isinstance(x, Arg) else None)
    stage = Stage("once", loaded, output=0, index=(position,))
    program = LoopProgram(arrays[0].shape, 1, (stage,), (TensorType(body.dtype, arrays[0].shape),))
    b.output("y", b.apply(Loops(program), *operands))
    return run_native(b.build(), {f"x{k}": x for k, x in enumerate(arrays)}, target)["y"]


def operations(body: Expr) -> int:
    return sum(isinstance(n, Call) and n.fn not in ("bitcast", "neg") for n in walk(body))


def true_function(fn: str) -> Callable[..., np.ndarray]:
    """The function for float64 (or wider) operands."""
    special: dict[str, Callable[..., Any]] = {
        "sigmoid": lambda x: np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x))),
        "erf": lambda x: np.array([math.erf(v) for v in x.tolist()]),
        "gelu": lambda x: np.array([normal_gelu(v) for v in x.tolist()]),
        "rsqrt": lambda x: 1 / np.sqrt(x),
    }
    return special.get(fn) or getattr(np, "float_power" if fn == "pow" else fn)


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| in units of the last place of want rounded to got's dtype; inf where one is special and the other not.

    At the limit of overflow a result may round either way: there the greatest number stands for inf.
    """
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        greatest = np.asarray(np.finfo(got.dtype).max)
        unit = np.spacing(np.minimum(np.abs(rounded), greatest)).astype(want.dtype)
        finite = np.isfinite(got) & np.isfinite(rounded)
        error = np.where(finite, np.abs(got.astype(want.dtype) - want) / unit, np.inf)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same & ~finite, 0.0, np.where(np.isnan(error), np.inf, error))


def float32_points(rng: np.random.Generator) -> np.ndarray:
    """Special values, numbers all over every binade (subnormals too) of both signs, random bits, and more where functions bend."""
    firsts = np.arange(1 << 9, dtype=np.uint32)[:, None] << 23  # the first number of each binade, and what is no number
    inside = (np.arange(0, 1 << 23, 1 << 14) + rng.integers(0, 1 << 14, 1 << 9)).astype(np.uint32)
    ends = np.array([0, 1, 2, (1 << 23) - 2, (1 << 23) - 1], np.uint32)
    sweep = (firsts + np.concatenate([inside, ends])).reshape(-1).view(np.float32)
    bits = rng.integers(0, 1 << 32, 1 << 15, np.uint64).astype(np.uint32).view(np.float32)
    near = [rng.uniform(-1.5, 1.5, 1 << 15), rng.uniform(-110, 110, 1 << 15), rng.normal(size=1 << 15)]
    return np.concatenate([np.array(EDGES, np.float32), sweep, bits, *(x.astype(np.float32) for x in near)])


def float64_points(rng: np.random.Generator) -> np.ndarray:
    bits = rng.integers(0, 1 << 64, 1 << 12, np.uint64).view(np.float64)
    near = [
        rng.uniform(-1.5, 1.5, 1 << 12),
        rng.uniform(-750, 712, 1 << 12),
        rng.normal(size=1 << 12),
        np.exp(rng.uniform(-40, 13, 1 << 12)),
    ]
    return np.concatenate([np.array([*EDGES, 5e-324, -5e-324, 1e-310, 1.7e308]), bits, *near])


def assert_within(fn: str, x: np.ndarray, got: np.ndarray, want: np.ndarray, bound: float) -> None:
    error = ulps(got, want)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{fn}({x[worst]!r}) = {got[worst]!r}, wanted {want[worst]!r}: {error[worst]:.2f} ulp"


@pytest.mark.parametrize("how", ["interpreted", "generic", "host"])
@pytest.mark.parametrize("fn", BOUNDS)
def test_float32_over_the_whole_range(fn: str, how: str, rng: np.random.Generator) -> None:
    x = float32_points(rng)
    x = x[~(np.abs(x) > REDUCED.get(fn, math.inf))]
    got = expanded(fn, x, dtype=F32) if how == "interpreted" else compiled(call(fn, Arg(F32, 0)), x, target=find(how))
    with np.errstate(all="ignore"):
        want = true_function(fn)(x.astype(np.float64))
        assert_within(fn, x, got, want, BOUNDS[fn])
    zeros = (want == 0) & ~np.isnan(got)
    assert np.array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, 33])
def test_tails_are_the_same_numbers(length: int, rng: np.random.Generator) -> None:
    """What is left over after whole vectors is computed by the same operations: the same bits."""
    x = rng.normal(size=64).astype(np.float32) * 4
    for fn in ("exp", "tanh", "erf", "sigmoid", "gelu"):
        body = call(fn, Arg(F32, 0))
        assert np.array_equal(compiled(body, x[:length], target=find("host")), compiled(body, x, target=find("host"))[:length])


@pytest.mark.parametrize("how", ["interpreted", "generic", "host"])
def test_exp_of_what_is_never_positive(how: str, rng: np.random.Generator) -> None:
    """Known to stay below 0, exp does without what guards against overflow."""
    x = float32_points(rng)
    body = call("exp", minimum(Arg(F32, 0), 0.0))
    assert operations(mathlib.expand(body)) < OPERATIONS["exp"]
    got = compiled(body, x, target=find(how)) if how != "interpreted" else evaluate_expr(mathlib.expand(body), lambda _: x, {})
    with np.errstate(all="ignore"):
        assert_within("exp", x, got, np.exp(np.minimum(x.astype(np.float64), 0)), 1.5)


@pytest.mark.parametrize("how", ["interpreted", "generic", "host"])
def test_exp_weight(how: str, rng: np.random.Generator) -> None:
    """e^x down to the least normal number, below that 0 and never a subnormal number; NaN stays."""
    x = -np.abs(float32_points(rng))
    body = exp_weight(Arg(F32, 0))
    got = compiled(body, x, target=find(how)) if how != "interpreted" else evaluate_expr(body, lambda _: x, {})
    kept = ~(x < -87)
    with np.errstate(all="ignore"):
        assert_within("exp_weight", x[kept], got[kept], np.exp(x[kept].astype(np.float64)), 1.5)
    assert not got[~kept].any() and got[kept & ~np.isnan(x)].min() >= np.finfo(np.float32).tiny


@pytest.mark.parametrize("op", [Silu(), Gelu(approximate="tanh")], ids=["silu", "gelu_tanh"])
def test_gated_activations(op: Activation, rng: np.random.Generator) -> None:
    """x·sigmoid(t): 4 units, and as many as |t| brings (e^t magnifies t's own rounding); below -87 sigmoid(t) is subnormal itself."""
    x = float32_points(rng)
    x = x[np.isfinite(x)]
    got = compiled(op.body(Arg(F32, 0)), x, target=find("host"))
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        t = wide if isinstance(op, Silu) else 2 * math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
        want = wide * true_function("sigmoid")(t)
        bound = 4.0 + (0.0 if isinstance(op, Silu) else 3.0) * np.minimum(np.abs(t), 104) * (t < -1)
        bound += np.where(t < -87, np.abs(wide), 0)
        error = ulps(got, want) / bound
    worst = int(np.argmax(error))
    assert error[worst] <= 1, f"{op}({x[worst]!r}) = {got[worst]!r}, wanted {want[worst]!r}"


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="the oracle of float64 is an 80-bit long double")
@pytest.mark.parametrize("fn", [f for f in BOUNDS if f not in ("erf", "gelu")])
def test_float64_over_the_whole_range(fn: str, rng: np.random.Generator) -> None:
    x = float64_points(rng)
    x = x[~(np.abs(x) > 1e6)] if fn in REDUCED else x
    with np.errstate(all="ignore"):
        assert_within(fn, x, expanded(fn, x, dtype=F64), true_function(fn)(x.astype(np.longdouble)), WIDE_BOUNDS[fn])


def test_erf_float64(rng: np.random.Generator) -> None:
    x = np.concatenate([np.array(EDGES), rng.normal(size=20000) * 2, rng.uniform(-1.1, 1.1, 20000)])
    assert_within("erf", x, expanded("erf", x, dtype=F64), true_function("erf")(x), BOUNDS["erf"] + 1)  # the C library: below 1


def test_gelu_float64(rng: np.random.Generator) -> None:
    """Within 4 units of the place of x/2; below -1, where 1 + erf cancels, that is more of the result's own."""
    x = np.concatenate([np.array(EDGES)[np.isfinite(EDGES)], rng.normal(size=20000) * 3])
    got, want = expanded("gelu", x, dtype=F64), true_function("gelu")(x)
    assert np.all(np.abs(got - want) <= 4 * np.spacing(np.abs(x / 2)))


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("fn", BOUNDS)
def test_half_precision_every_value(fn: str, dtype: DType) -> None:
    """Computed in float32 and rounded once: the float32 result is off by less than one unit of half precision's place."""
    x = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
    x = x[~(np.abs(x.astype(np.float32)) > REDUCED.get(fn, math.inf))]
    with np.errstate(all="ignore"):
        got = expanded(fn, x, dtype=dtype)
        want = true_function(fn)(x.astype(np.float64)).astype(np.float32).astype(dtype.numpy)
        near = np.abs(_ordered(got) - _ordered(want)) <= 1
    wrong = ~(near | (np.isnan(got) & np.isnan(want)))
    assert got.dtype == dtype.numpy
    assert not np.any(wrong), f"{fn}({x[wrong][0]}) = {got[wrong][0]}, wanted {want[wrong][0]}"
    assert np.mean(got != want) < 0.01 + np.mean(np.isnan(want))


def _ordered(x: np.ndarray) -> np.ndarray:
    """Bits of a 16-bit float as integers in the order of the numbers."""
    bits = x.view(np.int16).astype(np.int32)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("fn", ["expm1", "log1p", "sin", "tan", "arcsin", "arctan", "sinh", "tanh", "arcsinh", "arctanh", "erf"])
def test_odd_near_zero(fn: str, dtype: DType) -> None:
    """f(±0) = ±0, and f(x) = x to the last place for the least numbers (erf: 2/√π·x)."""
    info = np.finfo(dtype.numpy)
    x = np.array([0.0, -0.0, info.smallest_subnormal, -info.smallest_subnormal, info.tiny, -info.tiny, info.tiny * 3], dtype.numpy)
    got = expanded(fn, x, dtype=dtype)
    assert np.array_equal(np.signbit(got), np.signbit(x))
    want = x.astype(np.longdouble) * (2 / np.sqrt(np.longdouble(math.pi)) if fn == "erf" else 1)
    assert np.all(np.abs(got.astype(np.longdouble) - want) <= np.spacing(np.abs(x)))


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_far_angles_stay_in_range(dtype: DType, rng: np.random.Generator) -> None:
    x = (rng.uniform(1, 2, 1000) * 2.0 ** rng.integers(30, 120, 1000)).astype(dtype.numpy)
    for fn in ("sin", "cos"):
        assert np.all(np.abs(expanded(fn, x, dtype=dtype)) <= 1)


@pytest.mark.parametrize("fn", ["tanh", "erf", "sigmoid"])
def test_bounded_and_reach_their_limits(fn: str) -> None:
    x = np.linspace(-20, 20, 100_001, dtype=np.float32)
    y = expanded(fn, x, dtype=F32)
    assert np.max(np.abs(y)) == 1 and y[-1] == 1


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_pow(dtype: DType, rng: np.random.Generator) -> None:
    edges = np.array([*EDGES, 3.0, -3.0, 2.5, -2.5, 1e30, -1e30, 1e-40, 0.9999999], dtype.numpy)
    x, y = (v.ravel() for v in np.meshgrid(edges, edges))
    n = 1 << 14
    bases = [np.exp(rng.uniform(-80, 80, n)), rng.uniform(0.2, 4, n), -rng.uniform(0.2, 4, n)]
    exponents = [rng.normal(size=n), rng.uniform(-60, 60, n), rng.integers(-50, 50, n)]
    x, y = np.concatenate([x, *bases]).astype(dtype.numpy), np.concatenate([y, *exponents]).astype(dtype.numpy)
    wide = np.float64 if dtype is F32 else np.longdouble
    with np.errstate(all="ignore"):
        got, want = expanded("pow", x, y, dtype=dtype), np.power(x.astype(wide), y.astype(wide))
        assert_within("pow", x, got, want, 1.0 if dtype is F32 else 4.0)
        assert np.array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 0.5, -0.5, 7.0, 1.5])
def test_pow_of_a_constant_exponent(exponent: float, rng: np.random.Generator) -> None:
    x = np.concatenate([np.array(EDGES), rng.uniform(-9, 9, 5000), np.exp(rng.uniform(-20, 20, 5000))]).astype(np.float32)
    body = mathlib.expand(call("pow", Arg(F32, 0), const(exponent, F32)))
    with np.errstate(all="ignore"):
        got = np.broadcast_to(evaluate_expr(body, lambda _: x, {}), x.shape)
        want = np.power(x.astype(np.float64), np.full(x.shape, exponent))
    assert_within("pow", x, got, want, 2.5)
    if exponent in (2.0, 3.0):
        assert sum(isinstance(n, Call) for n in walk(body)) == exponent - 1


@pytest.mark.parametrize("dtype", [I8, I32, I64, U8, U32], ids=str)
def test_integer_pow(dtype: DType, rng: np.random.Generator) -> None:
    low = -5 if dtype.kind == "int" else 0
    x, y = rng.integers(low, 6, 500).astype(dtype.numpy), rng.integers(max(low, -4), 40, 500).astype(dtype.numpy)
    exact = [a**b if b >= 0 else (a**-b if abs(a) == 1 else 0) for a, b in zip(x.tolist(), y.tolist())]
    want = np.array([v & (1 << dtype.bits) - 1 for v in exact], f"u{dtype.size}").astype(dtype.numpy)
    assert np.array_equal(expanded("pow", x, y, dtype=dtype), want)
    body = mathlib.expand(call("pow", Arg(dtype, 0), const(5, dtype)))
    assert np.array_equal(evaluate_expr(body, lambda _: x, {}), x * x * x * x * x)


def every_call() -> list[Expr]:
    found: list[Expr] = []
    for name, scalar in SCALARS.items():
        for dtype in (F32, F64, F16, BF16, I32, U8):
            if not scalar.primitive and ("i" if dtype.is_integer else "f") in scalar.kinds:
                found.append(call(name, *(Arg(dtype, k) for k in range(scalar.arity))))
    return found


@pytest.mark.parametrize("body", every_call(), ids=str)
def test_only_primitives_are_left(body: Expr) -> None:
    result = mathlib.expand(body)
    assert result.dtype is body.dtype
    for node in walk(result):
        if isinstance(node, Call):
            assert node.fn in ("cast", "bitcast") or SCALARS[node.fn].primitive
    assert mathlib.expand(result) is result


def test_nested_calls_are_expanded() -> None:
    x = Arg(F32, 0)
    inner = call("exp", call("tanh", x)) + call("exp", x)
    assert all(SCALARS[n.fn].primitive for n in walk(mathlib.expand(inner)) if isinstance(n, Call) and n.fn != "bitcast")


@pytest.mark.parametrize("fn", OPERATIONS)
def test_operation_count(fn: str) -> None:
    body = mathlib.expand(call(fn, Arg(F32, 0)))
    assert operations(body) <= OPERATIONS[fn]


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(TypeMismatch):
        call("exp", Arg(I32, 0))
    with pytest.raises(TypeMismatch):
        bitcast(Arg(F32, 0), I64)
