"""Modules compiled by two processes: the same bytes whoever does it, and nothing depends on the second one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.native import host
from tests.sharing import encoder
from tgen import compiler
from tgen.codegen import compilers, cut, helper, llvm, program
from tgen.codegen.compilers import Compilers
from tgen.codegen.helper import Helper, Lost
from tgen.codegen.llvm import machine_of
from tgen.ir.errors import CodegenError

HOST = machine_of(host())


def add_ir(constant: int) -> str:
    return f"define i64 @f(i64 %x) {{\n  %y = add i64 %x, {constant}\n  ret i64 %y\n}}\n"


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "budget", lambda: 2)


@pytest.fixture
def one() -> Iterator[Helper]:
    found = Helper()
    yield found
    found.close()


def alive(process: int) -> bool:
    """A zombie still is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def gone(process: int, seconds: float = 20) -> bool:
    """Whether a process that is no child of this one ends in time. A zombie has: who adopted it need not have looked yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_same_bytes(one: Helper) -> None:
    for constant in (1, 2):
        assert one.compile_object(add_ir(constant), HOST) == llvm.compile_object(add_ir(constant), HOST)


def test_the_same_errors(one: Helper) -> None:
    with pytest.raises(CodegenError) as here:
        llvm.compile_object("define nonsense", HOST)
    with pytest.raises(CodegenError) as there:
        one.compile_object("define nonsense", HOST)
    assert str(here.value) == str(there.value)
    assert one.compile_object(add_ir(3), HOST)  # it goes on


def test_one_is_ready_when_it_has_started(one: Helper) -> None:
    end = time.monotonic() + 60
    while not one.ready():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert one.ready() and one.compile_object(add_ir(1), HOST) and one.ready()


def test_one_that_never_starts(monkeypatch: pytest.MonkeyPatch, two_cpus: None) -> None:
    """It is asked for nothing; when it is seen to be gone, it is no more."""
    monkeypatch.setattr(helper, "_START", "import time; time.sleep(600)")
    with Compilers(HOST, large=True) as both:
        assert both.submit(add_ir(1)).result() == llvm.compile_object(add_ir(1), HOST)
    monkeypatch.setattr(helper, "_START", "import nowhere")
    failed = Helper()
    failed.process.wait()
    assert failed.ready()
    with pytest.raises(Lost):
        failed.compile_object(add_ir(1), HOST)


def test_nothing_is_left_of_a_closed_one() -> None:
    helper_ = Helper()
    helper_.close()
    assert not alive(helper_.process.pid)
    with pytest.raises(Lost):
        helper_.compile_object(add_ir(1), HOST)


def test_one_that_was_killed(one: Helper) -> None:
    os.kill(one.process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(Lost):
            one.compile_object(add_ir(1), HOST)
    assert not alive(one.process.pid)


def test_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "PATIENCE", 0.2)
    stopped = Helper()
    os.kill(stopped.process.pid, signal.SIGSTOP)
    with pytest.raises(Lost):
        stopped.compile_object(add_ir(1), HOST)
    assert not alive(stopped.process.pid)


@pytest.mark.parametrize("why", ("no such program", "another program", "frozen"))
def test_no_interpreter(why: str, monkeypatch: pytest.MonkeyPatch, two_cpus: None) -> None:
    if why == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "/nowhere/python" if why == "no such program" else "/usr/bin/env")
    with pytest.raises(Lost):
        Helper()
    with Compilers(HOST, large=True) as both:
        assert both.submit(add_ir(1)).result() == llvm.compile_object(add_ir(1), HOST)


ORPHAN = """
import os, sys, time
from tgen.codegen.helper import Helper
helper = Helper()
if sys.argv[1] == "forked" and os.fork() == 0:  # the child has the socket, too
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(helper.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ("killed", "forked"))
def test_it_ends_with_its_parent(how: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, how], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.wait()
    try:
        assert gone(pid)
    finally:
        parent.stdout.close()
        if how == "forked":
            os.killpg(parent.pid, signal.SIGKILL)


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """What compiles when it is imported does so once."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom tgen.codegen import compilers, llvm\ncompilers.budget = lambda: 2\n"
        "with compilers.Compilers(llvm.Machine(llvm.host_triple()), large=True) as c:\n"
        f"    print(len([c.submit({add_ir(5)!r}).result() for _ in range(3)]))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_one_cpu_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "budget", lambda: 1)
    monkeypatch.setattr(compilers, "Helper", lambda: pytest.fail("started"))
    with Compilers(HOST, large=True) as alone:
        assert alone.submit(add_ir(1)).result()


def test_small_graphs_need_none(two_cpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "Helper", lambda: pytest.fail("started"))
    compiler.compile_graph(encoder(), host(), "highest")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, two_cpus: None) -> None:
    """Every model is large, and cut after each kernel."""
    monkeypatch.setattr(program, "LEAST_KERNELS", 0)
    monkeypatch.setattr(cut, "LINES", 1)
    monkeypatch.setattr(compiler, "LARGE", 0)


@pytest.mark.parametrize("fate", ("well", "killed", "killed in the middle"))
def test_a_model_is_the_same(fate: str, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilers, "budget", lambda: 1)
        alone = compiler.compile_graph(encoder(), host(), "highest")
    started: list[Helper] = []
    asked: list[str] = []

    class Watched(Helper):
        def __init__(self) -> None:
            super().__init__()
            started.append(self)
            if fate == "killed":
                self.process.kill()

        def ready(self) -> bool:
            return True  # it is waited for

        def compile_object(self, ir: str, machine: llvm.Machine) -> bytes:
            asked.append(ir)
            if fate == "killed in the middle" and len(asked) == 3:
                self.process.kill()
            return super().compile_object(ir, machine)

    monkeypatch.setattr(compilers, "Helper", Watched)
    both = compiler.compile_graph(encoder(), host(), "highest")
    assert both.modules == alone.modules and both.artefact.code == alone.artefact.code and len(both.modules) > 3
    assert len(started) == 1 and asked and not alive(started[0].process.pid)
    if fate == "killed":
        assert len(asked) == 1


def test_an_error_ends_the_helper(large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Helper] = []
    monkeypatch.setattr(compilers, "Helper", lambda: started.append(Helper()) or started[-1])
    modules = program.emit_modules

    def damaged(*args: Any) -> Iterator[str]:
        yield from modules(*args)
        yield "define nonsense"

    monkeypatch.setattr(compiler, "emit_modules", damaged)
    with pytest.raises(CodegenError, match="LLVM refused generated code"):
        compiler.compile_graph(encoder(), host(), "highest")
    assert started and not alive(started[0].process.pid)
