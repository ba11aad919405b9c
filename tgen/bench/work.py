"""What a step of a plan has to do, from its kernel's description: operations, and the bytes it must touch at least once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.dims import DimLike, evaluate_dim, product
from ..ir.expr import Call, Expr, Index, Load, walk
from ..kernels.specs import AttendKernel, ContractKernel, Kernel, LoopKernel, RoutineKernel
from ..plan.types import Plan, Step

MOST_NAMES = 4  # of functions that a description lists
_Nest = LoopKernel | ContractKernel | AttendKernel  # kernels that say which elements they read: all but routines


@dataclass(frozen=True)
class Work:
    """operations: of the mathematics (a multiply-add is two; of loops, each function of a body is one); done: with all products of
    parts. weights, near: bytes of constants, and of all else. tile: what it multiplies by, "" for loops.
    """

    operations: float
    done: float
    weights: float
    near: float
    tile: str


def work_of_step(plan: Plan, step: Step, values: Mapping[str, int]) -> Work:
    """values: of the plan's symbols."""
    kernel = plan.kernels[step.chosen(values)]
    operations, done, tile = _operations(kernel)
    types = (*kernel.inputs, *kernel.outputs)
    weights = near = 0.0
    for operand, elements, dtype in zip(step.operands, _touched(kernel, values), types):
        size = min(elements * dtype.size, _room(plan, operand.buffer, values))
        if plan.buffers[operand.buffer].kind == "weight":
            weights += size
        else:
            near += size
    return Work(float(evaluate_dim(operations, values)), float(evaluate_dim(done, values)), weights, near, tile)


def describe_step(kernel: Kernel, values: Mapping[str, int]) -> str:
    """What a kernel is, in a few words: `contraction 128×384×1536 by vfmadd231ps.256 6×2` (in blocks of so many tiles),
    `attention 12×128×128×32`, `loops 128×384: exp`.
    """

    def extents(*dims: DimLike) -> str:
        return "×".join(str(evaluate_dim(d, values)) for d in dims)

    if isinstance(kernel, ContractKernel):
        parts = f", {len(kernel.products)} products" if len(kernel.products) > 1 else ""
        return f"contraction {extents(*kernel.batch, kernel.rows, kernel.columns, kernel.depth)} by {kernel.tile} {extents(*kernel.block)}{parts}"
    if isinstance(kernel, AttendKernel):
        return f"attention {extents(*kernel.batch, kernel.rows, kernel.columns, kernel.depth)} by {kernel.qk.tile}"
    if isinstance(kernel, RoutineKernel):
        return f"routine {kernel.function.__name__} {extents(*kernel.sizes)}"
    names = dict.fromkeys(s.combine for s in kernel.stages if s.combine)
    names.update(dict.fromkeys(x.fn for s in kernel.stages for x in _functions(s.body)))
    listed = [str(name) for name in names]
    more = ", …" if len(listed) > MOST_NAMES else ""
    return f"loops {extents(*kernel.extents) or 'once'}: {', '.join(listed[:MOST_NAMES]) or 'copy'}{more}"


def _operations(kernel: Kernel) -> tuple[DimLike, DimLike, str]:
    """(of the mathematics, done, the tile)."""
    if isinstance(kernel, ContractKernel):
        one = product(kernel.batch) * kernel.rows * kernel.columns * kernel.depth * 2
        return one, one * len(kernel.products), kernel.tile
    if isinstance(kernel, AttendKernel):
        scores = product(kernel.batch) * kernel.rows * kernel.columns * 2
        done = scores * kernel.depth * len(kernel.qk.products) + scores * kernel.width * len(kernel.pv.products)
        return scores * (kernel.depth + kernel.width), done, kernel.qk.tile
    if isinstance(kernel, RoutineKernel):
        return kernel.work, kernel.work, ""
    total: DimLike = 0
    for stage in kernel.stages:
        extents = kernel.extents[: kernel.rows] if stage.kind == "once" else kernel.extents
        total = total + product(extents) * (len(_functions(stage.body)) + (stage.combine is not None))
    return total, total, ""


