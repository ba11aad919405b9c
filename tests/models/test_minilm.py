"""all-MiniLM-L6-v2: trained weights, its own tokenizer, against transformers; and the search that `tgen demo` does with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tgen
from tgen import frontends
from tgen.models import search

pytestmark = pytest.mark.peer("tokenizers")
SENTENCES = (
    "Click the link on the sign-in page to choose a new password.",
    "The soup of the day is pumpkin with ginger.",
    "Light is scattered by air, and blue light most.",
    "Our shop opens at nine.",
    "A long sentence makes the batch uneven: it goes on, and on, past the point where a shorter one would have stopped, so that "
    "the other sentences are padded, and their embeddings must not change because of it.",
    "No.",
)


@pytest.fixture(scope="module")
def folder(known_model: Callable[[str], Path]) -> Path:
    return known_model("minilm")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> search.SentenceEncoder:
    executable = tgen.compile(search.embedding_graph(frontends.load(folder)))
    return search.SentenceEncoder.of(executable, search.load_tokenizer(folder))


@pytest.fixture(scope="module")
def wanted(folder: Path) -> np.ndarray:
    """Embeddings as transformers and mean pooling give them, one sentence at a time: f32[sentences, 384]."""
    torch = pytest.importorskip("torch", reason="needs torch (extra test)")
    transformers = pytest.importorskip("transformers", reason="needs transformers (extra test)")
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = []
    for sentence in SENTENCES:
        with torch.no_grad():
            row = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def test_embeddings_agree_with_transformers(encoder: search.SentenceEncoder, wanted: np.ndarray) -> None:
    got = encoder.embed(SENTENCES)
    assert got.shape == wanted.shape
    assert np.sum(got * wanted, axis=1).min() >= 0.99999
    np.testing.assert_allclose(got, wanted, atol=2e-6)


def test_the_reference_agrees_too(folder: Path, wanted: np.ndarray) -> None:
    graph = search.embedding_graph(frontends.load(folder))
    names = [n.op.label for n in graph.inputs]
    reference = search.SentenceEncoder(lambda feeds: tgen.reference(graph, feeds), names, search.load_tokenizer(folder), 384)
    assert np.sum(reference.embed(SENTENCES[:2]) * wanted[:2], axis=1).min() >= 0.99999


def test_a_batch_does_not_change_a_sentence(encoder: search.SentenceEncoder) -> None:
    alone = np.concatenate([encoder.embed([s]) for s in SENTENCES])
    np.testing.assert_allclose(encoder.embed(SENTENCES), alone, atol=2e-6)


def test_search_ranks_by_meaning(encoder: search.SentenceEncoder) -> None:
    done: list[int] = []
    index = search.Index.build(encoder, SENTENCES, progress=done.append)
    assert sum(done) == len(SENTENCES) and index.seconds > 0
    answers = index.search("how do I reset my password?", count=3)
    assert [a.rank for a in answers] == [1, 2, 3]
    assert answers[0].index == 0 and answers[0].score > 0.4
    assert answers[0].score >= answers[1].score >= answers[2].score
    assert index.search("why is the sky blue?", count=1)[0].index == 2


def test_an_empty_collection_has_no_answers(encoder: search.SentenceEncoder) -> None:
    assert encoder.embed([]).shape == (0, 384)
    assert search.Index.build(encoder, []).search("anything") == []
