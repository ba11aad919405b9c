"""Arena layout: symbolic sizes, offsets by liveness. A freed slot is taken again when it is surely large enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.dims import Dim, DimLike, ceildiv

ALIGNMENT = 64


@dataclass(frozen=True)
class Lifetime:
    """A buffer's bytes, and the first and last step that touch it."""

    bytes: DimLike
    first: int
    last: int


def aligned(size: DimLike) -> DimLike:
    """Rounded up to 64 bytes."""
    return ceildiv(size, ALIGNMENT) * ALIGNMENT


def surely_fits(size: DimLike, slot: DimLike) -> bool:
    """Whether slot >= size for all values of the symbols (none of them negative)."""
    gap = slot - size
    if isinstance(gap, int):
        return gap >= 0
    return all(c >= 0 for _, c in gap.terms) if isinstance(gap, Dim) else False


def layout(lifetimes: Mapping[int, Lifetime]) -> tuple[dict[int, DimLike], DimLike]:
    """Byte offset of each buffer, and the total. Buffers whose lifetimes overlap never share bytes.

    Greedy by first use: a freed slot of just this size, else the first that surely fits, else a new one.
    """
    slots: list[DimLike] = []
    busy: list[int] = []  # last step of the present owner
    owner: dict[int, int] = {}
    for buffer, life in sorted(lifetimes.items(), key=lambda item: item[1].first):
        size = aligned(life.bytes)
        free = [s for s in range(len(slots)) if busy[s] < life.first]
        fitting = [s for s in free if slots[s] == size] or [s for s in free if surely_fits(size, slots[s])]
        if fitting:
            slot = fitting[0]
        else:
            slot = len(slots)
            slots.append(size)
            busy.append(-1)
        busy[slot], owner[buffer] = life.last, slot
    starts = _running_sums(slots)
    return {buffer: starts[slot] for buffer, slot in owner.items()}, starts[-1]


def _running_sums(sizes: Sequence[DimLike]) -> list[DimLike]:
    sums: list[DimLike] = [0]
    for size in sizes:
        sums.append(sums[-1] + size)
    return sums
