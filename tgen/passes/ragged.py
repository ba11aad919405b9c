"""ragged: a batch padded to one length runs over its tokens alone.

A mask [batch, seq] says which positions are tokens. A value x[batch, seq, …] is kept *packed* wherever it can be:
    x'[t, …] = x[token(t) / seq, token(t) % seq, …]        for the T tokens of the batch, in row-major order
    loops over (batch, seq, …)   →   loops over (t, …), where the result lies at (batch, seq)
    a[batch, seq, k]·w[k, n]     →   a'[t, k]·w[k, n]
    attend over batch, seq × seq →   the same with a limit: the rows and columns of each sequence up to its last token
Elsewhere a packed value is spread again, with 0 where there is no token. All but the limit is true by construction; the limit is true
where padding has no weight in the attention, which is what such a mask is for (`tgen/ragged.py` finds out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..ir.dtypes import I64
from ..ir.expr import Expr, Index, Load, call, const, index, maximum, select, size, transform, walk
from ..ir.graph import Graph, Node, Value
from ..ir.loops import LoopProgram, Stage
from ..ir.ops.attend import Attend
from ..ir.ops.fused import Contraction, Loops
from ..ir.ops.movement import Reshape
from ..ir.types import TensorType
from .lower import map_program


@dataclass(frozen=True)
class Tables:
    """Inputs that tell tokens from padding: tokens i64[T], the position (batch·seq) of each; slots i64[batch, seq], the number of the
    token at a position or -1; lengths i64[batch], 1 + the position in seq of the last token.
    """

    tokens: Value
    slots: Value
    lengths: Value


def ragged(graph: Graph, tables: Tables) -> Graph:
    """evaluate is unchanged where there are tokens; outputs [batch, seq, …] are 0 elsewhere. Runs after `lower`."""
    packer = _Packer(graph, tables)
    for node in graph.nodes:
        packer.add(node)
    outputs = tuple((name, packer.padded(value)) for name, value in graph.outputs)
    return replace(graph, outputs=outputs)


class _Packer:
    """Rebuilds nodes in order; each value comes out packed or padded, and as the other one when somebody wants that."""

    def __init__(self, graph: Graph, tables: Tables) -> None:
        self.graph, self.tables = graph, tables
        self.lead = tables.slots.type.shape
        self.count = tables.tokens.type.shape[0]
        self.in_tokens: dict[Value, Value] = {}
        self._padded: dict[Value, Value] = {}

    def add(self, node: Node) -> None:
        op, new = node.op, None
        if all(t.shape[:2] == self.lead for t in node.types):
            if isinstance(op, Loops):
                new = self._loops(node, op.program)
            elif isinstance(op, Contraction):
                new = self._contraction(node, op)
            elif isinstance(op, Reshape):
                new = self._reshape(node, op)
        if new is not None:
            self.in_tokens.update({Value(node, k): Value(new, k) for k in range(len(node.types))})
            return
        kept = self._limited(node, op) if isinstance(op, Attend) else None
        if kept is None:
            inputs = tuple(self.padded(v) for v in node.inputs)
            kept = node if inputs == node.inputs else Node(op, inputs, node.origin)
        self._padded.update({Value(node, k): Value(kept, k) for k in range(len(node.types))})

    # -- both shapes of a value --------------------------------------------------------------------------------------------

    def padded(self, value: Value) -> Value:
        """value as [batch, seq, …]: spread, 0 where there is no token."""
        if value not in self._padded:
            packed = self.in_tokens[value]
            rest = packed.type.rank - 1
            slot = Load(I64, 1, (index(0), index(1)))
            there = Load(value.type.dtype, 0, (maximum(slot, 0), *(index(2 + k) for k in range(rest))))
            body = select(slot >= 0, there, const(0, value.type.dtype))
            self._padded[value] = _mapped(body, value.type, (packed, self.tables.slots), value.node.origin)
        return self._padded[value]

    def packed(self, value: Value) -> Value:
        """value as [T, …]: gathered."""
        if value not in self.in_tokens:
            type_ = self._packed_type(value.type)
            at = self.position(Load(I64, 1, (index(0),)))
            body = Load(value.type.dtype, 0, (*at, *(index(1 + k) for k in range(type_.rank - 1))))
            self.in_tokens[value] = _mapped(body, type_, (self._padded[value], self.tables.tokens), value.node.origin)
        return self.in_tokens[value]

    def _packed_type(self, type_: TensorType) -> TensorType:
        return type_.with_shape((self.count, *type_.shape[2:]))

    def position(self, token: Expr) -> tuple[Expr, Expr]:
        """(batch, seq) of a token."""
        return call("div", token, size(self.lead[1])), call("rem", token, size(self.lead[1]))

    # -- nodes whose result is packed --------------------------------------------------------------------------------------

    def _loops(self, node: Node, program: LoopProgram) -> Node | None:
        axes = self._token_axes(program)
        if axes is None:
            return None
        others = [k for k in range(len(program.extents)) if k not in axes]
        bodies = _Bodies(self, node, {k: 1 + n for n, k in enumerate(others)}, axes, fixed=())
        stages = tuple(
            Stage(s.kind, bodies(s.body), s.combine, s.output, (index(0), *map(bodies, s.index[2:])) if s.index else ())
            for s in program.stages
        )
        extents = (self.count, *(program.extents[k] for k in others))
        new = LoopProgram(extents, program.rows - 1, stages, tuple(map(self._packed_type, program.outputs)))
        return Node(Loops(new), bodies.operands, node.origin)

    def _token_axes(self, program: LoopProgram) -> tuple[int, int] | None:
        """The row axes along which every result has its batch and seq."""
        found = {s.index[:2] for s in program.stages if s.output is not None}
        if len(found) != 1:
            return None
        batch, seq = found.pop()
        rows = isinstance(batch, Index) and isinstance(seq, Index) and max(batch.axis, seq.axis) < program.rows
        return (batch.axis, seq.axis) if rows else None  # type: ignore[attr-defined]

    def _contraction(self, node: Node, op: Contraction) -> Node | None:
        a, b = node.inputs[: op.a_parts], node.inputs[op.a_parts : op.fixed]
        if any(v.type.rank != 3 or v.type.shape[:2] != self.lead for v in a) or any(v.type.rank != 2 for v in b):
            return None
        fixed = (*map(self.packed, a), *map(self.padded, b))
        bodies = _Bodies(self, node, {2: 1}, (0, 1), fixed)
        epilogues = tuple(map(bodies, op.epilogues))
        return Node(op.with_epilogues(epilogues), bodies.operands, node.origin)

    def _reshape(self, node: Node, op: Reshape) -> Node | None:
        source = node.inputs[0]
        if source not in self.in_tokens or source.type.shape[:2] != self.lead:
            return None
        return Node(Reshape((self.count, *op.shape[2:])), (self.in_tokens[source],), node.origin)

    # -- attention ---------------------------------------------------------------------------------------------------------

    def _limited(self, node: Node, op: Attend) -> Node | None:
        """With a limit, if it is one over the padded sequences and only its rows of tokens are read."""
        q, k = node.inputs[0].type, node.inputs[op.parts].type
        square = q.shape[0] == k.shape[0] == self.lead[0] and q.shape[-2] == k.shape[-1] == self.lead[1]
        if op.limit is not None or q.rank < 3 or not square or not self._read_at_tokens(Value(node)):
            return None
        limit = Load(I64, len(node.inputs), (index(0),))
        inputs = (*(self.padded(v) for v in node.inputs), self.tables.lengths)
        return Node(replace(op, limit=limit), inputs, node.origin)

    def _read_at_tokens(self, value: Value) -> bool:
        """Whether every reader is packed and reads a row [batch, …, seq, …] at its own token."""
        if value in self.graph.kept:
            return False
        for node in self.graph.users.get(value, ()):
            program = node.op.program if isinstance(node.op, Loops) else None
            axes = self._token_axes(program) if program and all(t.shape[:2] == self.lead for t in node.types) else None
            if program is None or axes is None:
                return False
            number = node.inputs.index(value)
            loads = (x for s in program.stages for x in walk(s.body) if isinstance(x, Load) and x.operand == number)
            if node.inputs.count(value) > 1 or any((x.index[0], x.index[-2]) != (index(axes[0]), index(axes[1])) for x in loads):
                return False
        return True


class _Bodies:
    """Bodies over (batch, seq, …) as bodies over (t, …). operands: `fixed`, then what the bodies turn out to load."""

    def __init__(self, packer: _Packer, node: Node, axes: dict[int, int], token: tuple[int, int], fixed: Sequence[Value]) -> None:
        self.packer, self.node, self.axes, self.token = packer, node, axes, token
        self.fixed = list(fixed)
        self.found: list[Value] = []

    @property
    def operands(self) -> tuple[Value, ...]:
        return (*self.fixed, *self.found)

    def __call__(self, body: Expr) -> Expr:
        return transform(body, self._rule)

    def _number(self, value: Value) -> int:
        if value not in self.found:
            self.found.append(value)
        return len(self.fixed) + self.found.index(value)

    def _rule(self, x: Expr) -> Expr | None:
        if isinstance(x, Index):
            if x.axis in self.axes:
                return index(self.axes[x.axis])
            return self._at()[self.token.index(x.axis)]
        if not isinstance(x, Load):
            return None
        value = self.node.inputs[x.operand]
        if value in self.packer.in_tokens and x.index[:2] == self._at():
            return Load(x.dtype, self._number(self.packer.packed(value)), (index(0), *x.index[2:]))
        return Load(x.dtype, self._number(self.packer.padded(value)), x.index)

    def _at(self) -> tuple[Expr, Expr]:
        return self.packer.position(Load(I64, self._number(self.packer.tables.tokens), (index(0),)))


def _mapped(body: Expr, type_: TensorType, operands: tuple[Value, ...], origin: str) -> Value:
    return Value(Node(map_program(body, type_, [v.type for v in operands]), operands, origin))
