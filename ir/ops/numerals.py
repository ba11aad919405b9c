"""Numbers written as strings and read from them (see `text`), exactly: both go through the decimal digits of a double, all of them.

The digits lie in scratch, one to a word: a number is 0.d₀d₁d₂… · 10^point. Multiplied and divided by powers of two, digit by digit,
it becomes a mantissa that is rounded once (the way of Go's strconv and of musl's scanf).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..dtypes import BOOL, F64, I64, U8, U64, DType
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType
from .text import USUAL, check_spans, strings

CELL = 24  # bytes of the longest number: -1.7976931348623157e+308
MOST = 800  # digits that are kept; a double halfway between two others has at most 767
STEP = 48  # bits that one pass multiplies or divides by: a digit times 2^48, with carry, fits 64 bits
GROWN = 15  # digits that 2^48 has
COUNT, POINT, DROPPED = (
    MOST + GROWN + k for k in range(3)
)  # behind the digits: how many, point, whether any that is not 0 is lost
SCRATCH = (MOST + GROWN + 3) * 8
INFINITE, NAN, SIGN = 0x7FF0000000000000, 0x7FF8000000000000, -(2**63)  # bits of doubles
HIDDEN = 1 << 52  # the bit of a mantissa that is not stored
WIDE = (F64, I64, U64)


@op
class WrittenNumbers(Op):
    """(u8[24·n], begins i64, ends i64): each number as a string; what lies between strings is 0.

    Operand: i64, the bits of a number of type `of`, f64, i64 or u64. A float has `digits` significant digits at most, rounded to even, as
    C's %g prints it; or NaN, INF, -INF.
    """

    of: DType
    digits: int = 17

    def infer(self, bits: TensorType) -> tuple[TensorType, TensorType, TensorType]:
        if bits.dtype is not I64 or self.of not in WIDE or not 1 <= self.digits <= 17:
            raise TypeMismatch(f"{self.name}: {bits} as {self.of} of {self.digits} digits")
        return TensorType(U8, (CELL * bits.elements,)), bits, bits

    def form(self, bits: TensorType) -> Routine:
        function, size = (written_floats, self.digits) if self.of is F64 else (written_integers, int(self.of is I64))
        return Routine(function, bits.elements, (size,), work=bits.elements * USUAL * 64, scratch=SCRATCH)

    def reference(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        out, ends = np.zeros((bits.size, CELL), np.uint8), np.zeros(bits.size, np.int64)
        for k, number in enumerate(bits.reshape(-1).view(self.of.numpy).tolist()):
            string = str(number)
            if self.of is F64:
                string = f"{number:.{self.digits}g}".replace("nan", "NaN").replace("inf", "INF")
            ends[k] = k * CELL + len(string)
            out[k, : len(string)] = np.frombuffer(string.encode(), np.uint8)
        return out.reshape(-1), (np.arange(bits.size) * CELL).reshape(bits.shape), ends.reshape(bits.shape)


def written_floats(first: int, last: int, bits: Any, out: Any, begins: Any, ends: Any, digits: int, scratch: Any) -> None:
    """See `WrittenNumbers`; a unit is a number."""
    for i in range(first, last):
        at, number = clear_cell(out, i), bits[i]
        begins[i] = at
        if number & INFINITE == INFINITE:
            if number & (HIDDEN - 1) != 0:
                at = put_letters(out, at, 78, 97, 78)
            else:
                out[at] = 45
                at = put_letters(out, at + (number < 0), 73, 78, 70)
        else:
            out[at] = 45
            take_bits(scratch, number)
            round_digits(scratch, digits)
            at = put_float(out, at + (number < 0), scratch, digits)
        ends[i] = at


def written_integers(first: int, last: int, bits: Any, out: Any, begins: Any, ends: Any, signed: int, scratch: Any) -> None:
    """See `WrittenNumbers`; a unit is a number. Of 2^63 and more, the last digit comes off first: half of it by 5 is a tenth of it."""
    for i in range(first, last):
        at, number, count = clear_cell(out, i), bits[i], 0
        begins[i] = at
        if signed == 1 and number < 0:
            out[at] = 45
            at += 1
            number = -number
        if number < 0:
            half = number >> 1 & 0x7FFFFFFFFFFFFFFF
            scratch[0] = half % 5 * 2 + (number & 1)
            count, number = 1, half // 5
        while number > 0 or count == 0:
            scratch[count] = number % 10
            number //= 10
            count += 1
        for k in range(count):
            out[at + k] = 48 + scratch[count - 1 - k]
        ends[i] = at + count


def clear_cell(out: Any, i: int) -> int:
    """Where the cell of a number begins; it is filled with zeros."""
    for k in range(i * CELL, (i + 1) * CELL):
        out[k] = 0
    return i * CELL


def put_letters(out: Any, at: int, a: int, b: int, c: int) -> int:
    """Three letters; where they end."""
    out[at] = a
    out[at + 1] = b
    out[at + 2] = c
    return at + 3


def put_float(out: Any, at: int, scratch: Any, digits: int) -> int:
    """The digits, which are rounded, as %g prints them; where they end."""
    count, exponent = scratch[COUNT], scratch[POINT] - 1
    if count == 0:
        exponent = 0
    plain = -4 <= exponent < digits
    if plain and exponent < 0:
        out[at] = 48
        out[at + 1] = 46
        at += 2
        for _ in range(-exponent - 1):
            out[at] = 48
            at += 1
    whole = exponent + 1 if plain else 1  # digits before the point
    for k in range(max(count, whole)):
        if k == whole and k > 0 and (exponent >= 0 or not plain):
            out[at] = 46
            at += 1
        out[at] = 48 + (scratch[k] if k < count else 0)
        at += 1
    if not plain:
        out[at] = 101
        out[at + 1] = 45 if exponent < 0 else 43
        at += 2
        size = abs(exponent)
        if size >= 100:
            out[at] = 48 + size // 100
            at += 1
        out[at] = 48 + size // 10 % 10
        out[at + 1] = 48 + size % 10
        at += 2
    return at


def take_bits(scratch: Any, number: int) -> None:
    """The magnitude of a finite double, by its bits, as digits."""
    exponent, mantissa = (number >> 52) & 0x7FF, number & (HIDDEN - 1)
    if exponent > 0:
        mantissa |= HIDDEN
    else:
        exponent = 1
    count, rest = 0, mantissa
    while rest > 0:
        rest //= 10
        count += 1
    for k in range(count):
        scratch[count - 1 - k] = mantissa % 10
        mantissa //= 10
    scratch[COUNT] = count
    scratch[POINT] = count
    scratch[DROPPED] = 0
    shift, more = exponent - 1075, count > 0
    while more:
        step = min(max(shift, -STEP), STEP)
        multiply(scratch, step)
        shift -= step
        more = shift != 0


def multiply(scratch: Any, bits: int) -> None:
    """The digits times 2^bits, which is -48 … 48."""
    if bits > 0:
        count, carry = scratch[COUNT], 0
        for k in range(count):
            value = (scratch[count - 1 - k] << bits) + carry
            carry = value // 10
            scratch[count - 1 - k + GROWN] = value - carry * 10
        for k in range(GROWN):
            scratch[GROWN - 1 - k] = carry % 10
            carry //= 10
        scratch[COUNT] = count + GROWN
        scratch[POINT] += GROWN
    elif bits < 0:
        count, rest, read, written, point = scratch[COUNT], 0, 0, 0, scratch[POINT]
        mask = (1 << -bits) - 1
        while rest >> -bits == 0:  # it ends, as some digit is not 0
            rest = rest * 10 + (scratch[read] if read < count else 0)
            read += 1
        scratch[POINT] = point - read + 1
        while read < count or rest > 0:
            if written < MOST:
                digit = rest >> -bits
                rest = (rest & mask) * 10
                if read < count:
                    rest += scratch[read]
                scratch[written] = digit  # not before what lies there is read: a digit is written for each that is read
                written += 1
                read += 1
            else:
                scratch[DROPPED] = 1
                rest, read = 0, count
        scratch[COUNT] = written
    trim(scratch)


def trim(scratch: Any) -> None:
    """Drops zeros before and behind the digits, and digits that there is no room for."""
    count, zeros = scratch[COUNT], 0
    while zeros < count and scratch[zeros] == 0:
        zeros += 1
    if zeros > 0:
        for k in range(zeros, count):
            scratch[k - zeros] = scratch[k]
        count -= zeros
        scratch[POINT] -= zeros
    while count > MOST:
        count -= 1
        if scratch[count] != 0:
            scratch[DROPPED] = 1
    while count > 0 and scratch[count - 1] == 0:
        count -= 1
    scratch[COUNT] = count


def round_digits(scratch: Any, wanted: int) -> None:
    """At most so many digits, to nearest, ties to an even digit."""
    if scratch[COUNT] > wanted:
        up = scratch[wanted] > 5
        if scratch[wanted] == 5:
            exact = scratch[COUNT] == wanted + 1 and scratch[DROPPED] == 0
            up = not exact or (wanted > 0 and scratch[wanted - 1] % 2 == 1)
        count = wanted
        while up and count > 0 and scratch[count - 1] == 9:
            count -= 1
        if up and count > 0:
            scratch[count - 1] += 1
        elif up:
            scratch[0] = 1
            scratch[POINT] += 1
            count = 1
        while count > 0 and scratch[count - 1] == 0:
            count -= 1
        scratch[COUNT] = count
        scratch[DROPPED] = 0


@op
class ParsedText(Op):
    """(i64, bool): the bits of the number of type `to`, f64, i64 or u64, that each string is, and whether it is one; 0 if it is none.

    Operands: bytes, begins, ends. White space may stand around a number. A float is written plainly or with an exponent, or is inf,
    infinity or nan, in any case, and rounded to nearest; one too large is none. An integer is cut off at its point; it has no
    exponent; below 0, one of u64 is counted down from 2^64.
    """

    to: DType

    def infer(self, text: TensorType, begins: TensorType, ends: TensorType) -> tuple[TensorType, TensorType]:
        check_spans(self.name, text, begins, ends)
        if self.to not in WIDE:
            raise TypeMismatch(f"{self.name}: numbers of {self.to}")
        return begins, begins.with_dtype(BOOL)

    def form(self, _: TensorType, begins: TensorType, __: TensorType) -> Routine:
        function, sizes = (parsed_floats, ()) if self.to is F64 else (parsed_integers, (int(self.to is I64),))
        return Routine(function, begins.elements, sizes, work=begins.elements * USUAL * 64, scratch=SCRATCH)

    def reference(self, text: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found, valid = np.zeros(begins.size, np.int64), np.zeros(begins.size, bool)
        for k, string in enumerate(strings(text, begins, ends)):
            word = string.strip(b" \t\n\v\f\r").decode(errors="surrogateescape")
            number: float | int | None = None
            if self.to is F64 and re.fullmatch(r"(?i)[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", word, re.ASCII):
                number = float(word)
                number = None if np.isinf(number) and "n" not in word.lower() else number
            elif self.to is not F64 and re.fullmatch(r"[+-]?\d+(\.\d*)?", word, re.ASCII):
                number = int(word.partition(".")[0])
                low, high = (-(2**63), 2**63) if self.to is I64 else (1 - 2**64, 2**64)
                number = number % 2**64 if low <= number < high else None
            if number is not None:
                valid[k] = True
                found[k] = (np.array(number, np.float64) if self.to is F64 else np.array(number, np.uint64)).view(np.int64)
        return found.reshape(begins.shape), valid.reshape(begins.shape)


def parsed_floats(first: int, last: int, text: Any, begins: Any, ends: Any, found: Any, valid: Any, scratch: Any) -> None:
    """See `ParsedText`; a unit is a string."""
    for i in range(first, last):
        at, end = skip_space(text, begins[i], ends[i]), cut_space(text, begins[i], ends[i])
        negative = at < end and text[at] == 45
        if negative or (at < end and text[at] == 43):
            at += 1
        size, number = name_size(text, at, end), np.int64(0)
        if size > 0:
            stop, number = at + size, NAN if text[at] | 32 == 110 else INFINITE
        else:
            stop = take_digits(scratch, text, at, end)
            if stop == end:
                number = bits_of(scratch)
                stop = at if number == INFINITE else stop
        valid[i] = stop > at and stop == end
        found[i] = 0
        if stop > at and stop == end:
            found[i] = number | SIGN if negative else number


def parsed_integers(
    first: int, last: int, text: Any, begins: Any, ends: Any, found: Any, valid: Any, signed: int, scratch: Any
) -> None:
    """See `ParsedText`; a unit is a string. A number of 2^63 and more has the sign bit: no digit follows it."""
    for i in range(first, last):
        at, end = skip_space(text, begins[i], ends[i]), cut_space(text, begins[i], ends[i])
        negative = at < end and text[at] == 45
        if negative or (at < end and text[at] == 43):
            at += 1
        number, stop, fits = np.int64(0), at, True
        tenth = (2**63 - 1) // 10 if signed == 1 else (2**64 - 1) // 10
        most = 5 if signed == 0 else 8 if negative else 7  # the last digit of the largest number
        while stop < end and 48 <= text[stop] <= 57:
            digit = np.int64(text[stop]) - 48
            fits = fits and number >= 0 and (number < tenth or (number == tenth and digit <= most))
            number = number * 10 + digit
            stop += 1
        digits = stop - at
        if digits > 0 and stop < end and text[stop] == 46:
            stop += 1
            while stop < end and 48 <= text[stop] <= 57:
                stop += 1
        good = fits and digits > 0 and stop == end
        valid[i] = good
        found[i] = 0
        if good:
            found[i] = -number if negative else number


def skip_space(text: Any, at: int, end: int) -> int:
    """The first place that is no white space, as C counts it."""
    while at < end and (text[at] == 32 or 9 <= text[at] <= 13):
        at += 1
    return at


def cut_space(text: Any, at: int, end: int) -> int:
    """Where white space at the end begins."""
    while at < end and (text[end - 1] == 32 or 9 <= text[end - 1] <= 13):
        end -= 1
    return end


def name_size(text: Any, at: int, end: int) -> int:
    """3 or 8 if what is left is inf, nan or infinity, else 0."""
    size = end - at
    if size != 3 and size != 8:
        return 0
    a, b, c = text[at] | 32, text[at + 1] | 32, text[at + 2] | 32
    if size == 3:
        return 3 if (a == 105 and b == 110 and c == 102) or (a == 110 and b == 97 and c == 110) else 0
    same = a == 105 and b == 110 and c == 102 and text[at + 3] | 32 == 105 and text[at + 4] | 32 == 110
    same = same and text[at + 5] | 32 == 105 and text[at + 6] | 32 == 116 and text[at + 7] | 32 == 121
    return 8 if same else 0


def take_digits(scratch: Any, text: Any, at: int, end: int) -> int:
    """A number's digits and exponent; where it ends, `at` if there is none."""
    begin, seen, count, point, dropped, fraction, more = at, 0, 0, 0, 0, False, True
    while more and at < end:
        letter = text[at]
        if 48 <= letter <= 57:
            seen += 1
            if letter > 48 or count > 0:
                if count < MOST:
                    scratch[count] = np.int64(letter) - 48
                    count += 1
                elif letter > 48:
                    dropped = 1
                point += not fraction
            elif fraction:
                point -= 1
            at += 1
        elif letter == 46 and not fraction:
            fraction = True
            at += 1
        else:
            more = False
    if at < end and text[at] | 32 == 101:
        at += 1
        down = at < end and text[at] == 45
        if down or (at < end and text[at] == 43):
            at += 1
        exponent, stop = 0, at
        while stop < end and 48 <= text[stop] <= 57:
            exponent = min(exponent * 10 + np.int64(text[stop]) - 48, 1 << 40)
            stop += 1
        if stop == at:
            seen = 0  # an e without a number behind it
        at = stop
        point += -exponent if down else exponent
    scratch[COUNT] = count
    scratch[POINT] = point
    scratch[DROPPED] = dropped
    trim(scratch)
    return at if seen > 0 else begin


