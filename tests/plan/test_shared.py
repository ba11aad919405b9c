"""Layers that differ in their sizes only share the code of their kernels."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.native import build_executable, host, runnable_targets
from tgen.codegen.program import emit_program
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.plan.build import build
from tgen.targets.target import Target

SIZES = ((20, 96), (49, 16), (7, 33), (130, 17), (16, 600), (33, 40))


def layers(sizes: tuple[tuple[int, int], ...]) -> Graph:
    """relu(x·scale + scale) over rows of so many columns, for each of the sizes."""
    b, rng = Builder("layers"), np.random.default_rng(3)
    for k, (rows, columns) in enumerate(sizes):
        x, scale = b.input(f"x{k}", "f32", (rows, columns)), b.constant(rng.standard_normal(columns).astype(np.float32))
        b.output(f"y{k}", b.relu(b.add(b.mul(x, scale), scale)))
    return b.build()


def long_functions(graph: Graph, target: Target) -> int:
    """Functions of loop kernels that have a loop: those that are but a call have none."""
    plan = build(run_pipeline(graph, pipeline(target, "highest")))
    bodies = re.findall(r"^define [^\n]*@\"?(?:kernel|loops)\.[^\n]*\n(.*?)^}", emit_program(plan, target), flags=re.M | re.S)
    return sum("br i1" in body for body in bodies)


def test_sizes_alone_make_no_more_code() -> None:
    target = host()
    wide = tuple(size for size in SIZES if min(size) >= 16)
    assert long_functions(layers(wide), target) == long_functions(layers(wide[:2]), target) == 1
    assert long_functions(layers(SIZES), target) == 2  # small numbers stay in the code


@pytest.mark.parametrize("target", runnable_targets().values(), ids=runnable_targets())
def test_results(target: Target) -> None:
    graph, rng = layers(SIZES), np.random.default_rng(4)
    feeds = {name: rng.standard_normal(type_.shape).astype(np.float32) for name, type_ in graph.input_types.items()}
    got, wanted = build_executable(graph, target).run(feeds), evaluate(graph, feeds)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-6, atol=1e-6)
