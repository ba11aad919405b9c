"""ONNX operators whose attributes, versions or arity differ from the IR's, a file a family. Importing this fills the registry."""

from . import control, elementwise, movement, normalisation, quantisation, reduction, shapes

__all__ = ["control", "elementwise", "movement", "normalisation", "quantisation", "reduction", "shapes"]
