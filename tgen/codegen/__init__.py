"""From kernel specs to LLVM: one module a model. `llvmlite.binding` is used in `llvm.py` alone."""
