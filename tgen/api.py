"""The public functions: `compile` and `reference`."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import struct
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from .executable import Executable
from .ir.errors import InvalidInput

if TYPE_CHECKING:
    from .ir.graph import Graph, Tensor
    from .ragged import RaggedExecutable
    from .targets.target import Target

PRECISIONS = ("highest", "high", "medium")
FORMAT = 2  # of cached artefacts and of what code generation makes: raised whenever either changes


def compile(
    model: Any,
    *,
    target: str = "host",
    precision: str = "highest",
    threads: int | None = None,
    shapes: Mapping[str, int] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    ragged: str = "",
    cache: bool = True,
) -> Executable | RaggedExecutable:
    """Compiles a model to machine code for this CPU.

    model: path of an .onnx file or of a Hugging Face folder, an `onnx.ModelProto`, or a `tgen.Graph`.
    target: "host" (the best this CPU can run) or a name that `tgen targets` lists.
    precision: "highest" (float32 results of float32 quality), "high" (products of float32 values from two bfloat16 parts each, about
        5e-6 of the largest result), "medium" (bfloat16 operands, float32 sums). Targets without bfloat16 units compute float32.
    threads: at most so many; None: as many CPUs as this process may really use.
    shapes: values for symbolic dimensions, {"batch": 1, "seq": 128}; others stay symbolic and may differ from call to call.
    weights: arrays that replace initialisers of the same names in an ONNX model.
    ragged: name of the input [batch, seq] that masks padding. A batch of mixed lengths then costs what its tokens cost: everything that
        is done position by position, and attention, leaves padding out. Outputs [batch, seq, …] are 0 at padding, the same elsewhere;
        a model whose other outputs depend on padding is Unsupported.
    cache: keep the result in `~/.cache/tgen` (XDG rules) and take it from there next time.

    Raises a `tgen.TgenError`: InvalidModel, Unsupported (listing everything), InvalidInput for options that make no sense,
    UnknownTarget.
    """
    from . import options
    from .codegen import llvm
    from .runtime.threads import budget
    from .targets.find import find_target

    start = time.perf_counter()
    if precision not in PRECISIONS:
        raise InvalidInput(f"precision {precision!r}; known: {', '.join(PRECISIONS)}")
    settings = options.current()
    if threads is not None and threads < 1:
        raise InvalidInput(f"threads={threads}: at least 1")
    count = threads or settings.threads or budget()
    chosen = find_target(
        settings.target if target == "host" and settings.target else target, llvm.host_features(), llvm.host_triple()
    )
    if not chosen.runs_on(llvm.host_features()):
        missing = sorted(set(chosen.needs) - llvm.host_features())
        raise InvalidInput(f"target {chosen.name} needs {', '.join(missing)}, which this CPU lacks")
    store = _store(settings) if cache else None
    name = "" if weights or store is None else _name(model, chosen, precision, ragged, repr(sorted((shapes or {}).items())))
    artefact, texts, loaded = _named(store, name), None, time.perf_counter()
    if artefact is None:
        graph = _loaded(model, shapes, weights, ragged)
        loaded = time.perf_counter()
        key = _key(graph, chosen, precision, ragged) if store else ""
        artefact = _cached(store, key)
        if artefact is None:
            from .compiler import compile_graph

            keep = functools.partial(store.put, key) if store else None
            compiled = compile_graph(graph, chosen, precision, mask=ragged, keep=keep)
            artefact, texts = compiled.artefact, compiled.text
        if name and store:
            store.put(name, [key.encode()])
    library = llvm.load([artefact.code], ["run"], _runtime(llvm.machine_of(chosen), chosen, store))
    report = {
        "target": chosen.name,
        "precision": precision,
        "threads": count,
        "cached": texts is None,
        "load_seconds": loaded - start,
        "compile_seconds": time.perf_counter() - loaded,
        "kernels": artefact.manifest.kernels,
        "steps": artefact.manifest.steps,
        "code_bytes": len(artefact.code),
        "weight_bytes": int(artefact.weights.size),
        "features": list(chosen.needs),
    }
    executable = Executable(artefact, library, count, report, texts)
    if not ragged:
        return executable
    from .ragged import RaggedExecutable

    return RaggedExecutable(executable, ragged)


def _loaded(model: Any, shapes: Mapping[str, int] | None, weights: Mapping[str, np.ndarray] | None, ragged: str) -> Graph:
    from .frontends import load

    graph = load(model, shapes=shapes, weights=weights) if weights else load(model, shapes=shapes)
    if not ragged:
        return graph
    from .ragged import with_tables

    return with_tables(graph, ragged)


def reference(model: Any, feeds: Mapping[str, Any], *, shapes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Outputs by name as the NumPy interpreter computes them: slow, independent of the compiler, the measure of right and wrong.

    model: as for `compile`; feeds: an array for each input. Raises as `compile` and as a run do.
    """
    from .frontends import load
    from .ir.evaluate import evaluate

    return evaluate(load(model, shapes=shapes), feeds)


