"""`docs/operators.md`, from the registry: `python -m tgen.operators` prints it."""

from __future__ import annotations

import dataclasses
import sys

from .frontends.onnx.listing import page
from .ir import ops  # noqa: F401  (fills the registry)
from .ir.op import OPS, Op

HIDDEN = (
    "input",
    "constant",
    "loops",
    "contraction",
    "tiled_contraction",
    "pack_a",
    "pack_b",
)  # made by graphs and passes, not by users
HEAD = """# Operators

The first table has the operators of tgen's own graphs; [ONNX's operators](#onnx), with their versions, types and limits, follow.

Written by `python -m tgen.operators` from the registry; a test keeps it so. *Composite* operators are small graphs of others, which fusion makes kernels of.
ONNX operators of the same name map to these by themselves; others are listed in `tgen/frontends/onnx/mappings/`.

| operator | attributes | meaning | |
|---|---|---|---|
"""


SUITE = """
## Cases of ONNX's standard suite that do not pass

Of the 2,024 cases (node, simple, pytorch-converted, pytorch-operator) of onnx 1.23.2 all others pass, in the interpreter and as compiled code; a test keeps this list so.

| cases | why |
|---|---|
| `test_image_decoder_*` | files of pictures are read before a model sees them |
| `test_gradient_*` | training |
| `test_bernoulli*` | what is wanted are draws of another generator; dtype, shape and range are compared |
| `test_training_dropout*` | likewise: `test_training_dropout_zero_ratio*`, where nothing is drawn, pass |
| `test_dft_inverse*` | what is wanted is the rounding noise of one transform in float32; tgen gives its exact zeros |
"""


def table() -> str:
    """The page: a line for each operator, by name; then ONNX's operators."""
    return HEAD + "".join(_line(OPS[name]) for name in sorted(OPS) if name not in HIDDEN) + "\n" + page() + SUITE


def _line(cls: type[Op]) -> str:
    meaning = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
    attributes = ", ".join(f"`{f.name}`" for f in dataclasses.fields(cls))
    return f"| `{cls.name}` | {attributes} | {meaning} | {'composite' if cls.decompose is not Op.decompose else ''} |\n"


if __name__ == "__main__":
    sys.stdout.write(table())
