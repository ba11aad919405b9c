"""Kernel specs: frozen descriptions of loops over flat memory. Equal specs share one compiled kernel."""
