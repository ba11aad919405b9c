"""Reads the text form of graphs; `text` says what it looks like and writes it."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..dims import DimLike, parse_dim
from ..dtypes import DTYPES, DType
from ..errors import InvalidGraph, TgenError
from ..expr import Expr
from ..graph import Check, Extent, Graph, Input, Node, Tensor, Value
from ..loops import LoopProgram, Stage
from ..op import OPS, Op
from ..types import TensorType, parse_type
from .exprs import scan_expr
from .scanner import END, Scanner

WORDS: dict[str, Any] = {"None": None, "True": True, "False": False, **DTYPES}  # words that are attribute values
_FLOAT = re.compile(r"-?(\d+\.\d*(e[+-]?\d+)?|\d+e[+-]?\d+|inf|nan)")


class Parser:
    """Recursive descent; the grammar is what `text` prints. A method a rule."""

    def __init__(self, scanner: Scanner, tensors: Mapping[str, Tensor | np.ndarray]) -> None:
        self.scanner = scanner
        self.tensors = tensors
        self.values: dict[str, Value] = {}
        self.types: dict[str, TensorType] = {}  # by text: there are few

    def whole(self) -> Graph:
        """A graph with nothing behind it."""
        graph = self.graph()
        if self.scanner.peek() != END:
            self.scanner.fail(f"{self.scanner.peek()!r} after the end of the graph")
        return graph

    def graph(self) -> Graph:
        s = self.scanner
        s.expect("graph")
        name = s.name()
        s.expect("(")
        inputs: list[Node] = []
        while not s.accept(")"):
            if inputs:
                s.expect(",")
            inputs.append(self.argument())
        s.expect("{")
        extents: list[Extent] = []
        checks: list[Check] = []
        texts: list[str] = []
        while not s.accept("return"):
            if s.accept("extent"):
                extents.append(self.extent())
            elif s.accept("check"):
                checks.append(Check(self.operand(), s.string()))
            elif s.accept("strings"):
                texts.append(s.name())
            else:
                self.statement()
        outputs: list[tuple[str, Value]] = []
        while s.peek() != "}":
            if outputs:
                s.expect(",")
            label = s.name()
            s.expect("=")
            outputs.append((label, self.operand()))
        s.expect("}")
        return Graph(tuple(inputs), tuple(outputs), name, tuple(extents), tuple(checks), tuple(texts))

    def extent(self) -> Extent:
        """symbol = value <= (bound)"""
        s = self.scanner
        symbol = s.name()
        s.expect("=")
        value, most = self.operand(), None
        if s.accept("<"):
            for token in "=(":
                s.expect(token)
            most = parse_dim(s.until(")"))
            s.expect(")")
        return Extent(symbol, value, most, s.string() if s.accept("@") else "")

    def argument(self) -> Node:
        token = self.new_name()
        label = json.loads(token[1:]) if token.startswith('%"') else token[1:]
        self.scanner.expect(":")
        node = Node(Input(label, self.tensor_type()))
        self.values[token] = Value(node)
        return node

    def new_name(self) -> str:
        s = self.scanner
        if not s.peek().startswith("%"):
            s.fail(f"expected a value such as %0, found {s.peek() or 'the end'!r}")
        if s.peek() in self.values:
            s.fail(f"{s.peek()} is defined twice")
        return s.next()

    def operand(self) -> Value:
        s = self.scanner
        if s.peek() not in self.values:
            s.fail(f"{s.peek() or 'the end'} is not defined above")
        return self.values[s.next()]

    def tensor_type(self) -> TensorType:
        s = self.scanner
        dtype = s.name()
        s.expect("[")
        shape = "" if s.peek() == "]" else s.until("]")
        s.expect("]")
        text = f"{dtype}[{shape}]"
        if text not in self.types:
            try:
                self.types[text] = parse_type(text)
            except TgenError as error:
                s.fail(str(error))
        return self.types[text]

    def statement(self) -> None:
        """%a, %b = op{attributes}(operands) : types @ origin"""
        s = self.scanner
        start, names = s.at, [self.new_name()]
        while s.accept(","):
            names.append(self.new_name())
        s.expect("=")
        try:
            self.define(names)
        except TgenError as error:
            if str(error).startswith("line "):
                raise
            raise InvalidGraph(f"line {s.line_of(start)}: {error}") from error

    def define(self, names: list[str]) -> None:
        s = self.scanner
        op = self.op()
        operands = self.operands() if s.peek() == "(" else []
        s.expect(":")
        types = [self.tensor_type()]
        while s.accept(","):
            types.append(self.tensor_type())
        node = Node(op, tuple(operands), s.string() if s.accept("@") else "")
        if node.types != tuple(types) or len(names) != len(types):
            infers = ", ".join(map(str, node.types))
            raise InvalidGraph(f"{op.name} has results {infers}; the text says {', '.join(map(str, types))} for {', '.join(names)}")
        self.values.update((name, Value(node, i)) for i, name in enumerate(names))

    def operands(self) -> list[Value]:
        s = self.scanner
        s.expect("(")
        operands: list[Value] = []
        while not s.accept(")"):
            if operands:
                s.expect(",")
            operands.append(self.operand())
        return operands

    def op(self) -> Op:
        s = self.scanner
        if s.peek() not in OPS:
            s.fail(f"no operator is named {s.peek()!r}")
        cls = OPS[s.next()]
        made: Op = self.fields(cls) if s.peek() == "{" else self.made(cls, {})
        return made

    def fields(self, cls: type) -> Any:
        """{name=value, …} as an instance of the dataclass."""
        s = self.scanner
        s.expect("{")
        attributes: dict[str, Any] = {}
        while not s.accept("}"):
            if attributes:
                s.expect(",")
            name = s.name()
            s.expect("=")
            attributes[name] = self.value(cls)
        return self.made(cls, attributes)

    def made(self, cls: type, attributes: dict[str, Any]) -> Any:
        try:
            return cls(**attributes)
        except TypeError as error:
            self.scanner.fail(f"{cls.__name__}: {str(error).rpartition('__init__() ')[2]}")

    def value(self, owner: type) -> Any:
        """Inverse of `text._value_text`."""
        s = self.scanner
        token, following = s.peek(), s.peek(1)
        if token.startswith('"'):
            return s.string()
        if token == "(":
            return self.sequence(owner)
        if s.accept("`"):
            x = scan_expr(s)
            s.expect("`")
            return x
        if token == "graph":
            return Parser(s, self.tensors).graph()
        if token == "for" and (following == "|" or re.fullmatch(r"i\d+", following)):
            return self.program()
        if following == "[" and token in DTYPES:
            return self.type_or_tensor()
        if following == "{":
            return self.struct(owner)
        return self.scalar(s.until(","))

    def scalar(self, raw: str) -> Any:
        if raw in WORDS:
            return WORDS[raw]
        if re.fullmatch(r"-?\d+", raw):
            return int(raw)
        return float(raw) if _FLOAT.fullmatch(raw) else parse_dim(raw)

    def sequence(self, owner: type) -> tuple[Any, ...]:
        s = self.scanner
        s.expect("(")
        values = []
        while not s.accept(")"):
            values.append(self.value(owner))
            if s.peek() != ")":
                s.expect(",")
        return tuple(values)

    def struct(self, owner: type) -> Any:
        s = self.scanner
        cls = getattr(sys.modules[owner.__module__], s.peek(), None)
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            s.fail(f"{owner.__name__} has no attribute of a type {s.peek()!r}")
        s.next()
        return self.fields(cls)

    def type_or_tensor(self) -> TensorType | Tensor:
        """f32[2] or f32[2]{1.0, 2.0} or f32[64, 8]{#…}"""
        s = self.scanner
        declared = self.tensor_type()
        if not s.accept("{"):
            return declared
        if s.peek().startswith("#"):
            tensor = self.outside(s.next())
        else:
            tensor = self.inside(declared)
        s.expect("}")
        if tensor.type != declared:
            raise InvalidGraph(f"a tensor is {tensor.type}; the text says {declared}")
        return tensor

    def outside(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise InvalidGraph(f"tensor {name} is not in the text: give it in tensors=")
        found = self.tensors[name]
        return found if isinstance(found, Tensor) else Tensor(found)

    def inside(self, declared: TensorType) -> Tensor:
        s, dtype = self.scanner, declared.dtype
        words: list[str] = []
        while s.peek() != "}":
            if words:
                s.expect(",")
            words.append(s.string() if dtype.kind == "string" else s.until(","))
        try:
            flat = np.array(words, object) if dtype.kind == "string" else elements(words, dtype)
            return Tensor(flat.reshape(declared.shape))
        except (ValueError, KeyError, OverflowError, TypeError) as error:
            raise InvalidGraph(f"the elements {', '.join(words)} are no {declared}: {error}") from error

    def program(self) -> LoopProgram:
        """Inverse of `text._program_text`."""
        s = self.scanner
        s.expect("for")
        extents = self.loops(0, "|")
        rows = len(extents)
        extents += self.loops(rows, "{")
        stages: list[Stage] = []
        while not s.accept("}"):
            if s.number("s") != len(stages):
                s.fail(f"stages are numbered in order: expected s{len(stages)}")
            s.expect("=")
            stages.append(self.stage())
        s.expect("->")
        return LoopProgram(tuple(extents), rows, tuple(stages), self.sequence(LoopProgram))

    def loops(self, first: int, end: str) -> list[DimLike]:
        s = self.scanner
        extents: list[DimLike] = []
        while not s.accept(end):
            if extents:
                s.expect(",")
            if s.number("i") != first + len(extents):
                s.fail(f"loops are numbered in order: expected i{first + len(extents)}")
            s.expect("<")
            extents.append(parse_dim(s.until(",", "|", "{")))
        return extents

    def stage(self) -> Stage:
        s = self.scanner
        kind = s.name()
        combine = s.name() if kind == "reduce" else None
        body = scan_expr(s)
        if not s.accept("->"):
            return Stage(kind, body, combine)
        output = s.number("out")
        s.expect("[")
        index: list[Expr] = []
        while not s.accept("]"):
            if index:
                s.expect(",")
            index.append(scan_expr(s))
        return Stage(kind, body, combine, output, tuple(index))


def elements(words: list[str], dtype: DType) -> np.ndarray:
    """The array that number words stand for; raises ValueError or OverflowError for words that do not fit."""
    read: Any = float if dtype.is_float else {"True": True, "False": False}.__getitem__ if dtype.kind == "bool" else int
    values = [read(w) for w in words]
    return np.array(values, np.float64 if dtype.is_float else dtype.numpy).astype(dtype.numpy)
