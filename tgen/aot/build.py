"""`build`: a model in, a folder out that holds a library, its header, its manifest and an example."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import PRECISIONS, SUBNORMALS, require_known
from ..codegen import llvm
from ..codegen.llvm import Machine
from ..ir.errors import InvalidInput
from ..targets.find import all_targets, find_target
from ..targets.target import Target
from .elf_files import symbols_of
from .example import build_line, example
from .header import header
from .link import archive, find_linker, link_object, link_shared
from .model import Library, plan_library
from .objects import object_files
from .weights import write_weights_file

FORMATS = ("so", "a", "o")
FORMAT = 1  # of the manifest


@dataclass(frozen=True)
class Built:
    """What a build left. files: paths in the folder, the library first; build_line: the command that makes the example there; code_bytes: of
    each version's object file, by target.
    """

    name: str
    build_line: str
    folder: Path
    files: tuple[Path, ...]
    code_bytes: Mapping[str, int]
    weight_bytes: int


def build(
    model: Any,
    out: str | os.PathLike[str],
    *,
    name: str = "",
    targets: Sequence[str] = ("host",),
    precision: str = "highest",
    subnormals: str = "auto",
    shapes: Mapping[str, int] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    format: str = "so",
    weights_file: bool = False,
    linker: str = "",
    progress: Callable[[str], None] = lambda text: None,
) -> Built:
    """Builds a library of a model: lib`name`.so (or .a, .o), `name`.h, `name`.json, example.c, and `name`.weights if asked for.

    model, precision, subnormals, shapes, weights: as for `tgen.compile`. out: a folder, made if need be; files in it are replaced all
    together at the end. name: a C identifier; by default made of the model's. targets: names as `tgen targets` lists them, of one
    architecture; the library chooses among them by the CPU that it is loaded on. format: "so", "a" or "o". weights_file: weights stay out
    of the library, in a file that processes share. linker: the one to use. progress: told what is going on.

    The same input gives the same bytes. Raises a TgenError: as `compile` does; InvalidInput for options that make no sense; LinkError.
    """
    from ..frontends import load

    require_known("format", format, FORMATS)
    require_known("precision", precision, PRECISIONS)
    require_known("subnormals", subnormals, SUBNORMALS)
    chosen = _targets(targets)
    machine = Machine(chosen[0].triple)
    command = find_linker(machine.triple.split("-")[0], linker)
    progress("reading the model")
    graph = load(model, shapes=shapes, weights=weights) if weights else load(model, shapes=shapes)
    name = name or _name(model, graph.name)
    progress(f"planning for {', '.join(t.name for t in chosen)}")
    library = plan_library(name, graph, chosen, precision, subnormals, f"{name}.weights" if weights_file else "")
    folder = Path(out)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        files, code_bytes = _write(library, format, machine, command, work, progress)
        return Built(name, build_line(library), folder, tuple(_moved(files, folder)), code_bytes, int(library.weights.block.size))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _targets(names: Sequence[str]) -> list[Target]:
    """Targets by name, best first."""
    triple = llvm.host_triple()
    found = {target.name: target for target in (find_target(name.strip(), llvm.host_features(), triple) for name in names)}
    order = [target.name for target in all_targets()]
    if not found:
        raise InvalidInput("no target is given")
    if any(t.triple.startswith("x86_64") for t in found.values()) and not triple.startswith("x86_64"):
        raise InvalidInput(
            "code for x86-64 can be built on x86-64 only: how it asks the CPU for its features is written in assembly"
        )
    return sorted(found.values(), key=lambda target: order.index(target.name))


def _name(model: Any, graph_name: str) -> str:
    """The model's name as a C identifier: that of its file or folder, or the graph's."""
    text = Path(model).resolve().stem if isinstance(model, (str, os.PathLike)) else graph_name
    plain = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return plain if plain[:1].isalpha() else f"model_{plain}".rstrip("_")


def _write(
    library: Library, format: str, machine: Machine, command: Sequence[str], work: Path, progress: Callable[[str], None]
) -> tuple[list[Path], dict[str, int]]:
    """All files of the build in `work`, the library first; bytes of each version's code."""
    name = library.name
    about = describe(library)
    objects, code_bytes = [], {}
    progress("generating code")
    for number, (what, pieces) in enumerate(object_files(library, json.dumps(about, sort_keys=True))):
        progress(what)
        objects.append(work / f"{number}.o")
        with open(objects[-1], "wb") as file:
            file.writelines(pieces)
        if what.startswith("code for "):
            code_bytes[what.removeprefix("code for ")] = sum(memoryview(p).nbytes for p in pieces)
    progress("linking")
    public = sorted(s.name for s in symbols_of(objects[0]) if s.section and s.binding == 1 and s.name.startswith(f"{name}_"))
    if format == "so":
        aliases = {f"tgen_{what}": f"{name}_{what}" for what in ("version", "internals", "manifest")}
        made = link_shared(objects, name, public, aliases, machine, command, work)
    else:
        made = link_object(objects, name, machine, command, work)
        made = archive(made, name, public, work) if format == "a" else made
    files = [made, work / f"{name}.h", work / "example.c"]
    files[1].write_text(header(library))
    files[2].write_text(example(library))
    if library.weights_file:
        files.append(work / library.weights_file)
        write_weights_file(library.weights, files[-1])
    told = {**about, "example": build_line(library), "files": {path.name: _facts(path) for path in files}}
    files.append(work / f"{name}.json")
    files[-1].write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    return files, code_bytes


def describe(library: Library) -> dict[str, Any]:
    """What a manifest says. Formulas are of the symbols: bytes of memory a run needs is `arena_bytes` and, for each thread, `scratch_bytes`."""

    def tensors(specs: Any) -> list[dict[str, Any]]:
        return [
            {"name": n, "dtype": str(t.dtype.numpy), "shape": [d if isinstance(d, int) else str(d) for d in t.shape]}
            for n, t in specs
        ]

    return {
        "format": FORMAT,
        "name": library.name,
        "precision": library.precision,
        "subnormals": library.first.subnormals,
        "inputs": tensors(library.inputs),
        "outputs": tensors(library.outputs),
        "symbols": list(library.symbols),
        "weights": {
            "bytes": int(library.weights.block.size),
            "hash": f"{library.weights.hash:016x}",
            "file": library.weights_file,
            "header": library.weights.header.hex(),
        },
        "versions": [
            {
                "target": v.target.name,
                "needs": sorted({*v.target.needs, *v.target.features}),
                "arena_bytes": str(v.manifest.arena),
                "scratch_bytes": str(v.manifest.scratch),
                "run": v.manifest.to_json(),
            }
            for v in library.versions
        ],
    }


def _facts(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _moved(files: Sequence[Path], folder: Path) -> Iterator[Path]:
    """The finished files in their folder; each takes its predecessor's place in one step, the manifest last."""
    folder.mkdir(exist_ok=True)
    for path in files:
        path.chmod(0o755 if path.suffix == ".so" else 0o644)
        yield path.replace(folder / path.name)
