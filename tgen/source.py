"""A digest of a model's files: a start from the cache then needs neither read nor build the model.

It covers contents, never times: a file that changed, or was damaged, is another source.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PIECE = 8 << 20  # bytes that are hashed at a time: several at once
_READ = (".json", ".safetensors")  # files of a model folder that loaders read
_ELSEWHERE = b"location"  # a key in ONNX files whose tensors lie in other files


def source_digest(model: Any) -> str | None:
    """Of an .onnx file, or of a Hugging Face folder; None for what is neither, is not there, or does not hold all of its weights."""
    if not isinstance(model, (str, os.PathLike)):
        return None
    path = Path(model)
    try:
        if path.is_file():
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return None if data.find(_ELSEWHERE) >= 0 else _combined(["onnx", *_pieces(data)])
        if (path / "config.json").is_file():
            return _combined(["folder", *_folder(path)])
    except (OSError, ValueError):  # gone, not readable, empty: loading it says so better
        return None
    return None


def _folder(path: Path) -> Iterator[str]:
    """Names of all files, and the contents of those that may be read."""
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        yield f"{file.relative_to(path)} {file.stat().st_size}"
        if file.suffix in _READ and file.stat().st_size:
            with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from _pieces(data)


def _pieces(data: mmap.mmap) -> list[str]:
    with memoryview(data) as view, ThreadPoolExecutor(2, "tgen-source") as threads:
        return list(threads.map(lambda at: hashlib.sha256(view[at : at + PIECE]).hexdigest(), range(0, len(data), PIECE)))


def _combined(facts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
