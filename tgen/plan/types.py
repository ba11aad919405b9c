"""`Plan`: where every value lives and which kernels run in which order. It knows no operator any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..ir.dims import Dim, DimLike, evaluate_dim, product, substitute, symbols
from ..ir.graph import Tensor
from ..ir.types import TensorType, contiguous_strides
from ..kernels.specs import AttendKernel, ContractKernel, Kernel, RoutineKernel

USUAL_EXTENT = 128  # and number of turns, of what only a run finds out, where something must be decided before


@dataclass(frozen=True)
class Place:
    """A strided window of a buffer; offset and strides in elements of the value's dtype.

    part: which part of the buffer it lies in, () for the whole; (1, 0) is the first part of a join that is the second part of another.
    """

    buffer: int
    offset: DimLike
    strides: tuple[DimLike, ...]
    part: tuple[int, ...] = ()

    def same(self, other: Place, shape: tuple[DimLike, ...]) -> bool:
        """Whether a value of this shape lies in one as in the other: strides of axes of extent 1 do not matter."""
        alike = all(d == 1 or s == t for d, s, t in zip(shape, self.strides, other.strides, strict=True))
        return alike and (self.buffer, self.offset, self.part) == (other.buffer, other.offset, other.part)

    def contiguous(self, shape: tuple[DimLike, ...]) -> bool:
        wanted = contiguous_strides(shape)
        return all(d == 1 or s == w for d, s, w in zip(shape, self.strides, wanted))


@dataclass(frozen=True)
class Buffer:
    """kind: input, output (number `index` of the call), weight (byte `offset` of the weights), arena (byte `offset` of segment `index`
    of the arena, see `Segment`) or flag (of check number `index`).
    """

    kind: str
    index: int = 0
    offset: DimLike = 0
    bytes: DimLike = 0

    def __str__(self) -> str:
        if self.kind in ("input", "output", "flag"):
            return f"{self.kind} {self.index}"
        return f"{self.kind}{f'.{self.index}' if self.index else ''}+{self.offset}"


@dataclass(frozen=True)
class Operand:
    """A kernel's pointer: byte `offset` into a buffer. The kernel stays in this `part` of it (see `Place`)."""

    buffer: int
    offset: DimLike
    part: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """A kernel that takes a step's own kernel's part in runs where `extent` is at most `most`."""

    extent: DimLike
    most: int
    kernel: int

    def __str__(self) -> str:
        return f"kernel {self.kernel} where {self.extent} <= {self.most}"


@dataclass(frozen=True)
class Step:
    """One kernel run over its operands (inputs, then outputs). All threads share it; steps of later phases see its results.

    cases: the first that holds in a run says which kernel it is; `kernel` where none does. All take the same operands.
    """

    kernel: int
    operands: tuple[Operand, ...]
    origin: str = ""
    phase: int = 0
    cases: tuple[Case, ...] = ()

    def chosen(self, values: Mapping[str, int]) -> int:
        """The kernel of a run with these values of symbols."""
        return next((c.kernel for c in self.cases if evaluate_dim(c.extent, values) <= c.most), self.kernel)


def step_symbol(number: int) -> Dim:
    """Which turn loop `number` is at; no model can name a dimension so."""
    return Dim((((f"step.{number}",), 1),))


@dataclass(frozen=True)
class Loop:
    """The phases from `first` to `last` are done `count` times, with `symbol` (see `step_symbol`) 0, 1, … count - 1 in offsets of
    their operands. A loop inside another has some of its phases. condition: a bool that must hold before a turn, or the loop is over; afterwards
    the symbol is the number of turns.
    """

    symbol: str
    count: DimLike
    first: int
    last: int
    condition: Operand | None = None


@dataclass(frozen=True)
class Fork:
    """The phases from `first` up to `middle` are done where the bool at `operand` holds, else those from `middle` to `last`."""

    operand: Operand
    first: int
    middle: int
    last: int


@dataclass(frozen=True)
class Sections:
    """The phases from each of `starts` up to the next one, or to `last`, need nothing of those from the others: each such section is one
    thread's from its first phase to its last, so nobody waits in between.
    """

    starts: tuple[int, ...]
    last: int

    @property
    def first(self) -> int:
        return self.starts[0]


Range = Loop | Fork | Sections


@dataclass(frozen=True)
class Definition:
    """Before `phase` begins `symbol` gets the value of the i64 at `operand`, segment `segment` of the arena (from 1) its memory.

    The run ends with an error if the value is not in 0 … most, or dimensions of a pair of `equal` differ.
    """

    symbol: str
    segment: int
    operand: Operand
    most: DimLike
    equal: tuple[tuple[DimLike, DimLike], ...] = ()
    phase: int = 0

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.operand,)


def segment_of(extents: Sequence[str], *sizes: DimLike) -> int:
    """Which segment of the arena holds memory of such sizes: 0, or that of the last extent that they name."""
    if not extents:
        return 0
    named = {name for size in sizes for name in symbols(size)}
    return max((k + 1 for k, name in enumerate(extents) if name in named), default=0)


@dataclass(frozen=True)
class Segment:
    """Memory of an arena that gets its size in a run, for buffers whose sizes are symbols of definitions (see `Definition`).

    bytes: of all buffers; sizes: of each of them; scratch: bytes a thread of kernels that only a definition tells the size of.
    """

    bytes: DimLike
    sizes: tuple[DimLike, ...]
    scratch: DimLike


