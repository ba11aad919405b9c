"""Laws of data movement, for `simplify`. Where the form of an op says enough, no rule asks which op it is."""

from __future__ import annotations

from ..ir.dims import DimLike
from ..ir.errors import TypeMismatch
from ..ir.expr import Arg, Const, Expr, Index, Load, walk
from ..ir.forms import Contract, Join, Map
from ..ir.forms import Reshape as ReshapeForm
from ..ir.graph import Node, Value
from ..ir.ops.gather import Gather
from ..ir.ops.movement import Reshape, Slice, Squeeze, Transpose, Unsqueeze
from ..ir.rewrite import make
from ..ir.types import TensorType

_GROUPING = (Reshape, Squeeze, Unsqueeze)


def nothing(node: Node, *inputs: Value) -> Value | None:
    """op(x) = x where op reads each element where it stands: transpose, slice, expand, cast … that change nothing, concat of one"""
    if not inputs or inputs[0].type != node.types[0] or len(node.types) != 1:
        return None
    form = node.op.form(*(v.type for v in inputs))
    if isinstance(form, Map):
        same = form.body == Arg(inputs[0].type.dtype, 0) or _reads_aligned(form.body, inputs[0].type, node.types[0])
        return inputs[0] if same else None
    one = isinstance(form, ReshapeForm) or (isinstance(form, Join) and len(inputs) == 1)
    return inputs[0] if one else None


def _reads_aligned(body: Expr, source: TensorType, result: TensorType) -> bool:
    """Whether body is operand 0 read as broadcasting reads it: aligned at the right, axes of extent 1 at 0."""
    shift = result.rank - source.rank
    if not isinstance(body, Load) or body.operand != 0 or shift < 0:
        return False
    for k, (i, extent) in enumerate(zip(body.index, source.shape)):
        here = isinstance(i, Index) and i.axis == shift + k and extent == result.shape[shift + k]  # else it is a slice
        if not here and not (extent == 1 and isinstance(i, Const) and i.value == 0):
            return False
    return True


def transpose_of_transpose(node: Node, *inputs: Value) -> Value | None:
    """transpose_p(transpose_q(x)) = transpose_{q∘p}(x)"""
    match node.op, inputs:
        case Transpose(perm=p), (Value(node=Node(op=Transpose(perm=q), inputs=(x,))),):
            return make(node, Transpose(tuple(q[k] for k in p)), x)
    return None


def squeeze_of_transpose(node: Node, *inputs: Value) -> Value | None:
    """squeeze(transpose_p(x)) = transpose_q(squeeze(x)), q: p without the axes that go"""
    match node.op, inputs:
        case Squeeze(axes=axes), (Value(node=Node(op=Transpose(perm=perm), inputs=(x,))),):
            gone = sorted(perm[a % len(perm)] for a in axes)
            kept = [p for p in perm if p not in gone]
            order = tuple(p - sum(g < p for g in gone) for p in kept)
            return make(node, Transpose(order), make(node, Squeeze(tuple(gone)), x))
    return None


def reshape_of_reshape(node: Node, *inputs: Value) -> Value | None:
    """reshape(reshape(x)) = reshape(x), where one of both may be a squeeze or an unsqueeze"""
    match inputs:
        case (Value(node=Node(op=inner, inputs=(x,))),) if isinstance(node.op, _GROUPING) and isinstance(inner, _GROUPING):
            if isinstance(node.op, Reshape) or isinstance(inner, Reshape):
                return make(node, Reshape(node.types[0].shape), x)
    return None


def reshape_of_ones(node: Node, *inputs: Value) -> Value | None:
    """reshape(x) = unsqueeze(squeeze(x)) where only axes of extent 1 come and go: views, which a reshape is not always"""
    if not isinstance(node.op, Reshape):
        return None
    moved = ones_moved(inputs[0].type.shape, node.types[0].shape)
    if moved is None:
        return None
    gone, new = moved
    x = make(node, Squeeze(gone), inputs[0]) if gone else inputs[0]
    return make(node, Unsqueeze(new), x) if new else x


def ones_of_ones(node: Node, *inputs: Value) -> Value | None:
    """squeeze or unsqueeze of the same = one of them, or nothing, where axes only go or only come"""
    match inputs:
        case (Value(node=Node(op=(Squeeze() | Unsqueeze()), inputs=(x,))),) if isinstance(node.op, (Squeeze, Unsqueeze)):
            moved = ones_moved(x.type.shape, node.types[0].shape)
            if moved is None or all(moved):
                return None
            gone, new = moved
            return make(node, Squeeze(gone), x) if gone else make(node, Unsqueeze(new), x) if new else x
    return None


def ones_moved(old: tuple[DimLike, ...], new: tuple[DimLike, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(axes of old that go, axes of new that come), all of extent 1; None if more than that differs."""
    gone: list[int] = []
    come: list[int] = []
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
        elif j < len(new) and new[j] == 1:
            come.append(j)
            j += 1
        elif i < len(old) and old[i] == 1:
            gone.append(i)
            i += 1
        else:
            return None
    return tuple(gone), tuple(come)


def broadcast_anyway(node: Node, *inputs: Value) -> Value | None:
    """op(expand(x), y) = op(x, y) where op broadcasts and y alone gives the result its shape: elementwise ops and matmul"""
    if len(inputs) < 2 or len(node.types) != 1 or not any(map(_expanded, inputs)):
        return None
    form = node.op.form(*(v.type for v in inputs))
    if not isinstance(form, (Map, Contract)):
        return None
    loaded = {x.operand for x in walk(form.body) if isinstance(x, Load)} if isinstance(form, Map) else set()
    for k, value in enumerate(inputs):
        source = _expanded(value)
        if source is None or k in loaded or (isinstance(form, Contract) and source.type.rank < 2):
            continue
        new = (*inputs[:k], source, *inputs[k + 1 :])
        if _infers(node, new):
            return make(node, node.op, *new)
    return None


def gather_of_one(node: Node, *inputs: Value) -> Value | None:
    """gather(x, k) = squeeze(slice(x, k)), a view, where the one index is known and its axis has it"""
    if not isinstance(node.op, Gather) or inputs[1].type.rank or inputs[1].constant is None:
        return None
    x, axis = inputs[0], node.op.axis % inputs[0].type.rank
    extent, k = x.type.shape[axis], int(inputs[1].constant)
    if not isinstance(extent, int) or not -extent <= k < extent:
        return None
    return make(node, Squeeze((axis,)), make(node, Slice((axis,), (k % extent,), (1,), (1,)), x))


def _expanded(value: Value) -> Value | None:
    """x if value is x broadcast to another shape, by whatever op."""
    node = value.node
    if len(node.inputs) != 1 or len(node.types) != 1 or value.type.shape == node.inputs[0].type.shape:
        return None
    form = node.op.form(node.inputs[0].type)
    if not isinstance(form, Map):
        return None
    source = node.inputs[0]
    plain = form.body == Arg(source.type.dtype, 0) or _reads_aligned(form.body, source.type, value.type)
    return source if plain else None


def _infers(node: Node, inputs: tuple[Value, ...]) -> bool:
    """Whether node's op gives node's type over other operands."""
    try:
        return node.op.infer(*(v.type for v in inputs)) == node.types[0]
    except TypeMismatch:
        return False


RULES = (
    nothing,
    transpose_of_transpose,
    squeeze_of_transpose,
    reshape_of_reshape,
    reshape_of_ones,
    ones_of_ones,
    broadcast_anyway,
    gather_of_one,
)
