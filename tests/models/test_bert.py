"""BERT, RoBERTa and DistilBERT against transformers, with small random weights, by the reference and by compiled code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tgen
from tgen.ir.errors import InvalidInput
from tgen.ir.graph import Graph
from tgen.models.folder import load_folder

transformers = pytest.importorskip("transformers", reason="needs transformers (extra test)", exc_type=ImportError)
torch = pytest.importorskip("torch", reason="needs torch (extra test)", exc_type=ImportError)

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 60}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {**SMALL, "max_position_embeddings": 20}),
    "bert-relu": ("Bert", {**SMALL, "hidden_act": "relu", "layer_norm_eps": 1e-5}),
    "bert-gelu_new": ("Bert", {**SMALL, "hidden_act": "gelu_new"}),
    "bert-silu": ("Bert", {**SMALL, "hidden_act": "silu"}),
    "bert-one-head": ("Bert", {**SMALL, "num_attention_heads": 1, "type_vocab_size": 1}),
    "bert-no-layer": ("Bert", {**SMALL, "num_hidden_layers": 0}),
    "roberta": ("Roberta", {**SMALL, "max_position_embeddings": 22, "pad_token_id": 1, "type_vocab_size": 1}),
    "camembert": ("Camembert", {**SMALL, "max_position_embeddings": 22, "pad_token_id": 1}),
    "xlm-roberta": ("XLMRoberta", {**SMALL, "max_position_embeddings": 22, "pad_token_id": 1}),
    "distilbert": ("DistilBert", {"vocab_size": 60, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40}),
}


def make_model(family: str) -> Any:
    """A transformers model in evaluation mode; weights large enough that every part of the network shows in the result."""
    prefix, settings = FAMILIES[family]
    config = getattr(transformers, f"{prefix}Config")(**settings)
    torch.manual_seed(1)
    model = getattr(transformers, f"{prefix}Model")._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@dataclasses.dataclass(frozen=True)
class Case:
    """A family: the model of transformers, its graph, and what runs the graph."""

    model: Any
    graph: Graph
    runs: dict[str, Run]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    model = make_model(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    graph = load_folder(folder)
    compiled = tgen.compile(graph, cache=False).run
    return Case(model, graph, {"reference": lambda feeds: tgen.reference(graph, feeds), "compiled": compiled})


def expect(model: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        made = model(**{name: torch.tensor(array) for name, array in feeds.items()})
    return {name: made[name].numpy() for name in ("last_hidden_state", "pooler_output") if made.get(name) is not None}


def make_feeds(graph: Graph, batch: int, seq: int) -> dict[str, np.ndarray]:
    """Ids and masks with padding at the right, padding tokens being id 1 (which RoBERTa's positions skip)."""
    random = np.random.default_rng(batch * 100 + seq)
    mask = (np.arange(seq) < random.integers(1, seq + 1, batch)[:, None]).astype(np.int64)
    feeds = {"input_ids": np.where(mask, random.integers(3, 60, (batch, seq)), 1), "attention_mask": mask}
    if any(n.op.label == "token_type_ids" for n in graph.inputs):
        feeds["token_type_ids"] = random.integers(0, 2, (batch, seq))
    return feeds


@pytest.mark.parametrize("by", ["reference", "compiled"])
@pytest.mark.parametrize(("batch", "seq"), [(1, 1), (1, 7), (3, 16), (2, 5)])
def test_agrees_with_transformers(case: Case, by: str, batch: int, seq: int) -> None:
    feeds = make_feeds(case.graph, batch, seq)
    outputs, wanted = case.runs[by](feeds), expect(case.model, feeds)
    assert set(outputs) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(outputs[name], array, rtol=1e-4, atol=2e-5, err_msg=name)


def test_fixed_shapes_give_the_same(tmp_path: Path) -> None:
    model = make_model("bert")
    model.save_pretrained(tmp_path)
    graph = load_folder(tmp_path, shapes={"batch": 2, "seq": 6})
    assert [str(n.op.type) for n in graph.inputs] == ["i64[2, 6]"] * 3
    feeds = make_feeds(graph, 2, 6)
    np.testing.assert_allclose(
        tgen.reference(graph, feeds)["last_hidden_state"], expect(model, feeds)["last_hidden_state"], rtol=1e-4, atol=2e-5
    )


def test_ids_without_a_row_end_the_run(tmp_path: Path) -> None:
    make_model("bert").save_pretrained(tmp_path)
    graph = load_folder(tmp_path)
    compiled = tgen.compile(graph, cache=False)
    for name, wrong in (("input_ids", 60), ("input_ids", -1), ("token_type_ids", 2)):
        feeds = make_feeds(graph, 2, 6)
        feeds[name][1, 3] = wrong
        for run in (compiled.run, lambda given: tgen.reference(graph, given)):
            with pytest.raises(InvalidInput, match=f"{name} has an element outside"):
                run(feeds)


@pytest.mark.parametrize("head", ["ForMaskedLM", "ForSequenceClassification"])
def test_an_encoder_inside_a_larger_model(tmp_path: Path, head: str) -> None:
    """A checkpoint of BERT under a head keeps its encoder's tensors under `bert.`."""
    config = transformers.BertConfig(**FAMILIES["bert"][1])
    model = getattr(transformers, f"Bert{head}")._from_config(config, attn_implementation="eager").eval()
    model.save_pretrained(tmp_path)
    graph = load_folder(tmp_path)
    feeds = make_feeds(graph, 2, 6)
    np.testing.assert_allclose(
        tgen.reference(graph, feeds)["last_hidden_state"],
        expect(model.bert, feeds)["last_hidden_state"],
        rtol=1e-4,
        atol=2e-5,
    )
