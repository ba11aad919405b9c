"""How contexts of a library come and go: options, threads, the CPU set, weights from a file."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from ..codegen.context import I1, I8, I32, I64, PTR, VOID
from ..codegen.runtime import CPU_SET, CPU_SET_NAME, MOST_WORKERS
from ..frame import RUNTIME_BYTES, Frame
from .layout import (
    MASK_BYTES,
    OPTION_BYTES,
    OPTION_CHECK,
    OPTION_CPU_WORDS,
    OPTION_CPUS,
    OPTION_THREADS,
    OPTION_WEIGHTS,
    OPTIONS_BYTES,
    ContextLayout,
    Status,
)
from .model import Library
from .native import NULL, OK, NativeFunction, constant, function_address
from .weights import FACTOR, HEADER_BYTES, LANES

_C = ContextLayout
_WORDS = MASK_BYTES // 8
_PATH_BYTES = 4096
_READ, _SHARED, _READ_CLOEXEC, _END = 1, 1, 0o2000000, 2  # PROT_READ, MAP_SHARED, O_RDONLY | O_CLOEXEC, SEEK_END
# A cgroup's quota and its period, version 2 and version 1: where a container finds its own.
_QUOTAS = (("/sys/fs/cgroup/cpu.max",), ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def emit_lifetime(module: ll.Module, library: Library) -> None:
    _emit_quota(module)
    _emit_set_cpus(module)
    if library.weights_file:
        _emit_path(module, library)
        _emit_hash(module)
        _emit_map(module, library)
    else:
        ll.GlobalVariable(module, ll.ArrayType(I8, int(library.weights.block.size)), library.private("weights"))
    _emit_free(module, library)
    _emit_create(module, library)
    _emit_destroy(module, library)
    _emit_use_workspace(module, library)


def _emit_quota(module: ll.Module) -> None:
    """int64 quota(void): the CPUs' worth of time that a cgroup grants, rounded down, at least 1; MOST_WORKERS without a limit."""
    f = NativeFunction(module, "quota", [], I64)
    least = f.slot(I64, I64(MOST_WORKERS))
    for files in _QUOTAS:
        granted, period = f.slot(I64, I64(0)), f.slot(I64, I64(0))
        for file, slots in zip(files, ([granted, period],) if len(files) == 1 else ([granted], [period])):
            stream = f.foreign("fopen", PTR, f.text(file), f.text("r"))
            with f.when(f.b.not_(f.is_null(stream))):
                f.foreign("fscanf", I32, stream, f.text(" ".join(["%lld"] * len(slots))), *slots, fixed=2)
                f.foreign("fclose", I32, stream)
        known = [f.b.icmp_signed(">", f.b.load(slot, typ=I64), I64(0)) for slot in (granted, period)]
        with f.when(f.b.and_(*known)):
            cpus = f.b.sdiv(f.b.load(granted, typ=I64), f.b.load(period, typ=I64))
            f.b.store(f.minimum(f.b.load(least, typ=I64), cpus), least)
    f.finish(f.maximum(f.b.load(least, typ=I64), I64(1)))


def _emit_set_cpus(module: ll.Module) -> None:
    """int64 set_cpus(context, words, cpus): the context's CPU set, the process's where `cpus` is NULL; the number of its CPUs."""
    f = NativeFunction(module, "set_cpus", [PTR, I64, PTR], I64)
    context, words, cpus = f.args
    mask = f.at(context, I64(_C.MASK))
    any_cpu = f.is_null(cpus)
    with f.when(any_cpu):
        told = f.foreign("sched_getaffinity", I32, I32(0), I64(MASK_BYTES), mask)
        with f.when(f.b.icmp_signed("<", told, I32(0))):
            f.foreign("memset", PTR, mask, I32(255), I64(MASK_BYTES))
    with f.when(f.b.not_(any_cpu)):
        f.foreign("memcpy", PTR, mask, cpus, f.b.mul(words, I64(8)))
    count, name = f.slot(I64, I64(0)), f.slot(I64, I64(0))
    with f.loop(I64(0), I64(_WORDS)) as index:
        word = f.item(mask, index)
        f.b.store(f.b.add(f.b.load(count, typ=I64), f.b.ctpop(word)), count)
        f.b.store(f.b.add(f.b.mul(f.b.load(name, typ=I64), I64(FACTOR)), word), name)
    frame = f.at(context, I64(_C.FRAME))
    f.put(f.b.or_(f.b.load(name, typ=I64), I64(1)), frame, CPU_SET_NAME)
    f.put(mask, frame, CPU_SET)
    f.finish(f.b.load(count, typ=I64))


