"""AMX: eight tile registers of 16 rows of 64 bytes; state lives in them, so verbs work by register number (slot)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ...ir.dtypes import BF16, F32, I8, I32, U8
from ..emit import address, declare
from ..tile import MacTile

_I8, _I64, _VOID, _PTR = ll.IntType(8), ll.IntType(64), ll.VoidType(), ll.PointerType()
ROW_BYTES = 64


@dataclass(frozen=True)
class AmxTile(MacTile):
    """Accumulators occupy the first registers, A and B tiles the rest; `instruction` names the dot-product intrinsic."""

    broadcast: bool = False
    load_cycles: float = 8.0
    store_cycles: float = 16.0
    latency: float = 16.0
    stream: float = 0.9  # measured: 27 GB/s from L3 where vectors read 30
    instruction: str = "tdpbf16ps"

    def blocks(self) -> list[tuple[int, int]]:
        return [(1, 1), (1, 2), (2, 1), (2, 2)]

    def enter(self, b: Any) -> None:
        """Loads the tile configuration: other libraries release theirs and ours with it, so it is never assumed."""
        name = "amx.configuration"
        found = b.module.globals.get(name)
        if found is None:
            data = bytearray(tile_configuration())
            found = ll.GlobalVariable(b.module, ll.ArrayType(_I8, len(data)), name)
            found.global_constant, found.linkage, found.align = True, "internal", 64
            found.initializer = ll.Constant(ll.ArrayType(_I8, len(data)), data)
        b.call(self.callee(b, "ldtilecfg", [_PTR]), [address(found)])

    def leave(self, b: Any) -> None:
        b.call(self.callee(b, "tilerelease", []), [])

    def callee(self, b: Any, name: str, arguments: list[ll.Type]) -> ll.Function:
        """The function that performs an instruction: LLVM's intrinsic of that name."""
        return declare(b.module, f"llvm.x86.{name}", _VOID, arguments)

    def zero(self, b: Any, slot: int) -> Any:
        b.call(self.callee(b, "tilezero", [_I8]), [_I8(slot)])
        return slot

    def load_c(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        return self.load_a(b, pointer, stride, slot)

    def load_a(self, b: Any, pointer: Any, stride: Any, slot: int) -> Any:
        b.call(self.callee(b, "tileloadd64", [_I8, _PTR, _I64]), [_I8(slot), pointer, stride])
        return slot

    def load_b(self, b: Any, pointer: Any, slot: int) -> Any:
        return self.load_a(b, pointer, _I64(ROW_BYTES), slot)

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        b.call(self.callee(b, self.instruction, [_I8] * 3), [_I8(acc), _I8(x), _I8(y)])
        return acc

    def store(self, b: Any, acc: Any, pointer: Any, stride: Any) -> None:
        b.call(self.callee(b, "tilestored64", [_I8, _PTR, _I64]), [_I8(acc), pointer, stride])


def tile_configuration() -> bytes:
    """The 64 bytes `ldtilecfg` reads: palette 1, all eight tiles 16 rows of 64 bytes."""
    configuration = bytearray(64)
    configuration[0] = 1
    for tile in range(8):
        configuration[16 + 2 * tile] = ROW_BYTES
        configuration[48 + tile] = 16
    return bytes(configuration)


TDPBF16PS = AmxTile("tdpbf16ps", 16, 16, 32, BF16, BF16, F32, 2, "amx-bf16", 8, 16.0)

INT8_TILES = tuple(
    AmxTile(name, 16, 16, 64, a, b, I32, 4, "amx-int8", 8, 16.0, instruction=name)
    for name, a, b in (("tdpbssd", I8, I8), ("tdpbsud", I8, U8), ("tdpbusd", U8, I8), ("tdpbuud", U8, U8))
)
