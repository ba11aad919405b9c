"""The text collection that ships with tgen."""

from __future__ import annotations

from tgen.models import collection


def test_the_collection() -> None:
    sentences = collection.sentences()
    assert len(sentences) == len(set(sentences)) >= 100
    assert all(line == line.strip() and line.endswith(".") and len(line) < 120 for line in sentences)


def test_the_queries() -> None:
    assert len(collection.queries()) >= 5
    assert not set(collection.queries()) & set(collection.sentences())
