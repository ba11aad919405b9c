"""The ONNX frontend: binary protobuf models, operator sets from 7 to the newest that the installed onnx knows."""

from .importer import import_onnx, load_onnx
from .interface import Imported, is_structured
from .problems import DataDependent
from .registry import onnx_op

__all__ = ["DataDependent", "Imported", "import_onnx", "is_structured", "load_onnx", "onnx_op"]
