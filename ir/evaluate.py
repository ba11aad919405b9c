"""The reference interpreter: NumPy, op by op, independent of forms and kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .binding import bind_symbols
from .dims import evaluate_dim
from .errors import InvalidGraph, InvalidInput
from .graph import MOST_EXTENT, Extent, Graph, Input, Node, Value, extent_message

MOST_BYTES = 1 << 46  # of a value: beyond this a size is taken for a mistake


def evaluate(
    graph: Graph, feeds: Mapping[str, Any], *, observe: Callable[[Value, np.ndarray], None] | None = None
) -> dict[str, np.ndarray]:
    """Outputs by name. feeds: an array for each input; observe: called with every value as it is computed.

    Raises InvalidInput for missing or wrong inputs, InvalidGraph when an op's result contradicts its type.
    """
    arrays = check_feeds(graph, feeds)
    symbols = bind_symbols([*graph.input_types.items()], [arrays[n].shape for n in graph.inputs])
    left = {value: len(users) for value, users in graph.users.items()}
    values: dict[Value, np.ndarray] = {}
    extents: dict[Value, list[Extent]] = {}
    for extent in graph.extents:
        extents.setdefault(extent.value, []).append(extent)
    for node in graph.nodes:
        results = [arrays[node]] if isinstance(node.op, Input) else run_node(node, [values[v] for v in node.inputs], symbols)
        for i, result in enumerate(results):
            values[Value(node, i)] = result
            if extents and (found := extents.get(Value(node, i))):
                symbols.update(dict.fromkeys((e.symbol for e in found), _extent(found, result, symbols)))
            if observe:
                observe(Value(node, i), result)
        for value in set(node.inputs):
            left[value] -= 1
            if not left[value] and value not in graph.kept:
                del values[value]
    for check in graph.checks:
        if not values[check.holds]:
            raise InvalidInput(check.message)
    return {name: values[value] for name, value in graph.outputs}


def _extent(extents: list[Extent], result: np.ndarray, symbols: Mapping[str, int]) -> int:
    """The value of symbols that stand for this result; raises InvalidInput if it is no extent."""
    found = int(result)
    most = min([MOST_EXTENT, *(evaluate_dim(e.most, symbols) for e in extents if e.most is not None)])
    if not 0 <= found <= most:
        raise InvalidInput(extent_message(extents[0]))
    return found


def run_node(node: Node, operands: list[np.ndarray], symbols: Mapping[str, int]) -> list[np.ndarray]:
    """The results of one node by its op's `reference`, checked against its types. Raises InvalidInput if one is absurdly large."""
    if symbols and any(evaluate_dim(t.bytes, symbols) > MOST_BYTES for t in node.types):
        raise InvalidInput(f"{node.origin or node.op}: a result of this size fits no machine")
    with np.errstate(all="ignore"):
        raw = node.op.bind(symbols).reference(*operands)
    results = [np.asarray(r) for r in (raw if isinstance(raw, tuple) else (raw,))]
    for result, wanted in zip(results, node.types, strict=True):
        shape = tuple(evaluate_dim(d, symbols) for d in wanted.shape)
        if result.shape != shape or result.dtype != wanted.dtype.numpy:
            raise InvalidGraph(
                f"{node.origin or node.op}: reference gave {result.dtype}{list(result.shape)}, inferred {wanted} = {list(shape)}"
            )
    return results


def check_feeds(graph: Graph, feeds: Mapping[str, Any]) -> dict[Node, np.ndarray]:
    """The array of each input node; raises InvalidInput for a name or dtype that is not the graph's."""
    types = graph.input_types
    unknown = [name for name in feeds if name not in types]
    if unknown:
        raise InvalidInput(f"no input is named {unknown[0]!r}; inputs: {', '.join(types)}")
    arrays = {}
    for node, (name, wanted) in zip(graph.inputs, types.items()):
        if name not in feeds:
            raise InvalidInput(f"input {name!r} ({wanted}) is missing")
        array = np.asarray(feeds[name])
        if array.dtype != wanted.dtype.numpy and not (wanted.dtype.kind == "string" and array.dtype.kind in "OSU"):
            raise InvalidInput(f"input {name!r} has dtype {array.dtype}; wanted {wanted}")
        arrays[node] = array
    return arrays
