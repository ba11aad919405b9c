"""The operators, a file a family. Importing this package fills the registry `tgen.ir.op.OPS`."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
