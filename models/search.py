"""Search by meaning: sentences become vectors of length 1; the nearest to a query's vector are the answers.

similarity = embedding(query) · embedding(sentence)       (the cosine of the angle between them)
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tgen.ir.errors import InvalidModel, TgenError
from tgen.ir.graph import Graph

from .checkpoint import Config
from .sentence import read_modules

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tgen.executable import Executable
    from tgen.ragged import RaggedExecutable
    from tgen.texts import TextExecutable

BATCH = 16  # sentences embedded in one run; they are sorted by length, so that little of a batch is padding
LONGEST = 512  # tokens, where the folder sets no limit


@dataclasses.dataclass(frozen=True)
class Answer:
    """rank: from 1; index: of the sentence in the collection; score: the cosine, -1 … 1."""

    rank: int
    index: int
    score: float


def embedding_graph(graph: Graph) -> Graph:
    """The graph with `sentence_embedding` as its one output. Raises InvalidModel if it has none."""
    outputs = tuple((name, value) for name, value in graph.outputs if name == "sentence_embedding")
    if not outputs:
        raise InvalidModel(f"{graph.name}: no output sentence_embedding; outputs: {', '.join(n for n, _ in graph.outputs)}")
    return dataclasses.replace(graph, outputs=outputs)


def need_tokenizers() -> None:
    """Raises TgenError, with the remedy, if the package `tokenizers` is not installed."""
    if importlib.util.find_spec("tokenizers") is None:
        raise TgenError("the package tokenizers is not installed; pip install 'tgen[demo]' brings it")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The folder's own tokenizer, cutting texts at the length its sentence_bert_config.json sets.

    Raises what `need_tokenizers` raises, InvalidModel if tokenizer.json is missing or damaged.
    """
    need_tokenizers()
    from tokenizers import Tokenizer

    path = read_modules(folder).encoder / "tokenizer.json"
    if not path.is_file():
        raise InvalidModel(f"{path} is missing")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise InvalidModel(f"{path}: not a sound tokenizer: {error}") from error
    limits = folder / "sentence_bert_config.json"
    longest = Config.read(limits).integer("max_seq_length", LONGEST) if limits.is_file() else LONGEST
    tokenizer.enable_truncation(longest)
    tokenizer.no_padding()
    return tokenizer


class SentenceEncoder:
    """Sentences to vectors.

    run: feeds by name → outputs by name (an Executable's `run`, or the reference); names: the inputs it takes; width: elements
    of a vector.
    """

    def __init__(
        self, run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], names: Sequence[str], tokenizer: Any, width: int
    ) -> None:
        self.width = width
        self._run = run
        self._names = tuple(names)
        self._tokenizer = tokenizer

    @classmethod
    def of(cls, executable: Executable | TextExecutable | RaggedExecutable, tokenizer: Any) -> SentenceEncoder:
        """Of a compiled `embedding_graph`."""
        return cls(executable.run, [spec.name for spec in executable.inputs], tokenizer, int(executable.outputs[0].shape[-1]))

    def embed(self, sentences: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """f32[len(sentences), hidden] of unit rows; progress: called with the number of sentences each run has done."""
        encoded = self._tokenizer.encode_batch(list(sentences))
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
        rows: list[np.ndarray | None] = [None] * len(encoded)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            vectors = self._run(self._feeds([encoded[i] for i in chosen]))["sentence_embedding"]
            for i, vector in zip(chosen, vectors):
                rows[i] = vector
            if progress:
                progress(len(chosen))
        return np.stack(rows) if rows else np.zeros((0, self.width), np.float32)  # type: ignore[arg-type]

    def _feeds(self, encoded: Sequence[Any]) -> dict[str, np.ndarray]:
        """i64[batch, longest of them] ids, mask and types, padded with 0 at the right."""
        shape = (len(encoded), max(len(e.ids) for e in encoded))
        feeds = {name: np.zeros(shape, np.int64) for name in self._names}
        for row, e in enumerate(encoded):
            parts = {"input_ids": e.ids, "attention_mask": e.attention_mask, "token_type_ids": e.type_ids}
            for name in self._names:
                feeds[name][row, : len(e.ids)] = parts[name]
        return feeds


@dataclasses.dataclass(frozen=True)
class Index:
    """An embedded collection. vectors: f32[sentences, hidden], unit rows; seconds: the embedding took."""

    encoder: SentenceEncoder
    sentences: tuple[str, ...]
    vectors: np.ndarray
    seconds: float

    @classmethod
    def build(cls, encoder: SentenceEncoder, sentences: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Index:
        start = time.perf_counter()
        vectors = encoder.embed(sentences, progress=progress)
        return cls(encoder, tuple(sentences), vectors, time.perf_counter() - start)

    def search(self, query: str, count: int = 3) -> list[Answer]:
        """The `count` sentences nearest in meaning to the query, best first."""
        scores = self.vectors @ self.encoder.embed([query])[0]
        best = np.argsort(-scores, kind="stable")[:count]
        return [Answer(rank, int(i), float(scores[i])) for rank, i in enumerate(best, start=1)]
