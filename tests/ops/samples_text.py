"""Samples of strings as spans of bytes, against Python's own strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tgen.frontends.onnx.regex import automaton
from tgen.frontends.onnx.text import letter_table
from tgen.ir.op import OPS

from .samples import Sample

LETTERS = ["a", "b", "B", "-", " ", "ß", "é", "É", "ﬁ", "ı", "\u2003", "漢", "😀", "\x00"]
Spans = tuple[np.ndarray, np.ndarray, np.ndarray]


def spans(words: Sequence[str], shape: tuple[int, ...], order: Sequence[int], gap: bytes = b"??") -> Spans:
    """bytes, begins, ends of these words, which lie in another order than they count, with a gap before each."""
    begins, ends, whole = np.zeros(len(words), np.int64), np.zeros(len(words), np.int64), b""
    for k in order:
        whole += gap
        begins[k], whole = len(whole), whole + words[k].encode()
        ends[k] = len(whole)
    return np.frombuffer(whole, np.uint8), begins.reshape(shape), ends.reshape(shape)


def texts(raw: Sequence[np.ndarray]) -> list[str]:
    text, begins, ends = raw
    return [text[b:e].tobytes().decode() for b, e in zip(begins.reshape(-1), ends.reshape(-1))]


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[list[str], Spans]:
    count = int(np.prod(shape))
    words = ["".join(rng.choice(LETTERS, rng.integers(0, 7))) for _ in range(count)]
    return words, spans(words, shape, rng.permutation(count).tolist())


def _copied(size: int) -> Callable[..., np.ndarray]:
    def run(text: np.ndarray, begins: np.ndarray, ends: np.ndarray, places: np.ndarray) -> np.ndarray:
        return np.frombuffer("".join(texts((text, begins, ends))).encode(), np.uint8)

    return run


def _replaced(upper: bool) -> Callable[..., Any]:
    def one(letter: str) -> str:
        new = letter.upper() if upper else letter.lower()
        return new if len(new) == 1 else letter

    def run(text: np.ndarray, begins: np.ndarray, ends: np.ndarray, *_: Any) -> tuple[np.ndarray, np.ndarray]:
        out, stops = np.zeros(2 * text.size, np.uint8), np.zeros(ends.size, np.int64)
        for k, (begin, word) in enumerate(zip(begins.reshape(-1), texts((text, begins, ends)))):
            new = "".join(map(one, word)).encode()
            stops[k] = 2 * begin + len(new)
            out[2 * begin : stops[k]] = np.frombuffer(new, np.uint8)
        return out, stops.reshape(ends.shape)

    return run


def _pieces(most: int, splits: int, mark: str) -> Callable[..., Any]:
    pattern = re.escape(mark) if mark else r"\s+"

    def run(text: np.ndarray, begins: np.ndarray, ends: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, ...]:
        found, counts = np.zeros((2, ends.size, most), np.int64), np.zeros(ends.size, np.int64)
        for k, (begin, word) in enumerate(zip(begins.reshape(-1), texts((text, begins, ends)))):
            at = len(word) - len(word.lstrip()) if not mark else 0
            cuts = [m.span() for m in re.compile(pattern).finditer(word, at)][: splits if splits >= 0 else None]
            edges = [at, *(edge for cut in cuts for edge in cut), len(word)]
            pairs = [p for p in zip(edges[::2], edges[1::2]) if mark or p[0] < p[1]]
            counts[k] = len(pairs)
            for column, pair in enumerate(pairs[:most]):
                found[:, k, column] = [begin + len(word[:edge].encode()) for edge in pair]
        return found[0].reshape(*ends.shape, most), found[1].reshape(*ends.shape, most), counts.reshape(ends.shape)

    return run


def _matches(pattern: str) -> Callable[..., np.ndarray]:
    def run(text: np.ndarray, begins: np.ndarray, ends: np.ndarray, *_: Any) -> np.ndarray:
        found = [re.fullmatch(pattern, word) is not None for word in texts((text, begins, ends))]
        return np.array(found).reshape(ends.shape)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    words, text = drawn(rng, (5, 4))
    order = np.argsort(rng.random(20))
    other = spans([words[k] if k % 3 else "b" + words[k] for k in range(20)], (5, 4), order.tolist())
    equal = lambda *v: np.array([a == b for a, b in zip(texts(v[:3]), texts(v[3:]))]).reshape(v[1].shape)
    yield Sample(OPS["same_text"](), (*text, *other), equal)
    sizes = text[2] - text[1]
    places = (np.cumsum(sizes.reshape(-1)) - sizes.reshape(-1)).reshape(5, 4)
    yield Sample(OPS["copied_text"](size=int(sizes.sum())), (*text, places), _copied(int(sizes.sum())))
    keys = sorted({*words[::2], "a", "漢", "zz"}, key=str.encode)
    known = spans(keys, (len(keys),), range(len(keys)))
    where = lambda *v: np.array([keys.index(w) if w in keys else -1 for w in texts(v[:3])]).reshape(v[1].shape)
    yield Sample(OPS["text_places"](), (*text, *known), where)
    pattern = "[^a]*(ß|[é-漢])+.?"
    yield Sample(OPS["matched_text"](), (*text, *automaton(pattern)), _matches(pattern))
    packed = spans(words, (5, 4), order.tolist(), gap=b"")  # what is between strings is not written
    for upper in (True, False):
        yield Sample(OPS["replaced_letters"](), (*packed, *letter_table(upper)), _replaced(upper))
    for mark, splits, most in (("", -1, 4), ("", 1, 3), ("-", -1, 2), ("ab", 0, 1), ("é", 2, 0)):
        split = _pieces(most, splits, mark)
        operand = np.frombuffer(mark.encode(), np.uint8)
        yield Sample(OPS["text_pieces"](most=most, splits=splits), (*text, operand), split)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(109)))
