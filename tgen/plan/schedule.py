"""Phases: the steps between two barriers. No step of a phase touches what another step of it writes, so threads share all of a phase.

step 0  q = x·wq   ┐
step 1  k = x·wk   ├ phase 0
step 2  v = x·wv   ┘
step 3  attend(q, k, v)  phase 1
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..ir.dims import DimLike, evaluate_dim, nonnegative, symbols
from ..kernels.specs import Kernel
from .memory import Lifetime, layout
from .types import Buffer, Definition, Fork, Loop, Operand, Range, Sections, Step

SAMPLE = 128  # of every symbol, where two schedules' memory is compared
GROWTH = 1.25  # of the arena that fewer phases may cost
GROWTH_FOR_SECTIONS = 3  # the same where loops are done beside each other by that
MOST_WORK_ALONE = 1 << 20  # element operations of a turn that several threads do no faster, since they wait for each other
ALIKE = 2  # how much larger the largest of such turns may be than the smallest


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Steps that are done `count` times, one time after the other; see `Loop`."""

    symbol: str
    count: DimLike
    steps: tuple[Part, ...]
    condition: Operand | None = None
    phase: int = 0

    @property
    def operands(self) -> tuple[Operand, ...]:
        return tuple(o for step in self.steps for o in step.operands)


@dataclasses.dataclass
class Schedule:
    """Steps phase by phase, ranges of phases, definitions before phases."""

    steps: list[Step] = dataclasses.field(default_factory=list)
    ranges: list[Range] = dataclasses.field(default_factory=list)
    definitions: list[Definition] = dataclasses.field(default_factory=list)
    phases: int = 0

    def append(self, other: Schedule) -> None:
        """Everything of `other` behind the last phase."""
        at = self.phases
        self.steps += [dataclasses.replace(step, phase=step.phase + at) for step in other.steps]
        self.ranges += [_later(each, at) for each in other.ranges]
        self.definitions += [dataclasses.replace(d, phase=d.phase + at) for d in other.definitions]
        self.phases += other.phases


@dataclasses.dataclass(frozen=True)
class Forked:
    """Steps of which one of two sequences is done; see `Fork`."""

    condition: Operand
    yes: tuple[Part, ...]
    no: tuple[Part, ...]
    phase: int = 0

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.condition, *(o for step in (*self.yes, *self.no) for o in step.operands))


Part = Step | Repeated | Forked | Definition


def _later(each: Range, phases: int) -> Range:
    if isinstance(each, Sections):
        return Sections(tuple(start + phases for start in each.starts), each.last + phases)
    moved = dataclasses.replace(each, first=each.first + phases, last=each.last + phases)
    return dataclasses.replace(moved, middle=moved.middle + phases) if isinstance(moved, Fork) else moved


