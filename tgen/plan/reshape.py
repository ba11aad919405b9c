"""Reshape as a view: strides under another shape, where memory allows."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dims import DimLike


def reshaped(shape: Sequence[DimLike], strides: Sequence[DimLike], new_shape: Sequence[DimLike]) -> tuple[DimLike, ...] | None:
    """Strides of `new_shape` over the same memory in the same order, or None when a copy is needed.

    Groups of old axes and new axes with equal products are matched from the left; a group of several old axes must be
    contiguous within itself.
    """
    old = [(d, s) for d, s in zip(shape, strides) if d != 1]
    new = [d for d in new_shape if d != 1]
    out: list[DimLike] = []
    i = j = 0
    while i < len(old) or j < len(new):
        if i >= len(old) or j >= len(new):
            return None
        group, left, targets, right = [old[i]], old[i][0], [new[j]], new[j]
        i, j = i + 1, j + 1
        while left != right:
            if i < len(old) and (j >= len(new) or _smaller(left, right)):
                group.append(old[i])
                left = left * old[i][0]
                i += 1
            elif j < len(new):
                targets.append(new[j])
                right = right * new[j]
                j += 1
            else:
                return None
        if any(group[k][1] != group[k + 1][0] * group[k + 1][1] for k in range(len(group) - 1)):
            return None
        step = group[-1][1]
        tail: list[DimLike] = []
        for extent in reversed(targets):
            tail.insert(0, step)
            step = step * extent
        out += tail
    steps = iter(out)
    return tuple(0 if d == 1 else next(steps) for d in new_shape)


def _smaller(left: DimLike, right: DimLike) -> bool:
    """Which side to extend: the one whose product surely lacks factors; symbols count as large."""
    gap = left - right
    if isinstance(gap, int):
        return gap < 0
    degree = max((len(m) for m, _ in left.terms), default=0) if not isinstance(left, int) else 0
    other = max((len(m) for m, _ in right.terms), default=0) if not isinstance(right, int) else 0
    return degree < other or (degree == other and all(c < 0 for m, c in gap.terms if len(m) == degree))
