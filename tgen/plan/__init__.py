"""From a fused graph to a plan: places in memory, kernels by spec, ordered steps."""
