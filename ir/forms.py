"""Forms: the kinds of loop a kernel can be. An op says which form it has; nothing after that asks which op it was.

The bodies are `Expr`s over the axes of the *result*: `Index(j)` is the position along result axis j.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .dims import DimLike
from .dtypes import I64
from .expr import Expr, const
from .types import TensorType

if TYPE_CHECKING:
    from .graph import Graph


@dataclass(frozen=True)
class Map:
    """out[i...] = body. `Arg(k)` reads operand k at i, broadcast as NumPy does; `Load(k, ...)` reads it anywhere.

    A body that is nothing but one `Load` at affine indices is a *view* (transpose, slice, expand, squeeze) and costs nothing.
    """

    body: Expr


@dataclass(frozen=True)
class Maps:
    """out k[i...] = bodies[k], of several results of one shape; `shared`: what bodies have in common, `Kept(j)` in them and in later ones.

    For transforms of small tiles, whose results are different sums of the same elements.
    """

    shared: tuple[Expr, ...]
    bodies: tuple[Expr, ...]


@dataclass(frozen=True)
class Reduce:
    """out = finish(combine over the reduced axes of body).

    axes: the axes of operand 0 that are reduced, ascending, never negative. combine: add, mul, max, min, or, and.
    body: over `Arg(0)` (an element of operand 0); its dtype is the accumulator's. finish: over `Kept(0)`, the combined value.
    Reducing nothing (an axis of extent 0) gives the identity of `combine`.
    """

    axes: tuple[int, ...]
    keepdims: bool
    combine: str
    body: Expr
    finish: Expr


@dataclass(frozen=True)
class Contract:
    """out[batch..., m, n] = Σ_k a[batch..., m, k]·b[batch..., k, n]; batch axes broadcast; a 1-d operand gets an axis 1.

    row_axes, depth_axes: how many axes of a m and k consist of; those of m are axes of the result, too.
    """

    row_axes: int = 1
    depth_axes: int = 1


@dataclass(frozen=True)
class Reshape:
    """The same elements in row-major order under another shape."""

    shape: tuple[DimLike, ...]


@dataclass(frozen=True)
class Join:
    """Operands one after another along `axis`: each is written straight into its part of the result."""

    axis: int


@dataclass(frozen=True)
class Scatter:
    """out = operand 0; then for i over `extents`, in row-major order: out[index] = combine(out[index], body).

    index, body: over `Index(j)` of extents and `Load`s of the operands; combine None: the body replaces the element.
    """

    extents: tuple[DimLike, ...]
    index: tuple[Expr, ...]
    body: Expr
    combine: str | None = None


@dataclass(frozen=True)
class Routine:
    """What a plain Python function leaves in the results, for scalar algorithms that none of the others can say (sorting, say).

        function(first, last, *operands, *results, *sizes, scratch)

    does the units of work from `first` up to, not including, `last`. Operands and results are flat row-major memory, indexed as lists
    are; sizes are integers; scratch is `scratch` bytes of integers of 64 bits. Numba compiles it to LLVM IR: integers, floats, loops,
    comparisons, and other functions of its module of the same kind; nothing that raises or allocates. Units are done in any order
    and at the same time. work: element operations of all units, roughly.
    """

    function: Callable[..., None]
    units: DimLike
    sizes: tuple[DimLike, ...]
    work: DimLike
    scratch: DimLike = 0


@dataclass(frozen=True)
class Repeat:
    """`body` once for each of `count` steps; operands: `captured` values, `states` first states, then sequences. conditional: while
    state 0 holds. See `ops.scan.Scan`.
    """

    body: Graph
    captured: int
    states: int
    count: DimLike
    conditional: bool = False


@dataclass(frozen=True)
class Choice:
    """`yes` or `no`, as the first operand says; then operands of the one, then of the other. See `ops.branch.Branch`."""

    yes: Graph
    no: Graph


Form = Map | Maps | Reduce | Contract | Reshape | Join | Scatter | Routine | Repeat | Choice


def broadcast_index(source: TensorType, rank: int, axes: Sequence[Expr]) -> tuple[Expr, ...]:
    """Where an operand is read for result position `axes`: aligned at the right, axes of extent 1 stay at 0."""
    shift = rank - source.rank
    return tuple(const(0, I64) if d == 1 else axes[shift + k] for k, d in enumerate(source.shape))
