"""LLVM's door: text to machine code for any target, errors that show the line, loading and unloading."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tgen.codegen import llvm
from tgen.codegen.llvm import Machine
from tgen.ir.errors import CodegenError

HOST = Machine(llvm.host_triple())
ARM = Machine("aarch64-unknown-linux-gnu")


def add_ir(constant: int = 1) -> str:
    return f"define i64 @f(i64 %x) {{\n  %y = add i64 %x, {constant}\n  ret i64 %y\n}}\n"


def function(library: llvm.Library, name: str = "f") -> ctypes._CFuncPtr:
    pointer = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address(name))
    pointer.library = library  # lives as long as it can be called
    return pointer


def test_code_runs() -> None:
    library = llvm.load([llvm.compile_object(add_ir(5), HOST)], ["f"])
    assert function(library)(37) == 42


def test_objects_see_each_other() -> None:
    caller = (
        "declare i64 @f(i64)\ndefine i64 @twice(i64 %x) {\n  %a = call i64 @f(i64 %x)\n  %b = call i64 @f(i64 %a)\n  ret i64 %b\n}"
    )
    library = llvm.load([llvm.compile_object(add_ir(3), HOST), llvm.compile_object(caller, HOST)], ["twice"])
    assert function(library, "twice")(1) == 7


@pytest.mark.parametrize("opt", [0, 2, 3])
@pytest.mark.parametrize("machine", [HOST, ARM, Machine("riscv64-unknown-linux-gnu")], ids=lambda m: m.triple.split("-")[0])
def test_objects_for_other_machines(machine: Machine, opt: int) -> None:
    code = llvm.compile_object(add_ir(), Machine(machine.triple, opt=opt))
    assert code[:4] == b"\x7fELF"


def test_features_choose_instructions() -> None:
    ir = "define <8 x float> @f(<8 x float> %x) {\n  %y = fadd <8 x float> %x, %x\n  ret <8 x float> %y\n}\n"
    wide = llvm.assembly(ir, Machine("x86_64-unknown-linux-gnu", features="+avx2"))
    assert "ymm" in wide
    assert "ymm" not in llvm.assembly(ir, Machine("x86_64-unknown-linux-gnu"))


def test_passes_are_chosen() -> None:
    ir = "define i64 @f(i64 %x) {\n  %p = alloca i64\n  store i64 %x, ptr %p\n  %y = load i64, ptr %p\n  ret i64 %y\n}\n"
    assert "alloca" not in llvm.optimised_ir(ir, HOST)
    assert "alloca" in llvm.optimised_ir(ir, HOST, passes=())
    assert "alloca" not in llvm.optimised_ir(ir, HOST, passes=["sroa"])
    with pytest.raises(CodegenError, match=r"no pass is named 'magic'; passes: adce, "):
        llvm.optimised_ir(ir, HOST, passes=["sroa", "magic"])


@pytest.mark.parametrize("name", llvm._METHODS)
def test_every_pass_runs(name: str) -> None:
    assert "@f" in llvm.optimised_ir(add_ir(), HOST, passes=[name])


@pytest.mark.parametrize(
    "ir, wanted",
    [
        ("define void @f() {\n  %x = add i32 1, foo\n  ret void\n}\n", r"2:19: error: expected value token\n  %x = add i32 1, foo"),
        ("define i32 @f() {\n  ret i32 %missing\n}\n", r"use of undefined value '%missing'"),
        ("define void @f() {\n  %x = add i32 %y, 1\n  %y = add i32 %x, 1\n  ret void\n}\n", r"does not dominate all uses"),
    ],
    ids=["syntax", "undefined", "invalid"],
)
def test_refused_text_is_shown(ir: str, wanted: str) -> None:
    with pytest.raises(CodegenError, match=wanted):
        llvm.compile_object(ir, HOST)


def test_unknown_machines_symbols_and_damaged_objects(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CodegenError, match="LLVM knows no target 'vax-dec-vms'"):
        llvm.compile_object("", Machine("vax-dec-vms"))
    code = llvm.compile_object("declare void @nowhere()\ndefine void @f() {\n  call void @nowhere()\n  ret void\n}\n", HOST)
    with pytest.raises(CodegenError, match="does not load"):
        llvm.load([code], ["f"])
    assert "nowhere" in capfd.readouterr().err
    with pytest.raises(CodegenError, match="g"):
        llvm.load([llvm.compile_object(add_ir(), HOST)], ["g"])
    with pytest.raises(CodegenError, match="valid object file"):
        llvm.load([b"not an object"], [])
    with pytest.raises(CodegenError, match="exports no 'g'"):
        llvm.load([llvm.compile_object(add_ir(), HOST)], ["f"]).address("g")


FAR = """
@table = external global i64
@stdout = external global ptr
@constants = internal constant [4 x i64] [i64 0, i64 10, i64 20, i64 30]
@memory = internal global [64 x i64] zeroinitializer
declare i64 @far()
declare ptr @memcpy(ptr, ptr, i64)
declare float @expf(float)
define i64 @f(i64 %x) {
  %o = load ptr, ptr @stdout
  store ptr %o, ptr @memory
  %p = getelementptr i64, ptr @memory, i64 8
  %q = getelementptr i64, ptr @constants, i64 %x
  %m = call ptr @memcpy(ptr %p, ptr %q, i64 8)
  %a = load i64, ptr %p
  %e = call float @expf(float 0.0)
  %b = fptosi float %e to i64
  %c = call i64 @far()
  %d = load i64, ptr @table
  %s = add i64 %a, %b
  %t = add i64 %s, %c
  %u = add i64 %t, %d
  ret i64 %u
}
"""
RETURN_100 = {"x86_64": b"\xb8\x64\x00\x00\x00\xc3", "aarch64": b"\x80\x0c\x80\x52\xc0\x03\x5f\xd6"}


@pytest.mark.skipif(platform.machine() not in RETURN_100, reason="machine code of this test for this CPU")
def test_small_code_model_reaches_far_symbols() -> None:
    """Functions and data at the other end of the address space: further away than a 32-bit displacement spans."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    rwx = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    place = libc.mmap(0x10_0000_0000, 8192, rwx, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    code = RETURN_100[platform.machine()]
    ctypes.memmove(place, code, len(code))
    ctypes.c_int64.from_address(place + 4096).value = 1000
    library = llvm.load([llvm.compile_object(FAR, HOST)], ["f"], {"far": place, "table": place + 4096})
    assert abs(library.address("f") - place) > 1 << 32
    assert function(library)(2) == 20 + 1 + 100 + 1000
    del library
    libc.munmap(place, 8192)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_loading_and_unloading_keeps_no_memory() -> None:
    """A library of 1 MB, loaded and dropped 150 times."""
    big = '@data = internal constant [1048576 x i8] c"' + "\\01" * 1048576 + '"\n'
    big += "define i64 @f(i64 %x) {\n  %p = getelementptr i8, ptr @data, i64 %x\n  %b = load i8, ptr %p\n  %y = zext i8 %b to i64\n  ret i64 %y\n}"
    code = llvm.compile_object(big, HOST)
    before = (0, 0)
    for n in range(150):
        if n == 20:
            gc.collect()
            before = resident(), mappings()
        assert function(llvm.load([code], ["f"]))(1000) == 1
    gc.collect()
    assert resident() - before[0] < 8 << 20
    assert mappings() - before[1] < 20


