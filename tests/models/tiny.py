"""Tiny encoder folders, written without transformers: settings and random tensors under the names a real one has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

SETTINGS: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
MEAN_POOLING = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}


def shapes_of(settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a BERT of these settings, by name."""
    hidden, inner = settings["hidden_size"], settings["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (settings["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (settings["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (settings["type_vocab_size"], hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    dense = {**dict.fromkeys(square, (hidden, hidden)), "intermediate.dense": (inner, hidden), "output.dense": (hidden, inner)}
    for layer in range(settings["num_hidden_layers"]):
        for name, shape in dense.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (hidden,)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (hidden,)
    return shapes


def random_tensors(settings: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {n: random.standard_normal(s).astype(np.float32) * np.float32(0.2) for n, s in shapes_of(settings).items()}


def write_folder(
    folder: Path, *, settings: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None, pooling: Any = None
) -> Path:
    """A model folder; settings: changes to SETTINGS (None removes one); pooling: makes it a sentence-transformers folder."""
    chosen = {k: v for k, v in {**SETTINGS, **(settings or {})}.items() if v is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(chosen))
    save_file(random_tensors({**SETTINGS, **chosen}) if tensors is None else tensors, folder / "model.safetensors")
    if pooling is not None:
        kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
        modules = [{"idx": i, "path": p, "type": f"sentence_transformers.models.{k}"} for i, (p, k) in enumerate(kinds.items())]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def random_feeds(batch: int, seq: int, *, vocabulary: int = 50, seed: int = 0, types: bool = True) -> dict[str, np.ndarray]:
    """Ids, a mask whose rows have between 1 and seq leading ones, and token types."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, seq + 1, batch)
    feeds = {
        "input_ids": random.integers(3, vocabulary, (batch, seq)),
        "attention_mask": (np.arange(seq) < lengths[:, None]).astype(np.int64),
    }
    if types:
        feeds["token_type_ids"] = random.integers(0, 2, (batch, seq))
    return feeds
