"""partial: long reductions to few results in two steps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.ir.ops.reduction import Reduction
from tgen.ir.verify import verify
from tgen.passes.partial import partial


def pooled(
    how: str, shape: tuple[int | str, ...], axes: tuple[int, ...], first: bool = False, dtype: str = "f32", keepdims: bool = True
) -> Graph:
    """first: channels come first, of a picture whose channels are last."""
    b = Builder()
    x = b.exp(b.input("x", dtype, shape))
    seen = b.transpose(x, perm=(0, 3, 1, 2)) if first else x
    b.output("y", getattr(b, how)(seen, axes=axes, keepdims=keepdims))
    return b.build()


def reductions(graph: Graph) -> int:
    return sum(isinstance(n.op, Reduction) for n in graph.nodes)


@pytest.mark.parametrize("how", ["reduce_mean", "reduce_sum", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_two_steps(how, keepdims, first, rng) -> None:
    graph = pooled(how, ("n", "h", 37, 24), (2, 3) if first else (1, 2), first, keepdims=keepdims)
    after = partial(graph)
    verify(after)
    assert reductions(graph) == 1 and reductions(after) == 2 and partial(after) is after
    for n, h in ((1, 20), (3, 1)):
        f = {"x": rng.standard_normal((n, h, 37, 24), np.float32)}
        want = evaluate(graph, f)["y"]
        np.testing.assert_allclose(evaluate(after, f)["y"], want, rtol=1e-5)
        np.testing.assert_allclose(build_executable(graph).run(f)["y"], want, rtol=1e-5)


OTHERS = {
    "lanes along what is reduced": pooled("reduce_mean", (1, 24, 40, 40), (2, 3)),
    "one axis": pooled("reduce_mean", (1, 40, 40, 24), (1,)),
    "short": pooled("reduce_mean", (1, 7, 7, 24), (1, 2)),
    "many results": pooled("reduce_mean", (1, 40, 40, 4096), (1, 2)),
    "products": pooled("reduce_prod", (1, 40, 40, 24), (1, 2)),
    "rounded between": pooled("reduce_mean", (1, 40, 40, 24), (1, 2), dtype="f16"),
}


@pytest.mark.parametrize("graph", OTHERS.values(), ids=OTHERS)
def test_others_stay(graph: Graph) -> None:
    assert partial(graph) is graph
