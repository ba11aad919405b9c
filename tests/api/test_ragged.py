"""Ragged batches: the same results at tokens as the padded model gives, zeros at padding, and errors where padding counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tgen
from tests.models.tiny import MEAN_POOLING, write_folder
from tests.native import build_executable, host, runnable_targets
from tgen.compiler import compile_graph
from tgen.frontends import load
from tgen.ir.builder import Builder
from tgen.ir.dtypes import BF16
from tgen.ir.errors import InvalidInput, Unsupported
from tgen.ir.graph import Graph, Value
from tgen.kernels.specs import AttendKernel, ContractKernel
from tgen.ragged import RaggedExecutable, tables, with_tables

TARGETS = runnable_targets()
SEQ = 11
LENGTHS = {
    "mixed": (11, 3, 7, 1),
    "whole": (11, 11),
    "one": (1,),
    "with an empty one": (4, 0, 11),
    "empty alone": (0,),
    "no sequence": (),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"), pooling=MEAN_POOLING)


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[tgen.Executable, RaggedExecutable]:
    ragged = tgen.compile(folder, ragged="attention_mask")
    assert isinstance(ragged, RaggedExecutable)
    return tgen.compile(folder), ragged  # type: ignore[return-value]


def feeds(mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "input_ids": rng.integers(0, 50, mask.shape),
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": rng.integers(0, 2, mask.shape),
    }


def prefixes(lengths: tuple[int, ...]) -> np.ndarray:
    return np.arange(SEQ) < np.array(lengths, int).reshape(-1, 1)


def compare(pair: tuple[tgen.Executable, RaggedExecutable], mask: np.ndarray, rng: np.random.Generator) -> None:
    padded, ragged = pair
    f = feeds(mask, rng)
    want, got = padded.run(f), ragged.run(f)
    assert got.keys() == want.keys()
    hidden = got["last_hidden_state"]
    np.testing.assert_allclose(hidden[mask], want["last_hidden_state"][mask], rtol=1e-5, atol=1e-6)
    assert not hidden[~mask].any(), "outputs are 0 at padding"
    some = mask.any(axis=1)
    np.testing.assert_allclose(got["sentence_embedding"][some], want["sentence_embedding"][some], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_lengths(pair, lengths, rng) -> None:
    compare(pair, prefixes(lengths), rng)


def test_padding_before_and_between(pair, rng) -> None:
    compare(pair, prefixes((2, 9, 5))[:, ::-1], rng)
    for _ in range(5):
        compare(pair, rng.random((4, SEQ)) < 0.5, rng)


def precisions() -> Iterator[Any]:
    """ "medium" where it is other code than "highest": on targets that multiply bfloat16."""
    for name, target in TARGETS.items():
        narrow = any(tile.a is BF16 for tile in target.tiles)
        for precision in ("highest", "medium") if narrow else ("highest",):
            yield pytest.param(target, precision, id=f"{precision}-{name}")


@pytest.mark.parametrize(("target", "precision"), list(precisions()))
def test_targets(folder, target, precision, rng) -> None:
    graph = load(folder)
    padded = build_executable(graph, target, precision)
    ragged = RaggedExecutable(
        build_executable(with_tables(graph, "attention_mask"), target, precision, mask="attention_mask"), "attention_mask"
    )
    mask = prefixes((11, 2, 6))
    f = feeds(mask, rng)
    got, want = (e.run(f)["last_hidden_state"][mask] for e in (ragged, padded))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 if precision == "highest" else 2e-2)


def test_work_follows_tokens(folder) -> None:
    """Every product with a weight runs over the tokens, and the attention has a limit."""
    plan = compile_graph(with_tables(load(folder), "attention_mask"), host(), "highest", mask="attention_mask").plan
    contractions = [k for k in plan.kernels if isinstance(k, ContractKernel) and k.depth != 1]
    per_token = [k for k in contractions if str(k.rows) == "tokens"]
    assert len(per_token) == 4, "q·k·v, output, up, down; the pooler runs once a sequence"
    assert all(k.limit is not None for k in plan.kernels if isinstance(k, AttendKernel))


def test_threads_and_repeated_calls(folder, rng) -> None:
    one, two = (tgen.compile(folder, ragged="attention_mask", threads=n) for n in (1, 2))
    for _ in range(20):
        f = feeds(prefixes(tuple(rng.integers(0, SEQ + 1, rng.integers(1, 6)))), rng)
        assert all(np.array_equal(x, y) for x, y in zip(one.run(f).values(), two.run(f).values()))


def test_tables() -> None:
    tokens, slots, lengths = tables(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]]))
    assert tokens.tolist() == [0, 2, 7] and lengths.tolist() == [3, 0, 2]
    assert slots.tolist() == [[0, -1, 1], [-1, -1, -1], [-1, 2, -1]]


def graph_of(body: Callable[[Builder, Value, Value], Value], seq: object = "seq") -> Graph:
    """A graph of x f32[batch, seq, 6] and mask f32[batch, seq]."""
    b = Builder()
    x, mask = b.input("x", "f32", ("batch", seq, 6)), b.input("mask", "f32", ("batch", seq))  # type: ignore[arg-type]
    weight = b.constant(np.random.default_rng(0).standard_normal((6, 6)).astype(np.float32))
    b.output("y", body(b, b.gelu(b.matmul(x, weight)), mask))
    return b.build()


def unmasked(b: Builder, x: Value, mask: Value) -> Value:
    scores = b.matmul(x, b.transpose(x, perm=(0, 2, 1)))
    return b.matmul(b.softmax(scores, axis=-1), x)


def neighbours(b: Builder, x: Value, mask: Value) -> Value:
    """Reads the position before: what is at padding is 0 here and is not in the padded model."""
    before = b.slice(x, axes=(1,), starts=(0,), sizes=(x.type.shape[1] - 1,), steps=(1,))
    first = b.slice(x, axes=(1,), starts=(0,), sizes=(1,), steps=(1,))
    return b.add(b.concat(first, before, axis=1), x)


@pytest.mark.parametrize("body", [unmasked, lambda b, x, mask: b.reduce_mean(x, axes=(1,), keepdims=False)])
def test_a_model_that_minds_padding_is_refused(body) -> None:
    with pytest.raises(Unsupported, match="output 'y' depends on positions that this mask leaves out"):
        tgen.compile(graph_of(body), ragged="mask", cache=False)


def test_a_model_that_looks_around(rng) -> None:
    """Positions are not forgotten: what is read elsewhere is read where it is."""
    graph = graph_of(neighbours)
    padded, ragged = tgen.compile(graph, cache=False), tgen.compile(graph, ragged="mask", cache=False)
    mask = prefixes((11, 4))
    f = {"x": rng.standard_normal((2, SEQ, 6), dtype=np.float32), "mask": mask.astype(np.float32)}
    np.testing.assert_allclose(ragged.run(f)["y"][mask], padded.run(f)["y"][mask], rtol=1e-5, atol=1e-6)


def test_errors(folder, pair, rng) -> None:
    with pytest.raises(InvalidInput, match="no input has this name; inputs: input_ids, attention_mask"):
        tgen.compile(folder, ragged="mask")
    with pytest.raises(InvalidInput, match=r"a mask is \[batch, seq\]"):
        tgen.compile(graph_of(neighbours), ragged="x")
    ragged = pair[1]
    f = feeds(prefixes((3, 2)), rng)
    with pytest.raises(InvalidInput, match="missing input token_type_ids"):
        ragged.run({k: v for k, v in f.items() if k != "token_type_ids"})
    with pytest.raises(InvalidInput, match="no input is named attention_mask.tokens"):
        ragged.run({**f, "attention_mask.tokens": f["input_ids"]})
    with pytest.raises(InvalidInput, match="rank 1"):
        ragged.run({**f, "attention_mask": np.ones(3, np.int64)})
    with pytest.raises(InvalidInput):
        ragged.run({**f, "attention_mask": np.ones((2, SEQ + 1), np.int64)})
    with pytest.raises(InvalidInput, match="2 arrays given"):
        ragged(f["input_ids"], f["attention_mask"])
    assert len(ragged.inputs) == 3
