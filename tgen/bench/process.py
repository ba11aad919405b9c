"""A contestant's process as the one who measures sees it: started, asked, stopped, ended.

Nothing that goes wrong on the other side raises: an answer {"error": text} says what happened, and the process is gone by then.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

LOAD_SECONDS = 600.0  # the longest that loading a model may take
TURN_SECONDS = 120.0  # the longest that a turn may take beyond its burst
_LAST_WORDS = 200  # characters of what a dead process last said


class Worker:
    """`python -m tgen.bench.worker` in a session of its own, so that what it starts is stopped and ended with it.

    facts: its answer to the job: {"load_seconds", "megabytes", "note"} or {"error"}. Between turns it is stopped.
    """

    def __init__(self, job: Mapping[str, Any], feeds: Path, seconds: float = LOAD_SECONDS) -> None:
        self.name = str(job["contestant"])
        self.times: list[list[float]] = []  # seconds a run, a list for each round
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- close() closes it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tgen.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            start_new_session=True,
        )
        self._pending = b""
        try:
            self.facts = self.ask({"job": dict(job), "feeds": str(feeds)}, seconds)
        except BaseException:
            self.close()  # nobody else knows of this process yet
            raise
        self._signal(signal.SIGSTOP)

    @property
    def failed(self) -> str:
        """Why it does not take part (any more); "" while it does."""
        return str(self.facts.get("error", ""))

    def turn(self, command: Mapping[str, Any], seconds: float = TURN_SECONDS) -> dict[str, Any]:
        """The answer to a command while this one alone runs; an error takes the contestant out."""
        self._signal(signal.SIGCONT)
        answer = self.ask(command, seconds)
        self._signal(signal.SIGSTOP)
        if "error" in answer:
            self.facts = {**self.facts, "error": answer["error"]}
        return answer

    def ask(self, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a command; {"error": …} when it says so, died, or took longer than `seconds` (and is ended then)."""
        try:
            cast(IO[bytes], self.process.stdin).write(json.dumps(command).encode() + b"\n")
            line = self._line(time.monotonic() + seconds)
        except BrokenPipeError:
            line = b""
        except TimeoutError:
            self.end()
            return {"error": f"no answer in {seconds:g} s"}
        if not line:
            self.end()
            return {"error": self._death()}
        return cast(dict[str, Any], json.loads(line))

    def _line(self, deadline: float) -> bytes:
        """The next line it writes; b"" when it closed its end. Raises TimeoutError."""
        stdout = cast(IO[bytes], self.process.stdout).fileno()
        with selectors.DefaultSelector() as ready:
            ready.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                data = os.read(stdout, 1 << 20)
                if not data:
                    return b""
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _death(self) -> str:
        """How it ended, and the last line it said."""
        code = self.process.returncode
        how = f"the process was ended by {signal.Signals(-code).name}" if code < 0 else f"the process ended with code {code}"
        self._said.seek(0)
        words = self._said.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {words[-1][:_LAST_WORDS]}" if words else how

    def _signal(self, number: signal.Signals) -> None:
        """Sends to the whole session; a process that has been waited for has no number to send to."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Waits a moment for one that is ending by itself, so that its own code is known, and kills it with all it started."""
        try:
            self.process.wait(1.0 if self._closed() else 0.0)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _closed(self) -> bool:
        """Its end of the pipe is closed: it is ending."""
        stdout = cast(IO[bytes], self.process.stdout).fileno()
        with selectors.DefaultSelector() as ready:
            ready.register(stdout, selectors.EVENT_READ)
            return bool(ready.select(0)) and not os.read(stdout, 1)

    def close(self) -> None:
        """Ends it, whatever it is doing: SIGKILL reaches a stopped process too."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._said):
            cast(IO[bytes], stream).close()
