"""The ONNX frontend: binary protobuf models, operator sets from 7 to the newest that the installed onnx knows."""

from .importer import load_onnx
from .problems import DataDependent
from .registry import onnx_op

__all__ = ["DataDependent", "load_onnx", "onnx_op"]
