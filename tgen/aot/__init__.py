"""Ahead-of-time libraries: a model as a shared library with a C interface that needs no Python where it runs."""
