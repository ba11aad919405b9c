"""The operators, a file a family. Importing this package fills the registry `tgen.ir.op.OPS`."""

from . import composite, contraction, elementwise, fused, movement, reduction

__all__ = ["composite", "contraction", "elementwise", "fused", "movement", "reduction"]
