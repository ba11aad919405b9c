"""Every error tgen raises on purpose is a `TgenError`; each names the culprit and, where known, the remedy."""

from __future__ import annotations


class TgenError(Exception):
    """Base class of all errors that tgen raises on purpose."""


class TypeMismatch(TgenError):
    """An operator was given dtypes or shapes it does not take."""


class Unequal(TypeMismatch):
    """An operator was given dimensions that differ where it takes equal ones. pair: two of them, int or Dim."""

    def __init__(self, message: str, *pair: object) -> None:
        super().__init__(message)
        self.pair = pair


class WrongDtype(TypeMismatch):
    """An operator was given a dtype that it is not made for."""


class InvalidGraph(TgenError):
    """A graph breaks a rule of the IR: a cycle, a dangling value, a type that is not what the op infers."""


class InvalidInput(TgenError):
    """A run was given a wrong name, dtype, rank or extent; raised before native code runs."""


class InvalidModel(TgenError):
    """A model file is truncated, corrupt, cyclic or contradicts itself."""


class Unsupported(TgenError):
    """A model needs something that tgen does not do yet; lists all of it at once."""


class CodegenError(TgenError):
    """LLVM refused what tgen generated: always a fault of tgen, never of the model."""
