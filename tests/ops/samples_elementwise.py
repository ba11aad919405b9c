"""Samples of elementwise operators: every dtype an op takes, shapes around vector widths, broadcasting, special values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from tgen.ir.dtypes import BOOL, DTYPES, DType
from tgen.ir.op import OPS

from .onnx_oracle import onnx_oracle
from .samples import EPSILON, Sample

Shape = tuple[int, ...]
SHAPES: list[Shape] = [
    (33,),
    (),
    (7,),
    (100,),
    (0,),
    (2, 3, 17),
    (1,),
    (8,),
    (3, 0, 2),
    (9,),
    (5, 31),
    (15,),
    (2, 1, 3, 4, 5),
    (16,),
    (1, 17),
]
PAIRS: list[tuple[Shape, Shape]] = [
    ((33,), (33,)),
    ((3, 1), (1, 9)),
    ((2, 3, 17), (17,)),
    ((7,), ()),
    ((5, 1, 8), (1, 4, 8)),
    ((), (16,)),
    ((0, 3), (1, 3)),
    ((), ()),
    ((2, 3, 17), (3, 1)),
    ((1, 2, 1, 3, 1), (4, 1, 5, 1, 15)),
    ((100,), (1,)),
]
FLOATS, SIGNED, UNSIGNED = ("f32", "f64", "f16", "bf16"), ("i32", "i64", "i8", "i16"), ("u8", "u32", "u64", "u16")
NUMBERS = FLOATS + SIGNED + UNSIGNED
SPECIAL = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.5, -0.5, 1e-7, -1e-7, 2.5, -1.5, 20.0, -20.0]

# ops of one float: ONNX operator, the range of operands, attributes to try (as ours = as ONNX's)
FUNCTIONS: dict[str, tuple[float, float, list[dict[str, Any]]]] = {
    "Exp": (-10, 10, [{}]),
    "Log": (-1, 50, [{}]),
    "Sqrt": (-1, 50, [{}]),
    "Reciprocal": (-5, 5, [{}]),
    "Erf": (-4, 4, [{}]),
    "Sin": (-30, 30, [{}]),
    "Cos": (-30, 30, [{}]),
    "Tan": (-30, 30, [{}]),
    "Asin": (-1.1, 1.1, [{}]),
    "Acos": (-1.1, 1.1, [{}]),
    "Atan": (-9, 9, [{}]),
    "Sinh": (-9, 9, [{}]),
    "Cosh": (-9, 9, [{}]),
    "Tanh": (-9, 9, [{}]),
    "Asinh": (-50, 50, [{}]),
    "Acosh": (0.5, 50, [{}]),
    "Atanh": (-1.1, 1.1, [{}]),
    "Sigmoid": (-20, 20, [{}]),
    "Softplus": (-20, 20, [{}]),
    "Softsign": (-20, 20, [{}]),
    "Mish": (-20, 20, [{}]),
    "HardSwish": (-5, 5, [{}]),
    "HardSigmoid": (-5, 5, [{}, {"alpha": 0.3, "beta": 0.4}]),
    "LeakyRelu": (-5, 5, [{}, {"alpha": 0.3}]),
    "Elu": (-9, 5, [{}, {"alpha": 1.5}]),
    "Selu": (-9, 5, [{}, {"alpha": 1.5, "gamma": 1.1}]),
    "Celu": (-9, 5, [{}, {"alpha": 1.5}]),
    "ThresholdedRelu": (-5, 5, [{}, {"alpha": 0.3}]),
    "Gelu": (-6, 6, [{}, {"approximate": "tanh"}]),
    "Swish": (-9, 9, [{}, {"alpha": 1.702}]),
    "Floor": (-9, 9, [{}]),
    "Ceil": (-9, 9, [{}]),
    "Round": (-9, 9, [{}]),
}
# peers that are not exact in float64; then: errors of a float result that are not relative to it: sums that cancel, and f(x) that is steep in a rounded x
ROUGH_PEERS = ("Erf", "Gelu", "Selu", "HardSigmoid", "HardSwish", "LeakyRelu")
CANCELLING = ("Sin", "Cos", "Tan", "Acos", "Gelu", "Celu", "HardSigmoid", "HardSwish", "Log", "Acosh", "Mish", "Swish")


def name_of(onnx_name: str) -> str:
    return next(n for n, cls in OPS.items() if cls.__name__ == onnx_name)


def values(
    rng: np.random.Generator, dtype: DType, shape: Shape, low: float = -9, high: float = 9, special: bool = True
) -> np.ndarray:
    """Random elements of a dtype; of floats, every fifth is a special value; of integers, the ends of the range are among them."""
    if dtype is BOOL:
        return rng.random(shape) < 0.5
    if dtype.is_float:
        x = np.asarray(rng.uniform(low, high, shape))
        chosen = np.asarray(rng.random(shape) < 0.2) & special
        return np.where(chosen, rng.choice(SPECIAL, shape), x).astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    x = rng.integers(max(int(low), info.min), min(int(high), info.max), shape, np.int64, endpoint=True).astype(dtype.numpy)
    ends = np.asarray(rng.random(shape) < 0.1) & special
    return np.where(ends, rng.choice(np.array([info.min, info.max], dtype.numpy), shape), x).astype(dtype.numpy)


def numpy_oracle(function: Callable[..., Any], dtype: Any = None) -> Callable[..., np.ndarray]:
    """The function in float64 (integers as they are), rounded to the dtype of the first operand or to `dtype`."""

    def run(*arrays: np.ndarray) -> np.ndarray:
        wide = [a if a.dtype.kind in "iub" else a.astype(np.float64) for a in arrays]
        with np.errstate(all="ignore"):
            return np.asarray(function(*wide)).astype(dtype or arrays[0].dtype)

    return run


def _functions(rng: np.random.Generator) -> Iterator[Sample]:
    shapes = itertools.cycle(SHAPES)
    for onnx_name, (low, high, options) in FUNCTIONS.items():
        for attributes, dtype in itertools.product(options, FLOATS):
            eps = EPSILON[dtype]
            ends = 8 * eps if onnx_name in CANCELLING else 0.0
            for _ in range(3 if dtype == "f32" else 1):
                x = values(rng, DTYPES[dtype], next(shapes), low, high, special=onnx_name not in ("Gelu", "Mish", "Swish"))
                oracle = (
                    None if (onnx_name, dtype) == ("Celu", "f64") else onnx_oracle(onnx_name, **attributes)
                )  # ONNX: float32 only
                # the oracles compute half precision in float32, and some float64 functions through float32 constants or formulas
                slack = (2e-6 if attributes or onnx_name in ROUGH_PEERS else 1e-12) if dtype == "f64" else 4e-6
                yield Sample(OPS[name_of(onnx_name)](**attributes), (x,), oracle, 5 * eps, ends, slack)


def _of_numbers(rng: np.random.Generator) -> Iterator[Sample]:
    """Neg, Abs, Sign, Relu: numbers of every kind."""
    shapes = itertools.cycle(SHAPES)
    oracles: dict[str, Callable[..., Any]] = {
        "neg": lambda x: 0 - x,
        "abs": np.abs,
        "sign": np.sign,
        "relu": lambda x: x.clip(min=0),
    }
    for name, oracle in oracles.items():
        for dtype in FLOATS + SIGNED + (() if name == "neg" else UNSIGNED):
            yield Sample(OPS[name](), (values(rng, DTYPES[dtype], next(shapes)),), numpy_oracle(oracle))
    for dtype in FLOATS:
        x = values(rng, DTYPES[dtype], next(shapes), 0.1, 50)
        yield Sample(OPS["rsqrt"](), (x,), numpy_oracle(_rsqrt))
        x = values(rng, DTYPES[dtype], next(shapes), special=False)
        yield Sample(OPS["silu"](), (x,), numpy_oracle(lambda v: v / (1 + np.exp(-v))), 6 * EPSILON[dtype])
    for name in ("floor", "ceil", "round"):
        yield Sample(OPS[name](), (values(rng, DTYPES["i32"], (9,)),), lambda x: x)


def _rsqrt(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.nan, np.where(x == 0, np.reciprocal(x), np.sqrt(np.reciprocal(x))))


def _binary(rng: np.random.Generator) -> Iterator[Sample]:
    """Arithmetic and comparisons of two operands, every dtype, every way to broadcast."""
    pairs = itertools.cycle(PAIRS)
    table: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
        "add": (NUMBERS, np.add),
        "sub": (NUMBERS, np.subtract),
        "mul": (NUMBERS, np.multiply),
        "max": (NUMBERS, lambda x, y: np.where(x != x, x, np.where(y != y, y, np.where(x > y, x, y)))),
        "min": (NUMBERS, lambda x, y: np.where(x != x, x, np.where(y != y, y, np.where(x < y, x, y)))),
        "below": (FLOATS, lambda x, y: np.where(x > y, 0, x - y)),
        "equal": ((*NUMBERS, "bool"), lambda x, y: ~(x != y)),
        "less": (NUMBERS, lambda x, y: y > x),
        "less_or_equal": (NUMBERS, lambda x, y: y >= x),
        "greater": (NUMBERS, lambda x, y: y < x),
        "greater_or_equal": (NUMBERS, lambda x, y: y <= x),
        "and": (("bool",), lambda x, y: x * y),
        "or": (("bool",), lambda x, y: x + y),
        "xor": (("bool",), lambda x, y: x != y),
        "bitwise_and": (SIGNED + UNSIGNED, lambda x, y: ~(~x | ~y)),
        "bitwise_or": (SIGNED + UNSIGNED, lambda x, y: ~(~x & ~y)),
        "bitwise_xor": (SIGNED + UNSIGNED, lambda x, y: (x | y) & ~(x & y)),
    }
    for name, (dtypes, oracle) in table.items():
        result = bool if name in ("equal", "less", "less_or_equal", "greater", "greater_or_equal") else None
        for dtype in dtypes:
            for _ in range(3 if dtype == "f32" else 1):
                left, right = next(pairs)
                operands = values(rng, DTYPES[dtype], left), values(rng, DTYPES[dtype], right)
                yield Sample(OPS[name](), operands, numpy_oracle(oracle, result))
    for name in ("not", "bitwise_not"):
        for dtype in ("bool",) if name == "not" else SIGNED + UNSIGNED:
            yield Sample(
                OPS[name](), (values(rng, DTYPES[dtype], (17,)),), numpy_oracle((lambda x: ~x) if name == "not" else _complement)
            )
    for dtype, (left, right) in itertools.product(UNSIGNED + SIGNED, PAIRS[:3]):
        least, most = 0 if dtype in UNSIGNED else -3, DTYPES[dtype].bits + 3
        operands = values(rng, DTYPES[dtype], left), values(rng, DTYPES[dtype], right, least, most, special=False)
        for direction in ("LEFT", "RIGHT"):
            yield Sample(OPS["bit_shift"](direction=direction), operands, _shift_oracle(direction))


def _complement(x: np.ndarray) -> np.ndarray:
    return x ^ np.array(-1).astype(x.dtype)


def _shift_oracle(direction: str) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x_wide, y_wide = np.broadcast_arrays(x.astype(object), y.astype(object))
        width = x.dtype.itemsize * 8
        counts = [b if 0 <= b < width else width for b in y_wide.ravel()]
        shifted = [a << b if direction == "LEFT" else a >> b for a, b in zip(x_wide.ravel(), counts)]
        unsigned = np.array([s & (1 << width) - 1 for s in shifted], np.dtype(f"u{x.dtype.itemsize}"))
        return unsigned.astype(x.dtype).reshape(x_wide.shape)

    return run


def exact(function: Callable[[int, int], int]) -> Callable[..., np.ndarray]:
    """An oracle of Python's integers, wrapped to the dtype."""

    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x_wide, y_wide = np.broadcast_arrays(x.astype(object), y.astype(object))
        mask = (1 << x.dtype.itemsize * 8) - 1
        flat = [function(a, b) & mask for a, b in zip(x_wide.ravel(), y_wide.ravel())]
        unsigned = np.array(flat, np.dtype(f"u{x.dtype.itemsize}"))
        return unsigned.astype(x.dtype).reshape(x_wide.shape)

    return run


