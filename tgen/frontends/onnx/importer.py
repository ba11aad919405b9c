"""ModelProto → Graph: names to values, node by node; what is missing is collected and told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from ...ir.dims import LONGEST, DimLike, is_short, substitute
from ...ir.dtypes import STRING
from ...ir.errors import InvalidGraph, InvalidInput, InvalidModel, TypeMismatch, Unequal, Unsupported
from ...ir.graph import Graph, Value, symbols_of
from ...ir.types import TensorType
from .. import check_shapes
from .agreement import Equation, solved
from .call import Call, feeding_inputs
from .content import ShapeBuilder
from .interface import Entry, Imported, Layout, Structure, check_named, entry_of, is_structured, layout_of
from .problems import Problems
from .registry import find_mapping, schema_of
from .structure import check_model, describe, names, normal_domain, ordered
from .structured import Item
from .symbols import SymbolNames, check_declared
from .tensors import MAX_ELEMENTS, element_type, read_model, to_array
from .text import Text, constant_text, input_text, packed

MAX_NODES = 1 << 17  # a few functions that call each other twice are more than any memory holds
# What a mapping raises that takes ranks and entries for what the standard says they are, in a node where they are not.
STUMBLES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Missing:
    """Stands for a value that an unsupported node would have given."""


MISSING = Missing()
MOST_TURNS = 1024
MOST_EQUATIONS = 64  # each is another import
# What a name stands for: a TensorProto is an initialiser that nothing has read yet, None an absent optional.
Known = Item | Missing | TensorProto | None


@dataclass
class Scope:
    """Names visible to the nodes of one graph or function body."""

    opsets: Mapping[str, int]
    names: dict[str, Known] = field(default_factory=dict)
    parent: Scope | None = None
    bound: Mapping[str, AttributeProto] = field(default_factory=dict)  # attributes of the function that is being expanded
    path: str = ""  # names of the enclosing function calls, "layer0/"

    def owner(self, name: str) -> Scope | None:
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope


def load_onnx(
    source: Any,
    *,
    shapes: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    structures: Mapping[str, Structure] | None = None,
) -> Graph:
    """The graph of an ONNX model: a path, bytes or onnx.ModelProto. See `tgen.frontends.load`."""
    found = import_onnx(source, shapes=shapes, values=values, weights=weights, structures=structures)
    if found.graph is None:
        raise Unsupported("nothing to compute: every output is an empty sequence or an absent optional")
    return found.graph


def import_onnx(
    source: Any,
    *,
    shapes: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    structures: Mapping[str, Structure] | None = None,
) -> Imported:
    """As `load_onnx`; the graph, and which of its outputs are the elements of a sequence that the model gives."""
    from . import mappings  # noqa: F401  (fills the registry)

    model, folder, what = read_model(source)
    known: dict[str, DimLike] = {}
    while True:
        try:
            return Importer(model, folder, what, weights or {}, known).run(shapes or {}, values or {}, structures or {})
        except Equation as found:
            known = {s: substitute(d, {found.symbol: found.dim}) for s, d in known.items()} | {found.symbol: found.dim}


class Importer:
    """One import of one model."""

    def __init__(
        self,
        model: onnx.ModelProto,
        folder: Path | None,
        what: str,
        weights: Mapping[str, Any],
        known: Mapping[str, DimLike] = MappingProxyType({}),
    ) -> None:
        """known: symbols of the inputs that are others, or numbers, for the nodes of the model to make sense."""
        self.model, self.folder, self.what, self.weights, self.known = model, folder, what, weights, known
        self.free: tuple[str, ...] = ()  # symbols of the inputs
        self.build = ShapeBuilder(model.graph.name or Path(what).stem or "model")
        self.problems = Problems()
        self.functions = {(normal_domain(f.domain), f.name, f.overload): f for f in model.functions}
        self.calling: list[str] = []
        self.count = 0  # nodes so far
        self.checked: dict[tuple[Value, tuple[DimLike, ...]], Value] = {}  # what holds where these indices are inside these extents
        self.turns = 0  # of loops over sequences, each of which is imported anew

    def run(self, shapes: Mapping[str, int], values: Mapping[str, Any], structures: Mapping[str, Structure]) -> Imported:
        """The graph. shapes: symbols that are fixed; values: inputs that become constants; structures: what sequences hold."""
        scope = Scope(check_model(self.model, self.what))
        graph = self.model.graph
        self._initialisers(graph, scope)
        unknown = [name for name in self.weights if name not in scope.names]
        if unknown:
            raise InvalidInput(f"weights: {self.what} has no initialiser {unknown[0]!r}")
        self._inputs(graph, scope, shapes, values, structures)
        self.nodes(graph.node, scope)
        outputs = [(info, self.lookup(info.name, scope, f"output {info.name!r}")) for info in graph.output]
        self.problems.blame(name for extent in self.build.extents for name in feeding_inputs(extent.value))
        self.problems.raise_all(self.what)
        layouts = {info.name: self._output(info, item) for info, item in outputs}
        return Imported(self.build.build() if any(layouts.values()) else None, layouts)

    def _output(self, info: onnx.ValueInfoProto, item: Item | Missing | None) -> Layout:
        if not isinstance(item, Item):
            raise InvalidModel(f"{self.what}: output {info.name!r} has no value")
        layout, parts = layout_of(info, item, self.what)
        for name, value in parts.items():
            check_declared(info, value.type, f"{self.what}: output {name!r}")
            try:
                if isinstance(value, Text):
                    text = packed(self.build, value)
                    self.build.text_output(name, text.bytes, text.ends)
                else:
                    self.build.output(name, value)
            except InvalidGraph as error:
                raise InvalidModel(f"{self.what}: {error}") from error
        return layout

    def _initialisers(self, graph: GraphProto, scope: Scope) -> None:
        for tensor in graph.initializer:
            if not tensor.name or tensor.name in scope.names:
                raise InvalidModel(f"{self.what}: two initialisers are named {tensor.name!r}")
            scope.names[tensor.name] = tensor
        for sparse in graph.sparse_initializer:
            scope.names[sparse.values.name] = MISSING
            self.problems.add("initialiser", "", scope.opsets.get("", 0), Unsupported("sparse tensors"), sparse.values.name)

    def _inputs(
        self,
        graph: GraphProto,
        scope: Scope,
        shapes: Mapping[str, int],
        values: Mapping[str, Any],
        structures: Mapping[str, Structure],
    ) -> None:
        infos = [i for i in graph.input if i.name not in scope.names]
        if len(set(names(infos))) != len(infos) or "" in names(infos):
            twice = next(n for n in names(infos) if not n or names(infos).count(n) > 1)
            raise InvalidModel(f"{self.what}: two inputs are named {twice!r}")
        check_named("values", values, names(i for i in infos if not is_structured(i)))
        check_named("structures", structures, names(infos))
        symbols, entries = SymbolNames(infos), dict[str, Entry]()
        for info in infos:
            try:
                entries[info.name] = entry_of(info, symbols, structures)
            except Unsupported as error:
                scope.names[info.name] = MISSING
                self.problems.add("input", "", scope.opsets.get("", 0), error, info.name)
        check_shapes(shapes, [t for entry in entries.values() for t in entry.types.values()])
        for label, entry in entries.items():
            wanted = {name: declared.substitute(shapes).substitute(self.known) for name, declared in entry.types.items()}
            self.free += symbols_of(wanted.values()) if len(self.known) < MOST_EQUATIONS else ()
            parts = [
                self._fixed(name, type_, values[name]) if name in values else self._input(name, type_, symbols)
                for name, type_ in wanted.items()
            ]
            scope.names[label] = entry.assemble(parts)

    def _input(self, name: str, wanted: TensorType, symbols: SymbolNames) -> Value | Text:
        try:
            if wanted.dtype is STRING:
                return input_text(self.build, name, symbols.fresh(f"{name}_bytes"), wanted.shape)
            return self.build.input(name, wanted.dtype, wanted.shape)
        except InvalidGraph as error:
            raise InvalidModel(f"{self.what}: {error}") from error

    def _fixed(self, name: str, wanted: TensorType, given: Any) -> Value | Text:
        array = np.asarray(given)
        fits = array.ndim == wanted.rank and all(isinstance(d, int) is False or d == e for d, e in zip(wanted.shape, array.shape))
        if not fits or not _is_of(wanted, array):
            raise InvalidInput(f"values: input {name!r} is given {array.dtype}{list(array.shape)}; wanted {wanted}")
        return self._constant(array, f"values: input {name!r}")

    def lookup(self, name: str, scope: Scope, reader: str) -> Item | Missing | None:
        """The value of a name; "" is an absent optional. Reads initialisers when first wanted."""
        if not name:
            return None
        owner = scope.owner(name)
        if owner is None:
            raise InvalidModel(f"{self.what}: {reader} reads {name!r}, which nothing defines")
        known = owner.names[name]
        if isinstance(known, TensorProto):
            known = owner.names[name] = self._initialiser(known, scope)
        return known

    def _initialiser(self, tensor: TensorProto, scope: Scope) -> Value | Text | Missing:
        try:
            return self._replaced(tensor) if tensor.name in self.weights else self.tensor(tensor, f"initialiser {tensor.name!r}")
        except Unsupported as error:
            self.problems.add("initialiser", "", scope.opsets.get("", 0), error, tensor.name)
            return MISSING

    def _replaced(self, tensor: TensorProto) -> Value | Text:
        array, what = np.asarray(self.weights[tensor.name]), f"initialiser {tensor.name!r}"
        wanted = TensorType(element_type(tensor.data_type, what), tuple(tensor.dims))
        if not _is_of(wanted, array) or array.shape != wanted.shape:
            raise InvalidInput(f"weights: {what} is given {array.dtype}{list(array.shape)}; wanted {wanted}")
        return self._constant(array, f"weights: {what}")

    def _constant(self, array: np.ndarray, what: str) -> Value | Text:
        return constant_text(self.build, array, what) if array.dtype.kind in "OSU" else self.build.constant(array)

    def tensor(self, tensor: TensorProto, what: str) -> Value | Text:
        """A constant from a tensor of the model."""
        array = self.array(tensor, f"{self.what}: {what}")
        return self._constant(array, f"{self.what}: {what}")

    def array(self, tensor: TensorProto, what: str) -> np.ndarray:
        """The elements of a tensor of the model; strings have the dtype object."""
        return to_array(tensor, self.folder, what)

    def graph(self, graph: GraphProto, parent: Scope, given: Sequence[Value] = ()) -> list[Value]:
        """As `items`, where all results are tensors."""
        found = self.items(graph, parent, given)
        if not all(isinstance(v, Value) for v in found):
            raise Unsupported("its subgraph gives strings, a sequence or an optional")
        return found  # type: ignore[return-value]

    def items(self, graph: GraphProto, parent: Scope, given: Sequence[Item] = ()) -> list[Item]:
        """Results of a subgraph (a branch of If, the body of a loop) for these inputs. Raises Unsupported if something in it is."""
        if len(graph.input) != len(given):
            raise InvalidModel(f"{self.what}: subgraph {graph.name!r} has {len(graph.input)} inputs where {len(given)} are given")
        scope = Scope(parent.opsets, dict(zip(names(graph.input), given)), parent, parent.bound, parent.path)
        self._initialisers(graph, scope)
        self.nodes(graph.node, scope)
        found = [self.lookup(info.name, scope, f"subgraph {graph.name!r}") for info in graph.output]
        if any(not isinstance(v, Item) for v in found):
            raise Unsupported("its subgraph has unsupported operators")
        return found  # type: ignore[return-value]

    def count_turns(self, count: int) -> None:
        """Raises Unsupported if the turns of loops over sequences become too many to import."""
        self.turns += count
        if self.turns > MOST_TURNS:
            raise Unsupported(f"loops over sequences of more than {MOST_TURNS} turns in all")

    def nodes(self, nodes: Sequence[NodeProto], scope: Scope) -> None:
        """Imports nodes in an order that respects their dependences."""
        outer: set[str] = set()
        above = scope.parent
        while above is not None:
            outer.update(above.names)
            above = above.parent
        for node in ordered(nodes, scope.names, frozenset(outer), self.what):
            self._node(node, scope)

    def _node(self, node: NodeProto, scope: Scope) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise InvalidModel(
                f"{self.what}: {scope.path}{describe(node)}: with all functions expanded there are over {MAX_NODES:,} nodes"
            )
        operands = tuple(self.lookup(name, scope, describe(node)) for name in node.input)
        domain = normal_domain(node.domain)
        label = scope.path + (node.name or next(filter(None, node.output), ""))
        opset = scope.opsets.get(domain, 0)
        try:
            results = self._results(node, domain, opset, operands, scope, label)
        except Unsupported as error:
            results = (MISSING,) * len(node.output)
            if str(error):
                self.problems.add(node.op_type, domain, opset, error, label)
        for name, value in zip(node.output, results):
            if name:
                scope.names[name] = value

    def _results(
        self, node: NodeProto, domain: str, opset: int, operands: tuple[Any, ...], scope: Scope, label: str
    ) -> tuple[Item | Missing, ...]:
        """What a node gives. Raises Unsupported; with an empty text, if that has been told already."""
        from . import functions

        function = self.functions.get((domain, node.op_type, node.overload))
        kind = Text if any(isinstance(v, Text) for v in operands) else Value
        mapping = None if function else find_mapping(node.op_type, domain, opset, kind)
        schema = None if function else schema_of(node.op_type, domain, opset) if domain in scope.opsets else None
        if function is None and mapping is None and not functions.has_body(schema):
            raise Unsupported(("no such operator" if schema is None else "not implemented") + " for strings" * (kind is Text))
        if any(isinstance(v, Missing) for v in operands):
            raise Unsupported("")
        call = Call(self, node, domain, opset, self._attributes(node, scope), operands, scope, label, schema)
        with self.build.origin(f"{node.op_type} {label!r}"):
            try:
                if function is not None:
                    found = functions.call_local(call, function)
                else:
                    call.check_signature(mapping)
                    if kind is Text:
                        call.check_types()
                    found = mapping(call, *operands) if mapping else NotImplemented
                    found = functions.expand(call) if found is NotImplemented else found
            except RecursionError as error:
                raise call.invalid("is nested too deeply") from error
            except (TypeMismatch, InvalidGraph, *STUMBLES) as error:
                raise self._solution(error) or call.diagnose(error) from error
        return self._checked(call, found)

    def _solution(self, error: Exception) -> Equation | None:
        """What of the inputs makes the extents equal that are not; of what may not be done in a run nothing is asked."""
        return solved(error.pair, self.free) if isinstance(error, Unequal) and not self.build.open_regions else None

    def _checked(self, call: Call, found: Any) -> tuple[Item, ...]:
        values = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        for k, name in enumerate(call.node.output):
            if name and (k >= len(values) or values[k] is None):
                raise Unsupported(f"output number {k} ({name!r})")
        for value in values:
            if not isinstance(value, (Value, Text)):
                continue
            elements = value.type.elements
            if isinstance(elements, int) and elements > MAX_ELEMENTS:
                raise call.invalid(f"gives {value.type}: more than any machine holds")
            if not all(map(is_short, value.type.shape)):
                raise call.invalid(f"gives a tensor whose sizes are sums and products of more than {LONGEST} others")
        return values

    def _attributes(self, node: NodeProto, scope: Scope) -> dict[str, AttributeProto]:
        """The attributes of a node; those that refer to an attribute of the enclosing function are replaced by it."""
        found: dict[str, AttributeProto] = {}
        for attribute in node.attribute:
            if attribute.name in found:
                raise InvalidModel(f"{self.what}: {describe(node)} has attribute {attribute.name!r} twice")
            if not attribute.ref_attr_name:
                found[attribute.name] = attribute
            elif attribute.ref_attr_name in scope.bound:
                bound = AttributeProto()
                bound.CopyFrom(scope.bound[attribute.ref_attr_name])
                bound.name = attribute.name
                found[attribute.name] = bound
        return found


def _is_of(wanted: TensorType, array: np.ndarray) -> bool:
    """Whether an array has the dtype of a type: text may come as str or bytes."""
    return array.dtype.kind in "OSU" if wanted.dtype is STRING else array.dtype == wanted.dtype.numpy
