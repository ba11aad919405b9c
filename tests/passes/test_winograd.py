"""winograd: convolutions with fewer products, which give the same; and those that must stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import feeds
from tests.native import build_executable, runnable_targets
from tgen.frontends import load
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.ir.ops.winograd import POINTS, matrices
from tgen.passes.decompose import decompose
from tgen.passes.winograd import Chooses, chooses_on, steps_of, winograd
from tgen.targets.x86 import AMX, AVX2

RNG = np.random.default_rng(71)
TARGETS = runnable_targets()
OUT = 112  # channels of results
TILES_ERROR = 3e-6  # of 1,440 products, of the greatest result: sums in order are within 1.5e-6, tiles of 4×4 within twice that
MOST_ERROR = 4  # of tiles, where that of sums in order is 1


def _convolution(height: int | str = 9, width: int | str = 14, channels: int = 40, **attributes: Any) -> Graph:
    """A convolution with bias, relu and a sum, of [2, channels, height, width] by weights [OUT, channels / group, kernel]."""
    kernel = attributes.get("kernel_shape", (3, 3))
    inner = channels // attributes.get("group", 1)
    weights = (RNG.standard_normal((OUT, inner, *kernel)) / np.sqrt(inner * 9)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["r", "s"], ["y"]),
    ]
    known = [numpy_helper.from_array(weights, "w")]
    known += [
        numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name) for name, shape in (("b", OUT), ("s", ()))
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [2, channels, height, width]), ("y", None)))
    graph = helper.make_graph(nodes, "convolution", [x], [y], known)
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def _by(steps: tuple[int, int]) -> Chooses:
    return lambda *_: steps


def _is_used(graph: Graph) -> bool:
    return any(node.op.name == "winograd_data" for node in graph.nodes)


def _same(graph: Graph, steps: tuple[int, int]) -> None:
    after = winograd(graph, chooses=_by(steps))
    assert _is_used(after)
    given = feeds(graph)
    (want,), (got,) = (evaluate(g, given).values() for g in (graph, after))
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("size", [(9, 14), (4, 4), (3, 3), (7, 31)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0), (2, 0, 1, 1)])
@pytest.mark.parametrize("steps", [*steps_of((3, 3))])
def test_evaluate_is_unchanged(size: tuple[int, int], pads: tuple[int, ...], steps: tuple[int, int]) -> None:
    _same(decompose(_convolution(*size, pads=pads)), steps)


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (5, 1), (1, 5), (7, 1), (5, 5)], ids=lambda k: f"{k[0]}x{k[1]}")
def test_other_windows(kernel: tuple[int, int]) -> None:
    """All that the pass may choose for them; of 1×7 windows there is but one."""
    steps = list(steps_of(kernel))
    assert steps and all(step * (window > 1) != 1 for each in steps for step, window in zip(each, kernel))
    for each in steps:
        _same(decompose(_convolution(9, 17, kernel_shape=kernel)), each)


@pytest.mark.parametrize("products", [4, 6, 8])
def test_matrices_are_exact(products: int) -> None:
    """They hold dyadic fractions, but for the weights', which are transformed in float64; and polynomials are multiplied exactly."""
    for window in range(1, products + 1):
        m = matrices(products - window + 1, window)
        assert all(np.array_equal(x, x.astype(np.float32)) for x in (m.data, m.results))
        x, g = RNG.integers(-9, 9, products), RNG.integers(-9, 9, window)
        want = [x[i : i + window] @ g for i in range(products - window + 1)]
        np.testing.assert_allclose(m.results @ ((m.weights @ g) * (m.data @ x)), want, rtol=0, atol=1e-9)
    assert len(POINTS[products]) == products - 1


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (5, 1), (1, 3)], ids=lambda k: f"{k[0]}x{k[1]}")
def test_rounding_errors(kernel: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of compiled code, root mean square, against those of sums over the windows, in float32 as well: see `POINTS`."""
    graph = _convolution(25, 25, 96, kernel_shape=kernel)
    given = feeds(graph)
    (want,) = evaluate(graph, given).values()
    errors = []
    for steps in (None, *steps_of(kernel)):
        monkeypatch.setattr("tgen.passes.pipeline.chooses_on", lambda *_, steps=steps: lambda *_: steps)
        (got,) = build_executable(graph).run(given).values()
        errors.append(np.sqrt(np.mean((got.astype(np.float64) - want) ** 2)))
    assert max(errors) < MOST_ERROR * errors[0] and len({*errors}) == len(errors)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": (2, 2)}, {"dilations": (2, 2)}, {"kernel_shape": (1, 1)}, {"kernel_shape": (9, 1)}, {"group": 4},
    ],
    ids=lambda a: next(iter(a)),
)  # fmt: skip
def test_others_stay(attributes: dict[str, Any]) -> None:
    graph = decompose(_convolution(**attributes))
    assert winograd(graph, chooses=lambda x, weights, windows, sizes: next(steps_of(windows), None)) is graph


def test_only_where_the_target_gains() -> None:
    """Few products are not worth the transforms; where bfloat16 parts are multiplied, there is nothing to gain."""
    many, few = (decompose(_convolution(28, 28, channels)) for channels in (256, 2))
    assert _is_used(winograd(many, chooses=chooses_on(AVX2, "highest")))
    assert not _is_used(winograd(few, chooses=chooses_on(AVX2, "highest")))
    assert not _is_used(winograd(many, chooses=chooses_on(AMX, "medium")))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_compiled(target: Any) -> None:
    """Of symbolic size, odd and even, against the windows' products in float64."""
    graph = _convolution("height", "width", 160, pads=(1, 1, 1, 1))
    assert target.name.startswith("amx") or _is_used(winograd(decompose(graph), chooses=chooses_on(target, "highest")))
    compiled = build_executable(graph, target)
    for height, width in ((12, 12), (7, 17)):
        given = feeds(graph, height=height, width=width)
        (want,) = evaluate(graph, given).values()
        (got,) = compiled.run(given).values()
        np.testing.assert_allclose(got, want, rtol=0, atol=TILES_ERROR * np.abs(want).max())
