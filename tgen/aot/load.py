"""`load`: a library that `tgen build` made, as the Executable that `tgen.compile` gives."""

from __future__ import annotations

import ctypes
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ..artefact import Artefact, Manifest
from ..executable import Executable
from ..ir.errors import InvalidInput, InvalidModel
from ..texts import TextExecutable, facing
from .elf_files import what_is_wrong
from .weights import map_weights_file


class _SharedLibrary:
    """A loaded library. It stays loaded (its threads may be in it), so nothing has to be undone."""

    def __init__(self, path: Path) -> None:
        try:
            wrong = what_is_wrong(path, platform.machine())
        except OSError as error:
            raise InvalidModel(f"{path}: {error.strerror}") from error
        if wrong:
            raise InvalidModel(f"{path} is no library that tgen made: {wrong}")
        try:
            self.handle = ctypes.CDLL(str(path.resolve()))
            for name, result in (
                ("tgen_version", ctypes.c_int32),
                ("tgen_internals", ctypes.c_void_p),
                ("tgen_manifest", ctypes.c_char_p),
            ):
                getattr(self.handle, name).restype = result
        except (OSError, AttributeError) as error:
            raise InvalidModel(f"{path} is no library that tgen made: {error}") from error
        self.version = int(self.handle.tgen_version())
        self.manifest: dict[str, Any] = json.loads(self.handle.tgen_manifest())
        self.internals = (ctypes.c_void_p * 2).from_address(self.handle.tgen_internals(self.version)) if self.version >= 0 else None

    def address(self, name: str) -> int:
        """Of the entry point."""
        assert name == "run" and self.internals is not None
        return int(self.internals[0] or 0)


def load(
    path: str | os.PathLike[str], *, threads: int | None = None, weights: str | os.PathLike[str] | None = None
) -> Executable | TextExecutable:
    """The model in a shared library that `tgen build` (or `tgen.build`) made.

    threads: as for `tgen.compile`. weights: the weights file, where the library has one and it is not beside it.

    Raises InvalidModel for a file that is no such library, or a weights file that is not its own; InvalidInput for a CPU that lacks
    what all of its code versions need.
    """
    from .. import options
    from ..runtime.threads import budget

    path = Path(path)
    if threads is not None and threads < 1:
        raise InvalidInput(f"threads={threads}: at least 1")
    library = _SharedLibrary(path)
    facts = library.manifest
    if library.internals is None:
        needs = "; or ".join(f"{v['target']}: {', '.join(v['needs'])}" for v in facts["versions"])
        raise InvalidInput(f"this CPU lacks the features that {path} needs ({needs})")
    version = facts["versions"][library.version]
    block = _weights(library, path, weights)
    count = threads or options.current().threads or budget()
    manifest = Manifest.from_json(version["run"])
    report = {
        "target": version["target"],
        "precision": facts["precision"],
        "subnormals": manifest.subnormals,
        "threads": count,
        "cached": True,
        "kernels": manifest.kernels,
        "steps": manifest.steps,
        "weight_bytes": int(block.size),
        "features": version["needs"],
    }
    return facing(Executable(Artefact(manifest, (), block), library, count, report), manifest.texts)


def _weights(library: _SharedLibrary, path: Path, given: str | os.PathLike[str] | None) -> np.ndarray:
    told = library.manifest["weights"]
    if told["file"]:
        return map_weights_file(Path(given) if given is not None else path.parent / told["file"], bytes.fromhex(told["header"]))
    if given is not None:
        raise InvalidInput(f"the weights of {path} are inside of it")
    assert library.internals is not None
    block = (ctypes.c_uint8 * told["bytes"]).from_address(library.internals[1] or 0)
    return np.frombuffer(block, np.uint8)
