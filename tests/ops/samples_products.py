"""Samples of operators made of matrix products: Gemm, MatMulInteger, Einsum, attention."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.dtypes import DTYPES
from tgen.ir.op import OPS

from .onnx_oracle import onnx_oracle
from .samples import EPSILON, Sample
from .samples_elementwise import values

Shape = tuple[int, ...]


def array(rng: np.random.Generator, shape: Shape, dtype: str = "f32") -> np.ndarray:
    return values(rng, DTYPES[dtype], shape, -2, 2, special=False)


def _gemms(rng: np.random.Generator) -> Iterator[Sample]:
    sizes = itertools.cycle([(5, 7, 9), (1, 1, 1), (17, 33, 16), (4, 0, 3), (0, 5, 2), (1, 64, 31)])
    for trans_a, trans_b, c in itertools.product((False, True), (False, True), (None, "mn", "n", "m1", "")):
        m, k, n = next(sizes)
        shapes = [(k, m) if trans_a else (m, k), (n, k) if trans_b else (k, n)]
        if c is not None:
            shapes.append({"mn": (m, n), "n": (n,), "m1": (m, 1), "": ()}[c])
        alpha, beta = ((1.0, 1.0), (0.5, -2.0), (3.0, 0.0))[len(shapes) * m % 3]
        operands = tuple(array(rng, s) for s in shapes)
        attributes = {"alpha": alpha, "beta": beta, "trans_a": trans_a, "trans_b": trans_b}
        oracle = _gemm(**attributes)
        yield Sample(OPS["gemm"](**attributes), operands, oracle, 2e-6, 2e-6 * max(1, k) ** 0.5, 1e-6)
        if m * k * n and c != "":
            theirs = onnx_oracle("Gemm", alpha=alpha, beta=beta, transA=int(trans_a), transB=int(trans_b))
            yield Sample(OPS["gemm"](**attributes), operands, theirs, 2e-6, 2e-5, 1e-5)
    for dtype in ("f64", "f16", "bf16", "i32"):
        operands = tuple(array(rng, s, dtype) for s in ((5, 12), (12, 7), (7,)))
        eps = EPSILON.get(dtype, 0.0)
        yield Sample(OPS["gemm"](alpha=2.0, beta=3.0), operands, _gemm(2.0, 3.0, False, False), 8 * eps, 30 * eps)


def _gemm(alpha: float, beta: float, trans_a: bool, trans_b: bool) -> Callable[..., np.ndarray]:
    """Element by element."""

    def run(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
        wide = np.int64 if a.dtype.kind in "iu" else np.float64
        left, right = (a.T if trans_a else a).astype(wide), (b.T if trans_b else b).astype(wide)
        out = np.array([[alpha * np.dot(row, column) for column in right.T] for row in left]).reshape(left.shape[0], right.shape[1])
        return (out if c is None else out + beta * c.astype(wide)).astype(a.dtype)

    return run


def _integers(rng: np.random.Generator) -> Iterator[Sample]:
    cases: list[tuple[Shape, Shape, tuple[Shape, ...]]] = [
        ((5, 9), (9, 7), ()),
        ((5, 9), (9, 7), ((), ())),
        ((17, 64), (64, 33), ((1,), (1,))),
        ((5, 9), (9, 7), ((5,), (7,))),
        ((2, 3, 9), (9, 7), ((),)),
        ((2, 3, 9), (2, 9, 7), ((2, 3, 1), (2, 1, 7))),
        ((1, 1), (1, 1), ((1,), (1,))),
        ((4, 0), (0, 3), ((), ())),
    ]
    for (a, b, zeros), (left, right) in itertools.product(cases, (("u8", "i8"), ("i8", "i8"), ("u8", "u8"))):
        operands = (*(values(rng, DTYPES[d], s, -128, 255) for d, s in ((left, a), (right, b))),)
        operands += tuple(values(rng, DTYPES[d], s, -100, 200) for d, s in zip((left, right), zeros))
        yield Sample(OPS["mat_mul_integer"](), operands, _mat_mul_integer)
    # of larger weights ONNX Runtime saturates the sums of two products to 16 bits, on a CPU without VNNI
    operands = (
        values(rng, DTYPES["u8"], (6, 20), 0, 255),
        values(rng, DTYPES["i8"], (20, 9), -64, 63, special=False),
        np.uint8(7),
        np.int8(-3),
    )
    yield Sample(OPS["mat_mul_integer"](), tuple(map(np.asarray, operands)), onnx_oracle("MatMulInteger"))


def _mat_mul_integer(a: np.ndarray, b: np.ndarray, a_zero: Any = 0, b_zero: Any = 0) -> np.ndarray:
    """Exact in float64."""
    a_zero = np.asarray(a_zero, np.float64)
    if a_zero.ndim == 1:
        a_zero = a_zero.reshape(-1, 1)
    return np.matmul(a - a_zero, b - np.asarray(b_zero, np.float64)).astype(np.int32)


EQUATIONS: list[tuple[str, tuple[Shape, ...]]] = [
    ("ij,jk->ik", ((5, 9), (9, 7))),
    ("ij,jk", ((5, 9), (9, 7))),
    ("bij,bjk->bik", ((2, 5, 9), (2, 9, 7))),
    ("bhsd,bhtd->bhst", ((2, 3, 4, 8), (2, 3, 6, 8))),
    ("bshd,bthd->bhst", ((2, 4, 3, 8), (2, 6, 3, 8))),
    ("i,j->ij", ((4,), (5,))),
    ("i,i", ((7,), (7,))),
    ("bi,bi->b", ((3, 7), (3, 7))),
    ("ij->ji", ((3, 4),)),
    ("ij->", ((3, 4),)),
    ("ij->j", ((3, 4),)),
    ("ii->i", ((5, 5),)),
    ("ii", ((5, 5),)),
    ("iij->j", ((4, 4, 3),)),
    ("...ii->...i", ((2, 3, 4, 4),)),
    ("...ij,...jk->...ik", ((2, 3, 4), (5, 2, 4, 6))),
    ("...ij,jk->...ik", ((2, 1, 3, 4), (4, 6))),
    ("...,...->...", ((2, 3), (3,))),
    ("b...,...->b...", ((2, 3, 4), (3, 4))),
    ("ij,j->i", ((6, 8), (8,))),
    ("ij,kl->ijkl", ((2, 3), (4, 5))),
    ("abc,cd,de->abe", ((2, 3, 4), (4, 5), (5, 6))),
    ("ab,bc,ca->", ((3, 4), (4, 5), (5, 3))),
    ("ij,ij,ij->ij", ((3, 4), (3, 4), (3, 4))),
    ("abcd,abce->abde", ((2, 3, 4, 5), (2, 3, 4, 6))),
    ("aibjc,cdib->jda", ((2, 3, 4, 2, 3), (3, 5, 3, 4))),
    ("ij,jk->ik", ((5, 1), (6, 7))),
    ("ij,ij->ij", ((1, 4), (3, 1))),
    ("ij,kj->", ((3, 4), (5, 4))),
    ("ij,jk->ik", ((5, 0), (0, 7))),
    ("bij,bjk->bik", ((0, 5, 9), (0, 9, 7))),
    ("->", ((),)),
    (",->", ((), ())),
    (",i->i", ((), (5,))),
    (" i j , j k -> i k ", ((2, 3), (3, 4))),
    ("Aa,aB->BA", ((3, 4), (4, 2))),
]


def _einsums(rng: np.random.Generator) -> Iterator[Sample]:
    for equation, shapes in EQUATIONS:
        operands = tuple(array(rng, s) for s in shapes)
        yield Sample(OPS["einsum"](equation=equation), operands, _sum_of_products(equation), 4e-6, 4e-5, 1e-6)
    for equation, shapes in EQUATIONS[:12]:
        operands = tuple(array(rng, s) for s in shapes)
        yield Sample(OPS["einsum"](equation=equation), operands, onnx_oracle("Einsum", equation=equation), 4e-6, 4e-5, 1e-5)
    for dtype, (equation, shapes) in itertools.product(("f64", "f16", "bf16", "i32", "i64", "i8"), EQUATIONS[2:22:3]):
        operands = tuple(array(rng, s, dtype) for s in shapes)
        eps = EPSILON.get(dtype, 0.0)
        yield Sample(OPS["einsum"](equation=equation), operands, _sum_of_products(equation), 16 * eps, 64 * eps, eps)


def _sum_of_products(equation: str) -> Callable[..., np.ndarray]:
    """The definition: one product for each position of all labels."""

    def run(*operands: np.ndarray) -> np.ndarray:
        left, arrow, right = equation.replace(" ", "").partition("->")
        parts = left.split(",")
        free = [x.ndim - len(p.replace("...", "")) for x, p in zip(operands, parts)]
        dots = "".join(chr(ord("0") + k) for k in range(max(free)))
        names = [p.replace("...", dots[len(dots) - n :]) for p, n in zip(parts, free)]
        everything = "".join(names)
        out = (
            right.replace("...", dots)
            if arrow
            else dots + "".join(sorted(c for c in set(everything) - set(dots) if everything.count(c) == 1))
        )
        extents: dict[str, int] = {}
        for name, x in zip(names, operands):
            for label, extent in zip(name, x.shape):
                extents[label] = extent if extents.get(label, 1) == 1 else extents[label]
        wide = [x.astype(object if x.dtype.kind in "iu" else np.float64) for x in operands]
        total = np.zeros([extents[label] for label in out], wide[0].dtype)
        for at in itertools.product(*(range(e) for e in extents.values())):
            where = dict(zip(extents, at))
            factors = [x[tuple(where[c] if d != 1 else 0 for c, d in zip(n, x.shape))] for x, n in zip(wide, names)]
            total[tuple(where[label] for label in out)] += math.prod(factors)
        return _rounded(total, operands[0].dtype)

    return run


def _rounded(x: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Python integers wrap."""
    if dtype.kind not in "iu":
        return x.astype(dtype)
    bits = dtype.itemsize * 8
    flat = [((int(v) + (1 << bits - 1)) % (1 << bits)) - (1 << bits - 1) for v in x.ravel()]
    return np.array(flat, dtype).reshape(x.shape)


