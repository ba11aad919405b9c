"""What of ONNX is there: each operator with its versions, types and limits, read off the registry, ONNX's schemas and the mappings' own text."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import defs

from ...ir.errors import Unsupported
from . import mappings  # noqa: F401  (fills the registry)
from .functions import has_body
from .registry import FIRST_WHOLE, find_mapping, generic, mapped
from .tensors import element_type
from .text import Text

FAMILIES = {
    "float": frozenset(("bf16", "f16", "f32", "f64")),
    "int": frozenset(("i8", "i16", "i32", "i64")),
    "uint": frozenset(("u8", "u16", "u32", "u64")),
    "float8": frozenset(("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz")),
    "int4": frozenset(("i4", "u4")),
    "int2": frozenset(("i2", "u2")),
}
DOMAINS = ("", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training")


@dataclass(frozen=True)
class Operator:
    """versions: opsets at which ONNX changed it, from the first that is known; how: own (a mapping), same (an operator of the IR by that name),
    definition (by ONNX's own body), or "" if it is not there. limits: what a mapping says it does not take.
    """

    domain: str
    name: str
    versions: tuple[int, ...]
    dtypes: tuple[str, ...]
    how: str
    limits: tuple[str, ...]


def operators() -> list[Operator]:
    """All operators of the standard and those of others that tgen has, by domain and name."""
    found = []
    for domain, name in sorted({*_standard(), *mapped()}, key=lambda key: (DOMAINS.index(key[0]), key[1])):
        schemas = _schemas().get((domain, name), [])
        newest = schemas[-1] if schemas else None
        version = newest.since_version if newest else defs.onnx_opset_version()
        mapping = find_mapping(name, domain, version) or find_mapping(name, domain, version, over=Text)
        how = "same" if mapping is generic else "own" if mapping else "definition" if has_body(newest) else ""
        versions = tuple(s.since_version for s in schemas if domain or s.since_version >= FIRST_WHOLE or s is newest)
        limits = tuple(dict.fromkeys(_limits(mapping))) if mapping and how == "own" else ()
        found.append(Operator(domain, name, versions, _dtypes(newest), how, limits))
    return found


def page() -> str:
    """The operators as tables in Markdown, a table a domain."""
    text = f"## ONNX\n\nAs ONNX {onnx.__version__} defines them. *own*: mapped by a function of `tgen/frontends/onnx/mappings/`; *same*: an operator above has\n"
    families = "; ".join(f"{family}: {', '.join(sorted(members))}" for family, members in FAMILIES.items())
    text += "the same meaning; *definition*: built from ONNX's own definition by others. Opsets are those at which an operator changed; all between are there too.\n"
    text += f"Types are those of the first operand ({families}).\n"
    listed = operators()
    for domain in DOMAINS:
        text += f"\n### {domain or 'ai.onnx'}\n\n| operator | opsets | types | | not taken |\n|---|---|---|---|---|\n"
        for each in (o for o in listed if o.domain == domain and o.how):
            limits = "; ".join(each.limits).replace("|", "\\|")
            versions = ", ".join(map(str, each.versions))
            text += f"| `{each.name}` | {versions} | {' '.join(each.dtypes)} | {each.how} | {limits} |\n"
        missing = ", ".join(f"`{o.name}`" for o in listed if o.domain == domain and not o.how)
        text += f"\nNot there: {missing}.\n" if missing else ""
    return text


@functools.cache
def _schemas() -> dict[tuple[str, str], list[Any]]:
    """Every version of each operator, oldest first, until it was withdrawn."""
    found: dict[tuple[str, str], list[Any]] = {}
    every: Any = defs.get_all_schemas_with_history()
    for schema in sorted(every, key=lambda s: s.since_version):
        if not schema.deprecated:
            found.setdefault((schema.domain, schema.name), []).append(schema)
    return found


def _standard() -> Iterator[tuple[str, str]]:
    return (key for key in _schemas() if key[0] in DOMAINS)


def _dtypes(schema: Any) -> tuple[str, ...]:
    """Element types of the first operand that the standard allows and tgen has; families that are there as a whole by their name."""
    if schema is None:
        return ()
    formal = (schema.inputs or schema.outputs or [None])[0]
    names: set[str] = set()
    for text in sorted(formal.types) if formal is not None else ():
        kind = text.removeprefix("tensor(").removesuffix(")").upper()
        if text.startswith("tensor("):
            with contextlib.suppress(Unsupported):
                names.add(element_type(onnx.TensorProto.DataType.Value(kind), "").name)
    whole = [family for family, members in FAMILIES.items() if members <= names]
    return (*whole, *sorted(names.difference(*(FAMILIES[family] for family in whole))))


def _limits(function: Callable[..., Any]) -> Iterator[str]:
    """The texts of `raise Unsupported(...)` in a mapping and in what it calls of the mappings."""
    seen: set[str] = set()
    waiting = [function]
    while waiting:
        present = waiting.pop()
        if present.__qualname__ in seen:
            continue
        seen.add(present.__qualname__)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(present)))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Unsupported" and node.args:
                yield _text(node.args[0])
            if isinstance(node, ast.Name):
                called = vars(inspect.getmodule(present)).get(node.id)
                if inspect.isfunction(called) and called.__module__.startswith(__package__ + ".mappings."):
                    waiting.append(called)


def _text(node: ast.expr) -> str:
    """A message; what it is filled with in a run is shown as …"""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "…"
