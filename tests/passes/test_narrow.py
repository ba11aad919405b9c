"""narrow: where conversions are done, and where they must stay."""

from __future__ import annotations

import numpy as np
import pytest

from tgen.ir.builder import Builder
from tgen.ir.dtypes import BF16, F64
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.fused import ProductOp
from tgen.passes.epilogue import epilogue
from tgen.passes.inline import inline
from tgen.passes.lower import lower
from tgen.passes.narrow import narrow


def product(b: Builder) -> Value:
    """gelu(x·w + bias): f32[n, 12]."""
    x, w = b.input("x", "f32", ("n", 8)), b.input("w", "f32", (8, 12))
    return b.gelu(b.add(b.matmul(x, w), b.input("bias", "f32", (12,))))  # type: ignore[no-any-return]


def heads(b: Builder, x: Value) -> Value:
    """A view of a view of a view: f32[3, n, 2]."""
    part = b.slice(x, axes=(1,), starts=(4,), sizes=(6,), steps=(1,))
    return b.transpose(b.reshape(part, shape=(x.type.shape[0], 3, 2)), perm=(1, 0, 2))  # type: ignore[no-any-return]


def passes(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph after the passes around narrow, having checked that narrow changes no bit."""
    lowered = lower(graph)
    new = narrow(lowered)
    feeds = {"x": rng.standard_normal((5, 8)), "w": rng.standard_normal((8, 12)), "bias": rng.standard_normal(12)}
    feeds = {k: v.astype(np.float32) for k, v in feeds.items()}
    before, after = evaluate(lowered, feeds), evaluate(new, feeds)
    assert all(np.array_equal(before[k], after[k]) for k in before)
    return epilogue(inline(new))


def result_types(graph: Graph) -> list[str]:
    (node,) = (n for n in graph.nodes if isinstance(n.op, ProductOp))
    return [str(t.dtype) for t in node.types]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_conversions_join_what_computes_the_value(parts, rng) -> None:
    b = Builder()
    y = product(b)
    for k in range(parts):
        b.output(f"head{k}", b.bf16_part(heads(b, y), part=k))
        b.output(f"whole{k}", b.bf16_part(b.transpose(y, perm=(1, 0)), part=k))
    assert result_types(passes(b.build(), rng)) == ["bf16"] * parts


def test_parts_without_views_are_results_of_one_kernel(rng) -> None:
    b = Builder()
    y = product(b)
    for k in range(2):
        b.output(f"part{k}", b.bf16_part(y, part=k))
    assert result_types(passes(b.build(), rng)) == ["bf16", "bf16"]


@pytest.mark.parametrize("reader", ["output", "sum", "wider"])
def test_a_value_that_somebody_reads_as_it_is_stays(reader) -> None:
    b = Builder()
    y = product(b)
    b.output("narrow", b.cast(heads(b, y), to=BF16))
    other = {"output": lambda: y, "sum": lambda: b.add(heads(b, y), 1.0), "wider": lambda: b.cast(y, to=F64)}[reader]
    b.output("y", other())
    lowered = lower(b.build())
    assert narrow(lowered) is lowered
