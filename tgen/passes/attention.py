"""attention: softmax between two products becomes one `attend`, which keeps no matrix of scores.

    matmul(softmax(f(matmul(q, k))), v)   →   attend(q, k, v, …) with f as its body
f: any chain of elementwise ops (scale, mask added or selected, cap, casts), in any order; k as the product takes it, so a transposed
key is a view. Batch axes may be regrouped on the way ([b·h, s, t] → [b, h, s, t] for a mask, and back), weights may be rounded.
Where anything else reads the scores or the weights, or an element moves along the last two axes, the parts stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..ir.dims import DimLike
from ..ir.dtypes import I64
from ..ir.expr import Arg, Expr, Index, Kept, Load, call, cast, const, index, size, transform, walk
from ..ir.forms import Contract, Map, broadcast_index
from ..ir.forms import Reshape as ReshapeForm
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.attend import Attend, accumulator
from ..ir.ops.comparison import IsNaN, Where
from ..ir.ops.composite import Softmax
from ..ir.ops.conversion import Cast
from ..ir.ops.movement import Identity, Reshape, Squeeze, Unsqueeze

OPERANDS = 3  # q, k and v come before what a body loads
LONGEST_CHAIN = 32  # elementwise ops between the product and the softmax
Shape = tuple[DimLike, ...]
Inner = list[tuple[Value, set[Node]]]


@dataclass
class _Found:
    """q, k: of the scores' product. body: over the axes of `shape`, which is the weights'. others: what it loads besides.

    inner: values between q, k, v and the result, with the nodes that may read them.
    """

    q: Value
    k: Value
    body: Expr
    shape: Shape
    others: list[Value] = field(default_factory=list)
    inner: Inner = field(default_factory=list)
    undefined: str = "nan"


def attention(graph: Graph) -> Graph:
    """evaluate is unchanged up to rounding (weights are not rounded to a narrow dtype on the way)."""
    users, outputs = graph.users, graph.kept

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | None:
        before = _find(node, node.inputs)
        if before is None or any(v in outputs or not readers.issuperset(users[v]) for v, readers in before.inner):
            return None
        return _attend(node, inputs)

    return map_graph(graph, rebuild=rebuild)


def _attend(node: Node, inputs: Sequence[Value]) -> Value | None:
    """None where the product that gave the scores has become an attention itself: softmax(softmax(a·b)·c)·d."""
    found, v = _find(node, inputs), inputs[1]
    if found is None:
        return None
    wide = accumulator(v.type.dtype)
    epilogue = cast(Kept(wide, 0), node.types[0].dtype)
    op = Attend(cast(found.body, wide), (epilogue,), undefined=found.undefined, accumulate=wide)
    return Value(Node(op, (found.q, found.k, v, *found.others), node.origin))


def _find(node: Node, inputs: Sequence[Value]) -> _Found | None:
    """The attention that ends in `node`, over these operands; None if it is none."""
    if not _is_product(node, inputs):
        return None
    weights, v = inputs
    if not v.type.dtype.is_float or weights.type.shape[:-1] != node.types[0].shape[:-1]:
        return None
    inner: Inner = []
    softmax, undefined = _softmax(weights, node, inner)
    if softmax is None or accumulator(softmax.types[0].dtype) is not accumulator(v.type.dtype):
        return None
    found = _scores(softmax.inputs[0], softmax, weights.type.shape)
    if found is None or not found.q.type.dtype is found.k.type.dtype is v.type.dtype:
        return None
    found.inner += inner
    found.undefined = undefined
    return found


def _softmax(weights: Value, reader: Node, inner: Inner) -> tuple[Node | None, str]:
    """The softmax along the last axis that gives the weights, and what it gives where it is undefined; notes values in `inner`."""
    undefined, readers = "nan", {reader}
    while not isinstance(weights.op, Softmax):
        inner.append((weights, readers))
        node, below = weights.node, None
        if isinstance(node.op, Where):
            below, undefined = _without_nan(weights), "zero"
            inner.append((node.inputs[0], {node}))
            readers = {node, node.inputs[0].node}
        elif _keeps_place(weights) or (isinstance(node.op, Cast) and node.op.to.is_float):
            below, readers = node.inputs[0], {node}
        if below is None or below.type.shape[-2:] != weights.type.shape[-2:]:
            return None, undefined
        weights = below
    inner.append((weights, readers))
    return (weights.node if weights.op.axis in (-1, weights.type.rank - 1) else None), undefined


def _is_product(node: Node, inputs: Sequence[Value]) -> bool:
    types = [v.type for v in inputs]
    return len(types) == 2 and min(t.rank for t in types) >= 2 and isinstance(node.op.form(*types), Contract)


def _without_nan(weights: Value) -> Value | None:
    """where(is_nan(w), 0, w) = w, but for rows that are all NaN: 0 there."""
    test, zero, other = weights.node.inputs
    asks = isinstance(test.op, IsNaN) and test.node.inputs[0] == other
    constant = zero.constant
    return other if asks and constant is not None and not np.any(constant) else None


def _keeps_place(value: Value) -> bool:
    """Whether value is another value with its batch axes regrouped at most: rows and columns stay what they are."""
    node = value.node
    if not isinstance(node.op, (Identity, Squeeze, Unsqueeze)) and not isinstance(_form(node), ReshapeForm):
        return False
    before, after = node.inputs[0].type.shape, value.type.shape
    return min(len(before), len(after)) >= 2 and before[-2:] == after[-2:]


def _form(node: Node) -> object:
    return node.op.form(*(v.type for v in node.inputs))


def _scores(scores: Value, reader: Node, shape: Shape) -> _Found | None:
    """scores as a body over the product it is made of; None if there is no product, or its elements do not stay in place."""
    paths: dict[Value, int | None] = {}
    chain, value = [], scores
    while (path := _path(value, paths, LONGEST_CHAIN)) is not None:
        chain.append((value.node, path))
        value = value.node.inputs[path]
    if not _is_product(value.node, value.node.inputs) or value.type.shape[-2:] != shape[-2:]:
        return None
    operands = _regrouped(value, shape[:-2])
    if operands is None:
        return None
    dtype = value.type.dtype
    found = _Found(*operands, cast(Kept(accumulator(dtype), 0), dtype), shape)
    for node, path in reversed(chain):
        found.inner.append((node.inputs[path], {node}))
        if not _keeps_place(Value(node)):
            _compose(found, node, path)
    found.inner.append((scores, {reader}))
    return found


def _regrouped(product: Value, lead: Shape) -> tuple[Value, Value] | None:
    """The product's operands with the batch axes `lead`; None if they have others and broadcast them."""
    q, k = product.node.inputs
    own = product.type.shape[:-2]
    if own == lead:
        return q, k
    if q.type.shape[:-2] != own or k.type.shape[:-2] != own:
        return None
    q, k = (Value(Node(Reshape((*lead, *x.type.shape[-2:])), (x,), product.node.origin)) for x in (q, k))
    return q, k


