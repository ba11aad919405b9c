"""Regular expressions → automata over the bytes of UTF-8: Python's parser, RE2's meaning, states made as sets of places."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...ir.errors import Unsupported

if hasattr(re, "_parser"):  # from Python 3.11 on
    _parser: Any = re._parser
else:
    import sre_parse as _parser

MOST_PLACES, MOST_STATES, MOST_WORK = 20_000, 4_096, 1 << 24
MOST_REPEATS = 1_000  # RE2 refuses longer repeats too
TOP = 0x10FFFF
DIGITS, SPACES = ((0x30, 0x39),), ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20))
WORDS = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
CLASSES = {"CATEGORY_DIGIT": DIGITS, "CATEGORY_SPACE": SPACES, "CATEGORY_WORD": WORDS}
POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z",
    "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
Ranges = tuple[tuple[int, int], ...]  # of code points, both ends included
START, END, EDGE, INSIDE = "at the start", "at the end", "at the edge of a word", "at none"  # what a free edge may ask for


def automaton(pattern: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(kinds, steps, accepts) of `ir.ops.text.MatchedText` for strings that match as a whole.

    Raises ValueError for what is no regular expression, Unsupported for one that is no regular language, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # sets that look nested: their meaning differs
            tree = _parser.parse(_as_python(pattern))
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning) as error:
        raise ValueError(f"pattern {pattern[:80]!r}: {error}") from error
    places = _Places(tree.state.flags)
    last = places.sequence(tree, 0)
    return _determined(places, last)


def _as_python(pattern: str) -> str:
    r"""RE2's [[:alpha:]], \z, \Q…\E in Python's words."""
    pattern = re.sub(r"\\Q(.*?)(\\E|$)", lambda m: re.escape(m[1]), pattern, flags=re.DOTALL)
    pattern = re.sub(r"\[:(\w+):\]", lambda m: POSIX.get(m[1], m[0]), pattern)
    return re.sub(r"(\\\\)|\\z", lambda m: m[1] or r"\Z", pattern)


class _Places:
    """Places in the expression: edges by bytes (first, last, next place), and free ones (what they ask for, next place)."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.bytes: list[list[tuple[int, int, int]]] = [[]]
        self.free: list[list[tuple[str, int]]] = [[]]

    def new(self) -> int:
        if len(self.bytes) >= MOST_PLACES:
            raise Unsupported(f"a pattern of more than {MOST_PLACES} places")
        self.bytes.append([])
        self.free.append([])
        return len(self.bytes) - 1

    def sequence(self, items: Any, at: int) -> int:
        """Adds what matches items, from this place on; where it ends."""
        for kind, value in items:
            at = self.item(str(kind), value, at)
        return at

    def item(self, kind: str, value: Any, at: int) -> int:
        match kind:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self.letters(self.ranges(kind, value), at)
            case "SUBPATTERN":
                before, (_, add, remove, items) = self.flags, value
                self.flags = (self.flags | add) & ~remove
                at = self.sequence(items, at)
                self.flags = before
                return at
            case "BRANCH":
                ends = [self.sequence(items, at) for items in value[1]]
                return self.joined(ends)
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, items = value
                return self.repeated(low, high, items, at)
            case "AT" if str(value) in ("AT_BEGINNING", "AT_BEGINNING_STRING", "AT_END", "AT_END_STRING"):
                if self.flags & re.MULTILINE and not str(value).endswith("STRING"):
                    raise Unsupported("lines in a pattern (?m)")
                return self.stepped(at, END if "END" in str(value) else START)
            case "AT":
                return self.stepped(at, EDGE if str(value) == "AT_BOUNDARY" else INSIDE)
        raise Unsupported(f"{kind.lower()} in a pattern")

    def stepped(self, at: int, asked: str = "") -> int:
        end = self.new()
        self.free[at].append((asked, end))
        return end

    def joined(self, ends: list[int]) -> int:
        end = self.new()
        for place in ends:
            self.free[place].append(("", end))
        return end

    def repeated(self, low: int, high: Any, items: Any, at: int) -> int:
        unlimited = str(high) == "MAXREPEAT"
        if low > MOST_REPEATS or (not unlimited and high > MOST_REPEATS):
            raise Unsupported(f"more than {MOST_REPEATS} repeats in a pattern")
        for _ in range(low):
            at = self.sequence(items, at)
        if unlimited:
            start = self.stepped(at)
            self.free[self.sequence(items, start)].append(("", start))
            return self.stepped(start)
        ends = [at]
        for _ in range(int(high) - low):
            at = self.sequence(items, at)
            ends.append(at)
        return self.joined(ends)

    def ranges(self, kind: str, value: Any) -> Ranges:
        """The letters that an item stands for."""
        if kind == "ANY":
            return ((0, TOP),) if self.flags & re.DOTALL else _others(((0x0A, 0x0A),))
        if kind != "IN":
            found = self.folded(((value, value),))
            return _others(found) if kind == "NOT_LITERAL" else found
        negated, parts = False, list[tuple[int, int]]()
        for what, content in value:
            name = str(what)
            if name == "NEGATE":
                negated = True
            elif name == "CATEGORY":
                parts += _category(str(content))
            else:
                parts.append(content if name == "RANGE" else (content, content))
        found = self.folded(tuple(parts))
        return _others(found) if negated else found

    def folded(self, ranges: Ranges) -> Ranges:
        """With the letters of the other case, if case does not count."""
        if not self.flags & re.IGNORECASE:
            return ranges
        more = {
            ord(new)
            for low, high in ranges
            for c in range(low, min(high, 0x1FFFF) + 1)
            for new in (chr(c).lower(), chr(c).upper())
            if len(new) == 1
        }
        return (*ranges, *((c, c) for c in sorted(more)))

    def letters(self, ranges: Ranges, at: int) -> int:
        """Edges by the bytes of these letters."""
        end = self.new()
        for low, high in _merged(ranges):
            for path in _utf8(low, high):
                place = at
                for first, last in path[:-1]:
                    following = self.new()
                    self.bytes[place].append((first, last, following))
                    place = following
                self.bytes[place].append((*path[-1], end))
        return end

    def reached(self, places: frozenset[int], *asked: str) -> frozenset[int]:
        """These places and all that free edges lead to, if what they ask for holds."""
        found, stack = set(places), list(places)
        while stack:
            for wish, place in self.free[stack.pop()]:
                if place not in found and (not wish or wish in asked):
                    found.add(place)
                    stack.append(place)
        return frozenset(found)


