"""What must hold of a model before it is imported: versions, one definition a name, no cycle."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from ...ir.errors import InvalidModel, Unsupported

OLDEST_OPSET = 1  # before opset 6 only what opset 6 has unchanged: see `find_mapping`


def normal_domain(domain: str) -> str:
    """ONNX's own operators live in "" and, by another name, in "ai.onnx"."""
    return "" if domain == "ai.onnx" else domain


def opsets(imports: Iterable[onnx.OperatorSetIdProto], what: str) -> dict[str, int]:
    """Version by domain. Raises InvalidModel for a domain twice, Unsupported for a version of ONNX's operators not known here."""
    versions: dict[str, int] = {}
    for entry in imports:
        domain = normal_domain(entry.domain)
        if versions.setdefault(domain, entry.version) != entry.version:
            raise InvalidModel(
                f"{what} imports operator set {domain or 'ai.onnx'!r} in versions {versions[domain]} and {entry.version}"
            )
    newest = onnx.defs.onnx_opset_version()
    version = versions.get("")
    if version is not None and not OLDEST_OPSET <= version <= newest:
        raise Unsupported(f"{what} uses opset {version}; known: {OLDEST_OPSET} to {newest} (onnx {onnx.__version__})")
    return versions


def check_model(model: ModelProto, what: str) -> dict[str, int]:
    """The operator set versions of a model that holds a graph. Raises InvalidModel, Unsupported."""
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InvalidModel(f"{what}: truncated, or not an ONNX model: it holds no graph")
    if any(not isinstance(entry.domain, str) for entry in model.opset_import):
        raise InvalidModel(f"{what}: corrupt: the name of an operator set is not text")
    if not model.opset_import:
        raise InvalidModel(f"{what}: truncated, or not an ONNX model: it names no operator set")
    if not model.graph.output:
        raise InvalidModel(f"{what}: the graph has no outputs")
    for part in (model.graph, *model.functions):
        for text in _texts(part):
            if not isinstance(text, str):  # what protobuf gives for text that is not UTF-8
                raise InvalidModel(f"{what}: corrupt: a name is not text: {bytes(text)[:40]!r}")
    return opsets(model.opset_import, what)


def _texts(part: GraphProto | FunctionProto) -> Iterator[str | bytes]:
    """All names in a graph or function."""
    yield part.name
    if isinstance(part, GraphProto):
        for info in (*part.input, *part.output):
            yield info.name
            yield from (d.dim_param for d in tensor_of(info.type).shape.dim if d.HasField("dim_param"))
        for tensor in part.initializer:
            yield tensor.name
            yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    else:
        yield from (*part.input, *part.output, *part.attribute, part.domain, part.overload)
    for node in part.node:
        yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name, attribute.t.name)
        for graph in subgraphs(node):
            yield from _texts(graph)


def tensor_of(declared: onnx.TypeProto) -> onnx.TypeProto.Tensor:
    """The type of a tensor, or of the tensors in a sequence or an optional; an empty one where there are none."""
    while (kind := declared.WhichOneof("value")) in ("sequence_type", "optional_type"):
        declared = getattr(declared, kind).elem_type
    return declared.tensor_type


def ordered(nodes: Iterable[NodeProto], given: Iterable[str], outer: frozenset[str], what: str) -> list[NodeProto]:
    """The nodes, producers first.

    given: names that are there before (inputs, initialisers); outer: names of enclosing graphs. Raises InvalidModel for a name
    that is defined twice or never, and for a cycle, naming its nodes.
    """
    listed = list(nodes)
    maker: dict[str, int] = {}
    known = set(given)
    for at, node in enumerate(listed):
        for name in filter(None, node.output):
            if name in maker or name in known:
                raise InvalidModel(
                    f"{what}: {describe(node)} defines {name!r}, which is already defined{_by(listed, maker.get(name))}"
                )
            maker[name] = at
    needs: dict[int, list[int]] = {}
    for at, node in enumerate(listed):
        for name in reads(node):
            if name not in maker and name not in known and name not in outer:
                raise InvalidModel(f"{what}: {describe(node)} reads {name!r}, which nothing defines")
        needs[at] = [maker[name] for name in reads(node) if name in maker]
    if all(before < at for at, befores in needs.items() for before in befores):
        return listed
    try:
        return [listed[at] for at in graphlib.TopologicalSorter(needs).static_order()]
    except graphlib.CycleError as error:
        loop = " → ".join(describe(listed[at]) for at in reversed(error.args[1]))
        raise InvalidModel(f"{what}: the graph is cyclic: {loop}") from error


def reads(node: NodeProto) -> Iterator[str]:
    """Names a node reads, those its subgraphs take from outside included."""
    yield from filter(None, node.input)
    for graph in subgraphs(node):
        inside = {*names(graph.input), *names(graph.initializer), *(name for n in graph.node for name in n.output)}
        for inner in graph.node:
            yield from (name for name in reads(inner) if name not in inside)
        yield from (name for name in names(graph.output) if name not in inside)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among the attributes of a node."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def names(items: Iterable[onnx.ValueInfoProto | onnx.TensorProto]) -> list[str]:
    """Names of value infos or tensors."""
    return [item.name for item in items]


def describe(node: NodeProto) -> str:
    """A node as messages call it: its operator and its name, or else its first output."""
    name = node.name or next(filter(None, node.output), "")
    return f"{node.op_type} {name!r}" if name else node.op_type


def _by(listed: list[NodeProto], at: int | None) -> str:
    return f" by {describe(listed[at])}" if at is not None else " as an input or initialiser"
