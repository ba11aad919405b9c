"""`Compilers`: modules of LLVM IR in, object files out, beside what their caller does: here, and in a helper where there is a CPU for it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ..runtime.threads import budget
from . import llvm
from .helper import Helper, Lost
from .llvm import Machine


class Compilers:
    """A module goes to who is free. Which process compiled it is not to be seen: the same module gives the same bytes.

    large: whether there will be work for a helper, which takes a while to start (so it is good to say early) and some 100 MB of memory.
    """

    def __init__(self, machine: Machine, large: bool = False) -> None:
        self.machine = machine
        self._helper: Helper | None = None
        if large and budget() > 1:
            with contextlib.suppress(Lost):
                self._helper = Helper()
        self._free = threading.Lock()  # held by who uses the helper
        self._threads = ThreadPoolExecutor(2 if self._helper else 1, "tgen-llvm")

    def submit(self, ir: str) -> Future[bytes]:
        """What `llvm.compile_object` gives or raises."""
        return self._threads.submit(self._compiled, ir)

    def _compiled(self, ir: str) -> bytes:
        if self._free.acquire(blocking=False):
            try:
                if self._helper and self._helper.ready():
                    return self._helper.compile_object(ir, self.machine)
            except Lost:
                self._helper = None
            finally:
                self._free.release()
        return llvm.compile_object(ir, self.machine)

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Of an error nobody waits for what was not begun."""
        self._threads.shutdown(cancel_futures=error is not None)
        if self._helper:
            self._helper.close()