def _category(name: str) -> Ranges:
    plain = CLASSES.get(name.replace("_NOT_", "_"))
    if plain is None:
        raise Unsupported(f"{name.lower()} in a pattern")
    return _others(plain) if "_NOT_" in name else plain


def _merged(ranges: Ranges) -> Iterator[tuple[int, int]]:
    """Ascending, without overlaps, without surrogates, which UTF-8 does not have."""
    whole: list[list[int]] = []
    for low, high in sorted(ranges):
        if whole and low <= whole[-1][1] + 1:
            whole[-1][1] = max(whole[-1][1], high)
        else:
            whole.append([low, high])
    for low, high in whole:
        for first, last in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)):
            if first <= last:
                yield first, last


def _others(ranges: Ranges) -> Ranges:
    """All letters that are in none of the ranges."""
    found, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return (*found, (start, TOP)) if start <= TOP else tuple(found)


def _utf8(low: int, high: int) -> Iterator[list[tuple[int, int]]]:
    """Ranges of bytes, one after another, whose products are the letters from low to high."""
    for limit in (0x7F, 0x7FF, 0xFFFF):  # letters of one size only
        if low <= limit < high:
            yield from _utf8(low, limit)
            yield from _utf8(limit + 1, high)
            return
    for bits in (6, 12, 18):  # where the last bytes differ they take all values, or the ones before are equal
        mask = (1 << bits) - 1
        if low >> bits != high >> bits:
            if low & mask:
                yield from _utf8(low, low | mask)
                yield from _utf8((low | mask) + 1, high)
                return
            if high & mask != mask:
                yield from _utf8(low, (high & ~mask) - 1)
                yield from _utf8(high & ~mask, high)
                return
    yield list(zip(chr(low).encode(), chr(high).encode()))


def _determined(places: _Places, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables: a state is the set of places where a match may be, and whether a letter of a word is behind it."""
    words = WORDS if any(wish in (EDGE, INSIDE) for free in places.free for wish, _ in free) else ()
    cuts = {0, 256, *(cut for low, high in words for cut in (low, high + 1))}
    cuts |= {cut for edges in places.bytes for low, high, _ in edges for cut in (low, high + 1)}
    starts = sorted(cuts)[:-1]
    kinds = (np.searchsorted(starts, np.arange(256), side="right") - 1).astype(np.uint8)
    in_word = [any(low <= byte <= high for low, high in words) for byte in starts]
    listed, numbers = [(places.reached(frozenset({0}), START), False)], dict[tuple[frozenset[int], bool], int]()
    rows, accepts, work = list[list[int]](), list[bool](), 0
    for state, behind in listed:
        here = (START,) if not rows else ()
        accepts.append(last in places.reached(state, END, EDGE if behind else INSIDE, *here))
        rows.append([])
        for byte, word in zip(starts, in_word):
            at = places.reached(state, EDGE if behind != word else INSIDE, *here) if words else state
            edges = [edge for place in at for edge in places.bytes[place]]
            work += len(edges)
            if len(listed) > MOST_STATES or work > MOST_WORK:
                raise Unsupported(f"a pattern of more than {MOST_STATES} states, or too many ways")
            reached = (places.reached(frozenset(to for low, high, to in edges if low <= byte <= high)), word)
            if reached[0] and reached not in numbers:
                numbers[reached] = len(listed)
                listed.append(reached)
            rows[-1].append(numbers.get(reached, -1))
    return kinds, np.array(rows, np.int32), np.array(accepts)
