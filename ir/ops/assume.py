"""What a model takes for granted about its dimensions, and where it is checked."""

from __future__ import annotations

import numpy as np

from ..binding import check_assumptions
from ..dims import DimLike, symbols
from ..errors import TypeMismatch
from ..expr import Load, index, minimum, size
from ..forms import Map
from ..graph import Graph
from ..op import Op, op
from ..types import TensorType


@op
class Assume(Op):
    """x, whose extents are those of `shape` whenever the inputs are legal: `[1, min(512, seq)]` taken for `[1, seq]`.

    Made where a model would fail otherwise, as one that adds a table of 512 positions to seq tokens. The interpreter checks it here,
    an executable before it runs (`assumptions`); reading stays inside x even if nobody checks.
    """

    shape: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        known = [(d, e) for d, e in zip(x.shape, self.shape) if isinstance(d, int) and isinstance(e, int)]
        if len(self.shape) != x.rank or any(d != e for d, e in known):
            raise TypeMismatch(f"assume: {x} cannot have the shape [{', '.join(map(str, self.shape))}]")
        return x.with_shape(self.shape)

    def reference(self, x: np.ndarray) -> np.ndarray:
        check_assumptions(zip(x.shape, self.shape), {})
        return x

    def form(self, x: TensorType) -> Map:
        at = (index(k) if d == e else minimum(index(k), size(d) - 1) for k, (d, e) in enumerate(zip(x.shape, self.shape)))
        return Map(Load(x.dtype, 0, tuple(at)))


def assumptions(graph: Graph) -> tuple[tuple[DimLike, DimLike], ...]:
    """Pairs of dimensions that must be equal for a run to be legal: (what there is, what is needed).

    Of bodies and branches only those that name their own extents: these are looked at where a run comes to them, which may be nowhere.
    """
    pairs: dict[tuple[DimLike, DimLike], None] = {}
    for node in graph.nodes:
        if isinstance(node.op, Assume):
            pairs.update({(d, e): None for d, e in zip(node.inputs[0].type.shape, node.op.shape) if d != e})
        for region in node.op.regions:
            own = {e.symbol for e in region.extents}
            pairs.update({pair: None for pair in assumptions(region) if not own.isdisjoint(s for d in pair for s in symbols(d))})
    return tuple(pairs)
