"""Hugging Face folders: `config.json` says which architecture, `ARCHITECTURES` builds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tgen.ir.errors import InvalidModel, Unsupported
from tgen.ir.graph import Graph

from . import bert
from .checkpoint import Checkpoint, Config
from .sentence import Pooling, read_modules

# model_type of config.json → reader of its settings. Adding an architecture is one row.
ARCHITECTURES: dict[str, Callable[[Config], bert.EncoderConfig]] = {
    "bert": bert.bert_config,
    "roberta": bert.roberta_config,
    "xlm-roberta": bert.roberta_config,
    "camembert": bert.roberta_config,
    "distilbert": bert.distilbert_config,
}


def is_model_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder that says what model it holds."""
    folder = Path(path)
    return (folder / "config.json").is_file() or (folder / "modules.json").is_file()


def load_folder(path: str | os.PathLike[str], *, shapes: Mapping[str, int] | None = None, pooling: Pooling | None = None) -> Graph:
    """The graph of the model in a Hugging Face folder (config.json beside model.safetensors).

    shapes: values for the model's symbols, such as {"batch": 1, "seq": 128}. pooling: adds the output `sentence_embedding`;
    by default what modules.json says, where there is one.
    Raises InvalidModel for a damaged folder, Unsupported for an architecture or setting tgen has no builder for, InvalidInput for
    a wrong shape.
    """
    root = Path(path)
    if not root.is_dir():
        raise InvalidModel(f"{root}: not a folder")
    sentence = read_modules(root)
    config = Config.read(sentence.encoder / "config.json")
    kind = config.text("model_type")
    if kind not in ARCHITECTURES:
        made = ", ".join(config.texts("architectures")) or "no architecture named"
        raise Unsupported(f"{config.path}: model_type {kind!r} ({made}); known: {', '.join(sorted(ARCHITECTURES))}")
    tensors = Checkpoint.open(sentence.encoder)
    return bert.build(ARCHITECTURES[kind](config), tensors, shapes=shapes, pooling=pooling or sentence.pooling, name=kind)
