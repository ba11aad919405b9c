"""`rewrite`: local rules, applied from the inputs of a graph to its outputs until none fires.

A rule is a function whose docstring is the law: `left = right`, where the right side is never dearer than the left.

    def double_negation(node: Node, *inputs: Value) -> Value | None:
        \"\"\"-(-x) = x\"\"\"
        match node.op, inputs:
            case Neg(), (Value(Node(op=Neg(), inputs=(x,))),):
                return x
        return None
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .errors import InvalidGraph
from .graph import Graph, Node, Value, map_graph
from .op import Op

Results = tuple[Value, ...]
Rule = Callable[..., "Value | Results | None"]
MOST_ROUNDS = 100  # rounds over the graph, and firings at one node in a round: more are rules that undo each other


def make(node: Node, op: Op, *inputs: Value) -> Value:
    """Result 0 of `op` over `inputs`, from where `node` is from."""
    return Value(Node(op, inputs, node.origin))


def rewrite(graph: Graph, rules: Sequence[Rule]) -> Graph:
    """The graph after rules were applied to fixpoint; the same object when none fires.

    rules: `rule(node, *inputs)` with node's operands already rewritten (`inputs`, not `node.inputs`); it gives the value (or the
    tuple of values) that stands for the node's results, or None. The first rule that fires counts.
    Raises InvalidGraph naming the rule when it changes a type, or when rules do not come to an end.
    """
    tried: set[Node] = set()
    for _ in range(MOST_ROUNDS):
        round_ = _Round(rules, tried)
        new = map_graph(graph, rebuild=round_.rebuild)
        if round_.last is None:
            return graph
        graph = new
    raise InvalidGraph(f"rule {_name(round_.last)} still fires after {MOST_ROUNDS} rounds")


class _Round:
    """One walk over the graph. tried: nodes at which no rule fires, of which none will: what they read never changes. last: the rule that fired last."""

    def __init__(self, rules: Sequence[Rule], tried: set[Node]) -> None:
        self.rules, self.tried = rules, tried
        self.last: Rule | None = None

    def rebuild(self, node: Node, inputs: Results) -> Results | None:
        """What stands for node's results, or None. Rules go on at the node that a rule gave, as far as they fire there."""
        if node in self.tried and inputs == node.inputs:
            return None
        results: Results | None = None
        for _ in range(MOST_ROUNDS):
            fired = self._apply(node, inputs)
            if fired is None:
                if inputs != node.inputs:
                    node = Node(node.op, inputs, node.origin)
                    results = node.results
                self.tried.add(node)
                return results
            results = fired
            node = results[0].node
            inputs = node.inputs
            if results != tuple(Value(node, i) for i in range(len(node.types))):
                return results
        raise InvalidGraph(f"rule {_name(self.last)} fires again and again at {node.op.name} ({node.origin})")

    def _apply(self, node: Node, inputs: Results) -> Results | None:
        for rule in self.rules:
            made = rule(node, *inputs)
            if made is None:
                continue
            results = (made,) if isinstance(made, Value) else tuple(made)
            types = tuple(v.type for v in results)
            if types != node.types:
                raise InvalidGraph(f"rule {_name(rule)} turned {node.op.name} of {list(node.types)} into {list(types)}")
            self.last = rule
            return results
        return None


def _name(rule: Rule | None) -> str:
    return getattr(rule, "__name__", str(rule))
