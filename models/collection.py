"""The text collection that ships with tgen, for `tgen demo`: sentences of an imaginary help centre, and a few of everyday life."""

from __future__ import annotations

from importlib import resources


def sentences() -> tuple[str, ...]:
    """What can be found."""
    return _lines("sentences.txt")


def queries() -> tuple[str, ...]:
    """Questions to ask, most of them in other words than the answers."""
    return _lines("queries.txt")


def _lines(name: str) -> tuple[str, ...]:
    """The file's lines, without blank ones."""
    text = (resources.files(__package__) / "data" / name).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())
