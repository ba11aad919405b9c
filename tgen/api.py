"""The public functions: `compile` and `reference`."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import struct
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from . import options
from .arguments import PRECISIONS, SUBNORMALS, require_known
from .artefact import Artefact
from .collector import uncollected
from .executable import Executable
from .ir.errors import InvalidInput
from .runtime.threads import budget
from .source import source_digest
from .texts import TextExecutable, facing

if TYPE_CHECKING:
    from .ir.graph import Graph, Tensor
    from .ragged import RaggedExecutable
    from .targets.target import Target

FORMAT = 5  # of cached artefacts and of what code generation makes: raised whenever either changes


@uncollected()
def compile(
    model: Any,
    *,
    target: str = "host",
    precision: str = "highest",
    subnormals: str = "auto",
    threads: int | None = None,
    shapes: Mapping[str, int] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    ragged: str = "",
    cache: bool = True,
) -> Executable | TextExecutable | RaggedExecutable:
    """Compiles a model to machine code for this CPU.

    model: path of an .onnx file or of a Hugging Face folder, an `onnx.ModelProto`, or a `tgen.Graph`.
    target: "host" (the best this CPU can run) or a name that `tgen targets` lists.
    precision: "highest" (float32 results of float32 quality), "high" (products of float32 values from two bfloat16 parts each, about
        5e-6 of the largest result), "medium" (bfloat16 operands, float32 sums). Targets without bfloat16 units compute float32.
    subnormals: "keep" (IEEE 754's gradual underflow below 1.2e-38; float64: 2.3e-308), "flush" (such numbers are zeros, as operands and as
        results: they cost Intel's CPUs 150 cycles each), "auto" (flush if weights of the model, its float32 and float64 constants of more
        than one number, hold some). Where tgen does not know how an architecture is told to flush, that is the same as keep.
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
    start = time.perf_counter()
    require_known("precision", precision, PRECISIONS)
    require_known("subnormals", subnormals, SUBNORMALS)
    if threads is not None and threads < 1:
        raise InvalidInput(f"threads={threads}: at least 1")
    settings = options.current()
    count = threads or settings.threads or budget()
    store = _store(settings) if cache else None
    with ThreadPoolExecutor(1, "tgen-aside") as aside:  # for what needs no interpreter: hashing, and LLVM beside the passes
        source = aside.submit(source_digest, model if store and not weights else None)
        chosen = _target(settings.target if target == "host" and settings.target else target)
        asked = (precision, subnormals, ragged)
        digest = source.result()
        runtime = aside.submit(_runtime, chosen, store)
        name = _hash("source", digest, chosen, *asked, repr(sorted((shapes or {}).items()))) if digest else ""
        artefact, texts, loaded = _artefact(lambda: _loaded(model, shapes, weights, ragged), name, store, chosen, *asked)
        library = _linked(artefact, runtime.result())
    report = {
        "target": chosen.name,
        "precision": precision,
        "subnormals": artefact.manifest.subnormals,
        "threads": count,
        "cached": texts is None,
        "load_seconds": loaded - start,
        "compile_seconds": time.perf_counter() - loaded,
        "kernels": artefact.manifest.kernels,
        "steps": artefact.manifest.steps,
        "code_bytes": sum(map(len, artefact.code)),
        "weight_bytes": int(artefact.weights.size),
        "features": list(chosen.needs),
    }
    executable = facing(Executable(artefact, library, count, report, texts), artefact.manifest.texts)
    if not ragged:
        return executable
    from .ragged import RaggedExecutable

    return RaggedExecutable(executable, ragged)


def _target(name: str) -> Target:
    """Raises UnknownTarget, and InvalidInput for a target that this CPU cannot run."""
    from .codegen import llvm
    from .targets.find import find_target

    features = llvm.host_features()
    target = find_target(name, features, llvm.host_triple())
    if not target.runs_on(features):
        raise InvalidInput(f"target {target.name} needs {', '.join(sorted(set(target.needs) - features))}, which this CPU lacks")
    return target


def _artefact(
    load: Callable[[], Graph], name: str, store: Any, target: Target, precision: str, subnormals: str, mask: str
) -> tuple[Artefact, Callable[[str], str] | None, float]:
    """The artefact; where it was compiled now, the text of its levels; and the time when the model was loaded.

    name: its key in the store; "" for the graph's own. store: None to keep nothing.
    """
    if found := _cached(store, name):
        return found, None, time.perf_counter()
    graph, loaded = load(), time.perf_counter()
    key = name if name or store is None else _hash("graph", graph_digest(graph), target, precision, subnormals, mask)
    if not name and (found := _cached(store, key)):
        return found, None, loaded
    from .compiler import compile_graph

    keep = functools.partial(store.put, key) if store else None
    compiled = compile_graph(graph, target, precision, subnormals, mask=mask, keep=keep)
    return compiled.artefact, compiled.text, loaded


def _linked(artefact: Artefact, runtime: Mapping[str, int]) -> Any:
    from .codegen import llvm

    return llvm.load(artefact.code, ["run"], runtime)


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
    from .ir.strings import decoded, encoded

    graph = load(model, shapes=shapes)
    return decoded(evaluate(graph, encoded(feeds, graph.texts)), graph.texts)


def _runtime(target: Target, store: Any) -> Mapping[str, int]:
    """The pool of this process, and permission for what the target's instructions need.

    Where the process may use less than the CPUs it sees (a quota, an affinity), idle workers sleep at once: spinning would use up
    the quota, or a neighbour's CPU.
    """
    from .codegen.llvm import machine_of
    from .codegen.runtime import process_runtime
    from .runtime.threads import facts

    if target.uses_tiles:
        from .runtime.amx import ask_permission

        ask_permission()
    symbols = process_runtime(machine_of(target), target.spin_hint, store)
    known = facts()
    if known.budget < known.visible:
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(symbols["tgen_set_spin"])(0)
    return symbols


def _store(settings: Any) -> Any:
    from .cache import Cache, default_cache

    if settings.cache is False:
        return None
    return Cache(settings.cache) if isinstance(settings.cache, (str, os.PathLike)) else default_cache()


def _cached(store: Any, key: str) -> Artefact | None:
    data = store.get(key) if store and key else None
    if data is None:
        return None
    try:
        return Artefact.from_bytes(data)
    except (ValueError, KeyError, TypeError, struct.error):
        return None  # a checksummed entry of another shape: written by another version


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
            else repr([node.op.name, *(getattr(node.op, name) for name in node.op.names)])
        )
        edges = ",".join(f"{number[v.node]}.{v.index}" for v in node.inputs)
        digest.update(f"{op}({edges}):{node.types}\n".encode())
    digest.update(repr([(name, number[v.node], v.index) for name, v in graph.outputs]).encode())
    digest.update(repr([graph.name, graph.texts]).encode())
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
