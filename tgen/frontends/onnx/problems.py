"""Everything a model needs and tgen lacks, collected and told at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...ir.errors import Unsupported

_NAMES_SHOWN = 5


class DataDependent(Unsupported):
    """A shape depends on the contents of a tensor, or on what a sequence or optional holds.

    inputs: the graph inputs whose values would settle it (`load(values=...)`); structures: the model's inputs of which must be said how
    many tensors they are, or of which shape (`load(structures=...)`).
    """

    def __init__(self, message: str, inputs: Iterable[str] = (), structures: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.inputs = tuple(dict.fromkeys(inputs))
        self.structures = tuple(dict.fromkeys(structures))


@dataclass
class Problems:
    """Nodes by (operator, domain, opset, reason), in order of appearance."""

    nodes: dict[tuple[str, str, int, str], list[str]] = field(default_factory=dict)
    inputs: dict[str, None] = field(default_factory=dict)
    structures: dict[str, None] = field(default_factory=dict)
    settled: bool = True  # whether fixing `inputs` and `structures` would solve all of it

    def add(self, op_type: str, domain: str, opset: int, error: Unsupported, name: str) -> None:
        """Notes that a node cannot be imported, and which of the model's inputs would help."""
        self.nodes.setdefault((op_type, domain, opset, str(error)), []).append(name)
        needs = (error.inputs, error.structures) if isinstance(error, DataDependent) else ((), ())
        self.inputs.update(dict.fromkeys(needs[0]))
        self.structures.update(dict.fromkeys(needs[1]))
        self.settled = self.settled and any(needs)

    def blame(self, inputs: Iterable[str]) -> None:
        """What is missing may be so only because a run finds out shapes from these graph inputs: with their values it may import."""
        listed = dict.fromkeys(inputs)
        if self.nodes and listed:
            self.inputs.update(listed)
            self.settled = True

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def lines(self) -> list[str]:
        """One line for each kind of problem."""
        return [
            f"{op_type} ({domain or 'ai.onnx'} {opset}) ×{len(names)}: {reason}{_listed(names)}"
            for (op_type, domain, opset, reason), names in self.nodes.items()
        ]

    def raise_all(self, what: str) -> None:
        """Raises Unsupported (DataDependent, if values of inputs would settle all) that lists everything; returns if there is nothing."""
        if not self.nodes:
            return
        count = len(self.nodes)
        text = f"{what}: {count} thing{'s' * (count > 1)} tgen does not support:\n" + "\n".join(
            f"  {line}" for line in self.lines()
        )
        if self.settled:
            if self.structures:
                text += f"\n  say what these inputs are: load(..., structures={{{_dots(self.structures)}}})"
            if self.inputs:
                text += f"\n  fix the values of these inputs: load(..., values={{{_dots(self.inputs)}}})"
            raise DataDependent(text, self.inputs, self.structures)
        raise Unsupported(text)


def _dots(names: Iterable[str]) -> str:
    return ", ".join(f"{name!r}: ..." for name in names)


def _listed(names: list[str]) -> str:
    shown = [n for n in dict.fromkeys(names) if n]
    if not shown:
        return ""
    more = f", … {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return f" — {', '.join(shown[:_NAMES_SHOWN])}{more}"
