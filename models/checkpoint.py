"""Files of a Hugging Face folder: `Config` reads a JSON settings file, `Checkpoint` the tensors of its safetensors files.

Both are read as hostile input: whatever is missing, truncated or of the wrong kind raises InvalidModel naming file and entry.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tgen.ir.dtypes import dtype_of
from tgen.ir.errors import InvalidModel, Unsupported

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_FLOATS = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}  # their names in safetensors, and here
LARGEST_JSON = 64 << 20  # bytes; far above any real settings file


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises InvalidModel if it can't be read, is over 64 MiB, or is not JSON."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise InvalidModel(f"{path}: {path.stat().st_size} bytes is too large for a settings file")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidModel(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidModel(f"{path}: not valid JSON: {error}") from error


class Config:
    """A JSON object whose entries are fetched with their kind checked; `given` names of a key are tried in order."""

    def __init__(self, values: Any, path: Path) -> None:
        if not isinstance(values, dict):
            raise InvalidModel(f"{path}: an object is wanted, not {type(values).__name__}")
        self.values: dict[str, Any] = values
        self.path = path

    @classmethod
    def read(cls, path: Path) -> Config:
        return cls(read_json(path), path)

    def get(self, key: str, default: Any = None) -> Any:
        """The entry, or default where it is missing or null."""
        value = self.values.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        """An integer >= least; without a default the entry is required."""
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._wrong(key, f"an integer of at least {least}", value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number >= 0; without a default the entry is required."""
        value = self.get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise self._wrong(key, "a finite number of at least 0", value)
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "text", value)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def texts(self, key: str) -> list[str]:
        """A list of text; empty if missing."""
        value = self.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self._wrong(key, "a list of text", value)
        return value

    def _wrong(self, key: str, wanted: str, value: Any) -> InvalidModel:
        if value is None:
            return InvalidModel(f"{self.path}: {key!r} is missing; {wanted} is wanted")
        return InvalidModel(f"{self.path}: {key!r} is {str(value)[:60]!r}; {wanted} is wanted")


@dataclass(frozen=True)
class Stored:
    """A tensor in a mapped file: its bytes are read when it is used, and stay the file's."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def array(self) -> np.ndarray:
        return np.frombuffer(self.data, dtype_of(_FLOATS[self.dtype]).numpy).reshape(self.shape)


class Checkpoint:
    """Named tensors of a folder. Float32 tensors are views of the mapped file, which must not be written to while they are in use.

    prefix: text that every name of the model's own tensors starts with (`bert.` where the model sits inside another).
    """

    def __init__(self, tensors: Mapping[str, Stored], origin: Path, prefix: str = "") -> None:
        self._tensors = tensors
        self.origin = origin
        self.prefix = prefix

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """The tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` lists.

        Raises InvalidModel for a damaged file, Unsupported where the folder holds its weights in another format.
        """
        if (folder / WEIGHTS).is_file():
            return cls(_open_file(folder / WEIGHTS), folder / WEIGHTS)
        if (folder / WEIGHTS_INDEX).is_file():
            return cls(_open_shards(folder), folder / WEIGHTS_INDEX)
        others = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".h5", ".msgpack"))
        if others:
            raise Unsupported(f"{folder}: weights are in {', '.join(others)}; tgen reads {WEIGHTS} (save it with safetensors)")
        raise InvalidModel(f"{folder}: {WEIGHTS} is missing")

    def inside(self, *prefixes: str) -> Checkpoint:
        """The same tensors, seen from the first of these prefixes that any name starts with (else from the top)."""
        found = next((p for p in prefixes if any(name.startswith(p) for name in self._tensors)), "")
        return Checkpoint(self._tensors, self.origin, found)

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self._tensors

    def take(self, name: str, shape: Sequence[int]) -> np.ndarray:
        """The tensor as float32, whatever float it is stored as.

        Raises InvalidModel if it is missing, not of `shape` (both are checked before a byte of it is read) or not of floats.
        """
        full = self.prefix + name
        if full not in self._tensors:
            raise InvalidModel(f"{self.origin}: tensor {full!r} is missing; wanted f32{list(shape)}")
        stored = self._tensors[full]
        if stored.shape != tuple(shape):
            raise InvalidModel(f"{self.origin}: tensor {full!r} has shape {list(stored.shape)}; config.json wants {list(shape)}")
        if stored.dtype not in _FLOATS:
            raise InvalidModel(f"{self.origin}: tensor {full!r} is {stored.dtype}; a float is wanted")
        return stored.array().astype(np.float32, copy=False)

    def take_any(self, names: Iterable[str], shape: Sequence[int]) -> np.ndarray:
        """The first of these names that exists; raises as `take` for the first name if none does."""
        names = list(names)
        return self.take(next((n for n in names if n in self), names[0]), shape)


def _open_file(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file: a length (u64), a header of that many bytes (JSON: name → dtype, shape, where), then data."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(
            path, framework="numpy"
        ):  # the header is sound: no tensor is beyond the file, or of another size than its shape
            pass
        with open(path, "rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise InvalidModel(f"{path}: not a sound safetensors file: {error}") from error
    start = 8 + int.from_bytes(mapped[:8], "little")
    header = json.loads(bytes(mapped[8:start]))
    data = mapped[start:]
    return {
        name: Stored(facts["dtype"], tuple(facts["shape"]), data[slice(*facts["data_offsets"])])
        for name, facts in header.items()
        if name != "__metadata__"
    }


def _open_shards(folder: Path) -> dict[str, Any]:
    where = Config.read(folder / WEIGHTS_INDEX).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(f, str) for f in where.values()):
        raise InvalidModel(f"{folder / WEIGHTS_INDEX}: 'weight_map' must map tensor names to file names")
    opened: dict[str, dict[str, Stored]] = {}
    for file in dict.fromkeys(where.values()):
        if Path(file).name != file or file in ("", ".", ".."):
            raise InvalidModel(f"{folder / WEIGHTS_INDEX}: shard {file!r} is not a plain file name in the model's folder")
        opened[file] = _open_file(folder / file)
    for name, file in where.items():
        if name not in opened[file]:
            raise InvalidModel(f"{folder / file}: tensor {name!r} is missing, which {WEIGHTS_INDEX} places here")
    return {name: opened[file][name] for name, file in where.items()}
