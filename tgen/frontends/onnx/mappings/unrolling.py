"""Loops over sequences: a turn after another, each imported anew, since a sequence may be longer in the next."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ....ir.errors import Unsupported
from ....ir.graph import Value
from ..call import Call, feeding_inputs
from ..problems import DataDependent
from ..structure import reads
from ..structured import Item, Structured


def meets_structures(call: Call) -> bool:
    """Whether a node, or a graph in it, reads a sequence or an optional of the graphs around it."""
    owners = ((name, call.scope.owner(name)) for name in reads(call.node))
    return any(isinstance(owner.names[name], Structured) for name, owner in owners if owner)


def unrolled(call: Call, trips: Value | None, condition: Item | None, *states: Item) -> list[Item]:
    """Last states and stacked results of a Loop whose number of turns and conditions are known.

    Raises Unsupported for more turns than an import makes, DataDependent for a number that only a run knows.
    """
    importer, body = call.importer, call.required("body")
    count = None if trips is None else call.plain_ints(trips, "numbers of turns")[0]
    held, stacked = list(states), list[list[Value]]()
    for turn in itertools.count():
        if (count is not None and turn >= count) or not (condition is None or _holds(call, condition)):
            break
        importer.count_turns(1)
        number, going = call.build.constant(np.int64(turn)), call.build.constant(True)
        condition, *results = importer.items(body, call.scope, [number, going, *held])
        if len(results) < len(held):
            raise call.invalid(f"has {len(held)} states; its body gives {len(results)}")
        held, rest = results[: len(held)], results[len(held) :]
        if not all(isinstance(v, Value) for v in rest):
            raise Unsupported("stacked results that are no tensors of numbers")
        stacked.append([v for v in rest if isinstance(v, Value)])
    if not stacked and len(body.output) > 1 + len(held):
        raise Unsupported("a loop over sequences that makes no turn and stacks results")
    return [*held, *(_stack(call, column) for column in zip(*stacked))]


def _holds(call: Call, condition: Item) -> bool:
    if not isinstance(condition, Value):
        raise call.invalid("has a condition that is no tensor")
    content = call.build.content(condition)
    if content is None and feeding_inputs(condition):
        raise DataDependent("a loop over sequences whose end is known at run time only", feeding_inputs(condition))
    return bool((call.array(condition) if content is None else content).all())


def _stack(call: Call, parts: Sequence[Value]) -> Value:
    joined: Value = call.build.concat(*(call.build.unsqueeze(part, axes=(0,)) for part in parts), axis=0)
    return joined
