"""`Einsum`: sums of products named by labels, as views, reductions and matrix products."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..builder import Builder
from ..dims import DimLike, product
from ..dtypes import BF16, F16, F32, I32, DType
from ..errors import TypeMismatch, Unequal
from ..graph import Value
from ..op import Op, op
from ..types import TensorType

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Subscripts:
    """An equation over operands of known rank: a label for each axis. Axes of an ellipsis are labelled 0, 1, … from its end."""

    operands: tuple[Labels, ...]
    output: Labels


@op
class Einsum(Op):
    """out[output labels] = Σ over all other labels of Π operands[their labels], as numpy.einsum

    equation: "bij,bjk->bik"; without an arrow the output is the ellipsis and, in order, all labels that occur once. Operands of one
    dtype; an axis of extent 1 broadcasts. Products are taken from left to right. Integers wrap.
    """

    equation: str

    def infer(self, *operands: TensorType) -> TensorType:
        if any(t.dtype is not operands[0].dtype for t in operands) or not (
            operands[0].dtype.is_float or operands[0].dtype.is_integer
        ):
            raise TypeMismatch(f"einsum {self.equation!r}: takes numbers of one dtype, given {', '.join(map(str, operands))}")
        subscripts = parse_equation(self.equation, [t.rank for t in operands])
        extents = label_extents(subscripts, [t.shape for t in operands])
        return operands[0].with_shape(tuple(extents[label] for label in subscripts.output))

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        wide = [x if x.dtype.kind in "iu" else x.astype(np.float64) for x in operands]
        return np.asarray(np.einsum(self.equation.replace(" ", ""), *wide, optimize=False)).astype(operands[0].dtype)

    def decompose(self, b: Builder, *operands: Value) -> Value:
        subscripts = parse_equation(self.equation, [v.type.rank for v in operands])
        extents = label_extents(subscripts, [v.type.shape for v in operands])
        dtype = operands[0].type.dtype
        wide = _computed_in(dtype, len(operands))
        terms = [_distinct(b, Term(b.cast(v, to=wide), labels), extents) for v, labels in zip(operands, subscripts.operands)]
        total = terms[0]
        for k, term in enumerate(terms[1:], 1):
            later = {*subscripts.output, *(label for t in terms[k + 1 :] for label in t.labels)}
            total = _multiplied(b, _summed(b, total, {*later, *term.labels}), _summed(b, term, {*later, *total.labels}), later)
        total = _ordered(b, _summed(b, total, set(subscripts.output)), subscripts.output)
        return b.cast(total.value, to=dtype)


def _computed_in(dtype: DType, operands: int) -> DType:
    """A product of two half-precision operands is accumulated in float32 and rounded once by `matmul`; anything else is widened."""
    if dtype in (F16, BF16):
        return dtype if operands == 2 else F32
    return I32 if dtype.is_integer and dtype.bits < 32 else dtype


def parse_equation(equation: str, ranks: Sequence[int]) -> Subscripts:
    """Labels of every axis. Raises TypeMismatch for text that is no equation, or not one over operands of these ranks."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks) or not all(re.fullmatch(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*", p) for p in (*parts, right)):
        raise TypeMismatch(f"einsum {equation!r} is not an equation over {len(ranks)} operands")
    free = [rank - len(part.replace("...", "")) for part, rank in zip(parts, ranks)]
    for part, rank, count in zip(parts, ranks, free):
        if count < 0 or (count > 0 and "..." not in part):
            raise TypeMismatch(f"einsum {equation!r}: {part!r} does not label an operand of {rank} axes")
    operands = tuple(_labels(part, count) for part, count in zip(parts, free))
    widest = max(free)
    letters = [label for labels in operands for label in labels if label.isalpha()]
    if not arrow:
        once = "".join(sorted(label for label in set(letters) if letters.count(label) == 1))
        return Subscripts(operands, _labels(f"...{once}", widest))
    if (
        (widest and "..." not in right)
        or len(set(right.replace("...", ""))) != len(right.replace("...", ""))
        or set(right) - {*letters, "."}
    ):
        raise TypeMismatch(f"einsum {equation!r}: {right!r} is not an output of these operands")
    return Subscripts(operands, _labels(right, widest))


