"""outside: what windows hold outside of their picture takes no part in what they are reduced to.

    Σ (inside ? x : 0)·w      →   Σ (inside ? x·w : 0)        for weights w that are all finite
    max (inside ? x : least)  →   the same, with the constant in place of an operand that holds it
A reduction whose body is what it starts from wherever a condition does not hold need not come to these columns at all: kernels go round their
loops only where the condition holds (`codegen.bounds`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir.dtypes import F32, F64
from ..ir.expr import Call, Const, Expr, Load, call, const, select
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.loops import LoopProgram, Stage, identity
from ..ir.ops.fused import Loops
from .inline import compact


def outside(graph: Graph) -> Graph:
    """evaluate is unchanged."""
    return map_graph(graph, rebuild=_rebuilt)


def _rebuilt(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if not isinstance(node.op, Loops):
        return None
    program = node.op.program
    stages = tuple(_stage(stage, inputs) for stage in program.stages)
    if stages == program.stages:
        return None
    new, operands = compact(LoopProgram(program.extents, program.rows, stages, program.outputs), inputs)
    return Node(Loops(new), operands, node.origin).results


def _stage(stage: Stage, operands: tuple[Value, ...]) -> Stage:
    if stage.kind != "reduce" or stage.body.dtype not in (F32, F64):
        return stage
    nothing = identity(stage.combine or "add", stage.body.dtype.numpy).item()
    match stage.body:
        case Call(fn="mul", operands=(Call(fn="select", operands=(condition, x, other)), w)) if (
            stage.combine == "add" and _is(other, 0.0, operands) and _finite(w, operands)
        ):
            body = select(condition, call("mul", x, w), const(0.0, stage.body.dtype))
        case Call(fn="select", operands=(condition, x, Load() as other)) if _is(other, nothing, operands):
            body = select(condition, x, const(nothing, stage.body.dtype))
        case _:
            return stage
    return dataclasses.replace(stage, body=body)


def _is(x: Expr, number: float, operands: tuple[Value, ...]) -> bool:
    """Whether x is this number wherever it is taken."""
    if isinstance(x, Const):
        return bool(x.value == number)
    known = operands[x.operand].constant if isinstance(x, Load) and operands[x.operand].type.elements == 1 else None
    return known is not None and bool((known == number).all())


def _finite(x: Expr, operands: tuple[Value, ...]) -> bool:
    known = operands[x.operand].constant if isinstance(x, Load) else None
    return known is not None and bool(np.isfinite(known).all())
