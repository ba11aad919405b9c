"""ONNX operators whose attributes, versions or arity differ from the IR's, a file a family. Importing this fills the registry."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
