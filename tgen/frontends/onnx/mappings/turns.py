"""How many turns a loop takes whose body says when to end: `while i < n`, as exporters of other frameworks' loops write `for i in range(n)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ....ir.dims import DimLike, ceildiv, dim_max, dim_min, nonnegative
from ....ir.dtypes import BOOL
from ....ir.graph import Constant, Value
from ..content import ShapeBuilder, countable

_SAME = ("cast", "reshape", "squeeze", "unsqueeze")  # of a single element: another type or shape for the same number
Line = tuple[DimLike, int]  # start + step · turn


@dataclass(frozen=True)
class Turns:
    """A body. number: of the turn; inner → (the state's value before the loop, after a turn)."""

    build: ShapeBuilder
    number: Value
    states: Mapping[Value, tuple[Value, Value]]

    def count(self, start: Value, goes_on: Value) -> DimLike | None:
        """Turns of a loop that begins if `start` and continues after a turn if `goes_on` (in its turn); None where no formula says it.

        Numbers that pass through floats are taken for exact.
        """
        known = self.build.content(start)
        gaps = [self._falling(a, b) for a, b in _conditions(goes_on)]
        if not gaps or None in gaps:
            return None
        found = [gap for gap in gaps if gap is not None]
        first = [gap + step for gap, step in found]  # before the first turn, if that is asked the same
        if known is None:
            asked = [self._falling(a, b, step=0) for a, b in _conditions(start) if not self._surely(a)]
            unsure = {str(gap) for gap in first if not nonnegative(gap - 1)}
            if {str(gap and gap[0]) for gap in asked} != unsure:
                return None
        elif not known.all():
            return 0
        least = 0 if known is None else 1
        turns: DimLike = dim_max(ceildiv(first[0], found[0][1]), least)
        for gap, (_, step) in zip(first[1:], found[1:]):
            turns = dim_min(turns, dim_max(ceildiv(gap, step), least))
        return turns

    def _falling(self, a: Value, b: Value, step: int | None = None) -> Line | None:
        """b - a in the first turn, and what it falls by each turn: more than 0, or this much."""
        low, high = self._line(a), self._line(b)
        if low is None or high is None:
            return None
        falls = low[1] - high[1]
        return (high[0] - low[0], falls) if (falls > 0 if step is None else falls == step) else None

    def _line(self, value: Value) -> Line | None:
        """What a number is as a formula of the turn."""
        if value is self.number:
            return 0, 1
        if value in self.states:
            before, after = self.states[value]
            begin, step = self._plain(before), self._step(value, after)
            return None if begin is None or step is None else (begin, step)
        plain = self._plain(value)
        if plain is not None:
            return plain, 0
        op, inputs = value.op, value.node.inputs
        if op.name in _SAME:
            return self._line(inputs[0])
        lines = [self._line(v) for v in inputs] if op.name in ("add", "sub") else []
        if len(lines) != 2 or lines[0] is None or lines[1] is None:
            return None
        sign = 1 if op.name == "add" else -1
        return lines[0][0] + sign * lines[1][0], lines[0][1] + sign * lines[1][1]

    def _plain(self, value: Value) -> DimLike | None:
        """The number that a value holds in every turn."""
        while value.op.name in _SAME and not countable(value.type.dtype):
            (value,) = value.node.inputs
        if isinstance(value.op, Constant) and value.type.elements == 1:
            number = value.op.value.array.item()
            return int(number) if number == number // 1 else None
        content = self.build.content(value) if countable(value.type.dtype) else None
        return None if content is None or content.size != 1 else content.item()

    def _surely(self, value: Value) -> bool:
        """Whether a value is a condition that is known to hold."""
        content = self.build.content(value) if value.type.dtype is BOOL else None
        return content is not None and bool(content.all())

    def _step(self, state: Value, after: Value) -> int | None:
        """What is added to a state in a turn."""
        if after is state:
            return 0
        if after.op.name == "add" and state in after.node.inputs:
            left, right = after.node.inputs
            step = self._plain(right if left is state else left)
            return step if isinstance(step, int) else None
        return None


def _conditions(value: Value) -> Iterator[tuple[Value, Value]]:
    """(a, b) of each a < b that must hold together; (value, value) for what is none, of which no formula says anything."""
    while value.op.name in _SAME:
        value = value.node.inputs[0]
    inputs: Sequence[Value] = value.node.inputs
    if value.op.name == "and":
        for part in inputs:
            yield from _conditions(part)
    elif value.op.name in ("less", "greater"):
        yield (inputs[0], inputs[1]) if value.op.name == "less" else (inputs[1], inputs[0])
    else:
        yield value, value
