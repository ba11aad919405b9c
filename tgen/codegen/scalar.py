"""Scalar bodies as LLVM: each primitive in a few instructions, for one lane or a vector of lanes.

A value is (LLVM value, lanes). What does not depend on the lane axis is computed once and spread when it meets a vector.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import DType
from ..ir.expr import Call, Const, Expr, Index, Kept, Load, Size
from ..kernels.flat import terms
from ..targets.emit import declare, masked_load, masked_store, splat
from .context import I32, I64, FunctionContext
from .primitives import emit_call
from .values import constant, from_memory, memory_type, register_type, to_memory, widen

Lanes = tuple[Any, int]


@dataclass
class Scope:
    """Where expressions are computed. axes: index of each axis; vector: the lane axis (its index is that of lane 0); lanes.

    pointers: of operands. kept: value of an earlier stage here. active: of the lanes, how many exist (None: all); nothing is read or
    written for those behind, whose values mean nothing.
    """

    axes: Mapping[int, Any]
    vector: int | None
    lanes: int
    pointers: list[Any]
    kept: Callable[[int], Lanes]
    active: Any = None


class Emitter:
    """Computes expressions of one scope; a node that occurs twice is computed once."""

    def __init__(self, context: FunctionContext, scope: Scope) -> None:
        self.c, self.scope = context, scope
        self.done: dict[Expr, Lanes] = {}
        self.active = scope.active if scope.lanes > 1 else None

    @property
    def b(self) -> Any:
        return self.c.b

    def vector(self, x: Expr, lanes: int) -> Any:
        """x in so many lanes (spread if it is the same in all)."""
        return self.spread(self.value(x), lanes)

    def spread(self, value: Lanes, lanes: int) -> Any:
        v, have = value
        if have == lanes:
            return v
        if isinstance(v, ll.Constant):
            return ll.Constant(ll.VectorType(v.type, lanes), [v] * lanes)
        return splat(self.b, v, lanes)

    def value(self, x: Expr) -> Lanes:
        stack = [x]
        while stack:
            node = stack[-1]
            if node in self.done:
                stack.pop()
                continue
            waiting = [a for a in self._needs(node) if a not in self.done]
            if waiting:
                stack.extend(waiting)
                continue
            self.done[node] = self._emit(node)
            stack.pop()
        return self.done[x]

    def _needs(self, x: Expr) -> tuple[Expr, ...]:
        if isinstance(x, Load):
            return (*terms(x.index[0])[2], *x.index[2:])
        return x.args

    def _emit(self, x: Expr) -> Lanes:
        if isinstance(x, Const):
            return constant(x.dtype, x.value), 1
        if isinstance(x, Size):
            return self.c.dim(x.dim), 1
        if isinstance(x, Index):
            return self._index(x.axis)
        if isinstance(x, Kept):
            return self.scope.kept(x.stage)
        if isinstance(x, Load):
            pointer = self.scope.pointers[x.operand]
            return self._guarded(x, pointer) if len(x.index) > 1 else self.load(x.dtype, pointer, x.index[0])
        assert isinstance(x, Call)
        operands = [self.done[a] for a in x.operands]
        lanes = max(n for _, n in operands)
        values = [self.spread(v, lanes) for v in operands]
        return emit_call(self.b, x, values, lanes), lanes

    def _index(self, axis: int) -> Lanes:
        base, lanes = self.scope.axes[axis], self.scope.lanes
        if axis != self.scope.vector or lanes == 1:
            return base, 1
        steps = ll.Constant(ll.VectorType(ll.IntType(64), lanes), list(range(lanes)))
        return self.b.add(splat(self.b, base, lanes), steps), lanes

    # -- memory ------------------------------------------------------------------------------------------------------------

    def offset(self, offset: Expr) -> tuple[Any, Any, Lanes | None]:
        """(elements at lane 0 without look-ups, step a lane or 0, look-up part)."""
        coefficients, constant_part, opaque = terms(offset)
        total = self.c.dim(constant_part)
        for axis, step in coefficients.items():
            index = self.scope.axes[axis]
            total = self.b.add(total, index if step == 1 else self.b.mul(index, self.c.dim(step)))
        looked: Lanes | None = None
        for x in opaque:
            value = self.value(x)
            if looked is not None:
                lanes = max(looked[1], value[1])
                value = self.b.add(self.spread(looked, lanes), self.spread(value, lanes)), lanes
            looked = value
        step = coefficients.get(self.scope.vector, 0) if self.scope.vector is not None and self.scope.lanes > 1 else 0
        return total, step, looked

    def _guarded(self, x: Load, pointer: Any) -> Lanes:
        """Without clamps where the condition holds in all lanes; with them elsewhere, or not at all if it holds in none."""
        clamped, free, condition = x.index
        lanes, (holds, count) = self.scope.lanes, self.done[condition]
        if lanes == 1 or terms(free)[2]:
            return self.load(x.dtype, pointer, clamped)
        type_ = ll.VectorType(register_type(x.dtype), lanes)
        slot = self.c.slot(type_, ll.Constant(type_, ll.Undefined) if count > 1 else ll.Constant(type_, None))
        every = holds if count == 1 else self._all(holds, lanes)
        with self.c.when(every):
            self.b.store(self.spread(self.load(x.dtype, pointer, free), lanes), slot)
        if count > 1:
            with self.c.when(self.b.not_(every)):
                self.b.store(self.spread(self.load(x.dtype, pointer, clamped), lanes), slot)
        return self.b.load(slot, typ=type_), lanes

    def _all(self, condition: Any, lanes: int) -> Any:
        """Whether it holds in all lanes that exist."""
        if self.active is not None:
            condition = self.b.or_(condition, self.b.not_(self.mask()))
        name = f"llvm.vector.reduce.and.v{lanes}i1"
        return self.b.call(declare(self.b.module, name, ll.IntType(1), [ll.VectorType(ll.IntType(1), lanes)]), [condition])

    def load(self, dtype: DType, pointer: Any, offset: Expr) -> Lanes:
        base, step, looked = self.offset(offset)
        if looked is not None and looked[1] == 1:
            base, looked = self.b.add(base, looked[0]), None
        if looked is None and step == 0:
            return self._read(dtype, pointer, base, 1), 1
        lanes = self.scope.lanes
        if looked is None and step == 1:
            return self._read(dtype, pointer, base, lanes, self.active), lanes
        if looked is None and step == 2:
            return self._read_every_second(dtype, pointer, base), lanes
        gathered = ll.Constant(ll.VectorType(register_type(dtype), lanes), ll.Undefined)
        for lane, at in enumerate(self._positions(base, step, looked)):
            gathered = self.b.insert_element(gathered, self._read(dtype, pointer, at, 1), I32(lane))
        return gathered, lanes

    def _read_every_second(self, dtype: DType, pointer: Any, at: Any) -> Any:
        """Two vectors that begin and end with elements that are wanted, so nothing behind the last one is read."""
        lanes = self.scope.lanes
        count = None if self.active is None else self.b.sub(self.b.shl(self.active, I64(1)), I64(1))
        low = self._read(dtype, pointer, at, lanes, count)
        behind = None if count is None else self.c.maximum(self.b.sub(count, I64(lanes - 1)), I64(0))
        high = self._read(dtype, pointer, self.b.add(at, I64(lanes - 1)), lanes, behind)
        places = [2 * k if k < lanes // 2 else 2 * k + 1 for k in range(lanes)]
        return self.b.shuffle_vector(low, high, ll.Constant(ll.VectorType(I32, lanes), places))

    def _positions(self, base: Any, step: Any, looked: Lanes | None) -> list[Any]:
        """Element offset of every lane; of those that do not exist that of the last one."""
        out = []
        for number in range(self.scope.lanes):
            at, lane = base, I64(number)
            if self.active is not None:
                lane = self.c.minimum(lane, self.b.sub(self.active, I64(1)))
            if step != 0:
                at = self.b.add(at, self.b.mul(self.c.dim(step), lane))
            if looked is not None:
                at = self.b.add(at, self.b.extract_element(looked[0], lane))
            out.append(at)
        return out

    def mask(self, active: Any = None) -> Any:
        """Which lanes are among the first `active`, by default those that exist."""
        lanes = self.scope.lanes
        numbers = ll.Constant(ll.VectorType(I32, lanes), list(range(lanes)))
        count = self.b.trunc(self.active if active is None else active, I32)
        return self.b.icmp_signed("<", numbers, splat(self.b, count, lanes))

    def read(self, dtype: DType, where: Any, lanes: int, active: Any = None) -> Any:
        """What is at an address; of a vector the first `active` lanes, if they are not all. Others are zero."""
        type_ = widen(memory_type(dtype), lanes)
        if active is None:
            loaded = self.b.load(where, typ=type_)
            loaded.align = dtype.size
        else:
            loaded = masked_load(self.b, type_, where, dtype.size, self.mask(active))
        return from_memory(self.b, loaded, dtype, lanes)

    def _read(self, dtype: DType, pointer: Any, at: Any, lanes: int, active: Any = None) -> Any:
        return self.read(dtype, self.b.gep(pointer, [at], source_etype=memory_type(dtype)), lanes, active)

    def store(self, value: Lanes, dtype: DType, pointer: Any, offset: Expr) -> None:
        base, step, looked = self.offset(offset)
        if looked is not None and looked[1] == 1:
            base, looked = self.b.add(base, looked[0]), None
        lanes = self.scope.lanes
        if lanes == 1 or (looked is None and step in (0, 1)):
            count = lanes if step == 1 else 1
            # An axis of one element may have more lanes than are stored.
            one = value[0] if value[1] <= count else self.b.extract_element(value[0], I32(0))
            self._write(self.spread((one, min(value[1], count)), count), dtype, pointer, base, count)
            return
        spread = self.spread(value, lanes)
        for lane, at in enumerate(self._positions(base, step, looked)):
            exists = (
                contextlib.nullcontext() if self.active is None else self.c.when(self.b.icmp_signed("<", I64(lane), self.active))
            )
            with exists:
                self._write(self.b.extract_element(spread, I32(lane)), dtype, pointer, at, 1)

    def write(self, value: Any, dtype: DType, where: Any, lanes: int) -> None:
        """The lanes that exist, at an address."""
        stored = to_memory(self.b, value, dtype, lanes)
        if lanes > 1 and self.active is not None:
            masked_store(self.b, stored, where, dtype.size, self.mask())
        else:
            self.b.store(stored, where, align=dtype.size)

    def _write(self, value: Any, dtype: DType, pointer: Any, at: Any, lanes: int) -> None:
        self.write(value, dtype, self.b.gep(pointer, [at], source_etype=memory_type(dtype)), lanes)