@dataclass(frozen=True)
class Plan:
    """inputs, outputs: names and types in call order. arena: bytes of intermediate values; scratch: bytes a thread needs besides.

    steps: phase by phase; a barrier stands between phases. ranges: of phases, outer ones before those inside them. definitions: phase by phase;
    extents: symbols that the run finds out; segments: of the arena, number k + 1 that of extent k. made: (number of an output whose size a run finds out, its
    buffer in the arena). messages: what a run may end with: because of an extent, or of a check that a flag belongs to. texts: see `Graph`.
    """

    name: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    symbols: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    weights: tuple[tuple[int, Tensor], ...]
    weight_bytes: int
    arena: DimLike
    scratch: DimLike
    ranges: tuple[Range, ...] = ()
    definitions: tuple[Definition, ...] = ()
    segments: tuple[Segment, ...] = ()
    made: tuple[tuple[int, int], ...] = ()
    messages: tuple[str, ...] = ()
    extents: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Outer ones before those inside them."""
        return tuple(each for each in self.ranges if isinstance(each, Loop))

    @property
    def unbounded(self) -> bool:
        """Whether a run may have no end."""
        return any(loop.condition for loop in self.loops)

    @property
    def sections(self) -> tuple[Sections, ...]:
        return tuple(each for each in self.ranges if isinstance(each, Sections))

    def defined_at(self, phase: int) -> tuple[Definition, ...]:
        """The definitions before a phase."""
        return tuple(d for d in self.definitions if d.phase == phase)

    def times(self, phase: int) -> DimLike:
        """How often a phase is done in a run."""
        return product(USUAL_EXTENT if loop.condition else loop.count for loop in self.loops if loop.first <= phase <= loop.last)

    @property
    def work(self) -> DimLike:
        """Element operations of a run, roughly: what decides how many threads are worth waking."""
        total: DimLike = 0
        for step in self.steps:
            total = total + self.kernels[step.kernel].work * self.times(step.phase)
        return total

    @property
    def usual_work(self) -> DimLike:
        """`work` by what is known before a run."""
        return substitute(self.work, dict.fromkeys(self.extents, USUAL_EXTENT))

    @property
    def phases(self) -> tuple[tuple[Step, ...], ...]:
        """The steps of each phase."""
        return tuple(tuple(steps) for _, steps in groupby(self.steps, key=lambda step: step.phase))

    def __str__(self) -> str:
        counts = f"{len(self.steps)} steps in {len(self.phases)} phases, {len(self.kernels)} kernels"
        lines = [f"plan {self.name}: {counts}, {self.weight_bytes} bytes of weights"]
        lines += [f"  arena {self.arena} bytes, scratch {self.scratch} bytes a thread"]
        lines += [f"  kernel {k}: {describe(kernel)}" for k, kernel in enumerate(self.kernels)]
        lines += [self._range_text(each) for each in self.ranges]
        lines += [f"  phase {d.phase}: {d.symbol} = {self.buffers[d.operand.buffer]}+{d.operand.offset}" for d in self.definitions]
        for number, step in enumerate(self.steps):
            operands = ", ".join(f"{self.buffers[o.buffer]}" + (f"+{o.offset}" if o.offset != 0 else "") for o in step.operands)
            kernels = ", ".join([f"kernel {step.kernel}", *map(str, step.cases)])
            lines.append(f"  phase {step.phase} step {number}: {kernels} ({operands})  # {step.origin}")
        return "\n".join(lines)

    def _range_text(self, each: Range) -> str:
        if isinstance(each, Sections):
            return f"  phases {each.first} to {each.last}: sections from {', '.join(map(str, each.starts))}, each one thread's"
        if isinstance(each, Loop):
            while_ = f" while {self.buffers[each.condition.buffer]}+{each.condition.offset}" if each.condition else ""
            return f"  phases {each.first} to {each.last}: for {each.symbol} < {each.count}{while_}"
        where = f"{self.buffers[each.operand.buffer]}+{each.operand.offset}"
        return f"  phases {each.first} to {each.last}: up to {each.middle} if {where}, else from there"


def describe(kernel: Kernel) -> str:
    """One line: form, extents, instruction or body."""
    if isinstance(kernel, ContractKernel):
        shape = "x".join(map(str, (*kernel.batch, kernel.rows, kernel.columns, kernel.depth)))
        epilogue = "; ".join(map(str, kernel.epilogues))
        return f"contract {shape} by {kernel.tile}, block {kernel.block[0]}x{kernel.block[1]}, {len(kernel.products)} products, epilogue {epilogue}"
    if isinstance(kernel, AttendKernel):
        shape = "x".join(map(str, (*kernel.batch, kernel.rows, kernel.columns, kernel.depth, kernel.width)))
        how = f"{kernel.qk.tile} and {kernel.pv.tile}, {kernel.row_block} rows by {kernel.column_block} columns"
        return f"attend {shape} by {how}, {len(kernel.qk.products)} products, scores {kernel.scores}"
    if isinstance(kernel, RoutineKernel):
        return f"routine {kernel.function.__name__} of {', '.join(map(str, kernel.sizes))}, {kernel.units} units"
    extents = ", ".join(f"i{k}<{e}" for k, e in enumerate(kernel.extents))
    stages = "; ".join(f"s{k} = {s}" for k, s in enumerate(kernel.stages))
    return f"loops [{extents}] rows {kernel.rows}, lanes along {kernel.vector}: {stages}"
