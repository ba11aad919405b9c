"""rows: loops over the same rows become one program that keeps the row in registers or L1.

A producer and a reader merge when the axes of one are those of the other: its rows are the rows, its other axes (if any) the
columns. Softmax (max, exp, sum, divide), norms, residual + norm, cast after norm come out of this one rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.dims import product
from ..ir.expr import Const, Expr, Index, Kept, Load, index, shift_axes, transform, walk
from ..ir.graph import Graph, Node, Value, replace_roots, symbols_of
from ..ir.loops import LoopProgram, Stage
from ..ir.op import Op, op_symbols
from ..ir.ops.fused import Loops
from .inline import MOST_OPERANDS, is_view
from .tidy import tidy

MOST_STAGES = 24
FEW_COLUMNS = 1 << 16  # a single row is not shared by threads: merge only when it is short


@dataclass(eq=False)
class Group:
    """A node under work. `into`: the group that took it in, and the number its result 0 has there.

    span: places, in the order of the graph's nodes, of the first and the last node in it. after: what it does not read, but must come
    after: values of extents whose symbols it names.
    """

    op: Op
    inputs: tuple[tuple[Group, int], ...]
    origin: str
    span: tuple[int, int]
    after: tuple[tuple[Group, int], ...] = ()
    into: tuple[Group, int] | None = None

    @property
    def program(self) -> LoopProgram:
        assert isinstance(self.op, Loops)
        return self.op.program


Result = tuple[Group, int]


def find(result: Result) -> Result:
    """Where a result is computed by now."""
    group, number = result
    while (into := group.into) is not None:
        group, number = into[0], number + into[1]
    return group, number


def rows(graph: Graph) -> Graph:
    """evaluate is unchanged; chains of maps and reductions over the same rows are single loop programs."""
    groups: dict[Node, Group] = {}
    far = list(range(len(graph.nodes)))
    extents = {e.symbol: e.value for e in graph.extents}
    for place, node in enumerate(graph.nodes):
        inputs = tuple((groups[v.node], v.index) for v in node.inputs)
        group = groups[node] = Group(node.op, inputs, node.origin, (place, place), _extents(node, groups, extents))
        if isinstance(node.op, Loops) and not is_view(Value(node)):
            for source in reversed(group.inputs):
                reader, producer = find((group, 0))[0], find(source)[0]
                if producer is not reader and isinstance(producer.op, Loops) and not _is_view_group(producer):
                    _merge(producer, reader, far)
    return _resolve(graph, groups)


def _extents(node: Node, groups: Mapping[Node, Group], extents: Mapping[str, Value]) -> tuple[Result, ...]:
    """Values of the extents that a node names."""
    if not extents:
        return ()
    named = {*symbols_of(node.types), *op_symbols(node.op)}
    return tuple((groups[v.node], v.index) for symbol, v in extents.items() if symbol in named)


def _is_view_group(group: Group) -> bool:
    stages = group.program.stages
    return len(stages) == 1 and isinstance(stages[0].body, Load)


def _merge(producer: Group, reader: Group, far: list[int]) -> None:
    """One group of both, unless their rows differ or a path leads from producer to reader outside of them. far: see `_reaches`; changed.

    reader: holds the last node of those that are in groups.
    """
    a, b = producer.program, reader.program
    if len(a.stages) + len(b.stages) > MOST_STAGES:
        return
    pairs = _pairs(producer, reader)
    if pairs is None or _reaches(producer, reader, far):
        return
    main_is_reader = b.rows < len(b.extents) and a.rows == len(a.extents)
    rename = _cover(a, b, pairs) if main_is_reader else _cover(b, a, {j: i for i, j in pairs.items()})
    if rename is None:
        return
    main = b if main_is_reader else a
    if product(main.extents[: main.rows]) == 1 and not _short(main):
        return
    mine = [find(v) for v in producer.inputs]
    theirs = [find(v) for v in reader.inputs]
    inputs = list(dict.fromkeys([*mine, *(v for v in theirs if v[0] is not producer)]))
    if len(inputs) > MOST_OPERANDS:
        return
    stage_of = {s.output: k for k, s in enumerate(a.stages) if s.output is not None}
    loads_a = {k: inputs.index(v) for k, v in enumerate(mine)}
    loads_b = {k: inputs.index(v) for k, v in enumerate(theirs) if v[0] is not producer}
    kept_b = {k: stage_of[v[1]] for k, v in enumerate(theirs) if v[0] is producer}
    small = a if main_is_reader else b
    spread = small.rows == len(small.extents) and any(j >= main.rows for j in rename.values())
    axes_a, axes_b = (rename, None) if main_is_reader else (None, rename)
    stages = [
        *(_moved(s, axes_a, spread and main_is_reader, loads_a, {}, 0, 0) for s in a.stages),
        *(_moved(s, axes_b, spread and not main_is_reader, loads_b, kept_b, len(a.stages), len(a.outputs)) for s in b.stages),
    ]
    program = LoopProgram(main.extents, main.rows, tuple(stages), (*a.outputs, *b.outputs))
    after = tuple(dict.fromkeys(producer.after + reader.after))
    first, last = min(producer.span[0], reader.span[0]), reader.span[1]
    merged = Group(Loops(program), tuple(inputs), reader.origin or producer.origin, (first, last), after)
    producer.into, reader.into = (merged, 0), (merged, len(a.outputs))
    far[first : last + 1] = [last] * (last + 1 - first)


def _short(program: LoopProgram) -> bool:
    columns = product(program.extents[program.rows :])
    return isinstance(columns, int) and columns <= FEW_COLUMNS


def _pairs(producer: Group, reader: Group) -> dict[int, int] | None:
    """Axis of the producer → axis of the reader, from where results are stored and read; None if that is not one to one."""
    a, b = producer.program, reader.program
    stored = {s.output: s.index for s in a.stages if s.output is not None}
    pairs: dict[int, int] = {}
    for stage in b.stages:
        for load in (x for x in walk(stage.body) if isinstance(x, Load)):
            source = find(reader.inputs[load.operand])
            if source[0] is producer and not _pair(stored[source[1]], load.index, pairs):
                return None
    if (not pairs and a.rows) or len(set(pairs.values())) != len(pairs):
        return None
    return pairs if all(a.extents[i] == b.extents[j] for i, j in pairs.items()) else None


def _pair(store: Sequence[Expr], load: Sequence[Expr], pairs: dict[int, int]) -> bool:
    for at, read in zip(store, load, strict=True):
        if isinstance(at, Const) and at is not read:
            return False
        if isinstance(at, Index) and not (isinstance(read, Index) and pairs.setdefault(at.axis, read.axis) == read.axis):
            return False
    return True


def _cover(small: LoopProgram, main: LoopProgram, pairs: Mapping[int, int]) -> dict[int, int] | None:
    """Axis of `small` → axis of `main` for all of small's axes: paired ones as given, others in order by equal extents.

    Rows of main must all be covered; small's own rows and columns (if it has columns) must fall on main's.
    """
    free_main = [j for j in range(len(main.extents)) if j not in pairs.values()]
    free = [i for i in range(len(small.extents)) if i not in pairs]
    if free and [small.extents[i] for i in free] != [main.extents[j] for j in free_main]:
        return None
    cover = {**pairs, **dict(zip(free, free_main))}
    if not set(range(main.rows)) <= set(cover.values()):
        return None
    columns = {j for j in cover.values() if j >= main.rows}
    if columns and len(columns) != len(main.extents) - main.rows:
        return None
    if small.rows < len(small.extents) and any((i < small.rows) != (j < main.rows) for i, j in cover.items()):
        return None
    return cover


def _reaches(producer: Group, reader: Group, far: Sequence[int]) -> bool:
    """Whether the reader depends on the producer through a group that is neither.

    far: of each place, the last one of any group that spans it. What a node depends on lies before it, but that of a group may lie
    as far as others reach that span its nodes: where all of these end before the producer nothing leads there.
    """
    stack = [g for g, _ in map(find, reader.inputs) if g is not producer] + [find(v)[0] for v in reader.after]
    seen: set[Group] = set()
    while stack:
        group = stack.pop()
        if group is producer:
            return True
        if group not in seen:
            seen.add(group)
            end = group.span[1]
            while far[end] > end:
                end = far[end]
            if end < producer.span[0]:
                continue
            stack.extend(find(v)[0] for v in (*group.inputs, *group.after))
    return False


def _moved(
    stage: Stage,
    rename: Mapping[int, int] | None,
    spread: bool,
    loads: Mapping[int, int],
    kept: Mapping[int, int],
    stages: int,
    outputs: int,
) -> Stage:
    """The stage in the merged program: axes renamed, operands renumbered, results of the producer read as kept values.

    spread: the map runs for each column of the merged program, not once a row.
    """

    def rule(x: Expr) -> Expr | None:
        if isinstance(x, Kept):
            return Kept(x.dtype, x.stage + stages)
        if isinstance(x, Load):
            return Kept(x.dtype, kept[x.operand]) if x.operand in kept else Load(x.dtype, loads[x.operand], x.index)
        return None

    axes = {i: index(j) for i, j in rename.items()} if rename is not None else {}
    kind = "each" if stage.kind == "once" and spread else stage.kind
    body = transform(shift_axes(stage.body, axes), rule)
    at = tuple(transform(shift_axes(i, axes), rule) for i in stage.index)
    return Stage(kind, body, stage.combine, None if stage.output is None else stage.output + outputs, at)


def _resolve(graph: Graph, groups: Mapping[Node, Group]) -> Graph:
    """The graph of the groups; results nobody reads are not stored any more."""
    wanted = {value: find((groups[value.node], value.index)) for value in graph.kept}
    order = _order([g for g, _ in wanted.values()] + [groups[n] for n in graph.inputs])
    read: dict[Group, set[int]] = {}
    for group, number in wanted.values():
        read.setdefault(group, set()).add(number)
    for group in order:
        for source, number in map(find, group.inputs):
            read.setdefault(source, set()).add(number)
    inputs = {groups[n]: n for n in graph.inputs}
    made: dict[Result, Value] = {}
    for group in order:
        operands = tuple(made[find(v)] for v in group.inputs)
        if isinstance(group.op, Loops):
            used = sorted(read.get(group, ()))
            program, operands = tidy(group.program, operands, used)
            node = Node(Loops(program), operands, group.origin)
            made.update({(group, old): Value(node, new) for new, old in enumerate(used)})
        else:
            node = inputs.get(group) or Node(group.op, operands, group.origin)
            made.update({(group, k): Value(node, k) for k in range(len(node.types))})
    return replace_roots(graph, {value: made[result] for value, result in wanted.items()}, graph.inputs)


def _order(targets: Sequence[Group]) -> list[Group]:
    """All groups the targets need, producers first."""
    order: dict[Group, None] = {}
    for target in targets:
        stack: list[tuple[Group, int]] = [(target, 0)]
        while stack:
            group, at = stack.pop()
            if group in order:
                continue
            if at < len(group.inputs):
                stack.append((group, at + 1))
                stack.append((find(group.inputs[at])[0], 0))
            else:
                order[group] = None
    return list(order)
