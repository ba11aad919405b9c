"""The text form of scalar bodies: `print_expr` and its inverse `parse_expr`.

    expr ::= let t0 = node; t1 = node in node                     a node with operands that is used more than once has a name
    node ::= 0.5:f32 | i0 | [seq + 1] | arg0:f32 | %0:f32[node, …] | s0:f32 | add(node, …) | cast:f32(node) | t0
Text and work are linear in the number of distinct nodes.
"""

from __future__ import annotations

import re
from collections import Counter

from ..dims import Dim, parse_dim
from ..dtypes import BOOL, DTYPES, I64, DType
from ..errors import TgenError
from ..expr import Arg, Call, Const, Expr, Index, Kept, Load, Size
from ..scalars import SCALARS
from .scanner import END, Scanner

DEEPEST = 40  # operands nested deeper than this are named: readable, and no deep recursion when parsed


def print_expr(x: Expr) -> str:
    """The text of x on one line."""
    order, uses = _distinct(x)
    text: dict[Expr, str] = {}
    depth: dict[Expr, int] = {}
    bindings: list[str] = []
    for node in order:
        written = _node_text(node, [text[a] for a in node.args])
        depth[node] = 1 + max((depth[a] for a in node.args), default=0)
        if node is not x and node.args and (uses[node] > 1 or depth[node] >= DEEPEST):
            bindings.append(f"t{len(bindings)} = {written}")
            written, depth[node] = f"t{len(bindings) - 1}", 0
        text[node] = written
    return f"let {'; '.join(bindings)} in {text[x]}" if bindings else text[x]


def _distinct(x: Expr) -> tuple[list[Expr], Counter[Expr]]:
    """Every distinct node, operands first, and how many times each is an operand."""
    order: dict[Expr, None] = {}
    uses: Counter[Expr] = Counter()
    stack = [(x, False)]
    while stack:
        node, done = stack.pop()
        if node in order:
            continue
        if done:
            order[node] = None
            uses.update(node.args)
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
    return list(order), uses


def _node_text(x: Expr, args: list[str]) -> str:
    match x:
        case Const():
            return f"{x.text}:{x.dtype}"
        case Index():
            return f"i{x.axis}"
        case Size():
            return f"[{x.dim}]"
        case Arg():
            return f"arg{x.operand}:{x.dtype}"
        case Kept():
            return f"s{x.stage}:{x.dtype}"
        case Load():
            return f"%{x.operand}:{x.dtype}[{', '.join(args)}]"
        case Call():
            told = x.dtype is not _result(x.fn, x.operands)
            return f"{x.fn}{f':{x.dtype}' if told else ''}({', '.join(args)})"
    raise TgenError(f"{type(x).__name__} has no text form")


def _result(fn: str, operands: tuple[Expr, ...]) -> DType | None:
    """The dtype that a call has unless told otherwise; None for conversions, which always tell."""
    if fn not in SCALARS or not operands:
        return None
    if fn == "select":
        return operands[1].dtype
    return BOOL if SCALARS[fn].result == "bool" else operands[0].dtype


def parse_expr(text: str) -> Expr:
    """Inverse of `print_expr`. Raises InvalidGraph naming the line."""
    scanner = Scanner(text)
    x = scan_expr(scanner)
    if scanner.peek() != END:
        scanner.fail(f"{scanner.peek()!r} after the end of an expression")
    return x


def scan_expr(scanner: Scanner) -> Expr:
    """The expression at the scanner's position."""
    names: dict[str, Expr] = {}
    if scanner.accept("let"):
        while True:
            name = scanner.name()
            scanner.expect("=")
            names[name] = _scan_node(scanner, names)
            if not scanner.accept(";"):
                break
        scanner.expect("in")
    return _scan_node(scanner, names)


def _scan_node(scanner: Scanner, names: dict[str, Expr]) -> Expr:
    token = scanner.peek()
    if token.startswith("%"):
        operand = scanner.number("%")
        dtype = _scan_dtype(scanner)
        return Load(dtype, operand, _scan_operands(scanner, names, "[", "]"))
    if token in names:
        return names[scanner.next()]
    if token == "[":
        return _scan_size(scanner)
    if re.fullmatch(r"i\d+", token):
        return Index(I64, scanner.number("i"))
    if re.fullmatch(r"s\d+", token):
        stage = scanner.number("s")
        return Kept(_scan_dtype(scanner), stage)
    if re.fullmatch(r"arg\d+", token):
        operand = scanner.number("arg")
        return Arg(_scan_dtype(scanner), operand)
    if token in SCALARS or token in ("cast", "bitcast"):
        return _scan_call(scanner, names)
    return _scan_const(scanner)


def _scan_dtype(scanner: Scanner) -> DType:
    scanner.expect(":")
    if scanner.peek() not in DTYPES:
        scanner.fail(f"{scanner.peek()!r} is not a dtype")
    return DTYPES[scanner.next()]


def _scan_operands(scanner: Scanner, names: dict[str, Expr], opening: str, closing: str) -> tuple[Expr, ...]:
    scanner.expect(opening)
    operands: list[Expr] = []
    while not scanner.accept(closing):
        if operands:
            scanner.expect(",")
        operands.append(_scan_node(scanner, names))
    return tuple(operands)


def _scan_size(scanner: Scanner) -> Expr:
    scanner.expect("[")
    dim = parse_dim(scanner.until("]"))
    scanner.expect("]")
    if not isinstance(dim, Dim):
        scanner.fail(f"[{dim}] has no symbol: write {dim}:i64")
    return Size(I64, dim)


def _scan_call(scanner: Scanner, names: dict[str, Expr]) -> Expr:
    fn = scanner.next()
    told = _scan_dtype(scanner) if scanner.peek() == ":" else None
    operands = _scan_operands(scanner, names, "(", ")")
    arity = SCALARS[fn].arity if fn in SCALARS else 1
    if len(operands) != arity:
        scanner.fail(f"{fn} takes {arity} operands, given {len(operands)}")
    dtype = told or _result(fn, operands)
    if dtype is None:
        scanner.fail(f"{fn} must say its dtype: {fn}:f32(…)")
    return Call(dtype, fn, operands)


def _scan_const(scanner: Scanner) -> Expr:
    sign = "-" if scanner.accept("-") else ""
    if not re.fullmatch(r"\d.*|inf|nan|True|False", scanner.peek()):
        scanner.fail(f"expected an expression, found {scanner.peek() or 'the end'!r}")
    text = sign + scanner.next()
    return Const(_scan_dtype(scanner), text)
