"""What two steps of a plan may not have in common if they are done at once."""

from __future__ import annotations

from tgen.ir.dims import evaluate_dim
from tgen.plan.types import Buffer, Operand, Plan, Step


def meetings(plan: Plan, one: Step, other: Step, sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Operands of the two that share bytes, one of them written. Parts of joins are apart by construction."""
    found = []
    for a, writes_a in _accesses(plan, one):
        for b, writes_b in _accesses(plan, other):
            if (writes_a or writes_b) and _meet(plan, a, b, sizes):
                found.append((str(a), str(b)))
    return found


def _accesses(plan: Plan, step: Step) -> list[tuple[Operand, bool]]:
    first_output = len(step.operands) - len(plan.kernels[step.kernel].outputs)
    return [(o, k >= first_output) for k, o in enumerate(step.operands)]


def _meet(plan: Plan, a: Operand, b: Operand, sizes: dict[str, int]) -> bool:
    if a.buffer == b.buffer:
        return all(p == q for p, q in zip(a.part, b.part))
    x, y = plan.buffers[a.buffer], plan.buffers[b.buffer]
    if (x.kind, x.index) != (y.kind, y.index):
        return False
    (x0, x1), (y0, y1) = (_span(buffer, sizes) for buffer in (x, y))
    return x0 < y1 and y0 < x1


def _span(buffer: Buffer, sizes: dict[str, int]) -> tuple[int, int]:
    start = evaluate_dim(buffer.offset, sizes)
    return start, start + evaluate_dim(buffer.bytes, sizes)
