"""TfIdfVectorizer: n-grams of a pool, counted in rows of numbers or of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....ir.dtypes import F32, I64
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from ..text import Text, places_among

MAX_WIDTH = 1 << 31  # columns: more than any machine holds


@onnx_op("TfIdfVectorizer", since=9, over=Text)
def tf_idf_vectorizer_of_words(call: Call, x: Text) -> Value:
    """Words are numbered, by the pool; all others are -1."""
    pool = call.required("pool_strings")
    numbers = {word: k for k, word in enumerate(pool)}
    return _counted(call, places_among(call.build, x, pool), [numbers[word] for word in pool])


@onnx_op("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(call: Call, x: Value) -> Value:
    return _counted(call, x, call.required("pool_int64s"))


def _counted(call: Call, x: Value, pool: list[int]) -> Value:
    """x [rows, terms] or [terms] → [rows, columns] or [columns]: counts (TF), times the n-gram's weight (TFIDF), or that for any (IDF)."""
    b, mode, columns = call.build, call.required("mode"), np.array(call.required("ngram_indexes"), np.int64)
    least, most, skips = (int(call.required(name)) for name in ("min_gram_length", "max_gram_length", "max_skip_count"))
    sizes = (columns >= 0).all() and columns.size and columns.max() < MAX_WIDTH and 0 < least <= most and skips >= 0
    weights = call.attr("weights") or [1.0] * columns.size
    if not sizes or len(weights) != columns.size or x.type.rank not in (1, 2) or mode not in ("TF", "IDF", "TFIDF"):
        raise _unfit(call, f"{columns.size} ngram_indexes, {len(weights)} weights, lengths {least} to {most} for {x.type}")
    terms, spans, ends = _tree(_grams(call, pool, columns.tolist(), least, most))
    width = int(columns.max()) + 1
    rows = b.cast(x if x.type.rank == 2 else b.unsqueeze(x, axes=(0,)), to=I64)
    tables = (b.constant(table) for table in (terms, spans, ends))
    counts = b.term_counts(rows, *tables, width=width, least=least, most=most, skips=skips)
    if mode == "IDF":
        counts = b.cast(b.greater(counts, 0.0), to=F32)
    if mode != "TF":
        scale = np.ones(width, np.float32)
        scale[columns] = weights
        counts = b.mul(counts, b.constant(scale))
    return counts if x.type.rank == 2 else b.squeeze(counts, axes=(0,))


def _grams(call: Call, pool: list[int], columns: list[int], least: int, most: int) -> dict[tuple[int, ...], int]:
    """Columns by n-gram, of those with `least` to `most` terms. Raises InvalidModel for a pool that is not cut into n-grams."""
    starts = call.required("ngram_counts")
    ends = [*starts[1:], len(pool)]
    if any(not 0 <= s <= e <= len(pool) or (e - s) % n for n, (s, e) in enumerate(zip(starts, ends), 1)):
        raise _unfit(call, f"ngram_counts {starts} of a pool of {len(pool)}")
    grams = [tuple(pool[k : k + n]) for n, (s, e) in enumerate(zip(starts, ends), 1) for k in range(s, e, n)]
    if len(grams) != len(columns):
        raise _unfit(call, f"{len(columns)} ngram_indexes for {len(grams)} n-grams")
    return {gram: column for gram, column in zip(grams, columns) if least <= len(gram) <= most}


def _tree(grams: dict[tuple[int, ...], int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(terms, spans, columns) of `ir.ops.ngrams.TermCounts`; nodes by length of the prefix that leads to them, then by its terms."""
    prefixes = sorted({gram[:n] for gram in grams for n in range(len(gram) + 1)} | {()}, key=_by_length)
    numbers = {prefix: k for k, prefix in enumerate(prefixes)}
    parents = np.array([numbers[p[:-1]] for p in prefixes[1:]], np.int64)
    spans = np.searchsorted(parents, np.arange(len(prefixes) + 1))
    columns = [grams.get(p, -1) for p in prefixes]
    return np.array([p[-1] for p in prefixes[1:]], np.int64), spans.astype(np.int32), np.array(columns, np.int32)


def _by_length(prefix: Sequence[int]) -> tuple[int, Sequence[int]]:
    return len(prefix), prefix


def _unfit(call: Call, what: str) -> InvalidModel:
    return InvalidModel(f"{call.importer.what}: TfIdfVectorizer {call.name!r}: {what}")
