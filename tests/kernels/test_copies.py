"""Copies whose loads and stores run along different axes: turned in registers, in words, with every tail, inside their buffers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import Guarded, build_executable, host, runnable_targets
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.kernels.specs import LoopKernel

TARGETS = runnable_targets()
SHAPES: list[tuple[tuple[int | str, ...], tuple[int, ...]]] = [
    ((64, 16), (1, 0)),
    (("n", 16), (1, 0)),
    (("n", 40), (1, 0)),
    ((16, "n"), (1, 0)),
    ((3, "n", 8), (0, 2, 1)),
    ((2, "n"), (1, 0)),
    ((3, 2, 40), (0, 2, 1)),
    ((5, 7), (1, 0)),
    (("n", 24, 3), (1, 2, 0)),
    ((2, "n", 6, 2), (0, 2, 1, 3)),
    ((16, "n", 2), (1, 0, 2)),
    ((8, 3, "n", 4), (2, 1, 0, 3)),
]


def transpose(dtype: str, shape: tuple[int | str, ...], perm: tuple[int, ...]) -> Graph:
    b = Builder()
    b.output("y", b.transpose(b.input("x", dtype, shape), perm=perm))
    return b.build()


def kernel(graph: Graph) -> LoopKernel:
    (found,) = compile_graph(graph, host(), "highest").plan.kernels
    assert isinstance(found, LoopKernel)
    return found


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "bf16", "i8", "f64", "bool"])
def test_transposes(target, dtype, rng) -> None:
    for shape, perm in SHAPES:
        executable = build_executable(transpose(dtype, shape, perm), target)
        for n in (1, 7, 8, 37, 530):
            extents = [n if d == "n" else d for d in shape]
            x = rng.integers(0, 2 if dtype == "bool" else 100, extents).astype(executable.inputs[0].dtype)
            for after in (True, False):
                guard = Guarded(x, after)
                np.testing.assert_array_equal(executable(guard.array)[0], x.transpose(perm), err_msg=f"{shape} {perm} n={n}")
                guard.release()


def test_groups_of_four_bytes_that_are_chosen_one_by_one(rng: np.random.Generator) -> None:
    """They are no words: what is looked up, or asked for, differs from byte to byte."""
    b = Builder()
    x, mask, lengths = b.input("x", "i8", ("n", 4)), b.input("mask", "bool", ("n", 4)), b.input("lengths", "i64", (4,))
    b.output("chosen", b.where(mask, x, b.constant(0, "i8")))
    b.output("turned", b.reverse_sequence(x, lengths, time_axis=0, batch_axis=1))
    graph = b.build()
    given = {
        "x": rng.integers(-100, 100, (6, 4)).astype(np.int8),
        "mask": rng.random((6, 4)) < 0.5,
        "lengths": rng.permutation(4) + 2,
    }
    found = build_executable(graph).run(given)
    for name, want in evaluate(graph, given).items():
        np.testing.assert_array_equal(found[name], want, err_msg=name)


def test_which_copies_are_turned() -> None:
    assert kernel(transpose("f32", ("n", 16), (1, 0))).across
    assert kernel(transpose("f32", (16, "n"), (1, 0))).across
    assert kernel(transpose("f32", (2, "n"), (1, 0))).across, "pairs are interleaved"
    assert not kernel(transpose("f32", (3, "n"), (1, 0))).across


def test_groups_of_narrow_elements_are_words() -> None:
    for dtype, group in (("bf16", 2), ("i8", 4), ("f16", 2)):
        found = kernel(transpose(dtype, (16, "n", group), (1, 0, 2)))
        assert [str(d) for d in (*found.inputs, *found.outputs)] == ["u32", "u32"] and found.across
    assert str(kernel(transpose("bf16", (16, "n", 3), (1, 0, 2))).inputs[0]) == "bf16", "three are no word"
    assert str(kernel(transpose("bool", (16, "n", 4), (1, 0, 2))).inputs[0]) == "bool", "bytes that need not be 0 or 1"


def test_words_of_a_part_of_a_buffer(rng) -> None:
    """Where the copy begins is counted in elements, not in words."""
    b = Builder()
    for k, part in enumerate(b.split(b.input("x", "u8", (7,)), axis=0, sizes=(3, 4))):
        b.output(f"y{k}", part)
    x = rng.integers(0, 256, 7).astype(np.uint8)
    first, rest = build_executable(b.build())(x)
    assert first.tolist() == x[:3].tolist() and rest.tolist() == x[3:].tolist()
