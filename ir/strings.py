"""Strings at the border: NumPy's arrays of text outside, bytes and where each string ends inside. See `Graph.texts`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from .errors import InvalidInput

PARTS = ("bytes", "ends")


def encode(array: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(UTF-8 u8[bytes], ends i64 of the array's shape) of str or bytes. what: names it in messages. Raises InvalidInput for others."""
    try:
        words = [s if isinstance(s, bytes) else s.encode(errors="surrogateescape") for s in array.reshape(-1).tolist()]
    except (AttributeError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{what} holds what is no text: {error}") from error
    ends = np.cumsum(np.array([len(w) for w in words], np.int64)).reshape(array.shape)
    return np.frombuffer(b"".join(words), np.uint8), ends


def decode(text: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """An array of str, dtype object; bytes that are no UTF-8 become surrogates."""
    out, whole, begin = np.empty(ends.shape, object), text.tobytes(), 0
    flat = out.reshape(-1)
    for k, end in enumerate(ends.reshape(-1).tolist()):
        flat[k] = whole[begin:end].decode(errors="surrogateescape")
        begin = end
    return out


def names_outside(names: Iterable[str], texts: Collection[str]) -> list[str]:
    """Names as the caller has them: a text is one."""
    parts = {f"{text}.{part}": text for text in texts for part in PARTS}
    return list(dict.fromkeys(parts.get(name, name) for name in names))


def encoded(feeds: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """The inputs of a graph for what the caller gives. Raises InvalidInput for a text that is none."""
    found: dict[str, Any] = {}
    for name, given in feeds.items():
        array = np.asarray(given) if name in texts else None
        if array is None:
            found[name] = given
            continue
        if array.dtype.kind not in "OSU":
            raise InvalidInput(f"input {name!r} has dtype {array.dtype}; wanted text")
        found.update(zip((f"{name}.{part}" for part in PARTS), encode(array, f"input {name!r}")))
    return found


def decoded(results: Mapping[str, np.ndarray], texts: Collection[str]) -> dict[str, np.ndarray]:
    """What the caller gets for the outputs of a graph, in order."""
    names = names_outside(results, texts)
    return {name: results[name] if name in results else decode(*(results[f"{name}.{p}"] for p in PARTS)) for name in names}
