"""decompose, fold, cse and precision: golden text before and after, and what each promises."""

from __future__ import annotations

import numpy as np
import pytest

from tgen.ir import dtypes
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Constant, Graph
from tgen.ir.ops.fused import Contraction
from tgen.ir.text import print_graph
from tgen.ir.verify import verify
from tgen.passes.cse import cse
from tgen.passes.decompose import decompose
from tgen.passes.fold import LARGE, fold
from tgen.passes.precision import PRODUCTS, faster_on, precision
from tgen.passes.simplify import simplify
from tgen.targets.x86 import AMX, AVX2

PASSES = {
    "decompose": decompose,
    "fold": fold,
    "simplify": simplify,
    "cse": cse,
    "precision": lambda g: precision(g, "high", bf16_products=lambda shape, products: True),
}


def sample() -> Graph:
    """Something for each pass to do."""
    b = Builder("sample")
    x = b.input("x", "f32", ("n", 4))
    w = b.constant(np.float32([[1, 2, 3, 4], [5, 6, 7, 8]]))
    with b.origin("query"):
        q = b.matmul(x, b.transpose(w, perm=(1, 0)))
    with b.origin("key"):
        k = b.matmul(x, b.transpose(w, perm=(1, 0)))
    with b.origin("scores"):
        scores = b.div(b.matmul(q, b.transpose(k, perm=(1, 0))), b.sqrt(b.constant(4.0, "f32")))
    b.output("y", b.softmax(b.reshape(scores, shape=(symbol("n"), symbol("n"))), axis=-1))
    return b.build()


@pytest.mark.parametrize("name", PASSES)
def test_before_and_after(name: str, golden) -> None:
    before = sample()
    after = PASSES[name](before)
    verify(after)
    golden(name, f"before {name}\n{print_graph(before)}\n\nafter {name}\n{print_graph(after)}")


def test_fold_leaves_what_would_only_grow() -> None:
    b = Builder()
    one = b.constant(1.0, "f32")
    b.output("large", b.expand(one, shape=(LARGE,)))
    b.output("small", b.expand(one, shape=(4,)))
    b.output("symbolic", b.expand(one, shape=(symbol("n"),)))
    b.output("dimension", b.slice(b.constant(np.zeros(9)), axes=(0,), starts=(symbol("n"),), sizes=(2,), steps=(1,)))
    b.input("x", "f32", ("n",))
    folded = {name: isinstance(v.op, Constant) for name, v in fold(b.build()).outputs}
    assert folded == {"large": False, "small": True, "symbolic": False, "dimension": False}


def test_fold_of_several_results() -> None:
    b = Builder()
    for k, part in enumerate(b.split(b.constant(np.arange(5)), axis=0, sizes=(2, 3))):
        b.output(f"y{k}", part)
    folded = fold(b.build())
    assert [v.constant.tolist() for _, v in folded.outputs] == [[0, 1], [2, 3, 4]]  # type: ignore[union-attr]


def test_cse_tells_equal_from_alike() -> None:
    b = Builder()
    x = b.input("x", "f32", (200,))
    zeros, other = np.zeros(200, np.float32), np.zeros(200, np.float32)
    other[101] = 1
    for k, array in enumerate((zeros, zeros.copy(), other, -zeros, zeros.astype(np.int32).view(np.float32))):
        b.output(f"a{k}", b.add(x, array))
    b.output("p", b.leaky_relu(x, alpha=0.0))
    b.output("q", b.leaky_relu(x, alpha=-0.0))
    out = dict(cse(b.build()).outputs)
    assert out["a0"] == out["a1"] == out["a4"]
    assert len({out[k] for k in ("a0", "a2", "a3", "p", "q")}) == 5


SHAPES = {
    "matrices": (("m", 70), (70, 9)),
    "batches": ((2, 1, "m", 70), (3, 70, 9)),
    "row": ((70,), (70, 9)),
    "column": (("m", 70), (70,)),
    "both": ((70,), (70,)),
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("level,error", [("medium", 1e-2), ("high", 2e-5), ("highest", 5e-7)])
def test_precision_keeps_its_promise(shapes, level: str, error: float) -> None:
    b = Builder()
    b.output("y", b.matmul(b.input("a", "f32", shapes[0]), b.input("b", "f32", shapes[1])))
    graph = b.build()
    split = precision(graph, level, bf16_products=lambda shape, products: products == PRODUCTS[level])
    verify(split)
    contraction = next(n.op for n in split.nodes if isinstance(n.op, Contraction))
    assert contraction.products == PRODUCTS[level]
    rng = np.random.default_rng(0)
    feeds = {k: rng.standard_normal([5 if d == "m" else d for d in s]).astype(np.float32) for k, s in zip("ab", shapes)}
    got, wanted = evaluate(split, feeds)["y"], evaluate(graph, feeds)["y"]
    assert np.abs(got - wanted).max() <= error * 70**0.5 * 3
    assert precision(split, level, bf16_products=lambda *_: True) is split


def test_precision_follows_the_target() -> None:
    graph = sample()
    assert precision(graph, "highest", bf16_products=faster_on(AVX2)) is graph
    b = Builder()
    x = b.input("x", "f32", (512, 512))
    b.output("y", b.matmul(x, x))
    b.output("z", b.cast(b.matmul(b.cast(x, to=dtypes.F64), b.cast(x, to=dtypes.F64)), to=dtypes.F32))
    big = precision(b.build(), "highest", bf16_products=faster_on(AMX))
    assert sum(isinstance(n.op, Contraction) for n in big.nodes) == 1
