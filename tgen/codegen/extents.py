"""Extents that a run finds out: read, looked at, and given memory by thread 0 while the others wait.

What a wrong or absurd extent would lead to – sizes that overflow, memory that nobody has – is found out here, before a kernel uses it.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.ir as ll

from ..ir.dims import Apply, DimLike, symbol
from ..plan.types import Definition, Segment
from ..targets.emit import declare
from .context import I1, I64, PTR, VOID, FunctionContext

MOST_BYTES = 1 << 46  # of a buffer: beyond this a size is taken for a mistake
_F64 = ll.DoubleType()


def emit_definition(
    c: FunctionContext, definition: Definition, segment: Segment, source: Any, target: Any, words: Any, threads: Any
) -> Any:
    """Code that sets the symbol at `target` from the i64 at `source` and sees to the segment (pointer, bytes at `words`); an i1: whether all is well."""
    b = c.b
    value = b.load(source, typ=I64)
    b.store(value, target)
    fine = b.and_(b.icmp_signed(">=", value, I64(0)), b.icmp_signed("<=", value, c.dim(definition.most)))
    for there, needed in definition.equal:
        fine = b.and_(fine, b.icmp_signed("==", c.dim(there), c.dim(needed)))
        fine = b.and_(fine, b.fcmp_ordered("==", as_double(c, there), as_double(c, needed)))  # products may wrap
    for size in (*segment.sizes, segment.scratch):
        bytes_ = as_double(c, size)
        possible = b.and_(b.fcmp_ordered(">=", bytes_, _F64(0.0)), b.fcmp_ordered("<=", bytes_, _F64(float(MOST_BYTES))))
        fine = b.and_(fine, possible)
    enough = c.slot(I1, I1(0))
    with c.when(fine):
        wanted = b.add(scratch_start(c, segment), b.mul(c.dim(segment.scratch), threads))
        b.store(b.call(_grow(c.module), [words, wanted]), enough)
    return b.load(enough, typ=I1)


def scratch_start(c: FunctionContext, segment: Segment) -> Any:
    """Bytes of a segment before the threads' scratch."""
    return c.b.and_(c.b.add(c.dim(segment.bytes), I64(63)), I64(-64))


def as_double(c: FunctionContext, size: DimLike) -> Any:
    """A size that cannot overflow, at most a little wrong."""
    if isinstance(size, int):
        return _F64(float(size))
    b = c.b
    terms = []
    for monomial, coefficient in size.terms:
        factors = [_atom_as_double(c, atom) for atom in monomial]
        terms.append(functools.reduce(b.fmul, factors, _F64(float(coefficient))))
    return functools.reduce(b.fadd, terms)


def _atom_as_double(c: FunctionContext, atom: str | Apply) -> Any:
    b = c.b
    if isinstance(atom, str):
        return b.sitofp(c.dim(symbol(atom)), _F64)
    x, y = as_double(c, atom.a), as_double(c, atom.b)
    if atom.fn in ("max", "min"):
        return b.select(b.fcmp_ordered(">" if atom.fn == "max" else "<", x, y), x, y)
    quotient = _floor(c, b.fdiv(x, y))
    return quotient if atom.fn == "floordiv" else b.fsub(x, b.fmul(quotient, y))


def _floor(c: FunctionContext, x: Any) -> Any:
    """Without libm, which LLVM asks for where a CPU has no instruction for it."""
    b, limit = c.b, _F64(float(1 << 52))  # beyond, all doubles are integers
    small = b.and_(b.fcmp_ordered("<", x, limit), b.fcmp_ordered(">", x, _F64(-float(1 << 52))))
    cut = b.sitofp(b.fptosi(b.select(small, x, _F64(0.0)), I64), _F64)
    below = b.select(b.fcmp_ordered(">", cut, x), b.fsub(cut, _F64(1.0)), cut)
    return b.select(small, below, x)


def _grow(module: ll.Module) -> ll.Function:
    """i1 grow(words, bytes): the memory of `words` (pointer, bytes) is at least so large; what it held is lost where it was not. False: none there."""
    if "grow" in module.globals:
        return module.globals["grow"]
    c = FunctionContext(module, "grow", [PTR, I64], (), "", result=I1)
    words, wanted = c.function.args
    b = c.b
    place = b.gep(words, [I64(1)], source_etype=I64)
    small = b.icmp_unsigned("<", b.load(place, typ=I64), wanted)
    with c.when(small):
        b.call(declare(module, "free", VOID, [PTR]), [b.load(words, typ=PTR)])
        size = b.and_(b.add(wanted, b.add(b.lshr(wanted, I64(2)), I64(63))), I64(-64))  # a quarter more: sizes vary from run to run
        found = b.call(declare(module, "aligned_alloc", PTR, [I64, I64]), [I64(64), size])
        none = b.icmp_unsigned("==", b.ptrtoint(found, I64), I64(0))
        b.store(found, words)
        b.store(b.select(none, I64(0), size), place)
    return c.finish(b.icmp_unsigned(">=", b.load(place, typ=I64), wanted))
