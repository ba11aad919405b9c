"""AMX and dot products without AMX and dot products: the same programs, with each tile instruction as a function over memory and each
dot product as plain arithmetic.

For tests on machines that lack the instructions: layouts, tails, addresses and epilogues are those of the real target; only the
instructions themselves are stood in for. They flush subnormal numbers as the real ones do. Tiles: one thread only (the tile registers
are one array).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import DType
from ..dot import DotTile
from ..emit import address, splat
from ..emulate import EmulatedDotTile, plus, times
from ..target import Target
from ..tile import MacTile
from .amx import INT8_TILES, TDPBF16PS, AmxTile

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
    """`target` with the instructions that `host` lacks emulated, in code that `host` can run."""

    def stand_in(tile: MacTile) -> MacTile:
        kind = EmulatedAmxTile if isinstance(tile, AmxTile) else EmulatedDotTile if isinstance(tile, DotTile) else None
        if kind is None or tile.needs in host.features:
            return tile
        return kind(**{f.name: getattr(tile, f.name) for f in dataclasses.fields(tile)})

    return dataclasses.replace(
        target,
        name=f"{target.name} emulated",
        cpu=host.cpu,
        features=host.features,
        needs=host.needs,
        tiles=tuple(map(stand_in, target.tiles)),
        uses_tiles=False,
    )


def _registers(b: Any) -> Any:
    """The tile registers: 8 × 16 rows × 64 bytes, the same for all modules of a model."""
    found = b.module.globals.get("emulated.tiles")
    if found is None:
        type_ = ll.ArrayType(_I8, _TILES * _ROWS * _ROW)
        found = ll.GlobalVariable(b.module, type_, "emulated.tiles")
        found.linkage, found.align = "common", 64
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


def _tile_dot(x: DType, y: DType) -> Callable[[Any, list[Any]], None]:
    """c[m, n] += Σ_p Σ_k a[m, k, p]·b[k, n, p] over words of elements p; the sums over k are rounded by themselves."""

    def instruction(b: Any, arguments: list[Any]) -> None:
        c, a, other = arguments
        accumulators = _FLOATS if x.is_float else _WORDS

        def body(row: Any) -> None:
            sums = [ll.Constant(accumulators, None)] * (32 // x.bits)
            a_row = _row(b, a, row)
            for k in range(_ROWS):
                word = splat(b, b.load(b.gep(a_row, [_I64(4 * k)], source_etype=_I8), typ=_I32), 16)
                words = b.load(_row(b, other, _I64(k)), typ=_WORDS)
                sums = [plus(b, s, times(b, word, words, x, y, p)) for p, s in enumerate(sums)]
            total = functools.reduce(lambda s, t: plus(b, s, t), sums)
            b.store(plus(b, b.load(_row(b, c, row), typ=accumulators), total), _row(b, c, row), align=4)

        _each_row(b, body)

    return instruction


_BODIES: dict[str, Callable[[Any, list[Any]], None]] = {
    "ldtilecfg": lambda b, arguments: None,
    "tilerelease": lambda b, arguments: None,
    "tilezero": _tilezero,
    "tileloadd64": _tileload,
    "tilestored64": _tilestore,
    **{tile.instruction: _tile_dot(tile.a, tile.b) for tile in (TDPBF16PS, *INT8_TILES)},
}