def _attention(rng: np.random.Generator) -> Iterator[Sample]:
    name = "scaled_dot_product_attention"
    shapes: list[tuple[Shape, Shape, int]] = [
        ((2, 3, 5, 8), (2, 3, 7, 8), 8),
        ((1, 4, 6, 16), (1, 2, 6, 16), 9),
        ((2, 6, 1, 4), (2, 1, 33, 4), 4),
        ((1, 1, 1, 1), (1, 1, 1, 1), 1),
    ]
    for (q, k, e), mask, causal in itertools.product(shapes, (None, "bool", "f32", "row"), (False, True)):
        operands = [array(rng, q), array(rng, k), array(rng, (*k[:3], e))]
        scores = (*q[:3], k[2])
        if mask == "bool":
            operands.append(rng.random(scores[-2:]) < 0.6)  # some rows see nothing
        elif mask is not None:
            operands.append(array(rng, scores if mask == "f32" else (q[0], 1, 1, k[2])))
        op = OPS[name](is_causal=causal)
        peer = onnx_oracle("Attention", is_causal=int(causal)) if mask != "row" else _attend(None, causal)  # theirs wants all rows
        yield Sample(op, tuple(operands), peer, 2e-5, 4e-6, 1e-5)
    for dtype, scale in (("f64", 0.3), ("f32", 2.0), ("f16", None), ("bf16", None)):
        operands = [array(rng, s, dtype) for s in ((2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 8), (1, 4, 5, 6))]
        eps = EPSILON[dtype]
        yield Sample(OPS[name](scale=scale), tuple(operands), _attend(scale), 16 * eps, 16 * eps)
    for q, k in (((0, 2, 3, 4), (0, 2, 5, 4)), ((1, 2, 0, 4), (1, 2, 5, 4)), ((1, 2, 3, 4), (1, 2, 0, 4))):
        yield Sample(OPS[name](), (array(rng, q), array(rng, k), array(rng, k)), lambda q, k, v: np.zeros_like(q))
    yield from _positions(rng)