def _functions(body: Expr) -> list[Call]:
    """The functions that compute a value, each once, without those that compute addresses."""
    found: dict[Call, None] = {}
    rest: list[Expr] = [body]
    while rest:
        x = rest.pop()
        if isinstance(x, Call) and x not in found:
            found[x] = None
            rest.extend(x.args)
    return list(found)


def _touched(kernel: Kernel, values: Mapping[str, int]) -> list[float]:
    """Elements of each operand (inputs, then outputs) that are read or written."""
    if isinstance(kernel, RoutineKernel):
        return [math.inf] * (len(kernel.inputs) + len(kernel.outputs))  # all there is, presumably
    found: list[float] = [0.0] * (len(kernel.inputs) + len(kernel.outputs))

    def add(operand: int, *extents: DimLike) -> None:
        found[operand] += evaluate_dim(product(extents), values)

    for operand, offset, extents in {(x.operand, x.index[:2][-1], e): None for body, e in _bodies(kernel) for x in _loads(body)}:
        add(operand, *(extents[axis] for axis in _axes(offset)))
    for operand, extents in _direct(kernel):
        add(operand, *extents)
    return found


def _bodies(kernel: _Nest) -> list[tuple[Expr, tuple[DimLike, ...]]]:
    """Bodies that load operands, with the extents of their axes."""
    if isinstance(kernel, LoopKernel):
        return [(x, kernel.extents) for s in kernel.stages for x in (s.body, *s.index)]
    rows = kernel.row_extents if isinstance(kernel, ContractKernel) else (kernel.rows,)
    extents = (*kernel.batch, *rows, kernel.columns)
    if isinstance(kernel, ContractKernel):
        return [(x, extents) for x in kernel.epilogues]
    return [(kernel.scores, extents), *((x, (*extents[:-1], kernel.width)) for x in kernel.epilogues)]


def _direct(kernel: _Nest) -> list[tuple[int, tuple[DimLike, ...]]]:
    """(operand, extents) of what is read and written without an expression: matrices and results."""
    first = len(kernel.inputs)
    if isinstance(kernel, LoopKernel):
        return [
            (first + s.output, tuple(kernel.extents[a] for a in _axes(s.index[0]))) for s in kernel.stages if s.output is not None
        ]
    if isinstance(kernel, ContractKernel):
        width, parts = kernel.columns, [kernel.a_parts, kernel.b_parts]
        matrices = [(kernel.a_strides, kernel.rows, kernel.depth), (kernel.b_strides, kernel.depth, kernel.columns)]
    else:
        width, parts = kernel.width, [kernel.qk.a_parts, kernel.qk.b_parts, kernel.pv.b_parts]
        matrices = [
            (kernel.q_strides, kernel.rows, kernel.depth),
            (kernel.k_strides, kernel.depth, kernel.columns),
            (kernel.v_strides, kernel.columns, kernel.width),
        ]
    found: list[tuple[int, tuple[DimLike, ...]]] = []
    for (strides, *shape), count in zip(matrices, parts):
        batch = _batch(kernel.batch, strides)
        found += [(len(found) + k, (*batch, *shape)) for k in range(count)]
    return [*found, *((first + k, (*kernel.batch, kernel.rows, width)) for k in range(len(kernel.outputs)))]


def _batch(extents: Sequence[DimLike], strides: Sequence[DimLike]) -> tuple[DimLike, ...]:
    """Extents of the batch axes that an operand has: those with a stride."""
    return tuple(d for d, s in zip(extents, strides) if s != 0)


def _loads(body: Expr) -> Iterable[Load]:
    return (x for x in walk(body) if isinstance(x, Load))


def _axes(offset: Expr) -> list[int]:
    return sorted({x.axis for x in walk(offset) if isinstance(x, Index)})


def _room(plan: Plan, buffer: int, values: Mapping[str, int]) -> float:
    """Bytes of a buffer: no operand touches more."""
    found = plan.buffers[buffer]
    if found.kind in ("input", "output"):
        return evaluate_dim((plan.inputs if found.kind == "input" else plan.outputs)[found.index][1].bytes, values)
    return evaluate_dim(found.bytes, values)
