"""ai.onnx.ml's classifiers and tree ensembles, compiled, mean what ONNX Runtime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.native import build_executable
from tgen.frontends.onnx import load_onnx
from tgen.ir.errors import InvalidModel, Unsupported

WIDTH, ROWS = 6, 9
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def forest(
    rng: np.random.Generator, what: str, ids: list[int], *, least: float = -1.0, trees: int = 5, depth: int = 4
) -> dict[str, Any]:
    """Attributes of an ensemble of complete trees whose leaves weigh each of `ids`. what: target or class."""
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    whole, number = [n for _ in range(trees) for n in range(nodes)], [t for t in range(trees) for _ in range(nodes)]
    leaf = [n >= inner for n in whole]
    owners = [(t, n) for t, n, is_leaf in zip(number, whole, leaf) if is_leaf for _ in ids]
    return {
        "nodes_treeids": number,
        "nodes_nodeids": whole,
        "nodes_featureids": rng.integers(0, WIDTH, len(whole)).tolist(),
        "nodes_modes": ["LEAF" if is_leaf else str(rng.choice(MODES)) for is_leaf in leaf],
        "nodes_values": np.round(rng.standard_normal(len(whole)) * 2).tolist(),
        "nodes_truenodeids": [0 if is_leaf else 2 * n + 1 for n, is_leaf in zip(whole, leaf)],
        "nodes_falsenodeids": [0 if is_leaf else 2 * n + 2 for n, is_leaf in zip(whole, leaf)],
        "nodes_missing_value_tracks_true": rng.integers(0, 2, len(whole)).tolist(),
        f"{what}_treeids": [t for t, _ in owners],
        f"{what}_nodeids": [n for _, n in owners],
        f"{what}_ids": ids * (len(owners) // len(ids)),
        f"{what}_weights": rng.uniform(least, 1.0, len(owners)).tolist(),
    }


def model_of(op_type: str, attributes: dict[str, Any], outputs: tuple[str, ...]) -> onnx.ModelProto:
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", WIDTH])
    node = helper.make_node(op_type, ["x"], outputs, domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "one", [info], [onnx.ValueInfoProto(name=y) for y in outputs if y])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def check(op_type: str, attributes: dict[str, Any], outputs: tuple[str, ...], rng: np.random.Generator) -> None:
    import onnxruntime

    model = model_of(op_type, attributes, outputs)
    x = np.round(rng.standard_normal((ROWS, WIDTH)) * 2).astype(np.float32)
    if "nodes_values" in attributes:
        x[0, 0], x[1, 1:4] = np.nan, np.nan
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = build_executable(load_onnx(model)).run({"x": x})
    for name, want in zip(outputs, session.run(None, {"x": x}), strict=True):
        assert found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_regressor(aggregate: str, rng: np.random.Generator) -> None:
    options = {"n_targets": 3, "aggregate_function": aggregate, "base_values": [0.5, -1.0, 2.0]}
    check("TreeEnsembleRegressor", {**forest(rng, "target", [0, 1, 2]), **options}, ("y",), rng)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize(
    ("ids", "least", "labels", "base"),
    [([0, 1, 2], 0.0, [7, -3, 11], [0.5, 0.25, -0.5]), ([0], 0.0, [5, 8], []), ([0], -1.0, [5, 8], [0.25])],
    ids=["three classes", "a share", "a score"],
)
def test_classifier(
    ids: list[int], least: float, labels: list[int], base: list[float], transform: str, rng: np.random.Generator
) -> None:
    options = {"classlabels_int64s": labels, "post_transform": transform, **({"base_values": base} if base else {})}
    check("TreeEnsembleClassifier", {**forest(rng, "class", ids, least=least), **options}, ("label", "scores"), rng)


@pytest.mark.peer("onnxruntime")
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_linear_classifier(transform: str, rng: np.random.Generator) -> None:
    numbers = {"coefficients": rng.standard_normal(3 * WIDTH).tolist(), "intercepts": [0.5, -1.0, 0.0]}
    check("LinearClassifier", {**numbers, "classlabels_ints": [4, 2, 9], "post_transform": transform}, ("label", "scores"), rng)


def sets_model(rng: np.random.Generator, *, sets: int | None = None) -> onnx.ModelProto:
    """One tree of depth 2 all of whose nodes ask for membership of sets, of which there may be `sets` instead."""
    members = [np.append(rng.choice(6, rng.integers(1, 5), replace=False), np.nan) for _ in range(3 if sets is None else sets)]

    def tensor(values: Any) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values))

    node = helper.make_node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=2,
        tree_roots=[0],
        nodes_featureids=rng.integers(0, WIDTH, 3).tolist(),
        nodes_modes=tensor(np.full(3, 6, np.uint8)),
        nodes_splits=tensor(np.zeros(3, np.float32)),
        nodes_truenodeids=[1, 0, 2],
        nodes_falsenodeids=[2, 1, 3],
        nodes_trueleafs=[0, 1, 1],
        nodes_falseleafs=[0, 1, 1],
        nodes_missing_value_tracks_true=[0, 1, 0],
        leaf_targetids=[0, 1, 0, 1],
        leaf_weights=tensor(np.array([1, 2, 3, 4], np.float32)),
        membership_values=tensor(np.concatenate([*members, []]).astype(np.float32)),
    )
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", WIDTH])
    graph = helper.make_graph([node], "one", [info], [onnx.ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.mark.peer("onnxruntime")
def test_membership_of_sets(rng: np.random.Generator) -> None:
    import onnxruntime

    model = sets_model(rng)
    x = rng.integers(0, 6, (40, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(build_executable(load_onnx(model)).run({"x": x})["y"], want)


def test_too_few_sets_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidModel, match="2 sets for 3 nodes"):
        load_onnx(sets_model(rng, sets=2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"nodes_featureids": [WIDTH] * 155}, InvalidModel, "no trees"),
        ({"nodes_truenodeids": [0] * 155}, InvalidModel, "no trees"),
        ({"nodes_truenodeids": [99] * 155}, InvalidModel, "no trees"),
        ({"target_ids": [1] * 80}, InvalidModel, "no trees"),
        ({"target_nodeids": [0] * 80}, InvalidModel, "no leaf"),
        ({"base_values": [1.0, 2.0]}, InvalidModel, "2 base values"),
        ({"post_transform": "PROBIT"}, Unsupported, "PROBIT"),
    ],
)
def test_what_is_no_forest_is_refused(
    change: dict[str, Any], error: type[Exception], message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(error, match=message):
        load_onnx(model_of("TreeEnsembleRegressor", {**forest(rng, "target", [0]), "n_targets": 1, **change}, ("y",)))
