"""`Helper`: a second process that compiles modules beside this one, since llvmlite lets a process compile one at a time.

It is an interpreter of its own, started without `fork` or `__main__`, that knows where this one finds its modules; a socket is its
standard input. It ends when it is told to, and when its parent is gone. Nothing depends on it: who finds it `Lost` compiles for himself.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..ir.errors import CodegenError
from . import llvm
from .llvm import Machine

PATIENCE = 60.0  # seconds without an answer, after which a helper counts as lost
_CALM = 1.0  # seconds after which an idle helper looks whether its parent lives: a fork of that may keep the socket open
_SIZE = struct.Struct("<Q")
_QUIETLY = getattr(socket, "MSG_NOSIGNAL", 0)
_START = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve({parent})"


class Lost(Exception):
    """The helper is gone, or does not answer."""


class Helper:
    """Use by one thread at a time."""

    def __init__(self) -> None:
        """Raises Lost where there is none to be had. It need not be ready yet."""
        if not Path(sys.executable or "").name.startswith("python") or getattr(sys, "frozen", False):
            raise Lost("the interpreter is part of another program")
        code = _START.format(path=sys.path, module=__name__, parent=os.getpid())
        self._started = False
        try:
            self._socket, its = socket.socketpair()
            with its:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=its.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise Lost(str(error)) from error

    def ready(self) -> bool:
        """Whether it has started, or failed to: `compile_object` need not wait for that."""
        if not self._started:
            self._socket.settimeout(0)
            try:
                self._socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except OSError:
                pass
        return True

    def compile_object(self, ir: str, machine: Machine) -> bytes:
        """As `llvm.compile_object`; raises Lost besides, and ever after."""
        try:
            self._socket.settimeout(PATIENCE)
            if not self._started:
                _receive(self._socket)
                self._started = True
            _send(self._socket, (ir, machine))
            code, refusal = _receive(self._socket)
        except (OSError, EOFError) as error:
            self.close()
            raise Lost(str(error)) from error
        if refusal:
            raise CodegenError(refusal)
        return bytes(code)

    def close(self) -> None:
        """Ends the process, whatever it does, and leaves nothing of it."""
        self._socket.close()
        self.process.kill()
        self.process.wait()


def serve(parent: int) -> None:
    """The helper's side: answers requests on standard input while the process `parent` wants more."""
    with socket.socket(fileno=0) as requests:
        _send(requests, llvm.llvm_version())  # LLVM is loaded
        while _wanted(requests, parent):
            try:
                ir, machine = _receive(requests)
                _send(requests, _answer(ir, machine))
            except (OSError, EOFError):
                break
    os._exit(0)


def _wanted(requests: socket.socket, parent: int) -> bool:
    """Waits for the beginning of a request; False if there will be none. Then reading and writing wait as long as they have to."""
    while os.getppid() == parent:
        requests.settimeout(_CALM)
        try:
            found = requests.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        requests.settimeout(None)
        return bool(found)
    return False


def _answer(ir: str, machine: Machine) -> tuple[bytes, str]:
    """(object file, why there is none)."""
    try:
        return llvm.compile_object(ir, machine), ""
    except CodegenError as error:
        return b"", str(error)


def _send(to: socket.socket, what: Any) -> None:
    data = pickle.dumps(what)
    to.sendall(_SIZE.pack(len(data)) + data, _QUIETLY)


def _receive(source: socket.socket) -> Any:
    (size,) = _SIZE.unpack(_exactly(source, _SIZE.size))
    return pickle.loads(_exactly(source, size))


def _exactly(source: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = source.recv_into(view)
        if not count:
            raise EOFError("the other side is gone")
        view = view[count:]
    return data
