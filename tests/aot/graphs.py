"""The graph that the tests of libraries run, and input for it."""

from __future__ import annotations

import numpy as np

from tgen.ir.builder import Builder
from tgen.ir.graph import Graph


def small_graph(seed: int = 0, width: int = 8) -> Graph:
    """y[batch, 4] = relu(x·w + b) with x[batch, width], twice[batch, batch] = x·xᵀ·2, row[batch, 4] = table[ids[batch]]."""
    random = np.random.default_rng(seed)
    b = Builder("small")
    x = b.input("x", "f32", ("batch", width))
    ids = b.input("ids", "i64", ("batch",))
    w = b.constant(random.standard_normal((width, 4)).astype(np.float32))
    bias = b.constant(random.standard_normal(4).astype(np.float32))
    table = b.constant(random.standard_normal((6, 4)).astype(np.float32))
    product = b.matmul(x, w)
    b.output("y", b.relu(b.add(product, bias)))
    b.output("twice", b.mul(b.matmul(x, b.transpose(x, perm=(1, 0))), b.constant(np.float32(2))))
    b.output("row", b.gather(table, ids, axis=0))
    return b.build()


def feeds(batch: int, width: int = 8, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"x": random.standard_normal((batch, width)).astype(np.float32), "ids": random.integers(0, 6, batch)}
