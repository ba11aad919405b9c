"""What the shapes of a call say about the symbols of a model. A run needs this and nothing else of the IR."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .dims import DimLike, evaluate_dim, plain_symbol, symbols
from .errors import InvalidInput
from .types import TensorType


def bind_symbols(specs: Sequence[tuple[str, TensorType]], shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """Values of the symbols from the shapes that were given; checks every rank and extent.

    specs: (input name, declared type); shapes: one for each. Raises InvalidInput naming the input, what was given, what is wanted.
    """
    values: dict[str, int] = {}
    source: dict[str, str] = {}
    pending: list[tuple[str, int, DimLike, int, TensorType, Sequence[int]]] = []
    for (name, wanted), shape in zip(specs, shapes):
        if len(shape) != wanted.rank:
            raise InvalidInput(f"input {name!r} has rank {len(shape)} (shape {list(shape)}); wanted {wanted}")
        for axis, (dim, extent) in enumerate(zip(wanted.shape, shape)):
            symbol = plain_symbol(dim)
            if symbol is not None and symbol not in values:
                values[symbol] = int(extent)
                source[symbol] = f"{name!r} axis {axis}"
            else:
                pending.append((name, axis, dim, int(extent), wanted, shape))
    for name, axis, dim, extent, wanted, shape in pending:
        unknown = [s for s in symbols(dim) if s not in values]
        if unknown:
            raise InvalidInput(f"input {name!r} axis {axis} is {dim}: no input gives {unknown[0]!r} alone")
        expected = evaluate_dim(dim, values)
        if expected != extent:
            because = "".join(f" ({s} = {values[s]} from input {source[s]})" for s in dict.fromkeys(symbols(dim)))
            raise InvalidInput(f"input {name!r} has shape {list(shape)}; wanted {wanted}: axis {axis} must be {expected}{because}")
    return values


def check_assumptions(pairs: Iterable[tuple[DimLike, DimLike]], values: Mapping[str, int]) -> None:
    """Raises InvalidInput if a pair of dimensions differs for these values of the symbols."""
    for there, needed in pairs:
        found, wanted = evaluate_dim(there, values), evaluate_dim(needed, values)
        if found != wanted:
            given = f" ({', '.join(f'{k} = {v}' for k, v in values.items())})" if values else ""
            raise InvalidInput(
                f"the inputs have sizes that the model does not allow: it has {found} where {wanted} are needed{given}"
            )