def _emit_path(module: ll.Module, library: Library) -> None:
    """void path(out): where the weights file is if nobody says so: in the library's folder, if the system can tell which that is."""
    f = NativeFunction(module, "path", [PTR], VOID)
    (out,) = f.args
    file = f.text(library.weights_file)
    f.foreign("snprintf", I32, out, I64(_PATH_BYTES), f.text("%s"), file, fixed=3)
    find = ll.Function(module, ll.FunctionType(I32, [PTR, PTR]), "dladdr")
    find.linkage = "extern_weak"
    facts = f.array(PTR, 4)  # Dl_info: the file's name is its first word
    here = ll.FormattedConstant(PTR, f"@{library.name}_version")
    may = f.b.icmp_unsigned("!=", function_address(find), NULL)
    with f.when(may), f.when(f.b.icmp_signed("!=", f.b.call(find, [here, facts]), I32(0))):
        name = f.b.load(facts, typ=PTR)
        slash = f.foreign("strrchr", PTR, name, I32(ord("/")))
        with f.when(f.b.not_(f.is_null(slash))):
            length = f.b.trunc(f.b.sub(f.b.ptrtoint(slash, I64), f.b.ptrtoint(name, I64)), I32)
            f.foreign("snprintf", I32, out, I64(_PATH_BYTES), f.text("%.*s/%s"), length, name, file, fixed=3)
    f.finish()


def _emit_hash(module: ll.Module) -> None:
    """int64 hash(block, bytes): see `weights_hash`."""
    f = NativeFunction(module, "hash", [PTR, I64], I64)
    block, size = f.args
    lanes = ll.VectorType(I64, LANES)
    state = f.slot(lanes, ll.Constant(lanes, [0] * LANES))
    factor = ll.Constant(lanes, [FACTOR] * LANES)
    with f.loop(I64(0), size, LANES * 8) as at:
        words = f.b.load(f.at(block, at), typ=lanes, align=8)
        f.b.store(f.b.add(f.b.mul(f.b.load(state, typ=lanes), factor), words), state)
    total: Any = I64(0)
    for lane in range(LANES):
        total = f.b.add(f.b.mul(total, I64(FACTOR)), f.b.extract_element(f.b.load(state, typ=lanes), I32(lane)))
    f.finish(total)


def _emit_map(module: ll.Module, library: Library) -> None:
    """int32 map_weights(context, path, check): the file's memory, once it is known to be the one."""
    f = NativeFunction(module, "map_weights", [PTR, PTR, I32], I32)
    context, given, check = f.args
    buffer, path = f.array(I8, _PATH_BYTES), f.slot(PTR, given)
    with f.when(f.is_null(given)):
        f.own("path", VOID, buffer)
        f.b.store(buffer, path)
    header = library.weights.header
    expected = constant(module, "header", ll.Constant(ll.ArrayType(I8, len(header)), bytearray(header)))
    size = HEADER_BYTES + int(library.weights.block.size)
    file = f.foreign("open", I32, f.b.load(path, typ=PTR), I32(_READ_CLOEXEC), fixed=2)
    f.leave_if(f.b.icmp_signed("<", file, I32(0)), I32(Status.NO_WEIGHTS))
    memory = f.slot(PTR, ll.Constant(I64, -1).inttoptr(PTR))
    fits = f.b.icmp_signed("==", f.foreign("lseek", I64, file, I64(0), I32(_END)), I64(size))
    with f.when(fits):
        f.b.store(f.foreign("mmap", PTR, NULL, I64(size), I32(_READ), I32(_SHARED), file, I64(0)), memory)
    f.foreign("close", I32, file)
    f.leave_if(f.b.not_(fits), I32(Status.WRONG_WEIGHTS))
    there = f.b.load(memory, typ=PTR)
    f.leave_if(f.b.icmp_signed("==", f.b.ptrtoint(there, I64), I64(-1)), I32(Status.NO_MEMORY))
    f.put(there, context, _C.MAPPED)
    weights = f.at(there, I64(HEADER_BYTES))
    same = f.slot(I1, f.b.icmp_signed("==", f.foreign("memcmp", I32, there, expected, I64(len(header))), I32(0)))
    with f.when(f.b.icmp_signed("!=", check, I32(0))):
        hashed = f.own("hash", I64, weights, I64(int(library.weights.block.size)))
        right = f.b.icmp_signed("==", hashed, I64(library.weights.hash))
        f.b.store(f.b.and_(f.b.load(same, typ=I1), right), same)
    f.leave_if(f.b.not_(f.b.load(same, typ=I1)), I32(Status.WRONG_WEIGHTS))
    f.put(weights, context, _C.WEIGHTS)
    f.finish(OK)


