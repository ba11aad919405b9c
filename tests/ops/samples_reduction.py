"""Samples of reductions, positions of extrema and running totals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.dtypes import DTYPES
from tgen.ir.op import OPS

from .onnx_oracle import onnx_oracle
from .samples import EPSILON, Sample
from .samples_elementwise import FLOATS, values

CASES: list[tuple[tuple[int, ...], tuple[int, ...] | None]] = [
    ((33,), None),
    ((2, 3, 17), (-1,)),
    ((5, 100), (0,)),
    ((3, 4, 9), (0, 2)),
    ((7, 1, 8), (1,)),
    ((), None),
    ((2, 3), ()),
    ((2, 3, 1, 4, 15), (1, -1)),
    ((16, 31), (1,)),
    ((1,), (0,)),
]
EMPTY: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((0, 5), (1,)), ((4, 0), (1,)), ((3, 0, 2), (0, 1))]
# low, high of the operands; dtypes
REDUCTIONS: dict[str, tuple[float, float, tuple[str, ...]]] = {
    "ReduceSum": (-9, 9, (*FLOATS, "i32", "i64")),
    "ReduceMean": (-9, 9, (*FLOATS, "i32", "i64")),
    "ReduceMax": (-9, 9, (*FLOATS, "i32", "i64", "i8", "u8", "bool")),
    "ReduceMin": (-9, 9, (*FLOATS, "i32", "i64", "i8", "u8", "bool")),
    "ReduceProd": (0.8, 1.25, (*FLOATS, "i32", "i64")),
    "ReduceL1": (-9, 9, (*FLOATS, "i32", "i64")),
    "ReduceL2": (-9, 9, (*FLOATS, "i32", "i64")),
    "ReduceSumSquare": (-9, 9, (*FLOATS, "i32", "i64")),
    "ReduceLogSum": (1, 9, FLOATS),
    "ReduceLogSumExp": (-20, 20, FLOATS),
}


def name_of(onnx_name: str) -> str:
    return next(n for n, cls in OPS.items() if cls.__name__ == onnx_name)


def _reductions(rng: np.random.Generator) -> Iterator[Sample]:
    cases = itertools.cycle(itertools.product((True, False), CASES))
    for name, (low, high, dtypes) in REDUCTIONS.items():
        for dtype in dtypes:
            eps = EPSILON.get(dtype, 0.0)
            for _ in range(5 if dtype == "f32" else 2):
                keepdims, (shape, axes) = next(cases)
                x = values(rng, DTYPES[dtype], shape, low, high, special=False)
                constants = () if axes is None else (np.array(axes, np.int64),)
                oracle = onnx_oracle(name, *constants, keepdims=int(keepdims), noop_with_empty_axes=int(axes == ()))
                if axes == () or (name == "ReduceMean" and eps == 0):  # peers disagree with the standard, or among themselves
                    oracle = None
                yield Sample(
                    OPS[name_of(name)](axes=axes, keepdims=keepdims),
                    (x,),
                    oracle,
                    8 * eps,
                    30 * eps,
                    2e-5 if dtype == "f32" else 1e-12,
                )
        if name != "ReduceMean":
            for shape, axes in EMPTY:
                x = values(rng, DTYPES["f32"], shape, low, high, special=False)
                yield Sample(OPS[name_of(name)](axes=axes), (x,), _empty(name, axes))


def _empty(name: str, axes: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Of no elements: the identity of the combination, through the final function."""
    value = {"ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceProd": 1.0, "ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf}.get(
        name, 0.0
    )
    return lambda x: np.full([1 if k in axes else d for k, d in enumerate(x.shape)], value, x.dtype)


