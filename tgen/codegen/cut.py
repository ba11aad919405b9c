"""A module cut into several while it is emitted, so that LLVM need not wait for its end.

    module      f  g  h  |  i  j  |  k        pieces are whole functions, in the order in which they were made
    piece 2     declare g; define hidden i, j      what it calls of other pieces is declared

A piece is the code that the same functions are in a whole module: nothing is inlined (`llvm.PASSES`), and those that are called often
are found by addresses relative to the caller.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import llvmlite.ir as ll

LINES = 3000  # of a piece, at least: some 0.15 s of LLVM's time, beside which what a module costs by itself is nothing
_NAME = re.compile(r'@"([^"]+)"')


def cut(module: ll.Module, emitted: Iterable[object]) -> Iterator[str]:
    """The module's text in pieces. emitted: adds whole functions to the module each time the next of it is asked for. What a piece defines
    is left in the module as a declaration.
    """
    known, piece = 0, _Piece(module)
    for _ in emitted:
        for value in itertools.islice(module.globals.values(), known, None):
            piece.add(value)
        known = len(module.globals)
        if piece.lines >= LINES:
            yield piece.text()
            piece = _Piece(module)
    if piece.lines:
        yield piece.text()


class _Piece:
    def __init__(self, module: ll.Module) -> None:
        self.module, self.names, self.texts, self.lines = module, set[str](), list[str](), 0

    def add(self, value: Any) -> None:
        """A function or variable; nothing of what is declared only, or defined wherever it is used."""
        if value.linkage == "common" or (isinstance(value, ll.Function) and value.is_declaration):
            return
        value.linkage = "hidden"  # a visibility, in its place: what the pieces share is nobody else's
        text = str(value)
        self.names.add(value.name)
        self.texts.append(text)
        self.lines += text.count("\n")
        value.linkage = ""  # not hidden where it is declared, since it need not be near there
        if isinstance(value, ll.Function):
            clear(value)
        else:
            value.initializer = None

    def text(self) -> str:
        head = ll.Module(self.module.name)
        head.triple = self.module.triple
        used = {name for text in self.texts for name in _NAME.findall(text)} - self.names
        declared = [str(value) for name, value in self.module.globals.items() if name in used]
        return "\n".join([str(head), *declared, *self.texts])


def clear(function: ll.Function) -> None:
    """Makes it a declaration. Its instructions, of which a large model has a hundred thousand, are gone at once: their cycles are cut."""
    for block in function.blocks:
        block.instructions.clear()
    function.blocks.clear()
