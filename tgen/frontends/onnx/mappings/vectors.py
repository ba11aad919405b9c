"""ai.onnx.ml's support vector machines: a kernel of rows and vectors, then products with constant matrices."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ....ir.dtypes import F32, F64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from ..text import Text, chosen
from .learning import ML, class_labels, transformed

NEARLY = 1e-7  # chances of pairs stay as far from 0 and 1


@onnx_op("SVMRegressor", domain=ML)
def svm_regressor(call: Call, x: Value) -> Value:
    """[rows, 1] in float32: kernel · coefficients + rho; of one class: 1 where that is positive, else -1."""
    b, count, coefficients = call.build, int(call.attr("n_supports")), _numbers(call, "coefficients")
    if call.attr("post_transform") != "NONE":
        raise Unsupported(f"post_transform {call.attr('post_transform')!r}")
    inputs = _kernel(call, x, count) if count > 0 else _rows(call, x)
    if coefficients.size != inputs.type.shape[1]:
        raise _unfit(call, f"{coefficients.size} coefficients for {x.type} and {count} vectors")
    score = b.add(b.matmul(inputs, b.constant(coefficients.reshape(-1, 1))), _rho(call, 1))
    if not call.attr("one_class"):
        return score
    sign: Value = b.where(b.greater(score, 0.0), b.constant(1.0, F32), b.constant(-1.0, F32))
    return sign


@onnx_op("SVMClassifier", domain=ML)
def svm_classifier(call: Call, x: Value) -> tuple[Value | Text, Value]:
    """(label, scores): every pair of classes has a score, which is a vote for one of them; the class with most votes is the label.

    Scores are those of pairs (of two classes: of both, opposite), or chances of classes where there is prob_a. Without vectors a class
    has one score, and the greatest counts.
    """
    b, labels = call.build, class_labels(call)
    classes = len(labels)
    per_class = [int(n) for n in call.attr("vectors_per_class") or ()]
    if not sum(per_class):
        return _without_vectors(call, x, labels, classes)
    if classes < 2 or len(per_class) != classes or min(per_class) < 0:
        raise _unfit(call, f"vectors_per_class {per_class} for {classes} classes")
    pairs = list(combinations(range(classes), 2))
    kernel = _kernel(call, x, sum(per_class))
    scores = b.add(b.matmul(kernel, b.constant(_of_pairs(call, per_class, pairs))), _rho(call, len(pairs)))
    first, second = (np.array([[c == pair[side] for c in range(classes)] for pair in pairs], np.float32) for side in (0, 1))
    wins = b.cast(b.greater(scores, 0.0), to=F32)
    votes = b.add(b.matmul(wins, b.constant(first - second)), b.constant(second.sum(axis=0)))
    found = chosen(b, labels, b.arg_max(votes, axis=1, keepdims=False))
    if call.attr("prob_a"):
        return found, transformed(call, _chances(call, scores, classes, pairs))
    return found, transformed(call, b.concat(b.neg(scores), scores, axis=1) if classes == 2 else scores)


def _without_vectors(call: Call, x: Value, labels: np.ndarray, classes: int) -> tuple[Value | Text, Value]:
    b, rows, coefficients = call.build, _rows(call, x), _numbers(call, "coefficients")
    if not classes or coefficients.size != classes * rows.type.shape[1]:
        raise _unfit(call, f"{coefficients.size} coefficients for {x.type} and {classes} classes")
    scores = b.add(b.matmul(rows, b.constant(np.ascontiguousarray(coefficients.reshape(classes, -1).T))), _rho(call, 1))
    return chosen(b, labels, b.arg_max(scores, axis=1, keepdims=False)), transformed(call, scores)


def _of_pairs(call: Call, per_class: list[int], pairs: list[tuple[int, int]]) -> np.ndarray:
    """[vectors, pairs] of coefficients [classes - 1, vectors]: of pair (i, j) those of i in row j - 1 and those of j in row i."""
    count, coefficients = sum(per_class), _numbers(call, "coefficients")
    if coefficients.size != (len(per_class) - 1) * count:
        raise _unfit(call, f"{coefficients.size} coefficients for {count} vectors of {len(per_class)} classes")
    owner = np.repeat(np.arange(len(per_class)), per_class)
    table = coefficients.reshape(-1, count)
    columns = [np.where(owner == i, table[j - 1], np.where(owner == j, table[i], 0)) for i, j in pairs]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _chances(call: Call, scores: Value, classes: int, pairs: list[tuple[int, int]]) -> Value:
    """[rows, classes] of scores of pairs: 1 - sigmoid(a·score + b) is the chance of the first of a pair."""
    b, (slope, shift) = call.build, (_numbers(call, name) for name in ("prob_a", "prob_b"))
    if slope.size != len(pairs) or shift.size != len(pairs):
        raise _unfit(call, f"{slope.size} prob_a, {shift.size} prob_b for {len(pairs)} pairs")
    lost = b.sigmoid(b.add(b.mul(scores, b.constant(slope)), b.constant(shift)))
    chance = b.cast(b.min(b.max(b.sub(1.0, lost), NEARLY), 1 - NEARLY), to=F64)
    both = b.concat(chance, b.sub(1.0, chance), axis=1)
    numbers = {pair: k for k, pair in enumerate(pairs)} | {(j, i): k + len(pairs) for k, (i, j) in enumerate(pairs)}
    places = np.array([numbers.get((i, j), 0) for i in range(classes) for j in range(classes)])
    table = b.reshape(b.gather(both, b.constant(places), axis=1), shape=(scores.type.shape[0], classes, classes))
    out: Value = b.cast(b.coupled_chances(table)[0], to=F32)
    return out


def _kernel(call: Call, x: Value, count: int) -> Value:
    """[rows, vectors]: how near each row is to each vector. kernel_params: gamma, coef0, degree."""
    b, rows, vectors = call.build, _rows(call, x), _numbers(call, "support_vectors")
    if vectors.size != count * rows.type.shape[1]:
        raise _unfit(call, f"{vectors.size} numbers of {count} vectors for {x.type}")
    table = vectors.reshape(count, -1)
    gamma, shift, degree = call.attr("kernel_params") or (0.0, 0.0, 0.0)
    kind = call.attr("kernel_type")
    if kind == "RBF":
        far = b.sub(b.unsqueeze(rows, axes=(1,)), b.constant(table))
        near: Value = b.exp(b.mul(b.reduce_sum(b.mul(far, far), axes=(2,), keepdims=False), -gamma))
        return near
    product = b.matmul(rows, b.constant(np.ascontiguousarray(table.T)))
    if kind == "LINEAR":
        return product
    shifted = b.add(b.mul(product, gamma), shift)
    if kind == "POLY":
        return b.pow(shifted, b.constant(float(int(degree)), F32))
    if kind != "SIGMOID":
        raise _unfit(call, f"kernel_type {kind!r}")
    return b.tanh(shifted)


def _rows(call: Call, x: Value) -> Value:
    """x [rows, features] in float32; a vector is one row."""
    if x.type.rank not in (1, 2) or not isinstance(x.type.shape[-1], int):
        raise Unsupported(f"{x.type}: rows of a known number of features are wanted")
    wide: Value = call.build.cast(x, to=F32)
    return wide if x.type.rank == 2 else call.build.unsqueeze(wide, axes=(0,))


def _rho(call: Call, count: int) -> Value:
    rho = _numbers(call, "rho")
    if rho.size < count:
        raise _unfit(call, f"{rho.size} rho for {count} scores")
    return call.build.constant(rho[:count])


def _numbers(call: Call, name: str) -> np.ndarray:
    return np.array(call.required(name), np.float32)


def _unfit(call: Call, what: str) -> InvalidModel:
    return InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: {what}")
