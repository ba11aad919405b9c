"""Inputs for a measurement: random, signed, the same for every contestant."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from ..ir.dims import evaluate_dim
from ..ir.errors import InvalidInput
from ..ir.evaluate import evaluate
from ..ir.forms import Contract
from ..ir.graph import Check, Constant, Graph, symbols_of
from ..ir.strings import PARTS
from ..ir.types import TensorType

USUAL = {"batch": 1, "seq": 128}  # extents of symbols that are not given
SMALLEST_ID, LARGEST_ID = 1, 1000  # integers are token-like
NEAR = 20  # nodes of a check that is worth computing in NumPy


def sizes(graph: Graph, shapes: Mapping[str, int]) -> dict[str, int]:
    """A value for each symbol of the inputs: as given, else 1 for what sounds like a batch and 128 for the rest."""
    names = symbols_of(n.types[0] for n in graph.inputs)
    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise InvalidInput(f"the model has no symbol {unknown[0]!r}; symbols: {', '.join(names) or 'none'}")
    return {name: shapes.get(name, USUAL.get(name, 1 if "batch" in name.lower() else 128)) for name in names}


def random_feeds(graph: Graph, values: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """An array for each input. Masks are ones, token types zeros, other integers token numbers, floats normal, strings of letters.

    Token numbers are smaller where the model says that it does not take them: its vocabulary may be letters.
    """
    near = Graph(graph.inputs, (), checks=tuple(check for check in graph.checks if _near(graph, check)))
    largest = LARGEST_ID
    feeds = _random_feeds(graph, values, seed, largest)
    while largest > SMALLEST_ID and not _taken(near, feeds):
        largest //= 2
        feeds = _random_feeds(graph, values, seed, largest)
    return feeds


def _random_feeds(graph: Graph, values: Mapping[str, int], seed: int, largest: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feeds = {name: _random(name, type_, values, rng, largest) for name, type_ in graph.input_types.items()}
    for name in graph.texts:
        letters, ends = (f"{name}.{part}" for part in PARTS)
        if ends in feeds:
            feeds[letters] = rng.integers(ord("a"), ord("z") + 1, feeds[letters].shape, np.uint8)
            feeds[ends] = _shared(feeds[letters].size, feeds[ends].shape)
    return feeds


def _taken(graph: Graph, feeds: Mapping[str, np.ndarray]) -> bool:
    """Whether the graph's checks hold."""
    try:
        evaluate(graph, feeds)
    except InvalidInput:
        return False
    return True


def _near(graph: Graph, check: Check) -> bool:
    """Whether it is a few nodes away from the inputs, none of a size that a run finds out."""
    nodes = Graph(graph.inputs, (), checks=(check,)).nodes
    named, known = symbols_of(t for n in nodes for t in n.types), symbols_of(graph.input_types.values())
    return len(nodes) <= len(graph.inputs) + NEAR and {*named} <= {*known}


def storable(array: np.ndarray) -> np.ndarray:
    """The array as a file can hold it that anybody may read: strings of one width instead of objects."""
    return array.astype(str) if array.dtype.kind in "OSU" else array


def _shared(size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Where each of the strings of this shape ends that share so many bytes."""
    count = prod(shape)
    return (np.arange(1, count + 1) * size // max(count, 1)).reshape(shape)


def _random(name: str, type_: TensorType, values: Mapping[str, int], rng: np.random.Generator, largest: int) -> np.ndarray:
    shape = [evaluate_dim(d, values) for d in type_.shape]
    if "mask" in name:
        return np.ones(shape, type_.dtype.numpy)
    if "type" in name:
        return np.zeros(shape, type_.dtype.numpy)
    if type_.dtype.is_integer:
        most = min(largest, 100) if type_.dtype.bits == 8 else largest
        return rng.integers(SMALLEST_ID, most, shape, endpoint=most == SMALLEST_ID).astype(type_.dtype.numpy)
    if type_.dtype.kind == "bool":
        return rng.random(shape) < 0.5
    return rng.standard_normal(shape).astype(type_.dtype.numpy)


def work_of(graph: Graph, values: Mapping[str, int]) -> tuple[float, float] | None:
    """(floating-point operations of the model's products of matrices, bytes of the weights they read) for these sizes.

    None where one of them is of a size that a run finds out.
    """
    from ..passes.decompose import decompose

    flops, weights = 0.0, {}
    for node in decompose(graph).nodes:
        operands = [v.type for v in node.inputs]
        if not isinstance(node.op.form(*operands), Contract):
            continue
        if not values.keys() >= set(symbols_of([*operands, node.types[0]])):
            return None
        depth = evaluate_dim(operands[0].shape[-1], values)
        flops += 2.0 * depth * evaluate_dim(node.types[0].elements, values)
        weights.update({v: evaluate_dim(v.type.bytes, values) for v in node.inputs if isinstance(v.op, Constant)})
    return flops, float(sum(weights.values()))
