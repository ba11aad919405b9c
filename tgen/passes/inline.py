"""inline: a map disappears into the loops that read it.

    loops_c(… load_k[f(i)] …) over k = map(body)   →   loops_c(… body[i := f(i)] …)
Views (a single affine load) go always. Other maps go when nothing is computed more often than before, or when what is
computed again is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.dims import DimLike
from ..ir.expr import Call, Expr, Index, Kept, Load, affine, index, shift_axes, transform, walk
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.loops import LoopProgram, Stage
from ..ir.ops.fused import Loops
from ..ir.scalars import SCALARS

CHEAP = 3  # operations that may be done again instead of being stored and loaded
LARGEST_BODY = 250  # nodes of a body: beyond this a kernel gains nothing and compiles slowly
MOST_OPERANDS = 24


def inline(graph: Graph) -> Graph:
    """evaluate is unchanged; maps with one reader, views and cheap maps are gone where a loop reads them."""
    users = {value: len(nodes) for value, nodes in graph.users.items()}
    for value in graph.kept:
        users[value] = users.get(value, 0) + 1

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | list[Value] | None:
        if not isinstance(node.op, Loops):
            return None
        single = {new for old, new in zip(node.inputs, inputs) if users[old] == 1}
        program, operands, views_only = node.op.program, inputs, _is_windows(Value(node)) or _goes(graph, Value(node))
        for value in dict.fromkeys(inputs):
            if views_only and not is_view(value):
                continue
            merged = _absorb(program, operands, value, value in single)
            if merged is not None:
                program, operands = merged
        if program is node.op.program:
            return None
        new = Node(Loops(program), operands, node.origin)
        return [Value(new, i) for i in range(len(new.types))]

    return map_graph(graph, rebuild=rebuild)


def map_bodies(node: Node) -> tuple[Expr, ...] | None:
    """The body of each result over the axes of the results, if the node is a plain map of one or several results."""
    if not isinstance(node.op, Loops):
        return None
    program = node.op.program
    if program.rows != len(program.extents) or any(s.kind != "once" for s in program.stages):
        return None
    done: list[Expr] = []
    bodies: dict[int, Expr] = {}
    for stage in program.stages:
        done.append(transform(stage.body, lambda x: done[x.stage] if isinstance(x, Kept) else None))
        if stage.output is None:
            continue
        axis_of = {i.axis: index(k) for k, i in enumerate(stage.index) if isinstance(i, Index)}
        if len(axis_of) != program.rows:
            return None
        bodies[stage.output] = shift_axes(done[-1], axis_of)
    return tuple(bodies[k] for k in range(len(bodies)))


def map_body(value: Value) -> Expr | None:
    """The body over the axes of the result, if value is the only result of a loop program that is a plain map."""
    bodies = map_bodies(value.node)
    return bodies[0] if bodies is not None and len(bodies) == 1 else None


def is_view(value: Value) -> bool:
    """A map that is nothing but one load at affine indices."""
    if isinstance(value.op, Loops) and not isinstance(value.op.program.stages[-1].body, (Load, Kept)):
        return False  # as most are, which is seen without working out the body
    body = map_body(value)
    return isinstance(body, Load) and all(affine(i) is not None for i in body.index)


def _goes(graph: Graph, value: Value) -> bool:
    """A view that only loops read: it goes into them, and what it looks at keeps its order."""
    readers = graph.users.get(value, ())
    return is_view(value) and value not in graph.kept and all(isinstance(n.op, Loops) for n in readers)


def _is_windows(value: Value) -> bool:
    """A view that reads elements several times, since steps along one of its axes are shorter than what others span: what it took in
    would be computed for each window.
    """
    if not is_view(value):
        return False
    for at in map_body(value).index:  # type: ignore[union-attr]
        reach: DimLike = 1
        steps = [(step, axis) for axis, step in (affine(at) or ({}, 0))[0].items() if isinstance(step, int)]
        for step, axis in sorted(steps):
            if not isinstance(reach, int) or step < reach:
                return True
            reach = reach + (value.type.shape[axis] - 1) * step
    return False


def cost(body: Expr) -> int:
    """Operations of a body, roughly in vector instructions; index arithmetic is free, data-dependent indices are not."""
    total = 0
    for node in walk(body):
        if isinstance(node, Call) and node.fn not in ("cast", "bitcast"):
            if node.dtype.name == "i64" and affine(node) is not None:
                continue
            total += 10 if not SCALARS[node.fn].primitive else 4 if node.fn in ("div", "rem", "sqrt") else 1
        elif isinstance(node, Call):
            total += 1
    return total


def _absorb(
    program: LoopProgram, operands: tuple[Value, ...], value: Value, single: bool
) -> tuple[LoopProgram, tuple[Value, ...]] | None:
    body = map_body(value)
    if body is None:
        return None
    free = is_view(value) or (cost(body) <= CHEAP and _one_load(body))
    if not free and (not single or _reads_more_often(program, operands, value)):
        return None
    new_operands = (*operands, *(v for v in dict.fromkeys(value.node.inputs) if v not in operands))
    if len(new_operands) > MOST_OPERANDS:
        return None
    number = {v: k for k, v in reversed(list(enumerate(new_operands)))}
    renumber = [number[v] for v in value.node.inputs]
    moved = transform(body, lambda x: Load(x.dtype, renumber[x.operand], x.index) if isinstance(x, Load) else None)
    stages = tuple(_substitute(s, {k for k, v in enumerate(operands) if v == value}, moved) for s in program.stages)
    if any(sum(1 for _ in walk(s.body)) > LARGEST_BODY for s in stages):
        return None
    return compact(LoopProgram(program.extents, program.rows, stages, program.outputs), new_operands)


def _one_load(body: Expr) -> bool:
    return sum(isinstance(x, Load) for x in walk(body)) <= 1


def _reads_more_often(program: LoopProgram, operands: tuple[Value, ...], value: Value) -> bool:
    """Whether some stage reads an element of value more than once, or stages read it several times, in one run."""
    readers = 0
    for stage in program.stages:
        loads = {x for x in walk(stage.body) if isinstance(x, Load) and operands[x.operand] == value}
        readers += len(loads)
        axes = range(program.rows if stage.kind == "once" else len(program.extents))
        needed = {k for k in axes if program.extents[k] != 1}
        for load in loads:
            seen = {x.axis for i in load.index for x in walk(i) if isinstance(x, Index)}
            if needed - seen or any(isinstance(x, Load) for i in load.index for x in walk(i)):
                return True
    return readers > 1


def _substitute(stage: Stage, numbers: set[int], body: Expr) -> Stage:
    def rule(x: Expr) -> Expr | None:
        if isinstance(x, Load) and x.operand in numbers:
            return shift_axes(body, dict(enumerate(x.index)))
        return None

    return Stage(stage.kind, transform(stage.body, rule), stage.combine, stage.output, stage.index)


def compact(program: LoopProgram, operands: tuple[Value, ...]) -> tuple[LoopProgram, tuple[Value, ...]]:
    """Operands nobody loads are dropped, equal ones become one; the program is renumbered."""
    used: dict[Value, int] = {}
    for stage in program.stages:
        for x in walk(stage.body):
            if isinstance(x, Load):
                used.setdefault(operands[x.operand], len(used))
        for i in stage.index:
            for x in walk(i):
                if isinstance(x, Load):
                    used.setdefault(operands[x.operand], len(used))
    number = {k: used[v] for k, v in enumerate(operands) if v in used}
    stages = tuple(renumber_loads(s, number) for s in program.stages)
    return LoopProgram(program.extents, program.rows, stages, program.outputs), tuple(used)


def renumber_loads(stage: Stage, number: Mapping[int, int]) -> Stage:
    """The stage with `Load(k, …)` turned into `Load(number[k], …)`."""

    def rule(x: Expr) -> Expr | None:
        return Load(x.dtype, number[x.operand], x.index) if isinstance(x, Load) and number[x.operand] != x.operand else None

    return Stage(
        stage.kind, transform(stage.body, rule), stage.combine, stage.output, tuple(transform(i, rule) for i in stage.index)
    )
