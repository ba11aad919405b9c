"""Few rows: up to how many rows another instruction or block multiplies the same packed B noticeably faster, by the cost model.

How many rows a symbolic shape has is known in a run only; B is packed once, for the typical number. A tile reads B as it was packed
for another one if both take the same columns and words of k, and the other's steps of k are whole multiples of its own; a block may
span several panels. A rival takes the rows up to where it stops being faster. Rows that are windows lie one by one and end at any k, so
their rivals are blocks of the same instruction.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from ..ir.ops.fused import FewRows, Packing
from ..targets.target import Target
from ..targets.tile import MacTile
from .cost import ONE, TYPICAL, Choice, Shape, cycles, depth_block

GAIN = 1.05  # how much faster it must be: a kernel more costs compile time and code
ALIKE = 1.01  # blocks this close to the fastest count as fast


@dataclass(frozen=True)
class _Rival:
    tile: MacTile
    block: tuple[int, int]


@functools.lru_cache(256)  # layers have the same few shapes
def few_rows(target: Target, base: Choice, shape: Shape, windows: bool = False) -> tuple[FewRows, ...]:
    """Ascending. base: what was chosen for the typical number of rows, of weights in one part; others have one way only."""
    if isinstance(shape.m, int) or not shape.weights or base.products > 1:
        return ()
    packing = packing_of(base)
    rivals = [rival for rival in _rivals(target, base.tile, packing) if rival.tile is base.tile or not windows]
    found: list[FewRows] = []
    first = 1
    while best := _best(rivals, _Rival(base.tile, base.block), shape, target, first):
        most, rival = best
        step, panels = packing.k, rival.block[1] // packing.nr
        depth = max(step, depth_block(rival.tile, rival.block[1], target.caches) // step * step)
        found.append(FewRows(most, rival.tile.name, rival.block, depth, step // rival.tile.k, panels))
        first = most + 1
    return tuple(found)


def packing_of(choice: Choice) -> Packing:
    tile = choice.tile
    return Packing(tile.n, tile.k, tile.k_pack, choice.block[1])


def _rivals(target: Target, base: MacTile, packing: Packing) -> Iterator[_Rival]:
    """What can read B as it is packed."""
    for tile in target.tiles:
        same_types = (tile.a, tile.b, tile.accumulate) == (base.a, base.b, base.accumulate)
        if same_types and (tile.n, tile.k_pack) == (packing.n, packing.k_pack) and packing.k % tile.k == 0:
            yield from (_Rival(tile, block) for block in tile.blocks() if block[1] % packing.nr == 0)


def _best(rivals: list[_Rival], base: _Rival, shape: Shape, target: Target, first: int) -> tuple[int, _Rival] | None:
    """Of those that are fastest at `first` rows the one that is noticeably faster than the base up to the most rows; and how many."""

    def cost(rival: _Rival, rows: int) -> float:
        return cycles(rival.tile, rival.block, dataclasses.replace(shape, m=rows), target.caches, ONE)

    def reach(rival: _Rival) -> int:
        slower = (rows - 1 for rows in range(first, TYPICAL) if cost(rival, rows) * GAIN > cost(base, rows))
        return next(slower, TYPICAL)

    costs = [(cost(rival, first), rival) for rival in rivals]
    fast = min(c for c, _ in costs) * ALIKE
    most, rival = max(((reach(rival), rival) for c, rival in costs if c <= fast), key=lambda found: found[0])
    return (most, rival) if most >= first else None
