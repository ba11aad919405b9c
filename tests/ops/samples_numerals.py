"""Samples of numbers written as strings and read from them, against the C library's printf and strtod."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tgen.ir.dtypes import F64, I64, U64, DType
from tgen.ir.op import OPS

from .samples import Sample
from .samples_text import spans, texts

C = ctypes.CDLL(None)
C.strtod.restype = ctypes.c_double
HARD = [  # doubles that are easily rounded wrongly, and their neighbours halfway
    "9007199254740993", "9007199254740992.99999999999999999999", "9007199254740993.0000000000000000000000000001", "2.2250738585072011e-308",
    "2.2250738585072012e-308", "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1.7976931348623157e308",
    "1.7976931348623158e+308", "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207",
    "0.500000000000000166533453693773481063544750213623046875", "3.518437208883201171875e13", "1e23", "8.5e22", "1e-5", "1E8",
    "0." + "0" * 330 + "1", "1" + "0" * 300, "0." + "123456789" * 100 + "1e20", "1e-400", "5" + "0" * 900 + "e-901", "0e999999999999999999",
]  # fmt: skip
PLAIN = ["0", "-0", "+7", "3.25", ".5", "5.", " 12\t", "-.125e+2", "INF", "-inf", "+Infinity", "nan", "-NaN", "18446744073709551615",
         "18446744073709551616", "-9223372036854775808", "9223372036854775808", "-9223372036854775809", "00000000000000000000017", "12.75", "99" * 20]  # fmt: skip
WRONG = [
    "", " ", "+", ".", "e5", "1e", "1e+", "1.2.3", "0x10", "1_0",
    "1 2", "abc", "infin", "nano", "--1", "1e400", "١", "1\x00", ".e1",
]  # fmt: skip


def _doubles(rng: np.random.Generator) -> np.ndarray:
    some = rng.integers(-(2**63), 2**63 - 1, 300).view(np.float64)
    near = [
        0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1.7976931348623157e308, 0.1,
        9.5, 0.5, 1e22, 1e-4, 9.9999999999999995e-5, 123456789.5, 2.0**60,
    ]  # fmt: skip
    short = np.round(rng.normal(0, 1e4, 40), 2)
    return np.concatenate([near, some, short, rng.normal(0, 1, 40).astype(np.float32).astype(np.float64)])


def _printed(of: DType, digits: int) -> Callable[..., Any]:
    def one(number: Any) -> bytes:
        if of is not F64:
            return repr(int(number)).encode()
        room = ctypes.create_string_buffer(400)
        C.snprintf(room, 400, b"%.*g", digits, ctypes.c_double(number))
        return {b"-nan": b"NaN", b"nan": b"NaN", b"inf": b"INF", b"-inf": b"-INF"}.get(room.value, room.value)

    def run(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cells = [one(number) for number in bits.reshape(-1).view(of.numpy)]
        begins = np.arange(bits.size) * 24
        ends = begins + [len(cell) for cell in cells]
        whole = b"".join(cell.ljust(24, b"\x00") for cell in cells)
        return np.frombuffer(whole, np.uint8), begins.reshape(bits.shape), ends.reshape(bits.shape)

    return run


def _read(to: DType, words: Sequence[str]) -> Callable[..., Any]:
    def number(word: str) -> int | None:
        try:
            if to is not F64:
                whole = int(word.strip().split(".")[0])
                low, high = (-(2**63), 2**63) if to is I64 else (1 - 2**64, 2**64)
                return whole % 2**64 if low <= whole < high and "e" not in word.lower() and word not in WRONG else None
            found = C.strtod(word.encode(), None)
            if word in WRONG or (np.isinf(found) and "n" not in word.lower()):
                return None
            return int(np.float64(found).view(np.uint64)) if not np.isnan(found) else 0x7FF8 << 48 | ("-" in word) << 63
        except ValueError:
            return None

    def run(text: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [number(word) for word in texts((text, begins, ends))]
        values = np.array([f or 0 for f in found], np.uint64).view(np.int64)
        return values.reshape(begins.shape), np.array([f is not None for f in found]).reshape(begins.shape)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    doubles = _doubles(rng).view(np.int64)
    for digits in (17, 8, 1):
        yield Sample(OPS["written_numbers"](of=F64, digits=digits), (doubles.reshape(5, -1),), _printed(F64, digits))
    edges = [0, 9, 10, -1, 2**63 - 1, -(2**63), -(2**63) + 1]
    integers = np.array([*edges, *rng.integers(-(2**63), 2**63 - 1, 20), *rng.integers(-1000, 1000, 20)], np.int64)
    for dtype in (I64, U64):
        yield Sample(OPS["written_numbers"](of=dtype), (integers,), _printed(dtype, 17))
    long = ["".join(rng.choice(list("0123456789"), rng.integers(1, 40))) for _ in range(60)]
    drawn = [f"{'-' if k % 2 else ''}{d[: k % 5]}{'.' if k % 3 else ''}{d}e{rng.integers(-330, 300)}" for k, d in enumerate(long)]
    drawn += [repr(float(d)) for d in doubles.view(np.float64)[:60]]
    words = [*HARD, *PLAIN, *WRONG, *drawn]
    text = spans(words, (len(words),), rng.permutation(len(words)).tolist(), gap=b"7")
    for dtype in (F64, I64, U64):
        yield Sample(OPS["parsed_text"](to=dtype), text, _read(dtype, words))


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(113)))
