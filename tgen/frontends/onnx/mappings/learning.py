"""ai.onnx.ml: what scikit-learn's scalers and linear models are exported as."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import F32, I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from ..text import Text, chosen, places_among

ML = "ai.onnx.ml"
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")  # by number, where an operator names them so
DEFAULTS = {"i": np.int64(-1), "f": np.float32(-0.0), "O": "_Unused"}  # of a LabelEncoder, by kind of dtype
ALMOST_ZERO = 1e-7  # what ONNX Runtime takes for a score of 0


@onnx_op("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(call: Call, x: Value, places: Value) -> Value:
    """The columns at these places; a vector counts as one row."""
    b = call.build
    rows = b.unsqueeze(x, axes=(0,)) if x.type.rank == 1 else x
    taken: Value = b.gather(rows, b.reshape(places, shape=(places.type.elements,)), axis=-1)
    return taken


@onnx_op("Binarizer", domain=ML)
def binarizer(call: Call, x: Value) -> Value:
    """1 above the threshold, else 0"""
    b = call.build
    above: Value = b.cast(b.greater(x, b.constant(call.attr("threshold"), x.type.dtype)), to=x.type.dtype)
    return above


@onnx_op("Scaler", domain=ML)
def scaler(call: Call, x: Value) -> Value:
    """(x - offset)·scale in float32; one number for all columns, or one for each"""
    b = call.build
    offset, scale = (
        b.constant(_columns(call, x, call.attr(name, [fill])), F32) for name, fill in (("offset", 0.0), ("scale", 1.0))
    )
    scaled: Value = b.mul(b.sub(b.cast(x, to=F32), offset), scale)
    return scaled


@onnx_op("Normalizer", domain=ML)
def normalizer(call: Call, x: Value) -> Value:
    """x / ‖x‖ along the last axis, in float32; a row of zeros stays. norm: MAX (of magnitudes), L1, L2."""
    b, wide = call.build, call.build.cast(x, to=F32)
    reductions = {"MAX": lambda: b.reduce_max(b.abs(wide), axes=(-1,)), "L1": lambda: b.reduce_l1(wide, axes=(-1,))}
    length = reductions.get(call.attr("norm"), lambda: b.reduce_l2(wide, axes=(-1,)))()
    normal: Value = b.where(b.equal(length, 0.0), wide, b.div(wide, length))
    return normal


@onnx_op("ZipMap", domain=ML)
def zip_map(call: Call, x: Value) -> Value:
    """The scores as they are: a row for each map of the sequence, a column for each key, in the order of the attribute."""
    keys = call.attr("classlabels_int64s", []) or call.attr("classlabels_strings", [])
    rows: Value = call.build.unsqueeze(x, axes=(0,)) if x.type.rank == 1 else x
    if not keys or rows.type.rank != 2 or rows.type.shape[1] != len(keys):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} of {x.type}: {len(keys)} keys")
    return rows


@onnx_op("Imputer", domain=ML)
def imputer(call: Call, x: Value) -> Value:
    """The value that stands for "missing" (NaN, say) is replaced: by one number for all columns, or one for each."""
    b, kind = call.build, "float" if x.type.dtype.is_float else "int64"
    missing = call.attr(f"replaced_value_{kind}", 0)
    values = b.constant(_columns(call, x, call.required(f"imputed_value_{kind}s")), x.type.dtype)
    is_missing = b.is_nan(x) if np.isnan(missing) else b.equal(x, b.constant(missing, x.type.dtype))
    whole: Value = b.where(is_missing, values, x)
    return whole


@onnx_op("LinearRegressor", domain=ML)
def linear_regressor(call: Call, x: Value) -> Value:
    """x [n, features] · coefficients [targets, features]ᵀ + intercepts, in float32"""
    b, targets = call.build, call.attr("targets")
    coefficients, features = np.array(call.required("coefficients"), np.float32), x.type.shape[-1]
    if x.type.rank != 2 or targets < 1 or coefficients.size != targets * features:
        raise InvalidModel(f"{_named(call)}: {coefficients.size} coefficients for {x.type} and {targets} targets")
    out: Value = b.matmul(b.cast(x, to=F32), b.constant(np.ascontiguousarray(coefficients.reshape(targets, -1).T)))
    intercepts = call.attr("intercepts")
    return transformed(call, b.add(out, b.constant(np.array(intercepts, np.float32))) if intercepts else out)


@onnx_op("LinearClassifier", domain=ML)
def linear_classifier(call: Call, x: Value) -> tuple[Value | Text, Value]:
    """(label of the greatest score, scores); scores: x · coefficients [classes, features]ᵀ + intercepts, in float32

    One row of coefficients for two classes: the score of the second; the first has the opposite one, or what is left to 1.
    """
    b, width, named = call.build, x.type.shape[-1], class_labels(call)
    coefficients = np.array(call.required("coefficients"), np.float32)
    classes = len(named)
    if x.type.rank != 2 or not isinstance(width, int) or not width or coefficients.size not in (width, classes * width):
        raise InvalidModel(f"{_named(call)}: {coefficients.size} coefficients for {x.type} and {classes} classes")
    scores = b.matmul(b.cast(x, to=F32), b.constant(np.ascontiguousarray(coefficients.reshape(-1, width).T)))
    if call.attr("intercepts"):
        scores = b.add(scores, b.constant(np.array(call.attr("intercepts"), np.float32)))
    if scores.type.shape[1] == classes:
        return chosen(b, named, b.arg_max(scores, axis=1, keepdims=False)), transformed(call, scores)
    if classes != 2 or call.attr("post_transform") not in ("NONE", "LOGISTIC"):
        raise Unsupported(f"one score for {classes} classes with post_transform {call.attr('post_transform')!r}")
    best = b.cast(b.reshape(b.greater(scores, 0.0), shape=x.type.shape[:1]), to=I64)
    return chosen(b, named, best), transformed(call, b.concat(b.neg(scores), scores, axis=1))


def class_labels(call: Call) -> np.ndarray:
    """The names of the classes, i64 or str: a vector, empty where the node has none."""
    if words := call.attr("classlabels_strings"):
        return np.array(words, object)
    return np.array(call.attr("classlabels_ints") or call.attr("classlabels_int64s") or (), np.int64)


def transformed(call: Call, scores: Value) -> Value:
    """Scores [rows, classes] by the attribute post_transform. Raises Unsupported for PROBIT."""
    b, kind = call.build, call.attr("post_transform", "NONE")
    kind = kind if isinstance(kind, str) else TRANSFORMS[kind]
    if kind == "NONE":
        return scores
    if kind == "LOGISTIC":
        return b.sigmoid(scores)
    if kind == "SOFTMAX":
        return b.softmax(scores, axis=-1)
    if kind != "SOFTMAX_ZERO":
        raise Unsupported(f"post_transform {kind!r}")
    weights = b.exp(b.sub(scores, b.reduce_max(scores, axes=(-1,))))
    kept = b.where(b.greater(b.abs(scores), ALMOST_ZERO), weights, 0.0)
    return b.div(kept, b.reduce_sum(kept, axes=(-1,)))


@onnx_op("FeatureVectorizer", domain=ML)
def feature_vectorizer(call: Call, *xs: Value) -> Value:
    """Matrices beside each other, in float32; a vector is a column."""
    b = call.build
    columns = [b.cast(b.unsqueeze(x, axes=(1,)) if x.type.rank == 1 else x, to=F32) for x in xs]
    joined: Value = b.concat(*columns, axis=1)
    return joined


@onnx_op("LabelEncoder", domain=ML, since=2)
@onnx_op("LabelEncoder", domain=ML, since=2, over=Text)
def label_encoder(call: Call, x: Value | Text) -> Value | Text:
    """The value of the key that x equals, else the default."""
    keys, values, default = (_table(call, name) for name in ("keys", "values", "default"))
    if keys is None or values is None or not len(keys) == len(values) > 0 or _is_text(keys) != isinstance(x, Text):
        raise InvalidModel(f"{_named(call)}: as many keys as values are wanted, and of x's type, {x.type}")
    fill = default if default is not None else np.array([DEFAULTS[values.dtype.kind]])
    if _is_text(fill) != _is_text(values) or fill.size != 1:
        raise InvalidModel(f"{_named(call)}: the default is no such value")
    table = np.concatenate([values, fill.reshape(1).astype(values.dtype)])  # the last entry is that of place -1
    return chosen(call.build, table, _key_places(call, x, keys))


def _key_places(call: Call, x: Value | Text, keys: np.ndarray) -> Value:
    """i64: the place of the key that x equals, the last one of equal ones; -1 where there is none."""
    b = call.build
    if isinstance(x, Text):
        return places_among(b, x, keys.tolist())
    numbers = np.arange(len(keys))
    same = b.equal(b.unsqueeze(x, axes=(-1,)), b.constant(keys.astype(x.type.dtype.numpy)))
    at = b.reduce_max(b.where(same, b.constant(numbers), -1), axes=(-1,), keepdims=False)
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        at = b.where(b.is_nan(x), b.constant(int(numbers[np.isnan(keys)].max())), at)
    return at


@onnx_op("CategoryMapper", domain=ML)
@onnx_op("CategoryMapper", domain=ML, over=Text)
def category_mapper(call: Call, x: Value | Text) -> Value | Text:
    """Words to their numbers, or numbers to their words; what is in neither list to a default."""
    numbers, words = np.array(call.required("cats_int64s"), np.int64), np.array(call.required("cats_strings"), object)
    if len(numbers) != len(words) or not len(words):
        raise InvalidModel(f"{_named(call)}: {len(numbers)} numbers for {len(words)} words")
    if isinstance(x, Text):
        table = np.append(numbers, np.int64(call.attr("default_int64")))
        return chosen(call.build, table, _key_places(call, x, words))
    return chosen(call.build, np.append(words, call.attr("default_string")), _key_places(call, x, numbers))


@onnx_op("OneHotEncoder", domain=ML)
@onnx_op("OneHotEncoder", domain=ML, over=Text)
def one_hot_encoder(call: Call, x: Value | Text) -> Value:
    """[…, categories] in float32: 1 where x, a word or cut to a whole number, is that category.

    Raises Unsupported if others are an error.
    """
    b, numbers, words = call.build, call.attr("cats_int64s") or (), call.attr("cats_strings") or ()
    if not call.attr("zeros"):
        raise Unsupported("zeros = 0: a run that fails for a number that is no category")
    categories = np.array(words, object) if isinstance(x, Text) else np.array(numbers, np.int64)
    if not categories.size:
        raise InvalidModel(f"{_named(call)}: no categories of x's type, {x.type}")
    if isinstance(x, Text):
        at, categories = places_among(b, x, words), np.arange(len(words))
    else:
        at = b.cast(x, to=I64)
    hot: Value = b.cast(b.equal(b.unsqueeze(at, axes=(-1,)), b.constant(categories)), to=F32)
    return hot


def _table(call: Call, what: str) -> np.ndarray | None:
    """The attribute that holds keys, values or the default, whatever its type is called; text has the dtype object."""
    end = "" if what == "default" else "s"
    if f"{what}_tensor" in call.given:
        return call.importer.array(call.attr(f"{what}_tensor"), _named(call)).reshape(-1)
    for kind, dtype in (("int64", np.int64), ("float", np.float32), ("string", object)):
        if f"{what}_{kind}{end}" in call.given:
            return np.array(call.attr(f"{what}_{kind}{end}"), dtype).reshape(-1)
    return None


def _is_text(array: np.ndarray) -> bool:
    return array.dtype == object


def _columns(call: Call, x: Value, numbers: list[float]) -> np.ndarray:
    """Parameters as an array that broadcasts to x. Raises InvalidModel if they are neither one nor as many as x's columns."""
    if len(numbers) not in (1, x.type.shape[-1] if x.type.rank else 1):
        raise InvalidModel(f"{_named(call)}: {len(numbers)} parameters for {x.type}")
    return np.array(numbers)


def _named(call: Call) -> str:
    return f"{call.importer.what}: {call.op_type} {call.name!r}"