def _positions(rng: np.random.Generator) -> Iterator[Sample]:
    """Attention where it matters where queries and keys stand; some rows see nothing. Masks are several."""
    everything: list[dict[str, Any]] = [
        {"softcap": 0.7},
        {"past": 3, "is_causal": True},
        {"past": -2, "is_causal": True, "left_window": 2},
        {"left_window": 2, "right_window": 1},
        {"left_window": 0, "softcap": 3.0, "past": 2},
        {"right_window": 0},
        {"left_window": 1, "right_window": 3, "is_causal": True},
    ]
    shapes = [((2, 4, 5, 8), (2, 2, 9, 8)), ((2, 3, 21, 4), (2, 3, 6, 4)), ((1, 4, 1, 8), (1, 4, 40, 8))]
    for number, (attributes, (q, k)) in enumerate(itertools.product(everything, shapes)):
        operands = [array(rng, q), array(rng, k), array(rng, k)]
        if number % 2:
            operands += [array(rng, (q[1], 1, k[2])), rng.random((q[0], 1, 1, k[2])) < 0.7]
        if number % 3 == 0:
            operands.append(rng.integers(0, k[2] + 1, q[0]))
            attributes = {**attributes, "past": 0}
        yield Sample(
            OPS["scaled_dot_product_attention"](**attributes), tuple(operands), _attend(None, **attributes), 2e-5, 4e-6, 1e-5
        )


