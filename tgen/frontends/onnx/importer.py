"""ModelProto → Graph: names to values, node by node; what is missing is collected and told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from ...ir.errors import InvalidGraph, InvalidInput, InvalidModel, TypeMismatch, Unsupported
from ...ir.graph import Constant, Graph, Tensor, Value
from ...ir.types import TensorType
from .. import check_shapes
from .call import Call
from .content import ShapeBuilder
from .problems import DataDependent, Problems
from .registry import find_mapping, schema_of
from .structure import check_model, describe, names, normal_domain, ordered
from .symbols import SymbolNames, check_declared, declared_type
from .tensors import MAX_ELEMENTS, read_model, to_array


class Missing:
    """Stands for a value that an unsupported node would have given."""


MISSING = Missing()
# What a name stands for: a TensorProto is an initialiser that nothing has read yet, None an absent optional.
Known = Value | Missing | TensorProto | None
