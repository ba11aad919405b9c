"""`uncollected`: Python's search for garbage in cycles, put off while a model is compiled.

A compilation makes hundreds of thousands of objects that stay until it ends. The collector would go through all of them again and
again, for a fifth of the whole time, and find next to nothing. When it is over, those that are left count as old: else the next
collection of young objects, which Python expects to be short, would look at all of them at once.
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
                _grow_old()
                gc.enable()


def _grow_old() -> None:
    """All objects are of the oldest generation, unless the program has frozen some: these would be no more."""
    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
