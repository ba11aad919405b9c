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
from tgen.passes.decompose import decompose
from tgen.passes.winograd import gains_on, winograd
from tgen.targets.x86 import AMX, AVX2

RNG = np.random.default_rng(71)
TARGETS = runnable_targets()
OUT = 112  # channels of results


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


def _always(*_: object) -> bool:
    return True


def _is_used(graph: Graph) -> bool:
    return any(node.op.name == "winograd_data" for node in graph.nodes)


@pytest.mark.parametrize("size", [(9, 14), (4, 4), (3, 3), (7, 31)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0), (2, 0, 1, 1)])
def test_evaluate_is_unchanged(size: tuple[int, int], pads: tuple[int, ...]) -> None:
    graph = decompose(_convolution(*size, pads=pads))
    after = winograd(graph, gains=_always)
    assert _is_used(after)
    given = feeds(graph)
    (want,), (got,) = (evaluate(g, given).values() for g in (graph, after))
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": (2, 2)}, {"dilations": (2, 2)}, {"kernel_shape": (3, 1)}, {"kernel_shape": (5, 5)}, {"group": 4},
    ],
    ids=lambda a: next(iter(a)),
)  # fmt: skip
def test_others_stay(attributes: dict[str, Any]) -> None:
    graph = decompose(_convolution(**attributes))
    assert winograd(graph, gains=_always) is graph


def test_only_where_the_target_gains() -> None:
    """Few products are not worth the transforms; where bfloat16 parts are multiplied, there is nothing to gain."""
    many, few = (decompose(_convolution(28, 28, channels)) for channels in (256, 2))
    assert _is_used(winograd(many, gains=gains_on(AVX2, "highest")))
    assert not _is_used(winograd(few, gains=gains_on(AVX2, "highest")))
    assert not _is_used(winograd(many, gains=gains_on(AMX, "medium")))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_compiled(target: Any) -> None:
    """Of symbolic size, odd and even, against the windows' products in float64."""
    graph = _convolution("height", "width", 160, pads=(1, 1, 1, 1))
    assert target.name.startswith("amx") or _is_used(winograd(decompose(graph), gains=gains_on(target, "highest")))
    compiled = build_executable(graph, target)
    for height, width in ((12, 12), (7, 17)):
        given = feeds(graph, height=height, width=width)
        (want,) = evaluate(graph, given).values()
        (got,) = compiled.run(given).values()
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())
