"""Cleaning of a loop program after merging: what nobody reads is not stored, what is cheap or read once is not kept."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.expr import Expr, Kept, Load, transform, walk
from ..ir.graph import Value
from ..ir.loops import LoopProgram, Stage
from .inline import LARGEST_BODY, compact, cost

CHEAP_TO_REPEAT = 2  # loads and operations that cost no more than writing and reading a kept row


def tidy(program: LoopProgram, operands: tuple[Value, ...], used: Sequence[int]) -> tuple[LoopProgram, tuple[Value, ...]]:
    """The program with just the outputs `used` (in that order), dead stages gone, kept stages composed into their readers."""
    number = {old: new for new, old in enumerate(used)}
    stages = []
    for s in program.stages:
        output = number.get(s.output) if s.output is not None else None
        stages.append(Stage(s.kind, s.body, s.combine, output, s.index if output is not None else ()))
    stages = _compose(stages)
    stages = _alive(stages)
    tidied = LoopProgram(program.extents, program.rows, tuple(stages), tuple(program.outputs[k] for k in used))
    return compact(tidied, operands)


def _readers(stages: Sequence[Stage], k: int) -> list[int]:
    return [j for j in range(k + 1, len(stages)) if any(isinstance(x, Kept) and x.stage == k for x in walk(stages[j].body))]


def _compose(stages: list[Stage]) -> list[Stage]:
    """each/once stages that are not stored go into their readers when read by one stage, or cheap."""
    stages = list(stages)
    for k, stage in enumerate(stages):
        readers = _readers(stages, k)
        if stage.kind == "reduce" or not readers:
            continue
        if stage.kind == "once" and any(stages[j].kind != "once" for j in readers):
            continue  # a row's scalar is not computed again for each column
        weight = cost(stage.body) + sum(isinstance(x, Load) for x in walk(stage.body))
        if weight > CHEAP_TO_REPEAT and (len(readers) > 1 or stage.output is not None):
            continue
        bodies = {j: _insert(stages[j].body, k, stage.body) for j in readers}
        if any(sum(1 for _ in walk(b)) > LARGEST_BODY for b in bodies.values()):
            continue
        for j, body in bodies.items():
            s = stages[j]
            stages[j] = Stage(s.kind, body, s.combine, s.output, s.index)
    return stages


def _insert(body: Expr, stage: int, replacement: Expr) -> Expr:
    return transform(body, lambda x: replacement if isinstance(x, Kept) and x.stage == stage else None)


def _alive(stages: Sequence[Stage]) -> list[Stage]:
    """Stages that are stored or read by living ones, renumbered."""
    alive: set[int] = set()
    for k in reversed(range(len(stages))):
        if stages[k].output is not None or k in alive:
            alive.add(k)
            alive.update(x.stage for x in walk(stages[k].body) if isinstance(x, Kept))
    new = {old: k for k, old in enumerate(sorted(alive))}

    def rule(x: Expr) -> Expr | None:
        return Kept(x.dtype, new[x.stage]) if isinstance(x, Kept) else None

    return [Stage(s.kind, transform(s.body, rule), s.combine, s.output, s.index) for k, s in enumerate(stages) if k in alive]
