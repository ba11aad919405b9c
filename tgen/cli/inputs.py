"""Inputs for a run: arrays from .npy and .npz files, and random ones of the right shape for the rest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tgen.ir.dims import DimLike, evaluate_dim
from tgen.ir.dtypes import STRING
from tgen.ir.errors import InvalidInput
from tgen.ir.graph import Graph, Input, Value
from tgen.ir.strings import names_outside
from tgen.ir.types import TensorType

DEFAULT_EXTENTS = {"batch": 1, "batch_size": 1, "N": 1}
DEFAULT_EXTENT = 16  # of any other symbol


def input_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        dest="inputs",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="NAME=x.npy gives one input, x.npz all that it names; may be repeated. The other inputs are random",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (default 0)")


def feeds_for(graph: Graph, files: Sequence[str], shapes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """An array for each input of the graph.

    files: `NAME=x.npy` or `x.npz`. Inputs without a file get random values: floats are normal, integers that index a table lie
    inside it, other integers are 0 or 1. A symbol without a value in `shapes` or in a file's shape is 1 for a batch, else 16.
    Raises InvalidInput for an unknown name, a file that holds no array, and for a text without a file: text is not made up.
    """
    types = dict(graph.input_types)
    feeds = load_arrays(files)
    for name in graph.texts:
        if ends := types.pop(f"{name}.ends", None):
            del types[f"{name}.bytes"]
            types[name] = ends.with_dtype(STRING)
    if unknown := [name for name in feeds if name not in types]:
        raise InvalidInput(f"no input is named {unknown[0]!r}; inputs: {', '.join(types)}")
    extents = dict(shapes)
    for name, array in feeds.items():
        for dim, extent in zip(types[name].shape, array.shape):
            if not isinstance(dim, int) and str(dim).isidentifier():
                extents.setdefault(str(dim), extent)
    random = np.random.default_rng(seed)
    limits = index_limits(graph)
    for name, wanted in types.items():
        if name not in feeds:
            feeds[name] = random_array(random, wanted, extents, limits.get(name, 2), name)
    return {name: feeds[name] for name in names_outside(graph.input_types, graph.texts)}


def load_arrays(files: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays by input name from `NAME=x.npy` and `x.npz`."""
    feeds: dict[str, np.ndarray] = {}
    for text in files:
        name, equals, file = text.partition("=")
        path = Path(file if equals else text)
        try:
            loaded = np.load(path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                if not equals:
                    raise InvalidInput(f"{path} holds one array: say which input it is for, as NAME={path}")
                feeds[name] = loaded
            else:
                with loaded:
                    feeds.update({key: loaded[key] for key in loaded.files})
        except (ValueError, EOFError) as error:
            raise InvalidInput(f"{path} is not a sound .npy or .npz file of plain arrays: {error}") from error
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror or error}") from error
    return feeds


def random_array(random: np.random.Generator, wanted: TensorType, extents: Mapping[str, int], limit: int, name: str) -> np.ndarray:
    """Random values of the type; limit: integers stay below it."""
    from tgen.ir.graph import symbols_of

    values = {s: extents.get(s, DEFAULT_EXTENTS.get(s, DEFAULT_EXTENT)) for s in symbols_of([wanted])}
    shape = tuple(evaluate_dim(d, values) for d in wanted.shape)
    if wanted.dtype is STRING:
        raise InvalidInput(f"input {name!r} is {wanted}: text is not made up, give it with --input {name}=FILE.npy")
    if wanted.dtype.is_float:
        return random.standard_normal(shape).astype(wanted.dtype.numpy)
    highest = 2 if wanted.dtype.kind == "bool" else max(1, min(limit, 1 << (wanted.dtype.bits - 1)))
    return random.integers(0, highest, shape).astype(wanted.dtype.numpy)


def index_limits(graph: Graph) -> dict[str, int]:
    """For each input that (through casts and reshapes) indexes a table by gather: how many entries the smallest has."""
    through = {"cast", "reshape", "transpose", "squeeze", "unsqueeze", "expand"}
    limits: dict[str, int] = {}
    for node in graph.nodes:
        if node.op.name != "gather" or len(node.inputs) < 2:
            continue
        source: Value = node.inputs[1]
        while source.op.name in through:
            source = source.node.inputs[0]
        axis = getattr(node.op, "axis", 0)
        extent: DimLike = node.inputs[0].type.shape[axis]
        if isinstance(source.op, Input) and isinstance(extent, int):
            label = source.op.label
            limits[label] = min(extent, limits.get(label, extent))
    return limits
