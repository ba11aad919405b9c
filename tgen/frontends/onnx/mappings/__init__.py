"""ONNX operators whose attributes, versions or arity differ from the IR's, a file a family. Importing this fills the registry."""

from . import attention, control, elementwise, movement, normalisation, quantisation, reduction, shapes, transformer

__all__ = ["attention", "control", "elementwise", "movement", "normalisation", "quantisation", "reduction", "shapes", "transformer"]