def _emit_create(module: ll.Module, library: Library) -> None:
    layout = ContextLayout(library.frame, len(library.versions))
    prepare = NativeFunction(module, "prepare", [PTR, PTR], I32)
    _prepare(prepare, library)
    f = NativeFunction(module, f"{library.name}_create", [PTR, PTR], I32, exported=True)
    options, out = f.args
    f.leave_if(f.is_null(out), I32(Status.NULL_POINTER))
    f.b.store(NULL, out)
    none = constant(
        module, "no_options", ll.Constant(ll.ArrayType(I64, OPTIONS_BYTES // 8), [OPTIONS_BYTES] + [0] * (OPTIONS_BYTES // 8 - 1))
    )
    chosen = f.b.select(f.is_null(options), none, options)
    f.leave_if(f.b.icmp_signed("!=", f.field(chosen, OPTION_BYTES, I32), I32(OPTIONS_BYTES)), I32(Status.WRONG_OPTION))
    version = f.own(f"{library.name}_version", I32)
    f.leave_if(f.b.icmp_signed("<", version, I32(0)), I32(Status.WRONG_CPU))
    context = f.foreign("aligned_alloc", PTR, I64(64), I64(layout.bytes))
    f.leave_if(f.is_null(context), I32(Status.NO_MEMORY))
    f.foreign("memset", PTR, context, I32(0), I64(layout.bytes))
    f.put(f.b.zext(version, I64), context, _C.VERSION)
    status = f.own("prepare", I32, context, chosen)
    bad = f.b.icmp_signed("!=", status, OK)
    with f.when(bad):
        f.own("destroy", VOID, context)
    with f.when(f.b.not_(bad)):
        f.b.store(context, out)
    f.finish(status)


def _prepare(f: NativeFunction, library: Library) -> None:
    """int32 prepare(context, options): everything about a context that can go wrong."""
    context, options = f.args
    wanted = f.b.sext(f.field(options, OPTION_THREADS, I32), I64)
    f.leave_if(f.b.icmp_unsigned(">", wanted, I64(MOST_WORKERS + 1)), I32(Status.WRONG_OPTION))
    words, cpus = f.b.zext(f.field(options, OPTION_CPU_WORDS, I32), I64), f.field(options, OPTION_CPUS, PTR)
    f.leave_if(f.b.icmp_unsigned(">", words, I64(_WORDS)), I32(Status.WRONG_OPTION))
    count = f.own("set_cpus", I64, context, words, cpus)
    f.leave_if(f.b.icmp_signed("==", count, I64(0)), I32(Status.WRONG_OPTION))
    fitting = f.minimum(count, f.own("quota", I64))
    f.put(f.b.select(f.b.icmp_signed("==", wanted, I64(0)), fitting, wanted), context, _C.THREADS)
    if library.weights_file:
        path, check = f.field(options, OPTION_WEIGHTS, PTR), f.field(options, OPTION_CHECK, I32)
        f.pass_on(f.own("map_weights", I32, context, path, check))
    else:
        f.put(ll.FormattedConstant(PTR, f"@{library.private('weights')}"), context, _C.WEIGHTS)
    f.put(f.field(context, _C.WEIGHTS, PTR), f.at(context, I64(_C.FRAME)), RUNTIME_BYTES + 8 * Frame.WEIGHTS)
    f.finish(OK)


def _emit_free(module: ll.Module, library: Library) -> None:
    """void destroy(context)"""
    f = NativeFunction(module, "destroy", [PTR], VOID)
    (context,) = f.args
    with f.when(f.b.icmp_signed("==", f.field(context, _C.BORROWED), I64(0))):
        f.foreign("free", VOID, f.field(context, _C.WORKSPACE, PTR))
    for word in range(library.frame.first_segment, library.frame.first_flag, 2):
        f.foreign("free", VOID, f.field(f.at(context, I64(_C.FRAME)), RUNTIME_BYTES + 8 * word, PTR))
    if library.weights_file:
        mapped = f.field(context, _C.MAPPED, PTR)
        with f.when(f.b.not_(f.is_null(mapped))):
            f.foreign("munmap", I32, mapped, I64(HEADER_BYTES + int(library.weights.block.size)))
    f.foreign("free", VOID, context)
    f.finish()


def _emit_destroy(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_destroy", [PTR], VOID, exported=True)
    (context,) = f.args
    with f.when(f.b.not_(f.is_null(context))):
        f.own("destroy", VOID, context)
    f.finish()


def _emit_use_workspace(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_use_workspace", [PTR, PTR, I64], I32, exported=True)
    context, memory, size = f.args
    f.leave_if(f.is_null(context), I32(Status.NULL_POINTER))
    none = f.is_null(memory)
    f.fail_if(f.b.icmp_signed("<", size, I64(0)), context, Status.WRONG_OPTION, "a workspace of %lld bytes", size)
    nothing = f.b.and_(none, f.b.icmp_signed(">", size, I64(0)))
    f.fail_if(nothing, context, Status.NULL_POINTER, "the workspace is NULL, and its size is not 0")
    astray = f.b.and_(f.b.ptrtoint(memory, I64), I64(63))
    message = "the workspace is not aligned to 64 bytes"
    f.fail_if(f.b.icmp_signed("!=", astray, I64(0)), context, Status.MISALIGNED, message)
    before = f.b.atomic_rmw("xchg", context, I64(1), "acquire")
    f.leave_if(f.b.icmp_signed("!=", before, I64(0)), I32(Status.BUSY))
    with f.when(f.b.icmp_signed("==", f.field(context, _C.BORROWED), I64(0))):
        f.foreign("free", VOID, f.field(context, _C.WORKSPACE, PTR))
    f.put(memory, context, _C.WORKSPACE)
    f.put(size, context, _C.WORKSPACE_BYTES)
    f.put(f.b.select(none, I64(0), I64(1)), context, _C.BORROWED)
    f.b.atomic_rmw("xchg", context, I64(0), "release")
    f.finish(OK)
