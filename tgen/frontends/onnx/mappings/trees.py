"""ai.onnx.ml's ensembles of decision trees, as tables for `ir.ops.trees.TreeEnsemble`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from ....ir.dtypes import F32, F64, I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.ops.trees import AGGREGATES, MODES, TRACKS_NAN
from ....ir.ops.trees import TreeEnsemble as Ensemble
from ..call import Call
from ..registry import onnx_op
from ..text import Text, chosen
from .learning import ML, class_labels, transformed

MEMBER = len(MODES)  # a node that asks whether x is one of a set


class Forest(NamedTuple):
    """The tables, in the order of the operator's operands; see there."""

    features: np.ndarray
    modes: np.ndarray
    jumps: np.ndarray
    thresholds: np.ndarray
    roots: np.ndarray
    spans: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@onnx_op("TreeEnsembleRegressor", domain=ML)
def regressor(call: Call, x: Value) -> Value:
    """post_transform(base + aggregate of the trees): [rows, targets] in float32"""
    count = int(call.required("n_targets"))
    out = call.build.cast(_ensemble(call, x, _by_node(call, "target"), count, call.attr("aggregate_function")), to=F32)
    base = _numbers(call, "base_values").astype(np.float32)
    if base.size not in (0, count):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: {base.size} base values, {count} targets")
    return transformed(call, call.build.add(out, call.build.constant(base)) if base.size else out)


@onnx_op("TreeEnsembleClassifier", domain=ML)
def classifier(call: Call, x: Value) -> tuple[Value | Text, Value]:
    """(label of the greatest score, scores). Of two classes where leaves tell but one score, it is that of the second class."""
    b, labels = call.build, class_labels(call)
    count = len(labels)
    forest, base = _by_node(call, "class"), _numbers(call, "base_values").astype(np.float32)
    single = count == 2 and not forest.targets.any()
    if base.size not in (0, 1 if single else count) or (count == 2 and not single and base.size):
        raise Unsupported(f"{base.size} base values for {count} classes")
    scores = b.cast(_ensemble(call, x, forest, 1 if single else count, "SUM"), to=F32)
    scores = b.add(scores, b.constant(base)) if base.size else scores
    if not single:
        return chosen(b, labels, b.arg_max(scores, axis=1, keepdims=False)), transformed(call, scores)
    shares = bool((forest.weights >= 0).all())  # then scores are parts of 1
    best = b.reshape(b.greater(scores, 0.5 if shares else 0.0), shape=x.type.shape[:1])
    opposite = b.neg(scores)
    if call.attr("post_transform") == "LOGISTIC":
        pair = b.concat(b.sigmoid(opposite), b.sigmoid(scores), axis=1)
    else:
        pair = b.concat(b.add(opposite, 1.0) if shares else opposite, scores, axis=1)
    return chosen(b, labels, b.cast(best, to=I64)), pair


@onnx_op("TreeEnsemble", domain=ML, since=5)
def ensemble(call: Call, x: Value) -> Value:
    """post_transform(aggregate of the trees) in x's dtype"""
    modes = _numbers(call, "nodes_modes").astype(np.int32)
    if call.attr("aggregate_function", 1) not in (0, 1, 2, 3) or not _within(modes, MEMBER + 1):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: aggregate_function or nodes_modes")
    ways = [
        np.where(_whole(call, f"nodes_{side}leafs") != 0, -1 - nodes, nodes)
        for side in ("true", "false")
        for nodes in [_whole(call, f"nodes_{side}nodeids")]
    ]
    targets = _whole(call, "leaf_targetids")
    forest = Forest(
        _whole(call, "nodes_featureids"),
        _tracking(call, modes),
        np.stack(ways, axis=1),
        _numbers(call, "nodes_splits"),
        _whole(call, "tree_roots"),
        np.arange(len(targets) + 1, dtype=np.int32),
        targets,
        _numbers(call, "leaf_weights"),
    )
    kind = ("AVERAGE", "SUM", "MIN", "MAX")[call.attr("aggregate_function", 1)]
    return transformed(call, _ensemble(call, x, forest, int(call.required("n_targets")), kind, _sets(call, modes)))


def _sets(call: Call, modes: np.ndarray) -> list[np.ndarray]:
    """The members of each node's set, in the order of the nodes that ask for one; in the attribute a NaN stands behind each set."""
    listed = _numbers(call, "membership_values")
    ends, wanted = np.flatnonzero(np.isnan(listed)), int((modes == MEMBER).sum())
    if len(ends) != wanted or (len(listed) and not np.isnan(listed[-1])):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: {len(ends)} sets for {wanted} nodes")
    return [part[~np.isnan(part)] for part in np.split(listed, ends + 1)[:wanted]]