def test_libraries_apart_in_memory() -> None:
    """Code that is loaded while the address space fills up still finds its own constants, and all of it is freed in any order."""
    code, rng = llvm.compile_object(FAR.replace("@far()", "@f0()"), HOST), np.random.default_rng(0)
    zero = llvm.load([llvm.compile_object("@table = global i64 5\ndefine i64 @f0() {\n  ret i64 0\n}\n", HOST)], ["f0", "table"])
    symbols = {name: zero.address(name) for name in ("f0", "table")}
    held: list[tuple[llvm.Library, np.ndarray]] = []
    for n in range(60):
        library = llvm.load([code], ["f"], symbols)
        held.append((library, np.empty(256 << 20, np.uint8)))
        assert function(library)(n % 4) == 10 * (n % 4) + 1 + 5
    for index in rng.permutation(60)[:30]:
        held[index] = held[(index + 1) % 60]
    gc.collect()
    assert all(function(library)(1) == 16 for library, _ in held)


def test_threads_compile_load_and_unload_at_once() -> None:
    wrong: list[object] = []

    def work(thread: int) -> None:
        try:
            for n in range(15):
                constant = 1000 * thread + n
                library = llvm.load([llvm.compile_object(add_ir(constant), HOST)], ["f"])
                if function(library)(1) != constant + 1:
                    wrong.append(constant)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_fork_while_another_thread_compiles() -> None:
    """A child never inherits LLVM, or its lock, in the middle of something."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(1e-4):  # Python's locks are not fair: without a pause the fork would wait for long
            llvm.compile_object(add_ir(), HOST)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for n in range(20):
            child = os.fork()
            if child == 0:
                os._exit(function(llvm.load([llvm.compile_object(add_ir(n), HOST)], ["f"]))(1))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == n + 1
    finally:
        stop.set()
        thread.join()


def test_pinned_code_stays() -> None:
    library = llvm.load([llvm.compile_object(add_ir(8), HOST)], ["f"])
    call = function(library)
    del call.library
    library.pin()
    del library
    gc.collect()
    assert call(1) == 9


def test_keys_name_everything_that_matters() -> None:
    keys = {
        llvm.object_key(add_ir(), HOST),
        llvm.object_key(add_ir(2), HOST),
        llvm.object_key(add_ir(), ARM),
        llvm.object_key(add_ir(), Machine(HOST.triple, opt=3)),
        llvm.object_key(add_ir(), HOST, ["sroa"]),
    }
    assert len(keys) == 5
    assert llvm.object_key(add_ir(), HOST) in keys


def test_host() -> None:
    assert platform.machine() in llvm.host_triple()
    assert llvm.host_features() and all(name == name.strip("+-") for name in llvm.host_features())
    assert llvm.llvm_version()[0].isdigit()


def test_importing_the_door_does_not_open_it() -> None:
    code = "import sys, tgen.codegen.llvm, tgen.codegen.runtime; print('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
