"""`uncollected`: Python's search for garbage in cycles, put off while a model is compiled.

A compilation makes hundreds of thousands of objects that stay until it ends. The collector would go through all of them again and
again, for a fifth of the whole time, and find next to nothing.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_users = 0
_was_enabled = False


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No automatic collection until the last thread that is inside leaves; then as it was before the first."""
    global _users, _was_enabled
    with _lock:
        if not _users:
            _was_enabled = gc.isenabled()
            gc.disable()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users and _was_enabled:
                gc.enable()
