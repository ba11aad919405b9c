"""`Branch`: one of two graphs, as a run finds out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..dims import DimLike
from ..dtypes import BOOL
from ..errors import TypeMismatch
from ..evaluate import evaluate
from ..forms import Choice
from ..graph import Graph, bind_graph
from ..op import Op, op
from ..types import TensorType


@op
class Branch(Op):
    """The results of `yes` where the condition holds, else those of `no`; the other one is not computed.

    operands: the condition (bool[]), then the inputs of `yes`, then those of `no`. Both have results of the same types.
    """

    yes: Graph
    no: Graph

    def infer(self, condition: TensorType, *captured: TensorType) -> tuple[TensorType, ...]:
        if condition != TensorType(BOOL, ()):
            raise TypeMismatch(f"{self.name}: the condition is {condition}; wanted bool[]")
        wanted = tuple(n.types[0] for graph in self.regions for n in graph.inputs)
        if captured != wanted:
            raise TypeMismatch(f"{self.name}: its graphs want {list(wanted)}, given {list(captured)}")
        yes, no = (tuple(value.type for _, value in graph.outputs) for graph in self.regions)
        if yes != no:
            raise TypeMismatch(f"{self.name}: results are {list(yes)} or {list(no)}")
        return yes

    @property
    def regions(self) -> tuple[Graph, ...]:
        return self.yes, self.no

    def with_regions(self, *regions: Graph) -> Branch:
        return Branch(*regions)

    @property
    def bodies(self) -> tuple[()]:
        """Those of the regions are their own."""
        return ()

    def bind(self, values: Mapping[str, DimLike]) -> Branch:
        return Branch(*(bind_graph(graph, values) for graph in self.regions))

    def form(self, *types: TensorType) -> Choice:
        return Choice(self.yes, self.no)

    def reference(self, condition: np.ndarray, *captured: np.ndarray) -> tuple[np.ndarray, ...]:
        first = len(self.yes.inputs)
        graph, given = (self.yes, captured[:first]) if condition else (self.no, captured[first:])
        return tuple(evaluate(graph, dict(zip(graph.input_types, given))).values())
