"""What movement and composites promise beyond single samples: slices resolved as Python does, errors, dimensions known at run time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tgen.ir.builder import Builder
from tgen.ir.dims import evaluate_dim, symbol
from tgen.ir.dtypes import F32
from tgen.ir.errors import TypeMismatch
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Value
from tgen.ir.op import OPS
from tgen.ir.ops.movement import resolve_slice

from ..native import run_native

ENDS = (*range(-7, 8), -(1 << 63), (1 << 63) - 1, -(1 << 31), (1 << 31) - 1)
N = symbol("n")


@pytest.mark.parametrize("step", [1, 2, 3, -1, -2, -3])
@pytest.mark.parametrize("extent", range(5))
def test_slices_are_pythons(extent: int, step: int) -> None:
    for start, end in itertools.product(ENDS, repeat=2):
        wanted = list(range(extent))[start:end:step]
        for dim in (extent, N):
            first, count = (evaluate_dim(d, {"n": extent}) for d in resolve_slice(dim, start, end, step))
            assert [first + k * step for k in range(count)] == wanted, (dim, start, end)


def test_slices_of_symbols_stay_simple() -> None:
    assert resolve_slice(N, 0, (1 << 63) - 1, 1) == (0, N)
    assert resolve_slice(N, -(1 << 63), N, 1) == (0, N)
    assert resolve_slice(N + 4, 0, -1, 1) == (0, N + 3)
    assert resolve_slice(N + 4, 1, 3, 1) == (1, 2)


@pytest.mark.parametrize(
    ("name", "attributes", "operands", "message"),
    [
        ("reshape", {"shape": (-2, -3)}, [(2, 3)], "reshape"),
        ("squeeze", {"axes": (0, -2)}, [(1, 3)], "repeat"),
        ("slice", {"axes": (0,), "starts": (2,), "sizes": (3,), "steps": (1,)}, [(4,)], "outside"),
        ("slice", {"axes": (0,), "starts": (1,), "sizes": (3,), "steps": (-1,)}, [(4,)], "outside"),
        ("slice", {"axes": (0, 0), "starts": (0, 0), "sizes": (1, 1), "steps": (1, 1)}, [(4,)], "slice"),
        ("split", {"axis": 0, "sizes": (5, -1)}, [(4,)], "negative"),
        ("diagonal", {}, [(3, 4)], "equal extents"),
        ("tile", {"repeats": (-1,)}, [(4,)], "repeats"),
        ("depth_to_space", {"blocksize": 2}, [(1, 6, 2, 2)], "blocksize"),
        ("pad", {"before": (0,), "after": (2,), "mode": "edge"}, [(0,), ()], "left to pad"),
        ("pad", {"before": (-3,), "after": (-2,)}, [(4,), ()], "left to pad"),
        ("gather", {}, [(0, 3), ("i64", (2,))], "no index is valid"),
        ("gather", {}, [(4, 3), (2,)], "i32 or i64"),
        ("gather_elements", {"axis": 0}, [(4, 3), ("i64", (2, 5))], "longer"),
        ("gather_nd", {"batch_dims": 1}, [(4, 3), ("i64", (5, 1))], "does not index"),
        ("scatter_nd", {"reduction": "xor"}, [(4,), ("i64", (2, 1)), (2,)], "reduction"),
        ("reverse_sequence", {}, [(4, 3), ("i64", (4,))], "lengths"),
        ("gemm", {}, [(2, 3), (3, 4), (5,)], "broadcast"),
        ("mat_mul_integer", {}, [(2, 3), (3, 4)], "8-bit"),
        ("einsum", {"equation": "ij,jk->il"}, [(2, 3), (3, 4)], "not an output"),
        ("einsum", {"equation": "ij,jk->ik"}, [(2, 3), (4, 5)], "'j' have extents"),
        ("einsum", {"equation": "i->i"}, [(2, 3)], "does not label"),
        ("einsum", {"equation": "i+j"}, [(2, 3)], "not an equation"),
        ("scaled_dot_product_attention", {}, [(1, 3, 4, 8), (1, 2, 5, 8), (1, 2, 5, 8)], "heads"),
        ("scaled_dot_product_attention", {}, [(1, 2, 4, 8), (1, 2, 5, 8), (1, 2, 5, 8), (4, 6)], "broadcast"),
        ("scaled_dot_product_attention", {}, [(1, 2, 4, 8), (1, 2, 5, 8), (1, 2, 5, 8), ("i64", (2,))], "lengths"),
        ("scaled_dot_product_attention", {"past": 1}, [(1, 2, 4, 8), (1, 2, 5, 8), (1, 2, 5, 8), ("i64", (1,))], "past 1"),
        ("layer_normalization", {}, [(2, 3), (2, 2, 3)], "parameter|broadcast"),
        ("batch_normalization", {}, [(2, 3), (2,), (2,), (2,), (2,)], "vectors of channels"),
        ("lp_normalization", {"p": 3}, [(2, 3)], "p is 1 or 2"),
    ],
)
def test_errors_name_what_is_wrong(name: str, attributes: dict[str, Any], operands: list[Any], message: str) -> None:
    b = Builder()
    values = []
    for k, given in enumerate(operands):
        dtype, shape = given if "i64" in given else ("f32", given)
        values.append(b.input(f"x{k}", dtype, shape))
    with pytest.raises(TypeMismatch, match=message):
        b.apply(OPS[name](**attributes), *values)


Make = Callable[[Builder, Value], Value]
SYMBOLIC: dict[str, Make] = {
    "pad by a symbol": lambda b, x: b.pad(x, 1.0, before=(0, N), after=(0, 2), mode="edge"),
    "pad less than nothing": lambda b, x: b.pad(x, 1.0, before=(0, 2 - N), after=(0, N)),
    "tile": lambda b, x: b.tile(x, repeats=(N, 2)),
    "trilu": lambda b, x: b.trilu(x, k=N - 2),
    "eye_like": lambda b, x: b.eye_like(x, dtype=F32, k=N - 2),
    "slice from behind": lambda b, x: b.slice(x, axes=(1,), starts=(N - 1,), sizes=(N,), steps=(-1,)),
    "one_hot": lambda b, x: b.one_hot(b.cast(x, to=b.constant(0).type.dtype), np.array([0, 1], np.float32), depth=N),
    "layer_normalization": lambda b, x: b.layer_normalization(x, 1.0)[0],
    "einsum": lambda b, x: b.einsum(x, x, equation="bi,bj->bij"),
    "einsum with depth": lambda b, x: b.einsum(x, x, equation="ai,bi->ab"),
    "attention": lambda b, x: _attention(b, x),
    "dft": lambda b, x: b.dft(b.unsqueeze(x, axes=(2,)), length=N + 2, axis=1, onesided=True),
    "inverse dft": lambda b, x: b.dft(b.unsqueeze(x, axes=(2,)), length=N, axis=1, inverse=True),
    "resize": lambda b, x: b.resize_axis(x, size=N * 2 + 1, axis=1, mode="cubic", exclude_outside=True),
    "resize to the nearest": lambda b, x: b.resize_axis(x, size=N * 3, axis=1, scale=3.0, nearest="ceil"),
}


def _attention(b: Builder, x: Value) -> Value:
    q = b.reshape(x, shape=(1, 3, N, 1))
    return b.scaled_dot_product_attention(q, q, q, is_causal=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("name", SYMBOLIC)
def test_symbolic_dimensions(name: str, n: int, rng: np.random.Generator) -> None:
    b = Builder()
    b.output("y", SYMBOLIC[name](b, b.input("x", "f32", (3, "n"))))
    feeds = {"x": rng.standard_normal((3, n), dtype=np.float32)}
    np.testing.assert_allclose(run_native(b.build(), feeds)["y"], evaluate(b.build(), feeds)["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_nothing_is_written_where_there_is_no_place(n: int, rng: np.random.Generator) -> None:
    """An axis that turns out to be empty at run time takes no updates."""
    b = Builder()
    x, i, u = b.input("x", "f32", (2, "n")), b.input("i", "i64", (2, 3)), b.input("u", "f32", (2, 3))
    b.output("y", b.scatter_elements(x, i, u, axis=1, reduction="add"))
    b.output(
        "z",
        b.scatter_nd(b.transpose(x, perm=(1, 0)), b.reshape(i, shape=(6, 1)), b.expand(b.reshape(u, shape=(6, 1)), shape=(6, 2))),
    )
    feeds = {
        "x": rng.standard_normal((2, n), dtype=np.float32),
        "i": rng.integers(-5, 5, (2, 3)),
        "u": rng.standard_normal((2, 3), dtype=np.float32),
    }
    got, want = run_native(b.build(), feeds), evaluate(b.build(), feeds)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["layer_normalization", "rmsnormalization", "softmax", "log_softmax"])
def test_norms_of_rows_are_one_kernel(name: str) -> None:
    from tgen.compiler import compile_graph

    from ..native import host

    b = Builder()
    x = b.add(b.input("x", "f32", ("batch", "seq", 48)), b.input("r", "f32", ("batch", "seq", 48)))
    made = getattr(b, name)(x) if "softmax" in name else getattr(b, name)(x, np.ones(48, np.float32))
    b.output("y", made[0] if isinstance(made, tuple) else made)
    assert len(compile_graph(b.build(), host(), "highest").plan.steps) == 1
