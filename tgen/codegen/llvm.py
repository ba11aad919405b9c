"""The one door to `llvmlite.binding`: LLVM IR text in, machine code (an object file), assembly or a loaded library out.

All work with LLVM happens under `exclusive`, which a fork waits for: a child never inherits LLVM in the middle of something, or the lock
that llvmlite takes for each call, disposal included. So what uses LLVM is a function under `@_exclusively`: its objects die inside.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..ir.errors import CodegenError

exclusive = threading.RLock()
os.register_at_fork(before=exclusive.acquire, after_in_parent=exclusive.release, after_in_child=exclusive.release)

# LLVM's default pipelines are super-linear on long vector code (VectorCombine takes 90 % of it: 41 s for 9,600 multiply-adds). Code
# generation itself hoists what loops do not change, so a few passes are enough.
PASSES = ("sroa", "instcombine", "simplifycfg")

# LLVM's name of a pass → the name that llvmlite's pass manager has for it: `add_…_pass`.
_METHODS = {
    "adce": "aggressive_dce",
    "always-inline": "always_inliner",
    "dce": "dead_code_elimination",
    "dse": "dead_store_elimination",
    "globaldce": "global_dead_code_eliminate",
    "instcombine": "instruction_combine",
    "jump-threading": "jump_threading",
    "lcssa": "lcssa",
    "loop-deletion": "loop_deletion",
    "loop-reduce": "loop_strength_reduce",
    "loop-rotate": "loop_rotate",
    "loop-simplify": "loop_simplify",
    "loop-unroll": "loop_unroll",
    "memcpyopt": "mem_copy_opt",
    "newgvn": "new_gvn",
    "reassociate": "reassociate",
    "sccp": "sccp",
    "simplifycfg": "simplify_cfg",
    "sink": "sinking",
    "sroa": "sroa",
}

_F = TypeVar("_F", bound=Callable[..., Any])


def _exclusively(function: _F) -> _F:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with exclusive:
            return function(*args, **kwargs)

    return guarded  # type: ignore[return-value]


@dataclass(frozen=True)
class Machine:
    """What LLVM generates for. features: as `+avx2,+fma`; cpu: a scheduling model ("" for generic); opt: 0 to 3, of code generation."""

    triple: str
    cpu: str = ""
    features: str = ""
    opt: int = 2  # 3 makes the same code, as far as measured
    reloc: str = "pic"
    codemodel: str = "small"


def machine_of(target: Any) -> Machine:
    """What LLVM generates for, from a `Target`."""
    return Machine(target.triple, target.cpu, target.feature_string)


@functools.cache
def _binding() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    return llvm


@functools.cache
@_exclusively
def llvm_version() -> str:
    return ".".join(map(str, _binding().llvm_version_info))


@_exclusively
def host_triple() -> str:
    return str(_binding().get_process_triple())


@functools.cache
@_exclusively
def host_features() -> frozenset[str]:
    """CPU features by LLVM's names. The CPU's *name* is never asked: virtual machines misreport it."""
    known = frozenset(name for name, there in _binding().get_host_cpu_features().items() if there)
    return known | _told_by_linux() if host_triple().startswith("aarch64") else known


def _told_by_linux() -> frozenset[str]:
    """Features of AArch64, most of which LLVM does not find out."""
    from ..targets.aarch64.features import AT_HWCAP, AT_HWCAP2, features_of

    ask = getattr(ctypes.CDLL(None), "getauxval", None)  # only Linux has it
    if ask is None:
        return frozenset()
    ask.argtypes, ask.restype = [ctypes.c_ulong], ctypes.c_ulong
    return features_of(ask(AT_HWCAP), ask(AT_HWCAP2))


def _target_machine(machine: Machine) -> Any:
    llvm = _binding()
    try:
        target = llvm.Target.from_triple(machine.triple)
    except RuntimeError as error:
        raise CodegenError(f"LLVM knows no target {machine.triple!r}: {error}") from error
    return target.create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=machine.opt, reloc=machine.reloc, codemodel=machine.codemodel
    )


def _optimised(ir: str, machine: Machine, passes: Sequence[str]) -> tuple[Any, Any]:
    """(the module after the passes, its target machine)."""
    llvm = _binding()
    unknown = [name for name in passes if name not in _METHODS]
    if unknown:
        raise CodegenError(f"no pass is named {unknown[0]!r}; passes: {', '.join(_METHODS)}")
    target_machine = _target_machine(machine)
    try:
        # a context of its own: what types and constants a module needs is freed with it
        module = llvm.parse_assembly(ir, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise CodegenError(f"LLVM refused generated code: {error}") from error
    manager = llvm.create_new_module_pass_manager()
    for name in passes:
        getattr(manager, f"add_{_METHODS[name]}_pass")()
    manager.run(module, llvm.create_pass_builder(target_machine, llvm.create_pipeline_tuning_options(speed_level=2)))
    return module, target_machine


@_exclusively
def compile_object(ir: str, machine: Machine, *, passes: Sequence[str] = PASSES) -> bytes:
    """Machine code as an object file. passes: by LLVM's names, in order; () for none.

    Raises CodegenError when LLVM refuses the text, with the offending line, or knows no such target or pass.
    """
    module, target_machine = _optimised(ir, machine, passes)
    return bytes(target_machine.emit_object(module))


@_exclusively
def linked(texts: Sequence[str], triple: str) -> str:
    """Modules as one, in LLVM IR; the first is the main one: functions of the others are its own, and seen by nobody else.

    Raises CodegenError when LLVM refuses one of them.
    """
    llvm = _binding()
    try:
        context = llvm.create_context()
        main, *others = (llvm.parse_assembly(text, context) for text in texts)
        layout = str(_target_machine(Machine(triple)).target_data)
        for other in others:
            names = [f.name for f in other.functions if not f.is_declaration]
            for module in (main, other):
                module.triple, module.data_layout = triple, layout
            main.link_in(other)
            for name in names:
                main.get_function(name).linkage = llvm.Linkage.internal
        return str(main)
    except RuntimeError as error:
        raise CodegenError(f"LLVM refused generated code: {error}") from error


@_exclusively
def assembly(ir: str, machine: Machine, *, passes: Sequence[str] = PASSES) -> str:
    """The machine code as assembly; raises as `compile_object` does."""
    module, target_machine = _optimised(ir, machine, passes)
    return str(target_machine.emit_assembly(module))


@_exclusively
def optimised_ir(ir: str, machine: Machine, *, passes: Sequence[str] = PASSES) -> str:
    """The module after the passes, as text; raises as `compile_object` does."""
    return str(_optimised(ir, machine, passes)[0])


def object_key(ir: str, machine: Machine, passes: Sequence[str] = PASSES) -> str:
    """A hash of all that `compile_object` depends on, as a key for the cache."""
    facts = repr((llvm_version(), machine, tuple(passes), ir))
    return hashlib.blake2b(facts.encode(), digest_size=20).hexdigest()


class Library:
    """Loaded machine code; unloaded when nobody refers to it any more, but not at the end of the process: code may still run then."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._unload = weakref.finalize(self, _close, tracker)
        self._unload.atexit = False

    def address(self, name: str) -> int:
        """The address of an exported function or variable; raises CodegenError if there is none."""
        try:
            return int(self._tracker[name])
        except KeyError as error:
            raise CodegenError(f"generated code exports no {name!r}") from error

    def pin(self) -> None:
        """Keeps the code loaded for as long as the process lives, whatever becomes of this object."""
        self._unload.detach()
        self._tracker.detach()


@_exclusively
def _close(tracker: Any) -> None:
    tracker.close()


@_exclusively
def load(objects: Sequence[bytes], exports: Sequence[str], symbols: Mapping[str, int] | None = None) -> Library:
    """Loads object files into this process. exports: names that will be asked for; symbols: addresses of what they import.

    libc and libm of the process are visible to them. Raises CodegenError for what is missing or damaged.
    """
    llvm = _binding()
    builder = llvm.JITLibraryBuilder()
    for data in objects:
        builder.add_object_img(data)
    for name, address in (symbols or {}).items():
        builder.import_symbol(name, address)
    builder.add_current_process()
    for name in exports:
        builder.export_symbol(name)
    # A JIT for each library: one for all would keep some 10 KB for each library that ever was. JITLink places all sections of an
    # object next to each other and reaches far symbols through tables, so the small code model always holds. Which symbol is missing
    # LLVM says on standard error only.
    machine = _target_machine(Machine(host_triple()))
    jit = llvm.create_lljit_compiler(machine, use_jit_link=True, suppress_errors=False)
    try:
        return Library(builder.link(jit, "tgen"))
    except RuntimeError as error:
        raise CodegenError(f"generated code does not load: {error}") from error
