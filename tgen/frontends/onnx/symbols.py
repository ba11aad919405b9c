"""Declared types of a model's inputs and outputs: element types, extents, names of dynamic dimensions."""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx
from onnx import TypeProto, ValueInfoProto

from ...ir import dims
from ...ir.dims import DimLike
from ...ir.errors import InvalidModel, TypeMismatch, Unsupported
from ...ir.types import TensorType
from .problems import DataDependent
from .structure import tensor_of
from .tensors import checked_shape, element_type

ANY = -1  # what some exporters write for an extent of any size


class SymbolNames:
    """Identifiers for the dynamic dimensions of a model: `dim_param` where it is one, else made from it, each used once."""

    def __init__(self, inputs: Iterable[ValueInfoProto]) -> None:
        params = [d.dim_param for i in inputs for d in tensor_of(i.type).shape.dim if re.search(r"\w", d.dim_param)]
        self._dims: dict[str, DimLike] = {p: dims.symbol(p) for p in params if is_symbol(p)}
        self._taken = set(self._dims)
        for param in dict.fromkeys(params):
            if param not in self._dims:
                self._dims[param] = self._expression(param) or self.fresh(param)

    def named(self, param: str, hint: str) -> DimLike:
        """The dimension of a `dim_param`; each "?" is one of its own."""
        return self._dims[param] if re.search(r"\w", param) else self.fresh(hint)

    def fresh(self, hint: str) -> DimLike:
        """A symbol that no other dimension has, its name like the hint."""
        stem = re.sub(r"\W+", "_", hint, flags=re.ASCII).strip("_") or "dim"
        stem = stem if is_symbol(stem) else f"d_{stem}"
        name, number = stem, 2
        while name in self._taken:
            name, number = f"{stem}_{number}", number + 1
        self._taken.add(name)
        return dims.symbol(name)

    def _expression(self, param: str) -> DimLike | None:
        """`past + seq`, if all its symbols are names of dimensions too."""
        try:
            dim = dims.parse_dim(param)
        except TypeMismatch:
            return None
        used = set(dims.symbols(dim))
        return dim if used and used <= self._taken else None


def is_symbol(text: str) -> bool:
    """Whether this can be the name of a symbol as it stands."""
    return re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) is not None and text not in dims.FUNCTIONS


def declared_type(info: ValueInfoProto, symbols: SymbolNames) -> TensorType:
    """The type of an input; dynamic dimensions without a name get one from the input's.

    Raises InvalidModel for negative or absurd extents, Unsupported for sequences, maps and tensors without a rank.
    """
    what = f"input {info.name!r}"
    kind = info.type.WhichOneof("value")
    if kind is None:
        raise InvalidModel(f"{what} has no type")
    if kind != "tensor_type":
        raise Unsupported(f"{what} is a {kind.removesuffix('_type')}")
    tensor = info.type.tensor_type
    dtype = element_type(tensor.elem_type, what)
    if not tensor.HasField("shape"):
        raise DataDependent(f"{what} has no declared rank", structures=(info.name,))
    shape: list[DimLike] = []
    for axis, d in enumerate(tensor.shape.dim):
        if d.HasField("dim_value") and d.dim_value != ANY:
            shape.append(d.dim_value)
        else:
            hint = f"{info.name}_{axis}"
            shape.append(symbols.named(d.dim_param, hint) if d.dim_param else symbols.fresh(hint))
    checked_shape(tuple(d for d in shape if isinstance(d, int)), what)
    return TensorType(dtype, tuple(shape))


def check_declared(info: ValueInfoProto, found: TensorType, what: str) -> None:
    """Raises InvalidModel if a declared output type contradicts the type the graph gives.

    A shape with open extents is a hint: exporters wrote it by hand and wrong, and the model runs elsewhere.
    """
    if info.type.WhichOneof("value") != "tensor_type":
        return
    tensor = info.type.tensor_type
    wanted = [d.dim_value if d.HasField("dim_value") and d.dim_value != ANY else None for d in tensor.shape.dim]
    contradicts = (
        tensor.HasField("shape")
        and None not in wanted
        and (len(wanted) != found.rank or any(isinstance(f, int) and w != f for w, f in zip(wanted, found.shape)))
    )
    if tensor.elem_type and element_type(tensor.elem_type, what) is not found.dtype:
        contradicts = True
    if contradicts:
        text = ", ".join(d.dim_param or ("?" if w is None else str(w)) for w, d in zip(wanted, tensor.shape.dim))
        dtype = element_type(tensor.elem_type, what) if tensor.elem_type else "?"
        raise InvalidModel(f"{what} is declared as {dtype}[{text}], but the graph computes {found}")


def type_proto(t: TensorType) -> TypeProto:
    """The TypeProto of a type; symbolic dimensions become dim_params."""
    code = onnx.helper.np_dtype_to_tensor_dtype(t.dtype.numpy)
    return onnx.helper.make_tensor_type_proto(code, [d if isinstance(d, int) else str(d) for d in t.shape])
