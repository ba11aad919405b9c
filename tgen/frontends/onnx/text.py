"""`Text`: what stands for a tensor of strings while a model is imported; the graph knows its parts only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...ir.dims import DimLike
from ...ir.dtypes import F64, I64, STRING, U64, DType
from ...ir.graph import Value
from ...ir.ops.text import GROWTH
from ...ir.strings import encode
from ...ir.types import TensorType, broadcast
from .content import ShapeBuilder


@dataclass(frozen=True)
class Text:
    """String i is bytes[begins[i]:ends[i]], UTF-8. bytes: u8[n]; begins, ends: i64 of the tensor's shape.

    So operators that move strings move numbers. compact: the strings stand in order, each behind the one before, and nothing else.
    """

    bytes: Value
    begins: Value
    ends: Value
    compact: bool = False

    @property
    def type(self) -> TensorType:
        """As the model declares it."""
        return self.ends.type.with_dtype(STRING)

    @property
    def constant(self) -> None:
        """See `Value.constant`: nobody reads strings while importing."""

    @property
    def parts(self) -> tuple[Value, Value, Value]:
        """The operands that an op over strings takes."""
        return self.bytes, self.begins, self.ends


def compact_text(b: ShapeBuilder, text: Value, ends: Value) -> Text:
    """Strings of which only the ends are known."""
    count = ends.type.elements
    shifted = b.concat(b.constant(np.zeros(1, np.int64)), b.reshape(ends, shape=(count,)), axis=0)
    begins = b.slice(shifted, axes=(0,), starts=(0,), sizes=(count,), steps=(1,))
    return Text(text, b.reshape(begins, shape=ends.type.shape), ends, compact=True)


def constant_text(b: ShapeBuilder, array: np.ndarray, what: str = "a constant") -> Text:
    """Strings that are known. Raises InvalidInput for what is no text; what: names it."""
    text, ends = encode(array, what)
    sizes = np.diff(ends.reshape(-1), prepend=0).reshape(ends.shape)
    return Text(b.constant(text), b.constant(ends - sizes), b.constant(ends), compact=True)


def input_text(b: ShapeBuilder, name: str, size: DimLike, shape: Sequence[DimLike]) -> Text:
    """An input of strings. A run whose ends do not ascend to its number of bytes raises InvalidInput, and reads no other memory."""
    text, given = b.text_input(name, size, shape)
    end = b.reshape(b.dims_value(dims=(size,)), shape=())
    within = b.min(b.max(given, 0), end)
    found = compact_text(b, text, within)
    starts, stops = (b.reshape(v, shape=(given.type.elements,)) for v in (found.begins, given))
    one, zero = b.constant(np.ones(1, np.bool_)), b.constant(np.zeros(1, np.int64))
    sound = b.reduce_min(b.cast(b.concat(one, b.less_or_equal(starts, stops), axis=0), to=I64), axes=(0,), keepdims=False)
    last = b.reduce_max(b.concat(zero, stops, axis=0), axes=(0,), keepdims=False)
    both = getattr(b, "and")(b.greater(sound, 0), b.equal(last, end))
    b.check(both, f"input {name!r}: the ends of its strings do not ascend to its number of bytes")
    return found


def lengths(b: ShapeBuilder, text: Text) -> Value:
    """Bytes of each string, i64."""
    out: Value = b.max(b.sub(text.ends, text.begins), 0)
    return out


def packed(b: ShapeBuilder, text: Text) -> Text:
    """The same strings, compact."""
    if text.compact:
        return text
    shape, count = text.ends.type.shape, text.ends.type.elements
    sizes = b.reshape(lengths(b, text), shape=(count,))
    ends = b.cum_sum(sizes, axis=0)
    begins = b.sub(ends, sizes)
    size = b.extent(b.reduce_sum(sizes, axes=(0,), keepdims=False))
    flat = [b.reshape(v, shape=(count,)) for v in (text.begins, text.ends)]
    copied = b.copied_text(text.bytes, *flat, begins, size=size)
    return Text(copied, b.reshape(begins, shape=shape), b.reshape(ends, shape=shape), compact=True)


def merged(b: ShapeBuilder, texts: Sequence[Text]) -> list[Text]:
    """The same texts over common bytes."""
    if len({t.bytes for t in texts}) == 1:
        return list(texts)
    pool, found = b.concat(*(t.bytes for t in texts), axis=0), list[Text]()
    before: DimLike = 0
    for text in texts:
        shift = b.reshape(b.dims_value(dims=(before,)), shape=())
        found.append(Text(pool, b.add(text.begins, shift), b.add(text.ends, shift)))
        before = before + text.bytes.type.shape[0]
    return found


def broadcast_texts(b: ShapeBuilder, first: Text, second: Text) -> tuple[Text, Text]:
    """Both in the shape that they broadcast to."""
    shapes = [v.type.shape for v in b.agreed((first.ends, second.ends))]
    whole = broadcast(*shapes)

    def spread(value: Value, shape: Sequence[DimLike]) -> Value:
        out: Value = b.expand(b.assumed(value, tuple(shape)), shape=whole)
        return out

    one, other = (
        replace(t, begins=spread(t.begins, s), ends=spread(t.ends, s), compact=t.compact and s == whole)
        for t, s in zip((first, second), shapes)
    )
    return one, other


def reshaped(b: ShapeBuilder, text: Text, shape: Sequence[DimLike]) -> Text:
    """The strings, in row-major order, in another shape."""
    return replace(text, begins=b.reshape(text.begins, shape=shape), ends=b.reshape(text.ends, shape=shape))


def recased(b: ShapeBuilder, text: Text, upper: bool) -> Text:
    """Each letter in upper or lower case, where that is one letter too."""
    text = packed(b, text)
    table = letter_table(upper)
    changed, ends = b.replaced_letters(*text.parts, *(b.constant(column) for column in table))
    return Text(changed, b.mul(text.begins, GROWTH), ends)


def written(b: ShapeBuilder, x: Value) -> Text:
    """Numbers as strings, as ONNX Runtime writes them: floats with 8 significant digits at most, also those of 64 bits; bool as 0, 1."""
    dtype = x.type.dtype
    wide = F64 if dtype.is_float else U64 if dtype.kind == "uint" else I64
    bits = b.cast(x, to=wide)
    parts = b.written_numbers(bits if wide is I64 else b.bit_cast(bits, to=I64), of=wide, digits=8)
    return Text(*parts)


def parsed(b: ShapeBuilder, text: Text, to: DType) -> tuple[Value, Value]:
    """(numbers, whether each string is one): f64 for floats, u64 for unsigned integers and bool, i64 for others. See `ParsedText`."""
    wide = F64 if to.is_float else I64 if to.kind == "int" else U64
    bits, valid = b.parsed_text(*text.parts, to=wide)
    return bits if wide is I64 else b.bit_cast(bits, to=wide), valid


def letter_table(upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """(letters, those of the other case) i32, as Python's tables of Unicode have them."""
    other = str.upper if upper else str.lower
    pairs = [(c, other(chr(c))) for c in range(0x1F000) if not 0xD800 <= c < 0xE000]
    found = [(c, ord(new)) for c, new in pairs if len(new) == 1 and ord(new) != c]
    kept = [(c, new) for c, new in found if len(chr(new).encode()) <= GROWTH * len(chr(c).encode())]
    first, second = np.array(kept, np.int32).T
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


def places_among(b: ShapeBuilder, text: Text, words: Sequence[str]) -> Value:
    """i64: where each string last stands among the words, -1 where it does not."""
    last = {word: k for k, word in enumerate(words)}
    keys = sorted(last, key=str.encode)
    table = b.constant(np.array([*(last[key] for key in keys), -1], np.int64))
    found = b.text_places(*text.parts, *constant_text(b, np.array(keys, object)).parts)
    places: Value = b.gather(table, found)  # the last entry is that of -1
    return places


def chosen(b: ShapeBuilder, table: np.ndarray, places: Value) -> Value | Text:
    """The elements of a vector at these places, whether numbers or strings."""
    if table.dtype.kind not in "OSU":
        found: Value = b.gather(b.constant(table), places)
        return found
    known = constant_text(b, table)
    return Text(known.bytes, b.gather(known.begins, places), b.gather(known.ends, places))
