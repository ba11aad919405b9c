"""From token vectors to one vector a text, as sentence-transformers folders describe it (modules.json).

mean                 Σ mask·h / max(Σ mask, 1e-9)          mean_sqrt_len_tokens   Σ mask·h / √max(Σ mask, 1e-9)
cls                  h[0]                                  max                    max over tokens (padding: -1e9)
normalise            v / max(‖v‖₂, 1e-12)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tgen.ir.builder import Builder
from tgen.ir.errors import InvalidModel, Unsupported
from tgen.ir.graph import Value

from .checkpoint import Config, read_json

MODES = ("cls", "mean", "max", "mean_sqrt_len_tokens")


@dataclass(frozen=True)
class Pooling:
    """mode: one of MODES; normalise: scale to unit length."""

    mode: str = "mean"
    normalise: bool = True


@dataclass(frozen=True)
class SentenceFolder:
    """What modules.json says. encoder: folder of the encoder; pooling: None in a folder that is no sentence encoder."""

    encoder: Path
    pooling: Pooling | None


def read_modules(folder: Path) -> SentenceFolder:
    """Reads modules.json, if there is one.

    Raises InvalidModel if it is damaged or leaves the folder, Unsupported naming modules other than an encoder, its pooling and
    normalisation.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return SentenceFolder(folder, None)
    modules = read_json(path)
    if not isinstance(modules, list):
        raise InvalidModel(f"{path}: a list of modules is wanted")
    parts = [Config(m, path) for m in modules]
    kinds = [m.text("type").rpartition(".")[2] for m in parts]
    known = ("Transformer", "Pooling", "Normalize")
    if other := [k for k in kinds if k not in known]:
        raise Unsupported(f"{path}: modules {', '.join(other)} (known: {', '.join(known)})")
    if kinds not in (["Transformer"], ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise Unsupported(f"{path}: modules {' → '.join(kinds)}; wanted Transformer → Pooling → Normalize")
    encoder = _inside(folder, parts[0])
    if len(kinds) == 1:
        return SentenceFolder(encoder, None)
    mode = _pooling_mode(Config.read(_inside(folder, parts[1]) / "config.json"))
    return SentenceFolder(encoder, Pooling(mode, normalise="Normalize" in kinds))


def _inside(folder: Path, module: Config) -> Path:
    path = (folder / module.text("path", "")).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidModel(f"{module.path}: path {module.text('path')!r} leaves the model's folder")
    return folder / module.text("path", "")


def _pooling_mode(config: Config) -> str:
    """`pooling_mode` where it is given by name, else the one `pooling_mode_…` that is true (mean if none is written)."""
    if config.get("pooling_mode") is not None:
        mode = config.text("pooling_mode").replace("mean_tokens", "mean")
        modes = [mode]
    else:
        flags = {key: config.flag(key) for key in config.values if key.startswith("pooling_mode_")}
        modes = [k.removeprefix("pooling_mode_").replace("cls_token", "cls") for k, on in flags.items() if on]
        modes = [{"mean_tokens": "mean", "max_tokens": "max"}.get(m, m) for m in modes] or ["mean"]
    if len(modes) != 1 or modes[0] not in MODES:
        raise Unsupported(f"{config.path}: pooling {' + '.join(modes)} (known: one of {', '.join(MODES)})")
    return modes[0]


def sentence_embedding(b: Builder, hidden: Value, mask: Value, pooling: Pooling) -> Value:
    """f32[batch, hidden] of hidden f32[batch, seq, hidden] and mask f32[batch, seq]."""
    batch, seq, width = hidden.type.shape
    vector = b.reshape(_pool(b, hidden, b.reshape(mask, shape=(batch, seq, 1)), pooling.mode), shape=(batch, width))
    if not pooling.normalise:
        return vector
    length = b.sqrt(b.reduce_sum(b.mul(vector, vector), axes=(-1,)))
    return b.div(vector, b.max(length, 1e-12))


def _pool(b: Builder, hidden: Value, mask: Value, mode: str) -> Value:
    """f32[batch, 1, hidden]; mask: f32[batch, seq, 1]."""
    if mode == "cls":
        return b.slice(hidden, axes=(1,), starts=(0,), sizes=(1,), steps=(1,))
    if mode == "max":
        return b.reduce_max(b.where(b.equal(mask, 0.0), b.constant(-1e9, hidden.type.dtype), hidden), axes=(1,))
    total = b.reduce_sum(b.mul(hidden, mask), axes=(1,))
    count = b.max(b.reduce_sum(mask, axes=(1,)), 1e-9)
    return b.div(total, count if mode == "mean" else b.sqrt(count))
