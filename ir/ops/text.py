"""Strings as spans of bytes: string i is bytes[begins[i]:ends[i]], UTF-8. Spans may share bytes, and lie within them; importers see to that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..dims import DimLike, evaluate_dim
from ..dtypes import BOOL, I32, I64, U8
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType

USUAL = 16  # bytes of a string, as work is estimated
GROWTH = 2  # a letter of another case takes at most so many times the bytes


def check_spans(what: str, text: TensorType, begins: TensorType, ends: TensorType) -> None:
    """Raises TypeMismatch unless these are u8[bytes] and i64 of one shape."""
    if text.rank != 1 or text.dtype is not U8 or begins.dtype is not I64 or begins != ends:
        raise TypeMismatch(f"{what}: takes bytes and the spans of strings in them, given {text}, {begins}, {ends}")


def strings(text: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> Iterator[bytes]:
    """The strings, in row-major order."""
    whole = text.tobytes()
    return (whole[b:e] for b, e in zip(begins.reshape(-1).tolist(), ends.reshape(-1).tolist()))


@op
class SameText(Op):
    """Whether string i of one text equals string i of the other. Operands: bytes, begins, ends of both. bool"""

    def infer(self, *both: TensorType) -> TensorType:
        for text, begins, ends in (both[:3], both[3:]):
            check_spans(self.name, text, begins, ends)
        if both[1] != both[4]:
            raise TypeMismatch(f"{self.name}: {both[1]} strings and {both[4]}")
        return both[1].with_dtype(BOOL)

    def form(self, _: TensorType, begins: TensorType, *__: TensorType) -> Routine:
        return Routine(same_text, begins.elements, (), work=begins.elements * USUAL)

    def reference(self, *both: np.ndarray) -> np.ndarray:
        same = [a == b for a, b in zip(strings(*both[:3]), strings(*both[3:]))]
        return np.array(same, bool).reshape(both[1].shape)


def same_text(
    first: int, last: int, text: Any, begins: Any, ends: Any, other: Any, starts: Any, stops: Any, out: Any, scratch: Any
) -> None:
    """See `SameText`; a unit is a string."""
    for i in range(first, last):
        size = ends[i] - begins[i]
        same = size == stops[i] - starts[i]
        k = 0
        while same and k < size:
            same = text[begins[i] + k] == other[starts[i] + k]
            k += 1
        out[i] = same


@op
class CopiedText(Op):
    """u8[size]: string i from places[i] on. Operands: bytes, begins, ends, places i64; the strings fit there and do not overlap."""

    size: DimLike

    def infer(self, text: TensorType, begins: TensorType, ends: TensorType, places: TensorType) -> TensorType:
        check_spans(self.name, text, begins, ends)
        if places != begins:
            raise TypeMismatch(f"{self.name}: {places} places for {begins} strings")
        return TensorType(U8, (self.size,))

    def form(self, _: TensorType, begins: TensorType, *__: TensorType) -> Routine:
        return Routine(copied_text, begins.elements, (), work=begins.elements * USUAL)

    def reference(self, text: np.ndarray, begins: np.ndarray, ends: np.ndarray, places: np.ndarray) -> np.ndarray:
        out = np.zeros(evaluate_dim(self.size, {}), np.uint8)
        for place, string in zip(places.reshape(-1).tolist(), strings(text, begins, ends)):
            out[place : place + len(string)] = np.frombuffer(string, np.uint8)
        return out


def copied_text(first: int, last: int, text: Any, begins: Any, ends: Any, places: Any, out: Any, scratch: Any) -> None:
    """See `CopiedText`; a unit is a string."""
    for i in range(first, last):
        for k in range(ends[i] - begins[i]):
            out[places[i] + k] = text[begins[i] + k]


@op
class TextPlaces(Op):
    """Where each string stands among keys, -1 where it is none of them. i64

    Operands: bytes, begins, ends; bytes, begins and ends of the keys (vectors), which are different and in the order of their bytes.
    """

    def infer(self, *both: TensorType) -> TensorType:
        for text, begins, ends in (both[:3], both[3:]):
            check_spans(self.name, text, begins, ends)
        if both[4].rank != 1:
            raise TypeMismatch(f"{self.name}: keys are a vector, given {both[4]}")
        return both[1]

    def form(self, _: TensorType, begins: TensorType, *rest: TensorType) -> Routine:
        return Routine(text_places, begins.elements, (rest[2].elements,), work=begins.elements * USUAL * 4)

    def reference(self, *both: np.ndarray) -> np.ndarray:
        places = {key: k for k, key in enumerate(strings(*both[3:]))}
        return np.array([places.get(s, -1) for s in strings(*both[:3])], np.int64).reshape(both[1].shape)


def text_places(
    first: int, last: int, text: Any, begins: Any, ends: Any, keys: Any, starts: Any, stops: Any, out: Any, count: int, scratch: Any
) -> None:
    """See `TextPlaces`; a unit is a string: keys before `low` are less, those from `high` on are not."""
    for i in range(first, last):
        low, high, found = 0, count, -1
        while low < high:
            middle = (low + high) // 2
            order = compare(text, begins[i], ends[i], keys, starts[middle], stops[middle])
            if order == 0:
                found, low = middle, high
            elif order < 0:
                high = middle
            else:
                low = middle + 1
        out[i] = found


def compare(a: Any, begin: int, end: int, b: Any, start: int, stop: int) -> int:
    """-1, 0 or 1 where string a[begin:end] comes before, equals or comes behind b[start:stop]."""
    k = 0
    while begin + k < end and start + k < stop and a[begin + k] == b[start + k]:
        k += 1
    if begin + k >= end or start + k >= stop:
        size, other = max(end - begin, 0), max(stop - start, 0)
        return 0 if size == other else 1 if size > other else -1
    return 1 if a[begin + k] > b[start + k] else -1


@op
class MatchedText(Op):
    """Whether an automaton that reads each string's bytes ends in a state that accepts. bool

    Operands: bytes, begins, ends; kinds u8[256] of bytes; steps i32[states, kinds]: the next state, all in range; accepts
    bool[states]. It begins in state 0, and a step to -1 ends it.
    """

    def infer(self, text: TensorType, begins: TensorType, ends: TensorType, *tables: TensorType) -> TensorType:
        check_spans(self.name, text, begins, ends)
        kinds, steps, accepts = tables
        fits = kinds == TensorType(U8, (256,)) and steps.rank == 2 and accepts == TensorType(BOOL, steps.shape[:1])
        if not fits or steps.dtype is not I32:
            raise TypeMismatch(f"{self.name}: {kinds}, {steps}, {accepts} are no automaton")
        return begins.with_dtype(BOOL)

    def form(self, _: TensorType, begins: TensorType, *rest: TensorType) -> Routine:
        return Routine(matched_text, begins.elements, (rest[2].shape[1],), work=begins.elements * USUAL * 2)

    def reference(self, text: np.ndarray, begins: np.ndarray, ends: np.ndarray, *tables: np.ndarray) -> np.ndarray:
        kinds, steps, accepts = tables
        out = []
        for string in strings(text, begins, ends):
            state = 0
            for kind in kinds[np.frombuffer(string, np.uint8)].tolist():
                state = int(steps[state, kind]) if state >= 0 else -1
            out.append(state >= 0 and accepts[state])
        return np.array(out, bool).reshape(begins.shape)


def matched_text(
    first: int,
    last: int,
    text: Any,
    begins: Any,
    ends: Any,
    kinds: Any,
    steps: Any,
    accepts: Any,
    out: Any,
    width: int,
    scratch: Any,
) -> None:
    """See `MatchedText`; a unit is a string."""
    for i in range(first, last):
        state, at = 0, begins[i]
        while state >= 0 and at < ends[i]:
            state = steps[state * width + kinds[text[at]]]
            at += 1
        out[i] = accepts[state] if state >= 0 else 0