def truncated(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _division(rng: np.random.Generator) -> Iterator[Sample]:
    """Div, Mod and Pow, whose integers need a zero divisor and negative operands."""
    integers: dict[str, Callable[[int, int], int]] = {
        "div": truncated,
        "mod": lambda a, b: a % b if b else a,
        "fmod": lambda a, b: a - truncated(a, b) * b if b else a,
        "pow": lambda a, b: a**b if b >= 0 else truncated(1, a ** min(-b, 3 if b % 2 else 2)),
    }
    floats: dict[str, Callable[..., Any]] = {"div": np.true_divide, "mod": np.remainder, "fmod": np.fmod, "pow": np.float_power}
    for (name, function), dtype in itertools.product(integers.items(), SIGNED + UNSIGNED):
        for left, right in PAIRS[:3]:
            x = values(rng, DTYPES[dtype], left)
            y = values(rng, DTYPES[dtype], right, *((-5, 12) if name == "pow" else (-9, 9)), special=name != "pow")
            yield Sample(_op_of(name), (x, y), exact(function))
    for (name, oracle), dtype in itertools.product(floats.items(), FLOATS):
        for left, right in PAIRS[:4] if dtype == "f32" else PAIRS[4:6]:
            x, y = values(rng, DTYPES[dtype], left, -5, 5), values(rng, DTYPES[dtype], right, -5, 5)
            yield Sample(_op_of(name), (x, y), numpy_oracle(oracle), absolute=_steep(name, dtype))
    for left, right in PAIRS[:4]:
        x, y = values(rng, DTYPES["f32"], left, -5, 5), values(rng, DTYPES["f32"], right, 1, 9, special=False)
        yield Sample(OPS["quotient"](), (x, y, np.float32(1) / y), lambda x, y, r: x / y)


def _op_of(name: str) -> Any:
    return OPS["mod"](fmod=True) if name == "fmod" else OPS[name]()


def _steep(name: str, dtype: str) -> float:
    return 4 * EPSILON[dtype] if name in ("mod", "fmod") else 0.0


def _ternary(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype, (left, right) in zip(itertools.cycle((*NUMBERS, "bool")), PAIRS + PAIRS):
        x, y = values(rng, DTYPES[dtype], left), values(rng, DTYPES[dtype], right)
        condition = values(rng, BOOL, right)
        yield Sample(OPS["where"](), (condition, x, y), lambda c, a, b: np.choose(c.astype(int), [b, a]))
    for dtype, (left, right) in zip(NUMBERS, PAIRS):
        x, lo, hi = (values(rng, DTYPES[dtype], s, special=False) for s in (left, right, ()))
        yield Sample(OPS["clip"](), (x, lo, hi), numpy_oracle(np.clip))
        slope = values(rng, DTYPES[dtype], left[1:], -2, 2, special=False)
        yield Sample(OPS["prelu"](), (x, slope), numpy_oracle(lambda x, s: np.maximum(x, 0) + np.minimum(x, 0) * s))
        if dtype not in UNSIGNED:
            for lambd, bias in ((0.5, 0.0), (1.5, 1.0)):
                yield Sample(OPS["shrink"](lambd=lambd, bias=bias), (x,), numpy_oracle(_shrink(lambd, bias)))


def _shrink(lambd: float, bias: float) -> Callable[..., Any]:
    return lambda x: (x + bias) * (x < -lambd) + (x - bias) * (x > lambd)


def _tests_of_floats(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype, shape in itertools.product(FLOATS, ((33,), (2, 9))):
        x = values(rng, DTYPES[dtype], shape)
        yield Sample(OPS["is_nan"](), (x,), lambda v: v != v)
        for negative, positive in itertools.product((True, False), repeat=2):
            wanted = [s for s, on in ((-math.inf, negative), (math.inf, positive)) if on]
            oracle = numpy_oracle(lambda v, wanted=wanted: np.isin(v, wanted), bool)
            yield Sample(OPS["is_inf"](detect_negative=negative, detect_positive=positive), (x,), oracle)


def _conversions(rng: np.random.Generator) -> Iterator[Sample]:
    names = (*NUMBERS, "bool")
    shapes = itertools.cycle(SHAPES)
    for source, to in itertools.product(names, names):
        ends = not (DTYPES[source].is_float and DTYPES[to].is_integer)  # out of range has tests of its own
        low = 0 if to in UNSIGNED else -100
        x = values(rng, DTYPES[source], next(shapes), low, 100, special=ends)
        yield Sample(OPS["cast"](to=DTYPES[to]), (x,), lambda v, to=to: v.astype(DTYPES[to].numpy), 0.0)
    for source, to in (
        ("f8e8m0fnu", "f32"),
        ("f4e2m1fn", "f16"),
        ("i2", "i8"),
        ("u2", "f32"),
        ("f32", "f8e8m0fnu"),
        ("f32", "f4e2m1fn"),
    ):
        x = (
            rng.integers(0, 1 << DTYPES[source].bits, 99).astype(np.uint8).view(DTYPES[source].numpy)
            if source != "f32"
            else rng.normal(size=99).astype(np.float32)
        )
        yield Sample(OPS["cast"](to=DTYPES[to]), (x,), lambda v, to=to: v.astype(np.float32).astype(DTYPES[to].numpy), 0.0)
    for source, to in (
        ("f32", "i32"),
        ("u64", "f64"),
        ("i16", "u16"),
        ("f16", "i16"),
        ("i8", "bool"),
        ("u8", "f8e4m3fn"),
        ("i4", "u4"),
    ):
        x = rng.integers(0, 2 if to == "bool" else 15, (5, 7)).astype(DTYPES[source].numpy)
        yield Sample(
            OPS["bit_cast"](to=DTYPES[to]),
            (x,),
            lambda v, to=to: np.frombuffer(v.tobytes(), DTYPES[to].numpy).reshape(v.shape),
            0.0,
        )
    wide = rng.normal(size=257).astype(np.float32) * np.float32(2.0) ** rng.integers(-60, 60, 257).astype(np.float32)
    for part in range(3):
        operand = np.concatenate(
            [wide, np.array([0, 1, np.inf, -np.inf, np.nan, 3.4e38, -3.4028235e38, 3.3895314e38, 1e-45, -1e-40], np.float32)]
        )
        yield Sample(OPS["bf16_part"](part=part), (operand,), _bf16_part(part), 0.0)


def _bf16_part(part: int) -> Callable[[np.ndarray], np.ndarray]:
    greatest = float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)

    def run(x: np.ndarray) -> np.ndarray:
        rest = x.astype(np.longdouble)
        for _ in range(part + 1):
            inside = np.where(np.isinf(rest), rest, np.clip(rest, -greatest, greatest))
            term = inside.astype(np.float32).astype(ml_dtypes.bfloat16)
            with np.errstate(invalid="ignore"):
                rest = np.where(np.isfinite(x), rest - term.astype(np.longdouble), 0)
        return term

    return run


def samples() -> list[Sample]:
    rng = np.random.default_rng(20)
    families = (_functions, _of_numbers, _binary, _division, _ternary, _tests_of_floats, _conversions)
    with np.errstate(all="ignore"):
        return [sample for family in families for sample in family(rng)]
