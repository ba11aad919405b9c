"""`TextExecutable`: a compiled model with strings among its inputs or outputs, called with arrays of text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .executable import Executable, TensorSpec
from .ir.errors import InvalidInput
from .ir.strings import PARTS, decoded, encoded, names_outside


class TextExecutable:
    """An `Executable` whose texts are one array of str (dtype object) each, instead of bytes and ends.

    Inputs may hold bytes (UTF-8) too, outputs are str.
    """

    def __init__(self, executable: Executable, texts: Collection[str]) -> None:
        self._executable, self._texts = executable, frozenset(texts)
        self.name, self.threads, self.report = executable.name, executable.threads, executable.report
        self.inputs, self.outputs = (_outside(specs, self._texts) for specs in (executable.inputs, executable.outputs))

    def __repr__(self) -> str:
        return f"Executable({self.name}: {', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))})"

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """As `Executable.__call__`; raises InvalidInput."""
        if len(arrays) != len(self.inputs):
            raise InvalidInput(f"{len(arrays)} arrays given; inputs: {', '.join(map(str, self.inputs))}")
        return tuple(self.run({spec.name: array for spec, array in zip(self.inputs, arrays)}).values())

    def run(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """As `Executable.run`; raises InvalidInput."""
        wrong = set(feeds) ^ {spec.name for spec in self.inputs}
        if wrong:
            what = "missing input" if wrong - set(feeds) else "no input is named"
            raise InvalidInput(f"{what} {', '.join(sorted(wrong))}; inputs: {', '.join(map(str, self.inputs))}")
        return decoded(self._executable.run(encoded(feeds, self._texts)), self._texts)

    def plan(self) -> str:
        return self._executable.plan()

    def llvm_ir(self) -> str:
        return self._executable.llvm_ir()

    def assembly(self) -> str:
        return self._executable.assembly()


def facing(executable: Executable, texts: Collection[str]) -> Executable | TextExecutable:
    """The executable itself if none of its inputs and outputs is text."""
    return TextExecutable(executable, texts) if texts else executable


def _outside(specs: Sequence[TensorSpec], texts: Collection[str]) -> list[TensorSpec]:
    by_name = {spec.name: spec for spec in specs}
    names = names_outside(by_name, texts)
    return [by_name[n] if n in by_name else TensorSpec(n, "object", by_name[f"{n}.{PARTS[1]}"].shape) for n in names]
