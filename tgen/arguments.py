"""Arguments of `compile` and `build` that are words: the words, and the error for others."""

from __future__ import annotations

from collections.abc import Sequence

from .ir.errors import InvalidInput

PRECISIONS = ("highest", "high", "medium")
SUBNORMALS = ("auto", "keep", "flush")


def require_known(argument: str, given: str, known: Sequence[str]) -> None:
    """Raises InvalidInput, which names the words, for another."""
    if given not in known:
        raise InvalidInput(f"{argument} {given!r}; known: {', '.join(known)}")
