"""What every generated function needs: loops, symbolic dimensions as i64 values, slots for values that loops carry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import llvmlite.ir as ll

from ..ir.dims import Apply, DimLike, symbols

I1, I8, I16, I32, I64 = (ll.IntType(w) for w in (1, 8, 16, 32, 64))
VOID, PTR = ll.VoidType(), ll.PointerType()
KERNEL_ARGUMENTS = (I64, I64, PTR, PTR, PTR)  # begin, end, operands, symbols, scratch


@dataclass(eq=False)
class Stage:
    """A place that what follows comes after, and from which on these symbols keep their values: what their dimensions are is computed there, once."""

    builder: ll.IRBuilder
    symbols: frozenset[str] = frozenset()
    dims: dict[DimLike, Any] = field(default_factory=dict)
    monomials: dict[tuple[str | Apply, ...], Any] = field(default_factory=dict)


class FunctionContext:
    """A function under construction. `b`: builder of the code; `entry`: builder of what must come first (slots, dimensions)."""

    def __init__(
        self,
        module: ll.Module,
        name: str,
        arguments: Sequence[ll.Type],
        symbols: Sequence[str],
        features: str,
        internal: bool = True,
        result: ll.Type = VOID,
    ) -> None:
        self.module, self.features = module, features
        self.function = ll.Function(module, ll.FunctionType(result, arguments), name)
        self.function.linkage = "internal" if internal else ""
        set_features(self.function, features)
        self.entry = ll.IRBuilder(self.function.append_basic_block("entry"))
        self._start = self.function.append_basic_block("start")
        self.b = ll.IRBuilder(self._start)
        self.symbols = symbols
        self.symbol_array: Any = None
        self.given: dict[str, Any] = {}  # values of symbols that are not in the array
        self.moving: frozenset[str] = frozenset()  # symbols that change while the function runs
        self._stages = [Stage(self.entry)]

    def finish(self, result: Any = None) -> ll.Function:
        """The function, which gives back `result` at its end; no more code is added to it."""
        self.entry.branch(self._start)
        if result is None:
            self.b.ret_void()
        else:
            self.b.ret(result)
        return self.function

    @contextlib.contextmanager
    def settled(self, names: Iterable[str]) -> Iterator[None]:
        """These moving symbols keep the values that they have here, in all code that is added inside."""
        place, following = (self.function.append_basic_block(name) for name in ("settled", "following"))
        self.b.branch(place)
        builder = ll.IRBuilder(place)
        builder.position_before(builder.branch(following))
        self.b.position_at_end(following)
        self._stages.append(Stage(builder, frozenset(names)))
        yield
        self._stages.pop()

    def dim(self, dim: DimLike) -> Any:
        """A dimension as an i64, computed once where its symbols are settled, at the start of the function if none moves; else here."""
        if isinstance(dim, int):
            return I64(dim)
        stage = self._stage(dim)
        if dim not in stage.dims:
            total = None
            for monomial, coefficient in dim.terms:
                term = self._scaled(self._monomial(monomial, stage), coefficient, stage)
                total = term if total is None else stage.builder.add(total, term)
            stage.dims[dim] = I64(0) if total is None else total
        return stage.dims[dim]

    def _stage(self, dim: DimLike) -> Stage:
        left = self.moving.intersection(symbols(dim)) if self.moving else frozenset()
        last = self._stages[0]
        for stage in self._stages[1:]:
            if not left.isdisjoint(stage.symbols):
                left, last = left - stage.symbols, stage
        return Stage(self.b) if left else last

    def _scaled(self, value: Any, factor: int, stage: Stage) -> Any:
        if value is None:
            return I64(factor)
        return value if factor == 1 else stage.builder.mul(I64(factor), value)

    def _monomial(self, monomial: tuple[str | Apply, ...], stage: Stage) -> Any:
        """The product of atoms, None of none; each, and each part that others begin with, is computed once."""
        if not monomial:
            return None
        if monomial not in stage.monomials:
            *before, last = monomial
            value = self._atom(last, stage.builder)
            if before:
                value = stage.builder.mul(self._monomial(tuple(before), stage), value)
            stage.monomials[monomial] = value
        return stage.monomials[monomial]

    def _atom(self, atom: str | Apply, e: Any) -> Any:
        if isinstance(atom, str):
            if atom in self.given:
                return self.given[atom]
            pointer = e.gep(self.symbol_array, [I64(self.symbols.index(atom))], source_etype=I64)
            return e.load(pointer, typ=I64)
        a, b = self.dim(atom.a), self.dim(atom.b)
        if atom.fn in ("max", "min"):
            return e.select(e.icmp_signed(">" if atom.fn == "max" else "<", a, b), a, b)
        if isinstance(atom.b, int) and atom.b > 0 and atom.b & (atom.b - 1) == 0:
            return e.ashr(a, I64(atom.b.bit_length() - 1)) if atom.fn == "floordiv" else e.and_(a, I64(atom.b - 1))
        if not isinstance(atom.b, int):
            b = e.select(e.icmp_signed("==", b, I64(0)), I64(1), b)  # no fault where nothing is meant
        quotient, rest = e.sdiv(a, b), e.srem(a, b)
        below = e.icmp_signed("<", e.xor(rest, b), I64(0))
        below = e.and_(below, e.icmp_signed("!=", rest, I64(0)))
        floor = e.sub(quotient, e.zext(below, I64))
        return floor if atom.fn == "floordiv" else e.sub(a, e.mul(floor, b))

    def slot(self, type_: ll.Type, initial: Any = None) -> Any:
        """Memory for a value that a loop carries; LLVM turns it into a register."""
        pointer = self.entry.alloca(type_)
        if initial is not None:
            self.b.store(initial, pointer)
        return pointer

    def at(self, pointer: Any, offset: Any) -> Any:
        """pointer + offset bytes."""
        return self.b.gep(pointer, [offset], source_etype=I8)

    def minimum(self, x: Any, y: Any) -> Any:
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return self.b.select(self.b.icmp_signed(">", x, y), x, y)

    @contextlib.contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        """`if condition:`"""
        yes, done = self.function.append_basic_block("when"), self.function.append_basic_block("after")
        self.b.cbranch(condition, yes, done)
        self.b.position_at_end(yes)
        yield
        self.b.branch(done)
        self.b.position_at_end(done)

    @contextlib.contextmanager
    def loop(self, start: Any, stop: Any, step: int | Any = 1) -> Iterator[Any]:
        """`for index in range(start, stop, step)`; yields the index."""
        step = I64(step) if isinstance(step, int) else step
        head, body, done = (self.function.append_basic_block(n) for n in ("loop", "body", "done"))
        before = self.b.block
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(I64)
        index.add_incoming(start, before)
        self.b.cbranch(self.b.icmp_signed("<", index, stop), body, done)
        self.b.position_at_end(body)
        yield index
        following = self.b.add(index, step)
        index.add_incoming(following, self.b.block)
        self.b.branch(head)
        self.b.position_at_end(done)

    @contextlib.contextmanager
    def positions(self, start: Any, stop: Any, extents: Sequence[Any]) -> Iterator[list[Any]]:
        """`for position in range(start, stop)` as multi-indices: counted on axis by axis, since a division takes longer than a short row."""
        with self.numbered_positions(start, stop, extents) as (_, position):
            yield position

    @contextlib.contextmanager
    def numbered_positions(self, start: Any, stop: Any, extents: Sequence[Any]) -> Iterator[tuple[Any, list[Any]]]:
        """The same with the flat position beside the multi-index."""
        with self.when(self.b.icmp_signed("<", start, stop)):  # else an extent may be 0, which nothing can be divided by
            slots = [self.slot(I64, first) for first in self.decompose(start, extents)]
            with self.loop(start, stop) as number:
                position = [self.b.load(slot, typ=I64) for slot in slots]
                yield number, position
                carry: Any = I64(1)
                for slot, index, extent in reversed(list(zip(slots, position, extents))):
                    following = self.b.add(index, carry)
                    over = self.b.icmp_signed(">=", following, extent)
                    self.b.store(self.b.select(over, I64(0), following), slot)
                    carry = self.b.zext(over, I64)

    def decompose(self, flat: Any, extents: Sequence[Any]) -> list[Any]:
        """The multi-index of a flat position."""
        out: list[Any] = []
        for extent in reversed(extents[1:]):
            out.insert(0, self.b.urem(flat, extent))
            flat = self.b.udiv(flat, extent)
        return [flat, *out] if extents else []


def set_features(function: ll.Function, features: str) -> None:
    """Lets LLVM use these CPU features, and vectors as wide as they are written, in this function."""
    function.attributes.add("nounwind")
    if features:
        # llvmlite knows enum attributes only; string attributes are spelled as it prints them
        set.add(function.attributes, f'"target-features"="{features}"')
    set.add(function.attributes, '"prefer-vector-width"="512"')
