"""Ways into the graph: `load` takes whatever a model comes as and gives a `Graph`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.errors import InvalidInput, InvalidModel, Unsupported
from ..ir.graph import Graph, Input, bind_graph
from ..ir.types import TensorType

if TYPE_CHECKING:
    import onnx

FolderLoader = Callable[..., Graph]

_FOLDERS: list[tuple[Callable[[Path], bool], FolderLoader]] = []
# Packages of the floors above that register folder loaders when they are imported.
_PROVIDERS = ("tgen.models",)


def register_folder_loader(detect: Callable[[Path], bool], load: FolderLoader) -> None:
    """Teaches `load` a kind of model folder.

    detect: whether a folder is of this kind. load: `load(path, shapes=...)` gives its Graph. A later registration is asked first;
    registering the same pair again changes nothing.
    """
    if (detect, load) not in _FOLDERS:
        _FOLDERS.insert(0, (detect, load))


def load(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    *,
    shapes: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    structures: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph of a model.

    model: path of an .onnx file (binary protobuf) or of a folder (Hugging Face; or one that holds a model.onnx), an
    onnx.ModelProto, its bytes, or a Graph. shapes: values for symbolic dimensions, `{"batch": 1, "seq": 128}`.
    values: inputs of an ONNX model that become constants (needed where an input holds a shape); they stop being inputs.
    weights: arrays that replace initialisers of an ONNX model, by name; of the same dtype and shape.
    structures: for each input of an ONNX model that is a sequence, the number of its elements or a list of their shapes; for each
    optional, None if it is absent, else True, a shape, or as for a sequence; for tensors their shapes, where those matter. The elements of `x` are inputs `x.0`, `x.1`, … of the
    graph, those of a sequence that the model gives are outputs of such names; absent optionals are nowhere.
    Raises InvalidModel for a file that is missing, damaged or contradicts itself; Unsupported listing everything tgen has no
    operator for; InvalidInput for a symbol or input that the model does not have.
    """
    fixed = {"values": values or {}, "weights": weights or {}, "structures": structures or {}}
    if isinstance(model, Graph):
        _only_onnx(fixed, "a Graph")
        return fix_symbols(model, shapes)
    if not isinstance(model, (str, os.PathLike)):
        return _load_onnx(model, shapes, fixed)
    path = Path(model)
    if not path.exists():
        raise InvalidModel(f"{path}: no such file or folder")
    if not path.is_dir():
        return _load_onnx(path, shapes, fixed)
    loader = _folder_loader(path)
    if loader is not None:
        _only_onnx(fixed, f"the model folder {path}")
        return loader(path, shapes=shapes)
    if (path / "model.onnx").is_file():
        return _load_onnx(path / "model.onnx", shapes, fixed)
    raise InvalidModel(f"{path}: not a model folder: it holds neither config.json nor model.onnx")


def fix_symbols(graph: Graph, shapes: Mapping[str, int] | None) -> Graph:
    """The graph with symbolic dimensions replaced by integers. Raises InvalidInput for an unknown symbol or a bad extent."""
    if not shapes:
        return graph
    check_shapes(shapes, [n.op.type for n in graph.inputs if isinstance(n.op, Input)])
    return bind_graph(graph, shapes)


def check_shapes(shapes: Mapping[str, int], types: list[TensorType]) -> None:
    """Raises InvalidInput if a symbol is not one of these input types' or its value is not an extent."""
    from ..ir.graph import symbols_of

    known = symbols_of(types)
    for name, extent in shapes.items():
        if name not in known:
            listed = f"symbols: {', '.join(known)}" if known else "every dimension of this model is fixed"
            raise InvalidInput(f"shapes: the model has no symbolic dimension {name!r}; {listed}")
        if isinstance(extent, bool) or not hasattr(extent, "__index__") or extent < 0:
            raise InvalidInput(f"shapes: {name} = {extent!r} is not an extent (an integer >= 0)")


def _folder_loader(path: Path) -> FolderLoader | None:
    for name in _PROVIDERS:
        importlib.import_module(name)
    return next((load for detect, load in _FOLDERS if detect(path)), None)


def _load_onnx(model: Any, shapes: Mapping[str, int] | None, fixed: Mapping[str, Mapping[str, Any]]) -> Graph:
    from .onnx import load_onnx

    return load_onnx(model, shapes=shapes, **fixed)


def _only_onnx(fixed: Mapping[str, Mapping[str, Any]], what: str) -> None:
    for option, arrays in fixed.items():
        if arrays:
            raise Unsupported(f"{option}: only of ONNX models, not of {what} ({', '.join(arrays)})")
