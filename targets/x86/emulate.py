"""AMX without AMX: the same tile programs, with each tile instruction as a function over memory.

For tests on machines that lack the instructions: layouts, tails, addresses and epilogues are those of the real target; only the
instructions themselves are stood in for. One thread only (the tile registers are one array).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from ..emit import address, splat
from ..target import Target
from .amx import AmxTile

_I8, _I32, _I64, _VOID, _PTR = ll.IntType(8), ll.IntType(32), ll.IntType(64), ll.VoidType(), ll.PointerType()
_ROW, _ROWS, _TILES = 64, 16, 8
_WORDS = ll.VectorType(_I32, 16)
_FLOATS = ll.VectorType(ll.FloatType(), 16)


@dataclasses.dataclass(frozen=True)
class EmulatedAmxTile(AmxTile):
    """The verbs of `AmxTile`, calling functions that this module defines."""

    def callee(self, b: Any, name: str, arguments: list[ll.Type]) -> ll.Function:
        found = b.module.globals.get(f"emulated.{name}")
        if found is not None:
            return found
        function = ll.Function(b.module, ll.FunctionType(_VOID, arguments), f"emulated.{name}")
        function.linkage = "internal"
        builder = ll.IRBuilder(function.append_basic_block())
        _BODIES[name](builder, list(function.args))
        builder.ret_void()
        return function


def emulated(target: Target, host: Target) -> Target:
    """`target` with its tile instructions emulated, in code that `host` can run."""
    tiles = []
    for tile in target.tiles:
        if isinstance(tile, AmxTile):
            fields = {f.name: getattr(tile, f.name) for f in dataclasses.fields(tile)}
            tile = EmulatedAmxTile(**fields)
        tiles.append(tile)
    return dataclasses.replace(
        target,
        name=f"{target.name} emulated",
        cpu=host.cpu,
        features=host.features,
        needs=host.needs,
        tiles=tuple(tiles),
        uses_tiles=False,
    )


def _registers(b: Any) -> Any:
    """The tile registers: 8 × 16 rows × 64 bytes."""
    found = b.module.globals.get("emulated.tiles")
    if found is None:
        type_ = ll.ArrayType(_I8, _TILES * _ROWS * _ROW)
        found = ll.GlobalVariable(b.module, type_, "emulated.tiles")
        found.linkage, found.align = "internal", 64
        found.initializer = ll.Constant(type_, None)
    return found


def _row(b: Any, tile: Any, row: Any) -> Any:
    offset = b.add(b.mul(b.zext(tile, _I64), _I64(_ROWS * _ROW)), b.mul(row, _I64(_ROW)))
    return b.gep(address(_registers(b)), [offset], source_etype=_I8)


def _each_row(b: Any, body: Callable[[Any], None]) -> None:
    """body for rows 0 … 15."""
    before, loop = b.block, b.function.append_basic_block("row")
    done = b.function.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    row = b.phi(_I64)
    row.add_incoming(_I64(0), before)
    body(row)
    following = b.add(row, _I64(1))
    row.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, _I64(_ROWS)), loop, done)
    b.position_at_end(done)


def _move(b: Any, source: Any, to: Any) -> None:
    words = b.load(source, typ=_WORDS)
    words.align = 1
    b.store(words, to, align=1)


def _tilezero(b: Any, arguments: list[Any]) -> None:
    (tile,) = arguments
    _each_row(b, lambda row: b.store(ll.Constant(_WORDS, None), _row(b, tile, row), align=1) and None)


def _tileload(b: Any, arguments: list[Any]) -> None:
    tile, pointer, stride = arguments
    _each_row(b, lambda row: _move(b, b.gep(pointer, [b.mul(row, stride)], source_etype=_I8), _row(b, tile, row)))


def _tilestore(b: Any, arguments: list[Any]) -> None:
    tile, pointer, stride = arguments
    _each_row(b, lambda row: _move(b, _row(b, tile, row), b.gep(pointer, [b.mul(row, stride)], source_etype=_I8)))


def _tdpbf16ps(b: Any, arguments: list[Any]) -> None:
    """c[m, n] += Σ_k a[m, 2k]·b[k, 2n] + a[m, 2k+1]·b[k, 2n+1], pair by pair."""
    c, a, other = arguments

    def body(row: Any) -> None:
        total = b.load(_row(b, c, row), typ=_FLOATS)
        a_row = _row(b, a, row)
        for k in range(_ROWS):
            pair = b.load(b.gep(a_row, [_I64(4 * k)], source_etype=_I8), typ=_I32)
            words = b.load(_row(b, other, _I64(k)), typ=_WORDS)
            for part in (_low, _high):
                product = b.fmul(b.bitcast(splat(b, part(b, pair), 16), _FLOATS), b.bitcast(part(b, words), _FLOATS))
                total = b.fadd(total, product)
        b.store(total, _row(b, c, row), align=4)

    _each_row(b, body)


def _low(b: Any, x: Any) -> Any:
    return b.shl(x, _same(x, 16))


def _high(b: Any, x: Any) -> Any:
    return b.and_(x, _same(x, 0xFFFF0000))


def _same(x: Any, value: int) -> Any:
    return ll.Constant(_WORDS, [value] * 16) if isinstance(x.type, ll.VectorType) else ll.Constant(x.type, value)


_BODIES: dict[str, Callable[[Any, list[Any]], None]] = {
    "ldtilecfg": lambda b, arguments: None,
    "tilerelease": lambda b, arguments: None,
    "tilezero": _tilezero,
    "tileloadd64": _tileload,
    "tilestored64": _tilestore,
    "tdpbf16ps": _tdpbf16ps,
}
