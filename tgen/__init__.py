"""tgen compiles trained models to machine code for the CPU they run on, and proves it right against a NumPy reference.

>>> exe = tgen.compile("model.onnx")
>>> out = exe.run({"x": x})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aot.build import build
    from .aot.load import load
    from .api import compile, reference
    from .executable import Executable, TensorSpec
    from .ir.builder import Builder
    from .ir.errors import TgenError
    from .ir.graph import Graph

# Looked up when first used: importing tgen costs next to nothing, and no heavy package comes with it.
_HOMES = {
    "build": "aot.build",
    "compile": "api",
    "load": "aot.load",
    "reference": "api",
    "Executable": "executable",
    "TensorSpec": "executable",
    "Builder": "ir.builder",
    "Graph": "ir.graph",
    "TgenError": "ir.errors",
}

__all__ = ["Builder", "Executable", "Graph", "TensorSpec", "TgenError", "build", "compile", "load", "reference"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'tgen' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