def _asked_one_by_one(forest: Forest, sets: list[np.ndarray]) -> Forest:
    """The forest with nodes that compare with one member after the other in the place of those that ask for a set.

    All of them lead to the same node if they hold; if not, each leads to the next.
    """
    asking = np.flatnonzero(forest.modes % TRACKS_NAN == MEMBER)
    more = [max(len(members) - 1, 0) for members in sets]
    source = np.concatenate([np.arange(len(forest.modes)), np.repeat(asking, more)])
    modes, jumps, thresholds = forest.modes[source], forest.jumps[source], forest.thresholds[source]
    behind = len(forest.modes)
    for node, members, count in zip(asking, sets, more):
        chain = np.array([node, *range(behind, behind + count)])
        modes[chain] += MODES.index("BRANCH_EQ") - MEMBER
        thresholds[chain] = members if len(members) else np.nan  # which nothing equals
        jumps[chain[:-1], 1] = chain[1:]
        behind += count
    return forest._replace(features=forest.features[source], modes=modes, jumps=jumps, thresholds=thresholds)


def _ensemble(call: Call, x: Value, forest: Forest, count: int, aggregate: str, sets: Any = ()) -> Value:
    """The operator over these tables. Raises InvalidModel unless all positions in them are in range and every walk ends."""
    width, nodes, leaves = x.type.shape[-1], len(forest.features), len(forest.spans) - 1
    if not isinstance(width, int):
        raise Unsupported("features whose number is not known")
    entered = np.concatenate([forest.jumps.reshape(-1), forest.roots])
    sound = (
        _within(forest.features, width)
        and _within(forest.targets, count)
        and len(forest.targets) == len(forest.weights) == forest.spans[-1]
        and len(forest.modes) == len(forest.thresholds) == len(forest.jumps) == nodes
        and (entered >= -leaves).all()
        and (entered < nodes).all()
        and (np.bincount(entered[entered >= 0], minlength=1) <= 1).all()
        and aggregate in AGGREGATES
    )
    if not sound:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: its tables are no trees over {width} features")
    b, dtype = call.build, F64 if x.type.dtype is F64 else F32
    forest = _asked_one_by_one(forest, sets) if sets else forest
    typed = forest._replace(thresholds=forest.thresholds.astype(dtype.numpy), weights=forest.weights.astype(dtype.numpy))
    tables = [b.constant(np.ascontiguousarray(t)) for t in typed]
    found: Value = b.apply(Ensemble(count, aggregate), b.cast(x, to=dtype), *tables)
    return found


def _by_node(call: Call, what: str) -> Forest:
    """From the attributes of versions 1 to 3: nodes by (tree, node), and weights of what ("target" or "class") of their leaves."""
    keys = list(zip(_whole(call, "nodes_treeids").tolist(), _whole(call, "nodes_nodeids").tolist()))
    modes = call.required("nodes_modes")
    is_leaf = np.array([mode == "LEAF" for mode in modes], bool)
    inner = ~is_leaf
    numbers = np.where(is_leaf, -np.cumsum(is_leaf), np.cumsum(inner) - 1)
    try:
        places = dict(zip(keys, numbers.tolist(), strict=True))
        kinds = np.array([MODES.index(mode) for mode in modes if mode != "LEAF"], np.int32)
        ways = [_whole(call, f"nodes_{side}nodeids").tolist() for side in ("true", "false")]
        jumps = [[places[key[0], way[k]] for way in ways] for k, key in enumerate(keys) if inner[k]]
        leaves = zip(_whole(call, f"{what}_treeids").tolist(), _whole(call, f"{what}_nodeids").tolist())
        owners = np.array([-1 - places[key] for key in leaves], np.int64)
    except (KeyError, ValueError, IndexError) as error:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: its nodes are no trees: {error}") from error
    if (owners < 0).any():
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: a weight of a node that is no leaf")
    order, ends = np.argsort(owners, kind="stable"), np.cumsum(np.bincount(owners, minlength=int(is_leaf.sum())))
    below = {number for pair in jumps for number in pair}
    return Forest(
        _whole(call, "nodes_featureids")[inner],
        _tracking(call, kinds, inner),
        np.array(jumps, np.int32).reshape(-1, 2),
        _numbers(call, "nodes_values")[inner],
        np.array([number for number in places.values() if number not in below], np.int32),
        np.concatenate([[0], ends]).astype(np.int32),
        _whole(call, f"{what}_ids")[order],
        _numbers(call, f"{what}_weights")[order],
    )


def _tracking(call: Call, modes: np.ndarray, chosen: Any = slice(None)) -> np.ndarray:
    tracks = call.attr("nodes_missing_value_tracks_true")
    return modes if not tracks else (modes + TRACKS_NAN * (np.array(tracks)[chosen] != 0)).astype(np.int32)


def _numbers(call: Call, name: str) -> np.ndarray:
    """A list of numbers, or a tensor in its place; empty where there is neither."""
    value = call.attr(f"{name}_as_tensor")
    value = call.attr(name, []) if value is None else value
    return call.array(call.tensor(value)).reshape(-1) if isinstance(value, TensorProto) else np.array(value, np.float32)


def _whole(call: Call, name: str) -> np.ndarray:
    return np.array(call.required(name), np.int64).clip(-(2**31), 2**31 - 1).astype(np.int32)


def _within(positions: np.ndarray, count: int) -> bool:
    return bool(((positions >= 0) & (positions < count)).all())
