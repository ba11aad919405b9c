"""Reading model folders: what is wrong with one is said by name, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import tgen
from tgen.ir.errors import InvalidInput, InvalidModel, TgenError, Unsupported
from tgen.models.folder import load_folder
from tgen.models.sentence import Pooling

from .tiny import MEAN_POOLING, SETTINGS, random_feeds, random_tensors, write_folder

QUERY = "encoder.layer.1.attention.self.query.weight"


def hidden_of(folder: Path, **options: Any) -> np.ndarray:
    return tgen.reference(load_folder(folder, **options), random_feeds(2, 5))["last_hidden_state"]


def test_outputs_and_their_types(tmp_path: Path) -> None:
    graph = load_folder(write_folder(tmp_path, pooling=MEAN_POOLING))
    assert {name: str(value.type) for name, value in graph.outputs} == {
        "last_hidden_state": "f32[batch, seq, 16]",
        "pooler_output": "f32[batch, 16]",
        "sentence_embedding": "f32[batch, 16]",
    }


def test_no_pooler_without_its_weights(tmp_path: Path) -> None:
    tensors = {n: a for n, a in random_tensors(SETTINGS).items() if not n.startswith("pooler")}
    assert [n for n, _ in load_folder(write_folder(tmp_path, tensors=tensors)).outputs] == ["last_hidden_state"]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_weights_of_any_float(tmp_path: Path, dtype: Any) -> None:
    """Weights are read as the numbers they are, whatever they are stored as."""
    stored = {n: a.astype(dtype) for n, a in random_tensors(SETTINGS).items()}
    widened = {n: a.astype(np.float32) for n, a in stored.items()}
    narrow = hidden_of(write_folder(tmp_path / "stored", tensors=stored))
    np.testing.assert_array_equal(narrow, hidden_of(write_folder(tmp_path / "widened", tensors=widened)))


def test_old_names_of_norms(tmp_path: Path) -> None:
    tensors = random_tensors(SETTINGS)
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a for n, a in tensors.items()
    }
    assert old.keys() != tensors.keys()
    new_result = hidden_of(write_folder(tmp_path / "new", tensors=tensors))
    np.testing.assert_array_equal(hidden_of(write_folder(tmp_path / "old", tensors=old)), new_result)


def test_shards(tmp_path: Path) -> None:
    tensors = random_tensors(SETTINGS)
    wanted = hidden_of(write_folder(tmp_path / "one", tensors=tensors))
    folder = write_folder(tmp_path / "two", tensors=tensors)
    (folder / "model.safetensors").unlink()
    names = list(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({n: tensors[n] for n in part}, folder / file)
    index = {"weight_map": {n: file for file, part in parts.items() for n in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(hidden_of(folder), wanted)
    index["weight_map"][names[0]] = "../a.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidModel, match=r"'../a.safetensors' is not a plain file name"):
        load_folder(folder)


def pooled(mode: str, hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The formulas of sentence-transformers, in float64."""
    rows = [h[m.astype(bool)].astype(np.float64) for h, m in zip(hidden, mask)]
    by_mode = {
        "mean": lambda r: r.mean(0),
        "max": lambda r: r.max(0),
        "mean_sqrt_len_tokens": lambda r: r.sum(0) / np.sqrt(len(r)),
    }
    return hidden[:, 0].astype(np.float64) if mode == "cls" else np.stack([by_mode[mode](r) for r in rows])


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mode", ["cls", "mean", "max", "mean_sqrt_len_tokens"])
def test_pooling(tmp_path: Path, mode: str, normalise: bool) -> None:
    graph = load_folder(write_folder(tmp_path), pooling=Pooling(mode, normalise))
    feeds = random_feeds(4, 9)
    outputs = tgen.reference(graph, feeds)
    wanted = pooled(mode, outputs["last_hidden_state"], feeds["attention_mask"])
    if normalise:
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["sentence_embedding"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [MEAN_POOLING, {"pooling_mode": "mean"}, {"embedding_dimension": 16, "pooling_mode": "mean", "include_prompt": True}],
)
def test_pooling_as_folders_write_it(tmp_path: Path, config: dict[str, Any]) -> None:
    graph = load_folder(write_folder(tmp_path, pooling=config))
    feeds = random_feeds(3, 6)
    outputs = tgen.reference(graph, feeds)
    wanted = pooled("mean", outputs["last_hidden_state"], feeds["attention_mask"])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["sentence_embedding"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model_type": "mamba"}, Unsupported, r"model_type 'mamba' \(BertModel\); known: bert, camembert"),
        ({"model_type": None}, InvalidModel, "'model_type' is missing"),
        ({"hidden_act": "mish"}, Unsupported, r"hidden_act 'mish' \(known: gelu"),
        ({"position_embedding_type": "relative_key", "is_decoder": True}, Unsupported, "relative_key.*; is_decoder = true"),
        ({"quantization_config": {"bits": 4}}, Unsupported, "quantization_config"),
        ({"num_attention_heads": 5}, InvalidModel, "5 heads do not divide the hidden size 16"),
        ({"hidden_size": "16"}, InvalidModel, "'hidden_size' is '16'; an integer of at least 1 is wanted"),
        ({"hidden_size": -1}, InvalidModel, "'hidden_size' is '-1'"),
        ({"vocab_size": None}, InvalidModel, "'vocab_size' is missing"),
        ({"layer_norm_eps": -1.0}, InvalidModel, "'layer_norm_eps' is '-1.0'"),
        ({"layer_norm_eps": "tiny"}, InvalidModel, "'layer_norm_eps' is 'tiny'"),
    ],
)
def test_settings_that_do_not_do(tmp_path: Path, change: dict[str, Any], error: type[TgenError], message: str) -> None:
    folder = write_folder(tmp_path)
    settings = {k: v for k, v in {**SETTINGS, **change}.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(error, match=message):
        load_folder(folder)


def test_missing_tensor(tmp_path: Path) -> None:
    tensors = random_tensors(SETTINGS)
    del tensors[QUERY]
    with pytest.raises(InvalidModel, match=rf"tensor '{QUERY}' is missing; wanted f32\[16, 16\]"):
        load_folder(write_folder(tmp_path, tensors=tensors))


def test_wrong_shape(tmp_path: Path) -> None:
    tensors = {**random_tensors(SETTINGS), QUERY: np.zeros((16, 17), np.float32)}
    with pytest.raises(InvalidModel, match=rf"'{QUERY}' has shape \[16, 17\]; config.json wants \[16, 16\]"):
        load_folder(write_folder(tmp_path, tensors=tensors))


def test_wrong_dtype(tmp_path: Path) -> None:
    tensors = {**random_tensors(SETTINGS), QUERY: np.zeros((16, 16), np.int8)}
    with pytest.raises(InvalidModel, match=rf"'{QUERY}' is I8; a float is wanted"):
        load_folder(write_folder(tmp_path, tensors=tensors))


def test_a_huge_declared_size_costs_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "config.json").write_text(json.dumps({**SETTINGS, "vocab_size": 1 << 60, "num_hidden_layers": 1 << 60}))
    with pytest.raises(InvalidModel, match="embeddings.word_embeddings.weight"):
        load_folder(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_weights(tmp_path: Path, keep: int) -> None:
    path = write_folder(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidModel, match="model.safetensors: not a sound safetensors file"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (5).to_bytes(8, "little") + b"{nope",
        (62).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[99999999],"data_offsets":[0,4]}}   ',
    ],
)
def test_weights_that_lie(tmp_path: Path, header: bytes) -> None:
    path = write_folder(tmp_path) / "model.safetensors"
    path.write_bytes(header + bytes(16))
    with pytest.raises(InvalidModel, match="model.safetensors"):
        load_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\x00", '"config"'])
