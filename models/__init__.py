"""Ready-to-run architectures, written with the public builder and filled from real checkpoints.

Importing this package teaches `tgen.frontends.load` to read Hugging Face folders.
"""

from __future__ import annotations

from tgen.frontends import register_folder_loader

from .folder import is_model_folder, load_folder

register_folder_loader(is_model_folder, load_folder)

__all__ = ["is_model_folder", "load_folder"]