def _labels(part: str, ellipsis: int) -> Labels:
    before, dots, after = part.partition("...")
    return (*before, *(str(k) for k in reversed(range(ellipsis if dots else 0))), *after)


def label_extents(subscripts: Subscripts, shapes: Sequence[tuple[DimLike, ...]]) -> dict[str, DimLike]:
    """The extent of each label. Raises TypeMismatch where axes of one label differ and neither is 1, or of one operand at all."""
    extents: dict[str, DimLike] = {}
    for labels, shape in zip(subscripts.operands, shapes):
        own: dict[str, DimLike] = {}
        for label, extent in zip(labels, shape):
            known = extents.get(label, 1)
            if own.setdefault(label, extent) != extent or (known != extent and 1 not in (known, extent)):
                text = f"einsum: axes of label {label!r} have extents {own[label]}, {known} and {extent}"
                raise Unequal(text, own[label] if own[label] != extent else known, extent)
            extents[label] = extent if known == 1 else known
    return extents


@dataclass(frozen=True)
class Term:
    """A value and the labels of its axes."""

    value: Value
    labels: Labels

    def extents(self, labels: Sequence[str]) -> tuple[DimLike, ...]:
        return tuple(self.value.type.shape[self.labels.index(label)] for label in labels)


def _distinct(b: Builder, term: Term, extents: dict[str, DimLike]) -> Term:
    """x[i, i] as its diagonal; axes of extent 1 that broadcast are left out."""
    value, labels = term.value, term.labels
    while repeated := next((label for label in labels if labels.count(label) > 1), None):
        first = labels.index(repeated)
        second = labels.index(repeated, first + 1)
        value = b.diagonal(value, axes=(first, second))
        labels = (*(label for k, label in enumerate(labels) if k not in (first, second)), repeated)
    stretched = tuple(k for k, label in enumerate(labels) if value.type.shape[k] == 1 and extents[label] != 1)
    if stretched:
        value = b.squeeze(value, axes=stretched)
    return Term(value, tuple(label for k, label in enumerate(labels) if k not in stretched))


def _summed(b: Builder, term: Term, kept: Collection[str]) -> Term:
    """Σ over the labels that are not kept."""
    axes = tuple(k for k, label in enumerate(term.labels) if label not in kept)
    if not axes:
        return term
    return Term(b.reduce_sum(term.value, axes=axes, keepdims=False), tuple(label for label in term.labels if label in kept))


def _ordered(b: Builder, term: Term, labels: Labels) -> Term:
    perm = tuple(term.labels.index(label) for label in labels)
    return Term(term.value if perm == tuple(range(len(perm))) else b.transpose(term.value, perm=perm), labels)


def _multiplied(b: Builder, x: Term, y: Term, kept: Collection[str]) -> Term:
    """x·y, summed over what both have and nobody needs later: labels are batch, rows of x, columns of y."""
    shared = [label for label in x.labels if label in y.labels]
    batch, inner = (tuple(label for label in shared if (label in kept) is wanted) for wanted in (True, False))
    rows = tuple(label for label in x.labels if label not in shared)
    columns = tuple(label for label in y.labels if label not in shared)
    if not inner or not (rows or columns):
        left = _ordered(b, x, (*batch, *inner, *rows)).value
        right = _ordered(b, y, (*batch, *inner, *columns)).value
        at = len(shared)
        left = b.unsqueeze(left, axes=tuple(range(at + len(rows), at + len(rows) + len(columns))))
        right = b.unsqueeze(right, axes=tuple(range(at, at + len(rows))))
        return _summed(b, Term(b.mul(left, right), (*batch, *inner, *rows, *columns)), {*batch, *rows, *columns})
    outer, depth = x.extents(batch), product(x.extents(inner))
    left = b.reshape(_ordered(b, x, (*batch, *rows, *inner)).value, shape=(*outer, product(x.extents(rows)), depth))
    right = b.reshape(_ordered(b, y, (*batch, *inner, *columns)).value, shape=(*outer, depth, product(y.extents(columns))))
    shape = (*outer, *x.extents(rows), *y.extents(columns))
    return Term(b.reshape(b.matmul(left, right), shape=shape), (*batch, *rows, *columns))