def test_damaged_config(tmp_path: Path, text: str) -> None:
    (write_folder(tmp_path) / "config.json").write_text(text)
    with pytest.raises(InvalidModel, match="config.json"):
        load_folder(tmp_path)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(InvalidModel, match="config.json"):
        load_folder(tmp_path)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(Unsupported, match="pytorch_model.bin; tgen reads model.safetensors"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("modules", "error", "message"),
    [
        ([{"path": "../../etc", "type": "x.Transformer"}], InvalidModel, "leaves the model's folder"),
        ([{"path": "", "type": "x.Transformer"}, {"path": "2", "type": "x.Dense"}], Unsupported, "modules Dense"),
        ([{"path": "", "type": "x.Pooling"}], Unsupported, "wanted Transformer → Pooling → Normalize"),
        ({"a": 1}, InvalidModel, "a list of modules is wanted"),
        ([7], InvalidModel, "an object is wanted"),
    ],
)
def test_modules_that_do_not_do(tmp_path: Path, modules: Any, error: type[TgenError], message: str) -> None:
    (write_folder(tmp_path) / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(error, match=message):
        load_folder(tmp_path)


def test_two_poolings_at_once(tmp_path: Path) -> None:
    both = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}
    with pytest.raises(Unsupported, match=r"pooling mean \+ cls"):
        load_folder(write_folder(tmp_path, pooling=both))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"length": 3}, "no dimension is named 'length'; this model has batch and seq"),
        ({"seq": 13}, "seq = 13; this model has positions for at most 12 tokens"),
        ({"batch": -1}, "batch = -1"),
    ],
)
def test_shapes_that_do_not_fit(tmp_path: Path, shapes: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load_folder(write_folder(tmp_path), shapes=shapes)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("compiled", [False, True], ids=["reference", "compiled"])
def test_more_tokens_than_positions(tmp_path: Path, kind: str, compiled: bool) -> None:
    """Up to the last position a run is fine; one token more is refused before anything is computed."""
    settings = {"model_type": kind, "pad_token_id": 1, "num_hidden_layers": 1}
    graph = load_folder(write_folder(tmp_path, settings=settings))
    longest = 12 if kind == "bert" else 10
    executable = tgen.compile(graph, cache=False) if compiled else None
    run = executable.run if executable else lambda feeds: tgen.reference(graph, feeds)
    assert run(random_feeds(2, longest))["last_hidden_state"].shape == (2, longest, 16)
    with pytest.raises(InvalidInput, match=rf"sizes that the model does not allow.*{longest}"):
        run(random_feeds(2, longest + 1))