def bits_of(scratch: Any) -> int:
    """The bits of the double next to the digits; those of infinity if it is too large."""
    point = scratch[POINT]
    if scratch[COUNT] == 0 or point < -330:
        return 0
    if point > 310:
        return INFINITE
    exponent, left, normal = (
        0,
        1,
        False,
    )  # the number is the digits times 2^exponent; they are brought to 0.5 … 1, then to an integer
    while left != 0:
        if not normal and scratch[POINT] > 0:
            step = -min(STEP, max(1, (scratch[POINT] - 1) * 3))
        elif not normal and (scratch[POINT] < 0 or scratch[0] < 5):
            step = min(STEP, max(1, -scratch[POINT] * 3))
        else:
            if not normal:
                normal, left = True, max(53 - max(-1021 - exponent, 0), -1)  # a subnormal number has fewer bits
                exponent = max(exponent, -1021) + left
            step = min(left, STEP)
            left -= step
        multiply(scratch, step)
        exponent -= step
    whole = max(scratch[POINT], 0)
    if scratch[POINT] >= 0:
        round_digits(scratch, whole)
    else:
        scratch[COUNT] = 0
    mantissa = np.int64(0)
    for k in range(max(scratch[POINT], 0)):
        mantissa = mantissa * 10 + (scratch[k] if k < scratch[COUNT] else 0)
    if mantissa >= 2 * HIDDEN:
        mantissa >>= 1
        exponent += 1
    if exponent > 1024:
        return INFINITE
    if mantissa < HIDDEN:
        return mantissa
    return (exponent + 1022) << 52 | (mantissa & (HIDDEN - 1))
