"""attention: softmax between two products becomes one `attend`, which keeps no matrix of scores.

    matmul(softmax(f(matmul(q, k))), v)   →   attend(q, k, v, …) with f as its body
f: any chain of elementwise ops (scale, mask added or selected, cap, casts), in any order; k as the product takes it, so a transposed
key is a view. Where anything else reads the scores or the weights, or their shape changes on the way, the parts stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..ir.expr import Arg, Expr, Kept, Load, cast, index, transform, walk
from ..ir.forms import Contract, Map, broadcast_index
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.attend import Attend, accumulator
from ..ir.ops.comparison import IsNaN, Where
from ..ir.ops.composite import Softmax

OPERANDS = 3  # q, k and v come before what a body loads
LONGEST_CHAIN = 32  # elementwise ops between the product and the softmax


@dataclass
class _Found:
    """q, k: of the scores' product. others: what the body loads besides.

    inner: values between q, k, v and the result, with the nodes that may read them.
    """

    q: Value
    k: Value
    body: Expr
    others: list[Value] = field(default_factory=list)
    inner: list[tuple[Value, set[Node]]] = field(default_factory=list)
    undefined: str = "nan"


def attention(graph: Graph) -> Graph:
    """evaluate is unchanged up to rounding (weights are not rounded to a narrow dtype on the way)."""
    users, outputs = graph.users, graph.output_values

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | None:
        before = _find(node, node.inputs)
        if before is None or any(v in outputs or not readers.issuperset(users[v]) for v, readers in before.inner):
            return None
        return _attend(node, inputs)

    return map_graph(graph, rebuild=rebuild)


def _attend(node: Node, inputs: Sequence[Value]) -> Value:
    found, v = _find(node, inputs), inputs[1]
    assert found is not None, "rebuilt operands have the shape of the old ones"
    wide = accumulator(v.type.dtype)
    epilogue = cast(Kept(wide, 0), node.types[0].dtype)
    op = Attend(cast(found.body, wide), (epilogue,), undefined=found.undefined, accumulate=wide)
    return Value(Node(op, (found.q, found.k, v, *found.others), node.origin))


def _find(node: Node, inputs: Sequence[Value]) -> _Found | None:
    """The attention that ends in `node`, over these operands; None if it is none."""
    if not _is_product(node, inputs):
        return None
    weights, v = inputs
    inner = [(weights, {node})]
    if isinstance(weights.op, Where):
        bare = _without_nan(weights)
        if bare is None:
            return None
        test = weights.node.inputs[0]
        inner += [(test, {weights.node}), (bare, {weights.node, test.node})]
        weights = bare
    if not isinstance(weights.op, Softmax) or weights.op.axis not in (-1, weights.type.rank - 1):
        return None
    scores = weights.node.inputs[0]
    if not v.type.dtype.is_float or v.type.dtype is not scores.type.dtype or scores.type.shape[:-1] != node.types[0].shape[:-1]:
        return None
    found = _scores(scores, weights.node)
    if found is not None:
        found.inner += inner
        found.undefined = "nan" if len(inner) == 1 else "zero"
    return found


def _is_product(node: Node, inputs: Sequence[Value]) -> bool:
    types = [v.type for v in inputs]
    return len(types) == 2 and min(t.rank for t in types) >= 2 and isinstance(node.op.form(*types), Contract)


def _without_nan(weights: Value) -> Value | None:
    """where(is_nan(w), 0, w) = w, but for rows that are all NaN: 0 there."""
    test, zero, other = weights.node.inputs
    asks = isinstance(test.op, IsNaN) and test.node.inputs[0] == other
    constant = zero.constant
    return other if asks and constant is not None and not np.any(constant) else None


def _scores(scores: Value, reader: Node) -> _Found | None:
    """scores as a body over the product it is made of; None if there is no product, or its elements do not stay in place."""
    paths: dict[Value, int | None] = {}
    chain, value = [], scores
    while (path := _path(value, scores.type.shape, paths, LONGEST_CHAIN)) is not None:
        chain.append((value.node, path))
        value = value.node.inputs[path]
    if not _is_product(value.node, value.node.inputs) or value.type.shape != scores.type.shape:
        return None
    dtype = value.type.dtype
    found = _Found(*value.node.inputs, cast(Kept(accumulator(dtype), 0), dtype))
    for node, path in reversed(chain):
        found.inner.append((node.inputs[path], {node}))
        _compose(found, node, path)
    found.inner.append((scores, {reader}))
    return found


def _path(value: Value, shape: tuple[object, ...], known: dict[Value, int | None], depth: int) -> int | None:
    """Which operand of an elementwise op leads on to the product: the only one, read at the same element. None: no such op or operand."""
    if value in known:
        return known[value]
    known[value] = None
    node = value.node
    form = node.op.form(*(v.type for v in node.inputs))
    if depth and isinstance(form, Map) and value.type.shape == shape:
        moved = {x.operand for x in walk(form.body) if isinstance(x, Load)}
        leads = [
            k
            for k, v in enumerate(node.inputs)
            if v.type.shape == shape and (_is_product(v.node, v.node.inputs) or _path(v, shape, known, depth - 1) is not None)
        ]
        if len(leads) == 1 and leads[0] not in moved:
            known[value] = leads[0]
    return known[value]


def _compose(found: _Found, node: Node, path: int) -> None:
    """found.body becomes node's body with operand `path` replaced by the old one."""
    types = tuple(v.type for v in node.inputs)
    form = node.op.form(*types)
    assert isinstance(form, Map)
    inside, rank = found.body, node.types[0].rank
    axes = [index(k) for k in range(rank)]

    def number(operand: int) -> int:
        value = node.inputs[operand]
        if value not in found.others:
            found.others.append(value)
        return OPERANDS + found.others.index(value)

    def rule(x: Expr) -> Expr | None:
        if isinstance(x, Arg) and x.operand == path:
            return inside
        if isinstance(x, Arg):
            return Load(x.dtype, number(x.operand), broadcast_index(types[x.operand], rank, axes))
        return Load(x.dtype, number(x.operand), x.index) if isinstance(x, Load) else None

    found.body = transform(form.body, rule)
