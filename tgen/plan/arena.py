"""The arena of a plan: a segment for what is known before a run, and one for each extent that the run finds out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..ir.dims import DimLike, dim_max
from .memory import Lifetime, layout
from .types import Segment, segment_of


def segmented(
    lives: Mapping[int, Lifetime], extents: Sequence[str], scratches: Iterable[DimLike], slack: Mapping[int, DimLike]
) -> tuple[dict[int, tuple[int, DimLike]], list[Segment]]:
    """(segment, byte offset) of each buffer, and the segments.

    scratches: bytes a thread that each kernel needs; slack: bytes behind a segment that may be read.
    """
    needed: dict[int, DimLike] = {}
    for size in scratches:
        number = segment_of(extents, size)
        needed[number] = dim_max(needed.get(number, 0), size)
    places: dict[int, tuple[int, DimLike]] = {}
    segments: list[Segment] = []
    for number in range(len(extents) + 1):
        mine = {buffer: life for buffer, life in lives.items() if segment_of(extents, life.bytes) == number}
        offsets, total = layout(mine)
        places.update({buffer: (number, at) for buffer, at in offsets.items()})
        sizes = tuple(dict.fromkeys(life.bytes for life in mine.values()))
        segments.append(Segment(total + slack.get(number, 0), sizes, needed.get(number, 0)))
    return places, segments
