"""What is done with the characters of strings (see `text`): another case, pieces between delimiters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dims import DimLike, evaluate_dim
from ..dtypes import I32, I64, U8
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType
from .text import GROWTH, USUAL, check_spans, strings


@op
class ReplacedLetters(Op):
    """(u8[2·bytes], ends i64): strings with their letters replaced; string i begins at 2·begins[i]

    Operands: bytes, begins, ends of strings that do not overlap; letters i32[n], ascending, and what stands for them, i32[n], as
    code points; in UTF-8 at most twice as long. What is no UTF-8 stays. Bytes behind a string are 0; those of what no string holds are not defined.
    """

    def infer(self, text: TensorType, begins: TensorType, ends: TensorType, *tables: TensorType) -> tuple[TensorType, TensorType]:
        check_spans(self.name, text, begins, ends)
        if len({*tables}) != 1 or tables[0].rank != 1 or tables[0].dtype is not I32:
            raise TypeMismatch(f"{self.name}: letters are two vectors of i32, given {', '.join(map(str, tables))}")
        return TensorType(U8, (GROWTH * text.shape[0],)), ends

    def form(self, _: TensorType, begins: TensorType, __: TensorType, letters: TensorType, ___: TensorType) -> Routine:
        return Routine(replaced_letters, begins.elements, (letters.elements,), work=begins.elements * USUAL * 16)

    def reference(
        self, text: np.ndarray, begins: np.ndarray, ends: np.ndarray, *tables: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        table = dict(zip(*(t.tolist() for t in tables)))
        out, stops = np.zeros(GROWTH * text.size, np.uint8), np.zeros(ends.size, np.int64)
        for k, (begin, string) in enumerate(zip(begins.reshape(-1).tolist(), strings(text, begins, ends))):
            new = string.decode(errors="surrogateescape").translate(table).encode(errors="surrogateescape")
            stops[k] = GROWTH * begin + len(new)
            out[GROWTH * begin : stops[k]] = np.frombuffer(new, np.uint8)
        return out, stops.reshape(ends.shape)


def replaced_letters(
    first: int,
    last: int,
    text: Any,
    begins: Any,
    ends: Any,
    letters: Any,
    others: Any,
    out: Any,
    stops: Any,
    count: int,
    scratch: Any,
) -> None:
    """See `ReplacedLetters`; a unit is a string."""
    for i in range(first, last):
        at, to = begins[i], 2 * begins[i]
        while at < ends[i]:
            size, code = letter_size(text, at, ends[i]), np.int64(text[at])
            if size > 1:
                code &= 0x7F >> size
            for k in range(1, size):
                code = code << 6 | np.int64(text[at + k] & 0x3F)
            low, high = 0, count if size > 0 else 0
            while low < high:
                middle = (low + high) // 2
                if letters[middle] < code:
                    low = middle + 1
                else:
                    high = middle
            if size > 0 and low < count and letters[low] == code:
                to = put_letter(out, to, others[low])
                at += size
            else:
                for _ in range(max(size, 1)):
                    out[to] = text[at]
                    to += 1
                    at += 1
        stops[i] = to
        for k in range(to, 2 * ends[i]):
            out[k] = 0


def letter_size(text: Any, at: int, end: int) -> int:
    """Bytes of the character at a position, 0 if they are no UTF-8."""
    lead = text[at]
    size = 1 if lead < 0x80 else 0 if lead < 0xC2 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4 if lead < 0xF5 else 0
    if at + size > end:
        return 0
    for k in range(1, size):
        if text[at + k] & 0xC0 != 0x80:
            return 0
    return size


def put_letter(out: Any, at: int, code: int) -> int:
    """Writes a code point as UTF-8; where it ends."""
    if code < 0x80:
        out[at] = code
        return at + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    out[at] = (0xF00 >> size) & 0xFF | code >> 6 * (size - 1)
    for k in range(1, size):
        out[at + k] = 0x80 | code >> 6 * (size - 1 - k) & 0x3F
    return at + size


@op
class TextPieces(Op):
    """(begins i64[…, most], ends i64[…, most], counts i64[…]): the pieces of each string between delimiters, empty ones behind them

    Operands: bytes, begins, ends; delimiter u8[n]: without bytes it is any run of white space, also around the string. splits: at
    most so many, then the rest is one piece; -1: all. counts tells of all pieces, also of those beyond `most`.
    """

    most: DimLike
    splits: int = -1

    def infer(self, text: TensorType, begins: TensorType, ends: TensorType, delimiter: TensorType) -> tuple[TensorType, ...]:
        check_spans(self.name, text, begins, ends)
        if delimiter.rank != 1 or delimiter.dtype is not U8:
            raise TypeMismatch(f"{self.name}: a delimiter is a vector of bytes, given {delimiter}")
        pieces = TensorType(I64, (*begins.shape, self.most))
        return pieces, pieces, begins

    def form(self, _: TensorType, begins: TensorType, __: TensorType, delimiter: TensorType) -> Routine:
        sizes = (delimiter.elements, self.most, self.splits)
        return Routine(text_pieces, begins.elements, sizes, work=begins.elements * USUAL * 4)

    def reference(self, text: np.ndarray, begins: np.ndarray, ends: np.ndarray, delimiter: np.ndarray) -> tuple[np.ndarray, ...]:
        most = evaluate_dim(self.most, {})
        spans, counts = np.zeros((2, ends.size, most), np.int64), np.zeros(ends.size, np.int64)
        mark = delimiter.tobytes().decode(errors="surrogateescape") or None
        for k, (begin, raw) in enumerate(zip(begins.reshape(-1).tolist(), strings(text, begins, ends))):
            string, at = raw.decode(errors="surrogateescape"), 0
            pieces = string.split(mark, self.splits)
            counts[k] = len(pieces)
            for piece, column in zip(pieces, range(most)):
                at = string.index(piece, at)
                before = len(string[:at].encode(errors="surrogateescape"))
                at += len(piece)
                spans[:, k, column] = begin + before, begin + len(string[:at].encode(errors="surrogateescape"))
                at += len(mark or "")
        return spans[0].reshape(*ends.shape, most), spans[1].reshape(*ends.shape, most), counts.reshape(ends.shape)


def text_pieces(
    first: int, last: int, text: Any, begins: Any, ends: Any, delimiter: Any, starts: Any, stops: Any, counts: Any, size: int, most: int,
    splits: int, scratch: Any,
) -> None:  # fmt: skip
    """See `TextPieces`; a unit is a string."""
    for i in range(first, last):
        for k in range(i * most, (i + 1) * most):
            starts[k] = 0
            stops[k] = 0
        at, end, count = begins[i], ends[i], 0
        if size == 0:
            at += mark_size(text, at, end, delimiter, 0)
        more = size > 0 or at < end
        while more:
            stop, mark = at, 0
            if count == splits:
                stop = end
            while stop < end and mark == 0:
                mark = mark_size(text, stop, end, delimiter, size)
                stop += mark == 0
            if count < most:
                starts[i * most + count] = at
                stops[i * most + count] = stop
            count += 1
            at = stop + mark
            more = mark > 0 and (size > 0 or at < end)
        counts[i] = count


def mark_size(text: Any, at: int, end: int, delimiter: Any, size: int) -> int:
    """Bytes of the delimiter that stands at a position, or of the white space if size is 0; 0 if there is none."""
    k = 0
    if size > 0:
        while k < size and at + k < end and text[at + k] == delimiter[k]:
            k += 1
        return size if k == size else 0
    more = True
    while more and at + k < end:
        a, b, c = text[at + k], text[at + k + 1] if at + k + 1 < end else 0, text[at + k + 2] if at + k + 2 < end else 0
        wide = (a == 0xE1 and b == 0x9A and c == 0x80) or (a == 0xE3 and b == 0x80 and c == 0x80)
        wide = wide or (a == 0xE2 and b == 0x80 and (0x80 <= c <= 0x8A or c == 0xA8 or c == 0xA9 or c == 0xAF))
        if a == 32 or 9 <= a <= 13 or 28 <= a <= 31:
            k += 1
        elif a == 0xC2 and (b == 0x85 or b == 0xA0):
            k += 2
        elif wide or (a == 0xE2 and b == 0x81 and c == 0x9F):
            k += 3
        else:
            more = False
    return k
