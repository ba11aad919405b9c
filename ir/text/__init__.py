"""The text form of graphs: `print_graph` and its inverse `parse_graph`.

    graph model(%x: f32[batch, 64]) {
      %0 = constant{value=f32[64, 8]{#5f0c…}} : f32[64, 8]
      %1 = matmul(%x, %0) : f32[batch, 8] @ "encoder/MatMul"
      return y = %1
    }
Dimensions that a run computes and what must hold in it stand before `return`: `extent n = %4 <= (2*batch)`, `check %5 "message"`,
and names of what is strings to the caller: `strings x`.
Every registered op prints and parses: its attributes are written by what they are (see `_value_text`), those that have their
default are left out. Small tensors stand in the text, large ones by digest (`tensors_of` gives them). `@` is a node's origin.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..dims import Dim
from ..dtypes import DType
from ..errors import InvalidGraph
from ..expr import Expr
from ..graph import Extent, Graph, Input, Tensor, Value
from ..identity import exact
from ..loops import LoopProgram, Stage
from ..op import Op
from ..types import TensorType
from .exprs import print_expr
from .parser import WORDS, Parser, elements
from .scanner import Scanner, quoted

INLINE = 16  # elements of the largest tensor that stands in the text
_RESERVED = {*WORDS, "nan", "inf", "for"}


def print_graph(graph: Graph) -> str:
    """The text of a graph, one node a line. Time and text are linear in the size of the graph."""
    names: dict[Value, str] = {}
    for node in graph.inputs:
        label = node.op.label if isinstance(node.op, Input) else str(node.op)
        names[Value(node)] = f"%{label}" if re.fullmatch(r"[A-Za-z_][\w.]*", label, re.ASCII) else f"%{json.dumps(label)}"
    arguments = ", ".join(f"{names[Value(n)]}: {n.types[0]}" for n in graph.inputs)
    lines = [f"graph {quoted(graph.name)}({arguments}) {{"]
    count = 0
    for node in graph.nodes:
        if node in graph.inputs:
            continue
        results = [Value(node, i) for i in range(len(node.types))]
        for value in results:
            names[value] = f"%{count}"
            count += 1
        operands = f"({', '.join(names.get(v, '%?') for v in node.inputs)})" if node.inputs else ""
        made = ", ".join(names[v] for v in results)
        lines.append(f"  {made} = {op_text(node.op)}{operands} : {', '.join(map(str, node.types))}{_origin(node.origin)}")
    lines += [f"  extent {e.symbol} = {names[e.value]}{_bound(e)}{_origin(e.origin)}" for e in graph.extents]
    lines += [f"  check {names[c.holds]} {json.dumps(c.message)}" for c in graph.checks]
    lines += [f"  strings {quoted(name)}" for name in graph.texts]
    lines.append(f"  return {', '.join(f'{quoted(name)} = {names[value]}' for name, value in graph.outputs)}")
    return "\n".join([*lines, "}"])


def _origin(origin: str) -> str:
    return f" @ {json.dumps(origin)}" if origin else ""


def _bound(extent: Extent) -> str:
    return "" if extent.most is None else f" <= ({extent.most})"


def op_text(op: Op) -> str:
    """`name{attribute=value, …}`, without attributes that have their default."""
    shown = []
    for field in dataclasses.fields(op):
        value = getattr(op, field.name)
        if field.default is dataclasses.MISSING or exact(value) != exact(field.default):
            shown.append(f"{field.name}={_value_text(value, type(op))}")
    return f"{op.name}{{{', '.join(shown)}}}" if shown else op.name


def digest_name(tensor: Tensor) -> str:
    """How a large tensor is named in the text: `#` and the digest of its dtype, shape and bytes."""
    return f"#{tensor.digest.hex()}"


def tensors_of(graph: Graph) -> dict[str, Tensor]:
    """The tensors that the text names by digest: `parse_graph(print_graph(g), tensors_of(g))` is g again."""
    found = (t for node in graph.nodes for t in _tensors_in(node.op))
    return {digest_name(t): t for t in found if _elements_text(t) is None}


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Graph):
        for node in value.nodes:
            yield from _tensors_in(node.op)
    elif isinstance(value, tuple):
        for v in value:
            yield from _tensors_in(v)
    elif dataclasses.is_dataclass(value) and not isinstance(value, (type, Expr)):
        for f in dataclasses.fields(value):
            yield from _tensors_in(getattr(value, f.name))


def _value_text(value: Any, owner: type) -> str:
    """An attribute value as text. owner: the class it is a field of; other dataclasses are found by name in its module."""
    match value:
        case None | bool() | int() | float() | DType() | TensorType():
            return str(value)
        case str():
            return json.dumps(value)
        case Dim():
            return f"0 + {value}" if str(value) in _RESERVED else str(value)
        case tuple():
            parts = [_value_text(v, owner) for v in value]
            return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
        case Expr():
            return f"`{print_expr(value)}`"
        case Graph():
            return print_graph(value).replace("\n", "\n  ")
        case Tensor():
            inside = _elements_text(value)
            return f"{value.type}{{{digest_name(value) if inside is None else inside}}}"
        case LoopProgram() if all(map(_is_plain, value.stages)):
            return _program_text(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        if getattr(sys.modules[owner.__module__], kind.__name__, None) is not kind:
            raise InvalidGraph(f"{kind.__name__} has no text form: the module of {owner.__name__} does not know it by name")
        fields = (f"{f.name}={_value_text(getattr(value, f.name), kind)}" for f in dataclasses.fields(value))
        return f"{kind.__name__}{{{', '.join(fields)}}}"
    raise InvalidGraph(f"{owner.__name__}: {value!r} ({type(value).__name__}) has no text form")


def _elements_text(tensor: Tensor) -> str | None:
    """The elements in row-major order; None if they are many, or would not come back bit for bit."""
    array, dtype = tensor.array, tensor.type.dtype
    if array.size > INLINE or array.dtype != dtype.numpy:
        return None
    flat = array.reshape(-1).tolist()
    if dtype.kind == "string":
        return ", ".join(map(json.dumps, flat)) if all(isinstance(x, str) for x in flat) else None
    words = [repr(float(x) if dtype.is_float else bool(x) if dtype.kind == "bool" else int(x)) for x in flat]
    same = elements(words, dtype).tobytes() == array.tobytes()  # not so for a NaN with a payload
    return ", ".join(words) if same else None


def _is_plain(stage: Stage) -> bool:
    """Whether `_program_text` can say all of the stage."""
    known = stage.kind in ("each", "once") if stage.combine is None else stage.kind == "reduce" and stage.combine.isidentifier()
    return known and (stage.output is not None or not stage.index)


def _listed(parts: list[str]) -> list[str]:
    return [", ".join(parts)] if parts else []


def _program_text(program: LoopProgram) -> str:
    """for i0 < batch | i1 < 64 { s0 = reduce max …; s1 = each … -> out0[i0, i1] } -> (f32[batch, 64],), a stage a line."""
    loops = [f"i{k} < {e}" for k, e in enumerate(program.extents)]
    lines = [" ".join(["for", *_listed(loops[: program.rows]), "|", *_listed(loops[program.rows :]), "{"])]
    for k, stage in enumerate(program.stages):
        kind = f"reduce {stage.combine}" if stage.kind == "reduce" else stage.kind
        store = "" if stage.output is None else f" -> out{stage.output}[{', '.join(map(print_expr, stage.index))}]"
        lines.append(f"      s{k} = {kind} {print_expr(stage.body)}{store}")
    lines.append(f"    }} -> {_value_text(program.outputs, LoopProgram)}")
    return "\n".join(lines)


def parse_graph(text: str, tensors: Mapping[str, Tensor | np.ndarray] | None = None) -> Graph:
    """Inverse of `print_graph`. tensors: by digest name, those that the text does not hold (see `tensors_of`).

    Raises InvalidGraph naming the line: for text that is no graph, unknown ops or values, attributes an op does not take, types
    other than those the op infers, tensors that are missing or of another type.
    """
    return Parser(Scanner(text), tensors or {}).whole()