def _runtime(machine: Any, target: Target, store: Any) -> Mapping[str, int]:
    """The pool of this process, and permission for what the target's instructions need.

    Where the process may use less than the CPUs it sees (a quota, an affinity), idle workers sleep at once: spinning would use up
    the quota, or a neighbour's CPU.
    """
    from .codegen.runtime import process_runtime
    from .runtime.threads import facts

    if target.uses_tiles:
        from .runtime.amx import ask_permission

        ask_permission()
    symbols = process_runtime(machine, target.spin_hint, store)
    known = facts()
    if known.budget < known.visible:
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(symbols["tgen_set_spin"])(0)
    return symbols


def _store(settings: Any) -> Any:
    from .cache import Cache, default_cache

    if settings.cache is False:
        return None
    return Cache(settings.cache) if isinstance(settings.cache, (str, os.PathLike)) else default_cache()


def _cached(store: Any, key: str) -> Any:
    from .artefact import Artefact

    data = store.get(key) if store else None
    if data is None:
        return None
    try:
        return Artefact.from_bytes(data)
    except (ValueError, KeyError, TypeError, struct.error):
        return None  # a checksummed entry of another shape: written by another version


def _named(store: Any, name: str) -> Any:
    """The artefact whose key is kept under this name."""
    key = store.get(name) if name else None
    try:
        return _cached(store, bytes(key).decode()) if key is not None else None
    except ValueError:
        return None


def _name(model: Any, target: Target, *options: str) -> str:
    """Where the key of a model's artefact is kept, by the contents of its files; "" where they do not say all of it."""
    from .source import source_digest

    digest = source_digest(model)
    return _hash("source", digest, target, *options) if digest else ""


def _key(graph: Graph, target: Target, *options: str) -> str:
    """A hash of all that the artefact depends on: the graph with its weights, the target, the versions of tgen and LLVM."""
    return _hash("graph", graph_digest(graph), target, *options)


def _hash(kind: str, digest: str, target: Target, *options: str) -> str:
    from .codegen import llvm

    facts = [kind, str(FORMAT), _own_digest(), llvm.llvm_version(), np.__version__, *options, repr(target), digest]
    return hashlib.blake2b("\n".join(facts).encode(), digest_size=20).hexdigest()


def graph_digest(graph: Graph) -> str:
    """A hash of a graph: its nodes, types, names and the contents of its constants."""
    from .ir.graph import Constant

    number = {node: k for k, node in enumerate(graph.nodes)}
    tensors = [node.op.value for node in graph.nodes if isinstance(node.op, Constant)]
    with ThreadPoolExecutor(2, "tgen-digest") as threads:  # hashing is most of the work, and needs no interpreter
        list(threads.map(lambda tensor: tensor.digest, sorted(tensors, key=_size, reverse=True)))
    digest = hashlib.blake2b(digest_size=20)
    for node in graph.nodes:
        op = (
            node.op.value.digest.hex()
            if isinstance(node.op, Constant)
            else repr([node.op.name, *(getattr(node.op, name) for name in node.op.fields())])
        )
        edges = ",".join(f"{number[v.node]}.{v.index}" for v in node.inputs)
        digest.update(f"{op}({edges}):{node.types}\n".encode())
    digest.update(repr([(name, number[v.node], v.index) for name, v in graph.outputs]).encode())
    digest.update(graph.name.encode())
    return digest.hexdigest()


def _size(tensor: Tensor) -> int:
    return tensor.array.nbytes


def _own_digest() -> str:
    """A hash of tgen's own sources' sizes and times: a development checkout never meets artefacts of older code."""
    from pathlib import Path

    import tgen.ir
    import tgen.targets

    from . import __file__ as package

    folders = [Path(package).parent, Path(tgen.ir.__file__).parent, Path(tgen.targets.__file__).parent]
    files = sorted(p for folder in folders for p in folder.rglob("*.py"))
    facts = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()