def _attend(
    scale: float | None,
    is_causal: bool = False,
    softcap: float = 0.0,
    past: int = 0,
    left_window: int | None = None,
    right_window: int | None = None,
) -> Callable[..., np.ndarray]:
    """One query at a time, over a list of the keys that it sees."""

    def run(q: np.ndarray, k: np.ndarray, v: np.ndarray, *others: np.ndarray) -> np.ndarray:
        wq, wk, wv = (x.astype(np.float64) for x in (q, k, v))
        lengths = others[-1] if others and others[-1].dtype == np.int64 else None
        masks = [np.broadcast_to(x, (*q.shape[:3], k.shape[2])) for x in others if x is not lengths]
        out = np.zeros((*q.shape[:3], v.shape[3]))
        for b, h, s in np.ndindex(q.shape[:3]):
            count = k.shape[2] if lengths is None else lengths[b]
            at = s + past if lengths is None else s + count - q.shape[2]
            first = 0 if left_window is None else max(0, at - left_window)
            last = at if is_causal else count if right_window is None else at + right_window
            seen = [j for j in range(first, min(last + 1, count)) if all(m[b, h, s, j] for m in masks if m.dtype == bool)]
            if not seen:
                continue
            g = h // (q.shape[1] // k.shape[1])
            scores = wk[b, g, seen] @ wq[b, h, s] * (q.shape[3] ** -0.5 if scale is None else scale)
            if softcap:
                scores = softcap * np.tanh(scores / softcap)
            e = np.exp(scores + sum(m[b, h, s, seen].astype(np.float64) for m in masks if m.dtype != bool))
            out[b, h, s] = e @ wv[b, g, seen] / e.sum()
        return out.astype(q.dtype)

    return run


def samples() -> list[Sample]:
    rng = np.random.default_rng(24)
    return [sample for family in (_gemms, _integers, _einsums, _attention) for sample in family(rng)]
