"""build: a fused graph becomes a plan. Views get places, everything else gets kernels and memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..ir.dims import DimLike, ceildiv, dim_max, dim_min, evaluate_dim, mod, nonnegative, symbols
from ..ir.errors import Unsupported
from ..ir.expr import Index, Load, affine, call, index
from ..ir.forms import Choice, Join, Repeat, Reshape, Routine, Scatter
from ..ir.graph import MOST_EXTENT, Constant, Extent, Graph, Input, Node, Tensor, Value, extent_message, symbols_of
from ..ir.loops import LoopProgram, Stage
from ..ir.ops.attend import TiledAttend
from ..ir.ops.fused import Loops, Packing, TiledContraction
from ..ir.types import TensorType, contiguous_strides
from ..kernels.flat import flat_offset, flatten_loads
from ..kernels.loops import loop_kernel
from ..kernels.specs import Kernel, LoopKernel, RoutineKernel
from ..passes.inline import is_view, map_body
from ..passes.lower import map_program
from .arena import segmented
from .attend import attend_kernel
from .contract import contract_kernel, least, row_stride, rows_apart, stays_in_cache, tiles_whole, with_few_rows
from .memory import ALIGNMENT
from .reshape import reshaped
from .schedule import Forked, Part, Repeated, lifetimes, scheduled
from .types import Buffer, Case, Definition, Loop, Operand, Place, Plan, Sections, Step, segment_of, step_symbol


def build(graph: Graph, equal: Sequence[tuple[DimLike, DimLike]] = ()) -> Plan:
    """The plan of a graph of loops, tiled contractions and attentions, reshapes, joins and scatters. Raises Unsupported for anything else.

    equal: pairs of dimensions that must be equal; those that name extents of the graph are looked at when these are known.
    """
    return _Builder(graph, equal).plan()


class _Builder:
    def __init__(self, graph: Graph, equal: Sequence[tuple[DimLike, DimLike]]) -> None:
        self.graph, self.equal = graph, equal
        self.extents: list[str] = []  # those that are known where the next step will stand, in order
        self.messages: list[str] = []  # of runs in which one of them is none
        self.unknown: dict[Node, frozenset[str]] = {}  # extents of the region that are found out after a node
        self.buffers: list[Buffer] = []
        self.kernels: dict[Kernel, int] = {}
        self.steps: list[Part] = []
        self.repeats = 0
        self.places: dict[Value, Place] = {}
        self.reserved: dict[Value, Place] = {}  # where a kernel is asked to write: an output, or a part of a join
        self.weights: dict[Tensor, tuple[int, int]] = {}  # tensor → buffer, byte offset
        self.weight_bytes = 0
        self.slack: dict[int, DimLike] = {}  # bytes behind a segment of the arena that may be read (and are not used)

    def plan(self) -> Plan:
        graph = self.graph
        for k, node in enumerate(graph.inputs):
            self.places[Value(node)] = self._whole(Buffer("input", k), node.types[0])
        found = {e.symbol for e in graph.extents}
        outputs = [
            self._whole(Buffer("arena", bytes=v.type.bytes) if found & {*symbols_of([v.type])} else Buffer("output", k), v.type)
            for k, (_, v) in enumerate(graph.outputs)
        ]
        flags = [self._whole(Buffer("flag", k), check.holds.type) for k, check in enumerate(graph.checks)]
        self._region(outputs, flags)
        return self._finish(tuple((k, p.buffer) for k, p in enumerate(outputs) if self.buffers[p.buffer].kind == "arena"))

    def _region(self, results: Sequence[Place], flags: Sequence[Place] = ()) -> None:
        """Steps that leave the outputs and checks of `self.graph` in these places; its inputs have theirs."""
        graph = self.graph
        wanted = [*zip(graph.outputs, results), *zip(((c.message, c.holds) for c in graph.checks), flags)]
        due = self._due(graph)
        for (_, value), place in wanted:
            self._reserve(value, place)
        for node in reversed(graph.nodes):
            form = node.op.form(*(v.type for v in node.inputs))
            if isinstance(form, Join):
                self._reserve_join(node)
            elif isinstance(form, Reshape):
                self._reserve_reshaped(node)
        for node in graph.nodes:
            self._add(node)
            for extent in due.get(node, ()):
                self._define(extent)
        for (name, value), place in wanted:
            if not self.place(value).same(place, value.type.shape):
                self._copy(value, place, name)

    def _due(self, graph: Graph) -> dict[Node, list[Extent]]:
        """The extents that are found out behind each node; notes which are unknown at each."""
        due: dict[Node, list[Extent]] = {}
        for extent in graph.extents:
            due.setdefault(extent.value.node, []).append(extent)
        if due:
            unknown = {e.symbol for e in graph.extents}
            for node in graph.nodes:
                self.unknown[node] = frozenset(unknown)
                unknown -= {e.symbol for e in due.get(node, ())}
        return due

    def _define(self, extent: Extent) -> None:
        """The extent gets its value here; what must be equal is looked at when the last of its extents is known."""
        self.extents.append(extent.symbol)
        self.messages.append(extent_message(extent))
        named = {pair: {name for dim in pair for name in symbols(dim)} for pair in self.equal}
        later = {e.symbol for e in self.graph.extents} - {*self.extents}
        equal = tuple(pair for pair, names in named.items() if extent.symbol in names and names.isdisjoint(later))
        operand = Operand(self.place(extent.value).buffer, self.place(extent.value).offset * extent.value.type.dtype.size)
        most = MOST_EXTENT if extent.most is None else dim_min(extent.most, MOST_EXTENT)
        self.steps.append(Definition(extent.symbol, len(self.extents), operand, most, equal))

    def _segment(self, *sizes: DimLike) -> int:
        """Which segment of the arena a buffer of such a size is in: 0, or that of the last extent that the size names."""
        return segment_of(self.extents, *sizes)

    def _finish(self, made: tuple[tuple[int, int], ...]) -> Plan:
        schedule = scheduled(self.steps, tuple(self.kernels), self.buffers)
        parts: list[Step | Definition] = [*schedule.definitions, *schedule.steps]
        around = [each for each in schedule.ranges if isinstance(each, (Loop, Sections))]
        lives = lifetimes(sorted(parts, key=lambda part: part.phase), self.buffers, around)
        for _, number in made:
            lives[number] = dataclasses.replace(lives[number], last=schedule.phases)
        places, segments = segmented(lives, self.extents, (kernel.scratch for kernel in self.kernels), self.slack)
        buffers = [Buffer(b.kind, *places.get(k, (0, 0)), b.bytes) if b.kind == "arena" else b for k, b in enumerate(self.buffers)]
        inputs = tuple(self.graph.input_types.items())
        return Plan(
            self.graph.name, inputs, tuple((name, v.type) for name, v in self.graph.outputs), symbols_of(t for _, t in inputs),
            tuple(buffers), tuple(self.kernels), tuple(schedule.steps), tuple((at, t) for t, (_, at) in self.weights.items()),
            self.weight_bytes, segments[0].bytes, segments[0].scratch, tuple(schedule.ranges), tuple(schedule.definitions),
            tuple(segments[1:]), made,
            (*self.messages, *(c.message for c in self.graph.checks)), tuple(self.extents),
            self.graph.texts,
        )  # fmt: skip

    # -- places ------------------------------------------------------------------------------------------------------------

    def _whole(self, buffer: Buffer, type_: TensorType) -> Place:
        self.buffers.append(buffer)
        return Place(len(self.buffers) - 1, 0, contiguous_strides(type_.shape))

    def _new(self, value: Value) -> Place:
        """Where a kernel writes a value: the reserved place, or new memory of the arena."""
        place = self.reserved.get(value) or self._whole(Buffer("arena", bytes=value.type.bytes), value.type)
        self.places[value] = place
        return place

    def _writes(self, value: Value) -> bool:
        """Whether a kernel of its own writes this value (so that it can be told where)."""
        return isinstance(value.op, (TiledContraction, TiledAttend)) or (isinstance(value.op, Loops) and not is_view(value))

    def _reserve(self, value: Value, place: Place) -> None:
        form = value.op.form(*(v.type for v in value.node.inputs))
        in_one_piece = isinstance(form, (Routine, Reshape)) and place.contiguous(value.type.shape)
        stacked = isinstance(form, Choice) or (isinstance(form, Repeat) and value.index >= form.states)
        late = self.unknown.get(value.node, frozenset())
        if late and not late.isdisjoint({*symbols(self.buffers[place.buffer].bytes), *symbols(place.offset)}):
            return  # its memory is there only when all extents of its size are known
        if value not in self.reserved and (self._writes(value) or in_one_piece or stacked or isinstance(form, (Join, Scatter))):
            self.reserved[value] = place

    def _reserve_join(self, node: Node) -> None:
        value = Value(node)
        whole = self.reserved.setdefault(value, self._whole(Buffer("arena", bytes=value.type.bytes), value.type))
        for part, place in zip(node.inputs, self._parts(node, whole)):
            passed_on = isinstance(part.op.form(*(v.type for v in part.node.inputs)), (Join, Reshape))
            if node.inputs.count(part) == 1 and (passed_on or self._writes(part)):
                self._reserve(part, place)

    def _reserve_reshaped(self, node: Node) -> None:
        """reshape(x) that has a place, and reshape(transpose(x)) anyway: x is written where the reshape is a view, and nothing is copied."""
        value, source = Value(node), node.inputs[0]
        if self.graph.users.get(source) != (node,) or source in self.graph.kept:
            return
        if is_view(source):
            self._reserve_permuted(value, source)
        elif value in self.reserved:
            place = self.reserved[value]
            self._reserve(source, Place(place.buffer, place.offset, contiguous_strides(source.type.shape), place.part))

    def _reserve_permuted(self, value: Value, view: Value) -> None:
        """value: a reshape of the view, for which what the view looks at is written in the view's order."""
        source = view.node.inputs[0]
        at = map_body(view).index  # type: ignore[union-attr]
        axes = [i.axis for i in at if isinstance(i, Index)]
        looped = [k for k, d in enumerate(view.type.shape) if d != 1]
        only_reader = self.graph.users.get(source) == (view.node,) and source not in self.graph.kept
        if not only_reader or not self._writes(source) or source in self.reserved or sorted(axes) != looped or len(axes) < 2:
            return
        if any(d != 1 and not isinstance(i, Index) for d, i in zip(source.type.shape, at)):
            return
        whole = self.reserved.get(value) or self._whole(Buffer("arena", bytes=view.type.bytes), view.type)
        in_line = contiguous_strides(view.type.shape)
        strides = tuple(in_line[i.axis] if isinstance(i, Index) else 0 for i in at)
        self.reserved[source] = Place(whole.buffer, whole.offset, strides, whole.part)

    def _parts(self, node: Node, whole: Place) -> list[Place]:
        axis = node.op.form(*(v.type for v in node.inputs)).axis  # type: ignore[union-attr]
        places, start = [], whole.offset
        for k, part in enumerate(node.inputs):
            places.append(Place(whole.buffer, start, whole.strides, (*whole.part, k)))
            start = start + part.type.shape[axis] * whole.strides[axis]
        return places

    def _constant(self, value: Value) -> Place:
        tensor = value.op.value  # type: ignore[attr-defined]
        if tensor not in self.weights:
            at = -(-self.weight_bytes // ALIGNMENT) * ALIGNMENT
            self.buffers.append(Buffer("weight", offset=at, bytes=value.type.bytes))
            self.weights[tensor] = (len(self.buffers) - 1, at)
            self.weight_bytes = at + evaluate_dim(value.type.bytes, {})
        return Place(self.weights[tensor][0], 0, contiguous_strides(value.type.shape))

    # -- nodes -------------------------------------------------------------------------------------------------------------

    def _add(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Input):
            return
        form = op.form(*(v.type for v in node.inputs))
        if isinstance(op, Constant):
            return  # placed when a kernel reads it
        if isinstance(op, Loops):
            if is_view(Value(node)):
                self.places[Value(node)] = self._view(Value(node))
            else:
                self._loops(node, op.program)
        elif isinstance(op, TiledContraction):
            self._contract(node, op)
        elif isinstance(op, TiledAttend):
            self._attend(node, op)
        elif isinstance(form, Reshape):
            self._reshape(node)
        elif isinstance(form, Join):
            self._join(node)
        elif isinstance(form, Scatter):
            self._scatter(node, form)
        elif isinstance(form, Routine):
            self._routine(node, form)
        elif isinstance(form, Repeat):
            self._repeat(node, form)
        elif isinstance(form, Choice):
            self._choose(node, form)
        else:
            raise Unsupported(f"{node.origin or op}: no kernel for {op.name}")

    def place(self, value: Value) -> Place:
        if isinstance(value.op, Constant) and value not in self.places:
            self.places[value] = self._constant(value)
        return self.places[value]

    def _view(self, value: Value) -> Place:
        """offset and strides of an affine load of another value."""
        body = map_body(value)
        assert isinstance(body, Load)
        source = self.place(value.node.inputs[body.operand])
        offset = source.offset
        strides: list[DimLike] = [0] * value.type.rank
        for at, stride in zip(body.index, source.strides):
            coefficients, constant = affine(at) or ({}, 0)
            offset = offset + constant * stride
            for axis, step in coefficients.items():
                strides[axis] = strides[axis] + step * stride
        return Place(source.buffer, offset, tuple(strides), source.part)

    def _loops(self, node: Node, program: LoopProgram) -> None:
        results = [self._new(Value(node, k)) for k in range(len(node.types))]
        self._run_loops(program, node.inputs, results, node.origin)

    def _run_loops(self, program: LoopProgram, inputs: Sequence[Value], results: Sequence[Place], origin: str) -> None:
        places = [self.place(v) for v in inputs]
        dtypes = [v.type.dtype for v in inputs]
        kernel = loop_kernel(program, dtypes, [p.strides for p in places], [p.strides for p in results])
        self._step(
            kernel, [*zip(places, dtypes), *zip(results, (t.dtype for t in program.outputs))], origin
        )  # a kernel may see words

    def _step(
        self,
        kernel: Kernel,
        operands: Sequence[tuple[Place, object]],
        origin: str,
        cases: Sequence[tuple[DimLike, int, Kernel]] = (),
    ) -> None:
        """cases: (extent, most, kernel); see `Case`."""
        number, *others = (self.kernels.setdefault(k, len(self.kernels)) for k in (kernel, *(case[2] for case in cases)))
        pointers = tuple(Operand(p.buffer, p.offset * d.size, p.part) for p, d in operands)  # type: ignore[attr-defined]
        found = tuple(Case(extent, most, other) for (extent, most, _), other in zip(cases, others))
        self.steps.append(Step(number, pointers, origin, cases=found))

    def _contract(self, node: Node, op: TiledContraction) -> None:
        places = [self.place(v) for v in node.inputs]
        for k in range(op.a_parts, op.a_parts + op.b_parts):
            places[k] = self._tiled(op.packing, least(op.depth, op.depth_block), node.inputs[k], op.b_parts > 1)
        self._readable(node, places, op.a_parts, op.packing.k, op.whole_rows, op.row_axes, op.depth_axes)
        results = [self._new(Value(node, k)) for k in range(len(node.types))]
        types = [v.type for v in node.inputs]
        weights = self.buffers[places[op.a_parts].buffer].kind == "weight"
        kernel = contract_kernel(op, types, places, results, [t.dtype for t in node.types], weights)
        kernel, cases = with_few_rows(op, kernel)
        self._step(kernel, [*zip(places, kernel.inputs), *zip(results, kernel.outputs)], node.origin, cases)

    def _attend(self, node: Node, op: TiledAttend) -> None:
        count = op.attend.parts
        places = [self.place(v) for v in node.inputs]
        for first, tiling, depth in ((count, op.qk, op.depth), (2 * count, op.pv, op.columns)):
            for k in range(first, first + count):
                places[k] = self._tiled(tiling.packing, least(depth, tiling.depth_block), node.inputs[k], count > 1)
        self._readable(node, places, count, op.qk.packing.k, op.whole_rows)
        results = [self._new(Value(node, k)) for k in range(len(node.types))]
        kernel = attend_kernel(op, [v.type for v in node.inputs], places, results, [t.dtype for t in node.types])
        self._step(kernel, [*zip(places, kernel.inputs), *zip(results, kernel.outputs)], node.origin)

    def _readable(
        self, node: Node, places: list[Place], parts: int, step: int, rows: int, row_axes: int = 1, depth_axes: int = 1
    ) -> None:
        """Makes sure that parts of A can be read as their tile does, or copies them: `step` neighbours along k at a time; `rows` rows
        at a time, there or not, in the arena then, in line, with slack behind all of it.
        """
        for k in range(parts):
            value, place = node.inputs[k], places[k]
            axes = list(zip(value.type.shape, place.strides))[:-depth_axes]
            whole = step == 1 or place.strides[-1] == 1
            in_line = row_axes == 1 or rows_apart(axes[-min(row_axes, 2) :]) is not None
            inside = not rows or (self.buffers[place.buffer].kind == "arena" and nonnegative(row_stride(axes)) and in_line)
            if not (whole and inside):
                places[k] = place = self._whole(Buffer("arena", bytes=value.type.bytes), value.type)
                self._copy(value, place, "packing")
            if rows:
                segment = self._segment(self.buffers[place.buffer].bytes)
                slack = row_stride(list(zip(value.type.shape, place.strides))[:-depth_axes]) * (rows * value.type.dtype.size)
                self.slack[segment] = dim_max(self.slack.get(segment, 0), slack)

    def _tiled(self, packing: Packing, depth: DimLike, b: Value, packed: bool) -> Place:
        """B's place if tiles can be loaded from it as it is, else that of a copy. Several parts must lie alike: packed."""
        place = self.place(b)
        if place.contiguous(b.type.shape):
            return place
        if not packed and tiles_whole(place, b.type.shape) and stays_in_cache(packing, depth, place, b.type.dtype.size):
            return place
        copy = self._whole(Buffer("arena", bytes=b.type.bytes), b.type)
        self._copy(b, copy, "packing")
        return copy

    def _reshape(self, node: Node) -> None:
        source, value = node.inputs[0], Value(node)
        place = self.place(source)
        strides = reshaped(source.type.shape, place.strides, value.type.shape)
        if strides is None:
            place = self._whole(Buffer("arena", bytes=source.type.bytes), source.type)
            self._copy(source, place, node.origin)
            strides = contiguous_strides(value.type.shape)
        self.places[value] = Place(place.buffer, place.offset, strides, place.part)

    def _join(self, node: Node) -> None:
        whole = self._new(Value(node))
        for part, place in zip(node.inputs, self._parts(node, whole)):
            if not self.place(part).same(place, part.type.shape):
                self._copy(part, place, node.origin)

    def _scatter(self, node: Node, form: Scatter) -> None:
        """The operand is copied, then one thread writes the updates in order."""
        value, result = Value(node), self._new(Value(node))
        self._copy(node.inputs[0], result, node.origin)
        places = [*(self.place(v) for v in node.inputs), result]
        strides = {k: p.strides for k, p in enumerate(places)}
        body = flatten_loads(form.body, strides)
        at = flatten_loads(flat_offset(form.index, result.strides), strides)
        if form.combine is not None:
            body = call(form.combine, Load(body.dtype, len(node.inputs), (at,)), body)
        inputs = (*(v.type.dtype for v in node.inputs), value.type.dtype)
        kernel = LoopKernel(form.extents, 0, (Stage("each", body, output=0, index=(at,)),), inputs, (value.type.dtype,), None)
        self._step(kernel, [*zip(places, inputs), (result, value.type.dtype)], node.origin)

    def _routine(self, node: Node, form: Routine) -> None:
        places = [self._in_one_piece(v, node.origin) for v in node.inputs]
        results = [self._new(Value(node, k)) for k in range(len(node.types))]
        inputs, outputs = tuple(v.type.dtype for v in node.inputs), tuple(t.dtype for t in node.types)
        kernel = RoutineKernel(form.function, form.units, form.sizes, form.work, form.scratch, inputs, outputs)
        self._step(kernel, [*zip(places, inputs), *zip(results, outputs)], node.origin)

    def _repeat(self, node: Node, form: Repeat) -> None:
        """Steps of the body, in a loop: elements of sequences and of stacked results are windows that move along with it, a state is
        in one half of a buffer while the next one is written to the other.
        """
        first = form.captured + form.states
        turn = step_symbol(self.repeats)
        self.repeats += 1
        halves = [self._halves(v) for v in node.inputs[form.captured : first]]
        for value, half in zip(node.inputs[form.captured : first], halves):
            self._copy(value, half(0), node.origin)
        stacked = [self._new(Value(node, k)) for k in range(form.states, len(node.types))]
        captured = [self.place(v) for v in node.inputs[: form.captured]]
        elements = [self._element(self.place(v), turn) for v in node.inputs[first:]]
        given = (*captured, *(half(mod(turn, 2), 0) for half in halves), *elements)
        wanted = (*(half(mod(turn + 1, 2), 1) for half in halves), *(self._element(place, turn) for place in stacked))
        condition = halves[0](mod(turn, 2)) if form.conditional else None
        head = Operand(condition.buffer, condition.offset) if condition else None
        self.steps.append(Repeated(next(symbols(turn)), form.count, self._inside(form.body, given, wanted), head))
        for k, half in enumerate(halves):
            self.places[Value(node, k)] = half(mod(turn if form.conditional else form.count, 2))

    def _choose(self, node: Node, form: Choice) -> None:
        """Steps of both graphs, which write the same places."""
        condition = self.place(node.inputs[0])
        results = [self._new(value) for value in node.results]
        given = [self.place(v) for v in node.inputs[1:]]
        first = len(form.yes.inputs)
        yes = self._inside(form.yes, given[:first], results)
        no = self._inside(form.no, given[first:], results)
        self.steps.append(Forked(Operand(condition.buffer, condition.offset, condition.part), yes, no))

    def _inside(self, graph: Graph, given: Sequence[Place], wanted: Sequence[Place]) -> tuple[Part, ...]:
        """The steps of a graph whose inputs are in the places `given`, and whose results are to be in the places `wanted`."""
        outer = self.graph, self.steps, self.places, self.reserved
        self.graph, self.steps, self.reserved = graph, [], {}
        self.places = {Value(n): place for n, place in zip(graph.inputs, given)}
        self._region(wanted)
        steps = tuple(self.steps)
        self.graph, self.steps, self.places, self.reserved = outer
        return steps

    def _halves(self, state: Value) -> Callable[..., Place]:
        """Places of a state in a buffer with room for two: in half number `half`, which in a turn is part number `part`."""
        size = ceildiv(state.type.bytes, ALIGNMENT) * (ALIGNMENT // state.type.dtype.size)
        self.buffers.append(Buffer("arena", bytes=size * (2 * state.type.dtype.size)))
        number, strides = len(self.buffers) - 1, contiguous_strides(state.type.shape)
        return lambda half, *part: Place(number, half * size, strides, part)

    def _element(self, sequence: Place, turn: DimLike) -> Place:
        """Where element `turn` of a sequence lies."""
        stride, *strides = sequence.strides
        return Place(sequence.buffer, sequence.offset + turn * stride, tuple(strides), sequence.part)

    def _in_one_piece(self, value: Value, origin: str) -> Place:
        """The place of a value if its elements follow one another there, else that of a copy."""
        place = self.place(value)
        if place.contiguous(value.type.shape):
            return place
        copy = self._whole(Buffer("arena", bytes=value.type.bytes), value.type)
        self._copy(value, copy, origin)
        return copy

    def _copy(self, value: Value, place: Place, origin: str) -> None:
        body = Load(value.type.dtype, 0, tuple(index(k) for k in range(value.type.rank)))
        program = map_program(body, value.type, [value.type]).program
        self._run_loops(program, [value], [place], origin)