def _positions(rng: np.random.Generator) -> Iterator[Sample]:
    shapes = itertools.cycle([((33,), 0), ((2, 3, 17), -1), ((5, 9), 0), ((1, 4), 0), ((2, 16, 3), 1), ((7, 0, 2), 0)])
    for name, dtype, keepdims, last in itertools.product(
        ("ArgMax", "ArgMin"), ("f32", "f64", "i32", "i64", "u8", "bf16"), (True, False), (True, False)
    ):
        shape, axis = next(shapes)
        x = values(rng, DTYPES[dtype], shape, -3, 3, special=False)
        x = np.round(x.astype(np.float64)).astype(x.dtype)  # many equal ones
        attributes: dict[str, Any] = {"axis": axis, "keepdims": keepdims, "select_last_index": last}
        plain = 0 not in shape and dtype in ("f32", "i32")
        oracle = onnx_oracle(name, **{k: int(v) for k, v in attributes.items()}) if plain else _position(name, **attributes)
        yield Sample(OPS[name_of(name)](**attributes), (x,), oracle)
    for name, where in itertools.product(("ArgMax", "ArgMin"), ((3,), (0, 5), (8,))):
        x = np.arange(9, dtype=np.float32)
        x[list(where)] = np.nan
        yield Sample(OPS[name_of(name)](), (x,), lambda v, where=where: np.array([where[0]]))
    for shape, axis in (((9,), 0), ((2, 3, 17), -1), ((2, 3, 17), 1), ((0, 4), 0)):
        oracle = _axis_index(axis)
        yield Sample(OPS["axis_index"](axis=axis), (values(rng, DTYPES["f32"], shape),), oracle)


def _position(name: str, axis: int, keepdims: bool, select_last_index: bool) -> Callable[[np.ndarray], np.ndarray]:
    """By looking at one element after another."""

    def run(x: np.ndarray) -> np.ndarray:
        along = np.moveaxis(x.astype(np.float64), axis, -1)
        found = np.zeros(along.shape[:-1], np.int64)
        for at in np.ndindex(found.shape):
            row = along[at].tolist()
            best = max(row) if name == "ArgMax" else min(row)
            hits = [k for k, v in enumerate(row) if v == best]
            found[at] = hits[-1] if select_last_index else hits[0]
        return np.expand_dims(found, axis) if keepdims else found

    return run


def _axis_index(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        shape = [1] * x.ndim
        shape[axis] = -1
        return np.broadcast_to(np.arange(x.shape[axis], dtype=np.int64).reshape(shape), x.shape)

    return run


def _running(rng: np.random.Generator) -> Iterator[Sample]:
    shapes = itertools.cycle([((33,), 0), ((2, 3, 17), -1), ((5, 9), 0), ((1, 4), 0), ((2, 16, 3), 1), ((7, 0, 2), 1)])
    for name, dtype, exclusive, reverse in itertools.product(
        ("cum_sum", "cum_prod"), ("f32", "f64", "i32", "i64", "f16"), (True, False), (True, False)
    ):
        shape, axis = next(shapes)
        low, high = (-9.0, 9.0) if name == "cum_sum" else (0.8, 1.25)
        x = values(rng, DTYPES[dtype], shape, low, high, special=False)
        eps = EPSILON.get(dtype, 0.0)
        op = OPS[name](axis=axis, exclusive=exclusive, reverse=reverse)
        yield Sample(op, (x,), _total(name, axis, exclusive, reverse), 8 * eps, 60 * eps)
    for multiply, reverse in itertools.product((True, False), repeat=2):
        x = values(rng, DTYPES["i32"], (2, 7, 3), special=False)
        op = OPS["running_total"](axis=1, reverse=reverse, multiply=multiply)
        yield Sample(op, (x,), _total("cum_prod" if multiply else "cum_sum", 1, False, reverse))


def _total(name: str, axis: int, exclusive: bool, reverse: bool) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        along = np.moveaxis(x if x.dtype.kind in "iu" else x.astype(np.float64), axis, 0)
        out = np.empty_like(along)
        n = along.shape[0]
        for i in range(n):
            part = along[i + exclusive :] if reverse else along[: i + (not exclusive)]
            out[i] = part.sum(axis=0) if name == "cum_sum" else part.prod(axis=0)
        return np.moveaxis(out, 0, axis).astype(x.dtype)

    return run


def samples() -> list[Sample]:
    rng = np.random.default_rng(21)
    return [sample for family in (_reductions, _positions, _running) for sample in family(rng)]
