"""Control flow that can be settled while importing."""

from __future__ import annotations

from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op


@onnx_op("If")
def if_(call: Call, condition: Value) -> list[Value]:
    """A known condition takes its branch; else both are computed and `where` selects, if their types agree."""
    importer, scope = call.importer, call.scope
    content = call.build.content(condition)
    if content is not None:
        if content.size != 1:
            raise InvalidModel(f"{importer.what}: If {call.name!r} has a condition of {content.size} elements")
        return importer.graph(call.required("then_branch" if content.reshape(-1)[0] else "else_branch"), scope)
    yes, no = (importer.graph(call.required(branch), scope) for branch in ("then_branch", "else_branch"))
    if len(yes) != len(no):
        raise InvalidModel(f"{importer.what}: If {call.name!r} has branches with {len(yes)} and {len(no)} outputs")
    for a, b in zip(yes, no):
        if a.type != b.type:
            raise Unsupported(f"a condition known at run time only, with results {a.type} and {b.type}")
    flag = call.build.reshape(condition, shape=())
    return [call.build.where(flag, a, b) for a, b in zip(yes, no)]