def scheduled(steps: Sequence[Part], kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    """The steps with their phases, phase by phase, in an order with the same results; and the loops over phases.

    What stands before a definition stays before it.
    """
    whole = Schedule()
    for defines, together in itertools.groupby(steps, key=lambda step: isinstance(step, Definition)):
        if defines:
            whole.definitions += [dataclasses.replace(d, phase=whole.phases) for d in together if isinstance(d, Definition)]
        else:
            whole.append(_section([step for step in together if not isinstance(step, Definition)], kernels, buffers))
    return whole


def _section(steps: Sequence[Step | Repeated | Forked], kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    """As few phases as the longest chain of steps has; in the given order, with a few more phases, where that would take much more memory."""
    before = dependences(steps, kernels)
    in_order = _in_order(before)
    fewest = _fewest(steps, kernels, buffers, before)
    small = _arena(_with_phases(steps, in_order), buffers)
    gained = _beside(steps, fewest, kernels) > _beside(steps, in_order, kernels)
    most = small * (GROWTH_FOR_SECTIONS if gained else GROWTH)
    chosen = fewest if _arena(_with_phases(steps, fewest), buffers) <= most else in_order
    return _flat(_with_phases(steps, chosen), kernels, buffers)


def _beside(steps: Sequence[Step | Repeated | Forked], phases: Sequence[int], kernels: Sequence[Kernel]) -> int:
    """How many repeated blocks are done beside others by these phases."""
    blocks = [(phase, step) for phase, step in zip(phases, steps) if not isinstance(step, Step)]
    together = [[step for phase, step in blocks if phase == present] for present in {phase for phase, _ in blocks}]
    return sum(len(group) for group in together if len(group) > 1 and _alone(group, kernels))


def _flat(steps: Sequence[Step | Repeated | Forked], kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    """What is repeated has phases of its own, behind the plain steps that it could share a phase with."""
    found = Schedule()
    for _, together in itertools.groupby(steps, key=lambda step: step.phase):
        listed = list(together)
        plain = [dataclasses.replace(step, phase=0) for step in listed if isinstance(step, Step)]
        if plain:
            found.append(Schedule(plain, phases=1))
        others = [step for step in listed if not isinstance(step, Step)]
        blocks = [block for block in (_block(step, kernels, buffers) for step in others) if block.phases]
        if len(blocks) > 1 and _alone(others, kernels):
            found.append(_sections(blocks))
        else:
            for block in blocks:
                found.append(block)
    return found


def _block(block: Repeated | Forked, kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    inside = _repeated(block, kernels, buffers) if isinstance(block, Repeated) else _forked(block, kernels, buffers)
    inside.definitions = [d for d in inside.definitions if d.phase < inside.phases]  # nothing names the others
    return inside


def _alone(blocks: Sequence[Repeated | Forked], kernels: Sequence[Kernel]) -> bool:
    """Whether a thread should do each of these by itself, beside the others: the two directions of a recurrent layer, say. Threads
    that share a turn wait for each other several times, and a turn of theirs is not worth that.
    """
    counts = {block.count for block in blocks if isinstance(block, Repeated)}
    turns = [turn for block in blocks if (turn := _turn_work(block, kernels)) is not None]
    return len(counts) == 1 and len(turns) == len(blocks) and max(turns) <= min(MOST_WORK_ALONE, ALIKE * min(turns))


def _turn_work(block: Part, kernels: Sequence[Kernel]) -> int | None:
    """Element operations of a turn where symbols are 1, roughly; None: threads must agree on something in it."""
    if not isinstance(block, Repeated) or block.condition is not None:
        return None
    total = 0
    for step in block.steps:
        if isinstance(step, Step):
            total += _at_least(kernels[step.kernel].work)
        elif isinstance(step, Repeated) and (inner := _turn_work(step, kernels)) is not None:
            total += inner * _at_least(step.count)
        else:
            return None
    return total


def _at_least(dim: DimLike) -> int:
    return evaluate_dim(dim, dict.fromkeys(symbols(dim), 1))


def _sections(blocks: Sequence[Schedule]) -> Schedule:
    """Blocks that need nothing of each other as sections."""
    whole = Schedule()
    starts = []
    for block in blocks:
        starts.append(whole.phases)
        whole.append(block)
    whole.ranges.insert(0, Sections(tuple(starts), whole.phases - 1))
    return whole


def _repeated(block: Repeated, kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    inside = scheduled(block.steps, kernels, buffers)
    inside.ranges = [each for each in inside.ranges if not isinstance(each, Sections)]  # threads would meet in every turn
    inside.ranges.insert(0, Loop(block.symbol, block.count, 0, inside.phases - 1, block.condition))
    return inside


def _forked(block: Forked, kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    """The phases of one sequence, then those of the other."""
    yes, no = (scheduled(steps, kernels, buffers) for steps in (block.yes, block.no))
    whole = Schedule()
    whole.append(yes)
    whole.append(no)
    whole.ranges.insert(0, Fork(block.condition, 0, yes.phases, whole.phases - 1))
    return whole


def lifetimes(steps: Sequence[Part], buffers: Sequence[Buffer], around: Sequence[Loop | Sections] = ()) -> dict[int, Lifetime]:
    """First and last phase of each buffer of the arena: buffers of one phase never share bytes. What is used in a loop lives as long
    as the loop: its next turn may read what this one left; what is used in one of several sections as long as all: they are done at once.
    """
    found: dict[int, Lifetime] = {}
    for step in steps:
        outer = next((each for each in around if each.first <= step.phase <= each.last), None)
        first, last = (outer.first, outer.last) if outer else (step.phase, step.phase)
        for number in {o.buffer for o in step.operands if buffers[o.buffer].kind == "arena"}:
            found[number] = Lifetime(buffers[number].bytes, found[number].first if number in found else first, last)
    return found


def touched(step: Part, kernels: Sequence[Kernel]) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """What a step reads and what it writes."""
    if isinstance(step, Repeated):
        sides = [touched(inner, kernels) for inner in step.steps]
        return tuple(o for read, _ in sides for o in read), tuple(o for _, written in sides for o in written)
    if isinstance(step, Forked):
        sides = [touched(inner, kernels) for inner in (*step.yes, *step.no)]
        return (step.condition, *(o for read, _ in sides for o in read)), tuple(o for _, written in sides for o in written)
    if isinstance(step, Definition):
        return step.operands, ()
    count = len(step.operands) - len(kernels[step.kernel].outputs)
    return step.operands[:count], step.operands[count:]


def overlap(a: Operand, b: Operand) -> bool:
    """Whether two operands may meet in memory: parts of one buffer do not if they are, or lie in, different parts of one join."""
    shared = min(len(a.part), len(b.part))
    return a.buffer == b.buffer and a.part[:shared] == b.part[:shared]


def dependences(steps: Sequence[Step | Repeated | Forked], kernels: Sequence[Kernel]) -> list[set[int]]:
    """For each step the earlier steps that must be over before it begins: they write what it touches, or touch what it writes."""
    readers: Mapping[int, list[tuple[int, Operand]]] = defaultdict(list)
    writers: Mapping[int, list[tuple[int, Operand]]] = defaultdict(list)
    found: list[set[int]] = []
    for number, step in enumerate(steps):
        read, written = touched(step, kernels)
        before: set[int] = set()
        for operand in (*read, *written):
            before |= {other for other, theirs in writers[operand.buffer] if overlap(operand, theirs)}
        for operand in written:
            before |= {other for other, theirs in readers[operand.buffer] if overlap(operand, theirs)}
        for side, operands in ((readers, read), (writers, written)):
            for operand in operands:
                side[operand.buffer].append((number, operand))
        found.append(before)
    return found


def _in_order(before: Sequence[set[int]]) -> list[int]:
    """Phases of steps in the given order: a new one where a step depends on the present one."""
    phases: list[int] = []
    for needed in before:
        present = phases[-1] if phases else 0
        phases.append(present + any(phases[k] == present for k in needed))
    return phases


def _fewest(
    steps: Sequence[Step | Repeated | Forked], kernels: Sequence[Kernel], buffers: Sequence[Buffer], before: Sequence[set[int]]
) -> list[int]:
    """As many phases as the longest chain. A step that has a choice comes late if it makes more than it takes, else early."""
    early = _levels(before)
    after: list[set[int]] = [set() for _ in steps]
    for number, needed in enumerate(before):
        for other in needed:
            after[other].add(number)
    last = max(early, default=0)
    late = [last - level for level in reversed(_levels([{len(steps) - 1 - k for k in users} for users in reversed(after)]))]
    phases: list[int] = []
    for number, step in enumerate(steps):
        earliest = 1 + max((phases[k] for k in before[number]), default=-1)
        phases.append(earliest if _shrinks(step, kernels, buffers) else late[number])
    return phases


def _levels(before: Sequence[set[int]]) -> list[int]:
    """Length of the longest chain that ends at each step."""
    levels: list[int] = []
    for needed in before:
        levels.append(1 + max((levels[k] for k in needed), default=-1))
    return levels


def _shrinks(step: Step | Repeated | Forked, kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> bool:
    """Whether the buffers of the arena that a step reads are surely no smaller than those it writes."""
    read, written = touched(step, kernels)
    sizes: list[DimLike] = [
        sum((buffers[b].bytes for b in {o.buffer for o in side} if buffers[b].kind == "arena"), 0) for side in (read, written)
    ]
    return nonnegative(sizes[0] - sizes[1])


def _with_phases(steps: Sequence[Step | Repeated | Forked], phases: Sequence[int]) -> tuple[Step | Repeated | Forked, ...]:
    order = sorted(range(len(steps)), key=lambda k: phases[k])
    return tuple(dataclasses.replace(steps[k], phase=phases[k]) for k in order)


def _arena(steps: Sequence[Step | Repeated | Forked], buffers: Sequence[Buffer]) -> int:
    """Bytes of the arena where every symbol is SAMPLE."""
    _, total = layout(lifetimes(steps, buffers))
    return evaluate_dim(total, dict.fromkeys(symbols(total), SAMPLE))
