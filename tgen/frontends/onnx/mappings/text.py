"""Operators over strings. Those that move elements are done to the places of strings; no byte is copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dtypes import I64, STRING, DType
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ..call import Call
from ..regex import automaton
from ..registry import dtype_attribute, find_mapping, onnx_op
from ..text import Text, broadcast_texts, merged, packed, parsed, places_among, recased, written
from .conversion import convert
from .learning import ML

KEEP_ORDER = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
MOVES = (
    "Compress", "Concat", "DepthToSpace", "Expand", "Gather", "GatherElements", "GatherND", "Pad", "ReverseSequence", "Scatter",
    "ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split", "Tile", "Transpose", "Where",
)  # fmt: skip


@onnx_op(*KEEP_ORDER, *MOVES, over=Text)
@onnx_op("ArrayFeatureExtractor", domain=ML, over=Text)
def moved(call: Call, *operands: Value | Text | None) -> Any:
    """What the operator does to numbers, done to where strings begin and to where they end."""
    plain = find_mapping(call.op_type, call.domain, call.opset)
    if plain is None:
        raise Unsupported("not implemented for strings")
    shared = iter(merged(call.build, [v for v in operands if isinstance(v, Text)]))
    given = [next(shared) if isinstance(v, Text) else v for v in operands]
    text = next(v for v in given if isinstance(v, Text))
    begins, ends = (plain(call, *(getattr(v, part) if isinstance(v, Text) else v for v in given)) for part in ("begins", "ends"))
    compact = text.compact and call.op_type in KEEP_ORDER
    if isinstance(begins, Value):
        return Text(text.bytes, begins, ends, compact)
    return tuple(Text(text.bytes, *pair) for pair in zip(begins, ends))


@onnx_op("Shape", "Size", over=Text)
def measured(call: Call, x: Text) -> Any:
    plain = find_mapping(call.op_type, call.domain, call.opset)
    return plain(call, x.ends) if plain else None


@onnx_op("Equal", since=19, over=Text)
def equal(call: Call, a: Text, other: Text) -> Value:
    first, second = broadcast_texts(call.build, a, other)
    same: Value = call.build.same_text(*first.parts, *second.parts)
    return same


@onnx_op("Cast", over=Text)
def read(call: Call, x: Text) -> Value | Text:
    return _numbers(call, x, dtype_attribute(call.required("to"), call))


@onnx_op("CastLike", over=Text)
def read_like(call: Call, x: Value | Text, like: Value | Text) -> Value | Text:
    if isinstance(x, Text):
        return _numbers(call, x, like.type.dtype)
    return written(call.build, x)


def _numbers(call: Call, x: Text, to: DType) -> Value | Text:
    """What the strings say; the run ends where one says no number."""
    if to is STRING:
        return x
    found, valid = parsed(call.build, x, to)
    axes = tuple(range(valid.type.rank))
    call.build.check(
        call.build.reduce_min(valid, axes=axes, keepdims=False), f"{call.op_type} {call.name!r}: a string is no number of {to}"
    )
    return convert(call, found, to)


@onnx_op("StringConcat", since=20, over=Text)
def string_concat(call: Call, a: Text, other: Text) -> Text:
    """Both beside each other are packed, so each pair lies together."""
    b = call.build
    first, second = merged(b, broadcast_texts(b, a, other))
    begins, ends = (
        b.concat(b.unsqueeze(x, axes=(-1,)), b.unsqueeze(y, axes=(-1,)), axis=-1)
        for x, y in ((first.begins, second.begins), (first.ends, second.ends))
    )
    pairs = packed(b, Text(first.bytes, begins, ends))
    first_of, last_of = (b.gather(v, b.constant(k, I64), axis=-1) for v, k in ((pairs.begins, 0), (pairs.ends, 1)))
    return Text(pairs.bytes, first_of, last_of, compact=True)


@onnx_op("StringSplit", since=20, over=Text)
def string_split(call: Call, x: Text) -> tuple[Text, Value]:
    """(pieces […, most], how many each string has): places in the bytes of x. Runs of white space delimit, unless told otherwise."""
    b, splits = call.build, int(call.attr("maxsplit", -1))
    mark = b.constant(np.frombuffer((call.attr("delimiter") or "").encode(), np.uint8))
    counts = b.text_pieces(*x.parts, mark, most=0, splits=splits)[2]
    every = b.concat(b.reshape(counts, shape=(counts.type.elements,)), b.constant(np.zeros(1, np.int64)), axis=0)
    most = b.extent(b.reduce_max(every, axes=(0,), keepdims=False))
    begins, ends, _ = b.text_pieces(*x.parts, mark, most=most, splits=splits)
    return Text(x.bytes, begins, ends), counts


@onnx_op("RegexFullMatch", since=20, over=Text)
def regex_full_match(call: Call, x: Text) -> Value:
    try:
        tables = automaton(call.required("pattern"))
    except ValueError as error:
        raise InvalidModel(f"{call.importer.what}: RegexFullMatch {call.name!r}: {error}") from error
    matches: Value = call.build.matched_text(*x.parts, *(call.build.constant(t) for t in tables))
    return matches


@onnx_op("StringNormalizer", since=10, over=Text)
def string_normalizer(call: Call, x: Text) -> Text:
    """x [words] or [1, words] without stop words, in one case; an empty string if nothing is left."""
    b, case = call.build, call.attr("case_change_action", "NONE")
    if x.type.rank not in (1, 2) or (x.type.rank == 2 and x.type.shape[0] != 1) or case not in ("NONE", "LOWER", "UPPER"):
        raise InvalidModel(f"{call.importer.what}: StringNormalizer {call.name!r} of {x.type}, case_change_action {case!r}")
    words = _vector(call, x)
    if stops := call.attr("stopwords") or []:
        words = _without(call, words, stops, exact=bool(call.attr("is_case_sensitive", 0)))
    if case != "NONE":
        words = recased(b, words, upper=case == "UPPER")
    if x.type.rank == 1:
        return words
    return Text(words.bytes, b.unsqueeze(words.begins, axes=(0,)), b.unsqueeze(words.ends, axes=(0,)), words.compact)


def _vector(call: Call, x: Text) -> Text:
    begins, ends = (call.build.reshape(v, shape=(v.type.elements,)) for v in (x.begins, x.ends))
    return Text(x.bytes, begins, ends, x.compact)


def _without(call: Call, words: Text, stops: list[str], exact: bool) -> Text:
    """The words that are no stop words; if there are none, the empty string that is put behind all of them."""
    b = call.build
    seen = words if exact else recased(b, words, upper=False)
    wanted = stops if exact else [stop.lower() for stop in stops]
    kept = b.less(places_among(b, seen, wanted), 0)
    some = b.reduce_max(b.concat(b.cast(kept, to=I64), b.constant(np.zeros(1, np.int64)), axis=0), axes=(0,))
    places, count = b.true_places(b.concat(kept, b.equal(some, 0), axis=0))
    (most,) = places.type.shape
    size = b.extent(count, most=most)
    at = b.slice(places, axes=(0,), starts=(0,), sizes=(size,), steps=(1,))
    zero = b.constant(np.zeros(1, np.int64))
    return Text(words.bytes, *(b.gather(b.concat(v, zero, axis=0), at) for v in (words.begins, words.ends)))