def _path(value: Value, known: dict[Value, int | None], depth: int) -> int | None:
    """Which operand of an elementwise op leads on to the product: the only one, read at the same element. None: no such op or operand."""
    if value in known:
        return known[value]
    known[value] = None
    if not depth:
        return None
    node = value.node

    def leads(v: Value) -> bool:
        return _is_product(v.node, v.node.inputs) or _path(v, known, depth - 1) is not None

    if _keeps_place(value):
        known[value] = 0 if leads(node.inputs[0]) else None
    elif isinstance(form := _form(node), Map):
        moved = {x.operand for x in walk(form.body) if isinstance(x, Load)}
        found = [k for k, v in enumerate(node.inputs) if v.type.shape == value.type.shape and leads(v)]
        if len(found) == 1 and found[0] not in moved:
            known[value] = found[0]
    return known[value]


def _compose(found: _Found, node: Node, path: int) -> None:
    """found.body becomes node's body with operand `path` replaced by the old one."""
    types = tuple(v.type for v in node.inputs)
    form = node.op.form(*types)
    assert isinstance(form, Map)
    inside, rank = found.body, node.types[0].rank
    axes = _axes(node.types[0].shape, found.shape)

    def number(operand: int) -> int:
        value = node.inputs[operand]
        if value not in found.others:
            found.others.append(value)
        return OPERANDS + found.others.index(value)

    def rule(x: Expr) -> Expr | None:
        if isinstance(x, Index):
            return axes[x.axis]
        if isinstance(x, Arg) and x.operand == path:
            return inside
        if isinstance(x, Arg):
            return Load(x.dtype, number(x.operand), broadcast_index(types[x.operand], rank, axes))
        return Load(x.dtype, number(x.operand), x.index) if isinstance(x, Load) else None

    found.body = transform(form.body, rule)


def _axes(own: Shape, shape: Shape) -> list[Expr]:
    """Where an element of the shape `own` is, over the axes of `shape`: rows and columns are the same, batch axes regrouped."""
    last = [index(len(shape) - 2), index(len(shape) - 1)]
    if own[:-2] == shape[:-2]:
        return [index(k) for k in range(len(shape))]
    place: Expr = const(0, I64)
    for k, extent in enumerate(shape[:-2]):
        place = place * size(extent) + index(k)
    axes: list[Expr] = []
    for k, extent in reversed(list(enumerate(own[:-2]))):
        axes.insert(0, call("rem", place, size(extent)) if k else place)
        place = place if extent == 1 else call("div", place, size(extent))
    return axes + last
