"""Layers that differ in their sizes only share the code of their kernels."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.native import build_executable, host, runnable_targets
from tgen.codegen.program import emit_program
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.kernels.specs import ContractKernel
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
    bodies = re.findall(r"^define [^\n]*@\"?(?:kernel|common)\.[^\n]*\n(.*?)^}", emit_program(plan, target), flags=re.M | re.S)
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


def symbolic_layers(count: int) -> Graph:
    """relu(x·scale + scale) over [n, h, columns] for several columns, and halves of h: sizes that are expressions of symbols."""
    b, n, h = Builder("symbolic"), symbol("n"), symbol("h")
    for k in range(count):
        x, scale = b.input(f"x{k}", "f32", (n, h, 32 + 16 * k)), b.input(f"s{k}", "f32", (n, 1, 32 + 16 * k))
        half = b.slice(x, axes=(1,), starts=(0,), sizes=(h // (k + 2),), steps=(1,))
        b.output(f"y{k}", b.transpose(b.relu(b.add(b.mul(half, scale), scale)), perm=(1, 0, 2)))
    return b.build()


def test_symbolic_sizes_make_no_more_code() -> None:
    target = host()
    assert long_functions(symbolic_layers(5), target) == long_functions(symbolic_layers(2), target)
    graph, rng = symbolic_layers(5), np.random.default_rng(5)
    executable = build_executable(graph, target)
    for n, h in ((1, 9), (3, 17), (2, 1)):
        shapes = {f"{name}{k}": (n, extent, 32 + 16 * k) for name, extent in (("x", h), ("s", 1)) for k in range(5)}
        feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        got, wanted = executable.run(feeds), evaluate(graph, feeds)
        for name, array in wanted.items():
            np.testing.assert_allclose(got[name], array, rtol=1e-6, atol=1e-6)


def products(depths: tuple[int, ...]) -> Graph:
    """relu(x·w + b) of [rows, depth] by [depth, 40] for each of the depths, which also lie at several distances from row to row."""
    b, rng = Builder("products"), np.random.default_rng(6)
    for k, depth in enumerate(depths):
        x = b.input(f"x{k}", "f32", (20, depth + 16))
        part = b.slice(x, axes=(1,), starts=(16,), sizes=(depth,), steps=(1,))
        weights, bias = (b.constant(rng.standard_normal(shape).astype(np.float32)) for shape in ((depth, 40), (40,)))
        b.output(f"y{k}", b.relu(b.add(b.matmul(part, weights), bias)))
    return b.build()


@pytest.mark.parametrize("target", runnable_targets().values(), ids=runnable_targets())
def test_products_of_several_depths_share_code(target: Target) -> None:
    """One function for all that multiply by blocks of one shape."""
    depths = (64, 96, 128, 160, 700)
    kernels = build(run_pipeline(products(depths), pipeline(target))).kernels
    blocks = {(k.tile, k.block) for k in kernels if isinstance(k, ContractKernel)}
    assert len(kernels) == len(depths) > long_functions(products(depths), target) == len(blocks) <= 2
    graph, rng = products(depths), np.random.default_rng(7)
    feeds = {name: rng.standard_normal(type_.shape).astype(np.float32) for name, type_ in graph.input_types.items()}
    got, wanted = build_executable(graph, target).run(feeds), evaluate(graph, feeds)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-4)
