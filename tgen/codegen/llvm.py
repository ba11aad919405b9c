"""The one door to `llvmlite.binding`: LLVM IR text in, machine code (an object file), assembly or a loaded library out."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.errors import CodegenError

_lock = threading.RLock()


@dataclass(frozen=True)
class Machine:
    """What LLVM generates for. features: as `+avx2,+fma`; cpu: a scheduling model ("" for generic). opt: 0 to 3."""

    triple: str
    cpu: str = ""
    features: str = ""
    opt: int = 2
    reloc: str = "pic"
    codemodel: str = "small"


@functools.cache
def _binding() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm


def llvm_version() -> str:
    return ".".join(map(str, _binding().llvm_version_info))


def host_triple() -> str:
    return str(_binding().get_process_triple())


@functools.cache
def host_features() -> frozenset[str]:
    """CPU features by LLVM's names. The CPU's *name* is never asked: virtual machines misreport it."""
    return frozenset(name for name, there in _binding().get_host_cpu_features().items() if there)


def _target_machine(machine: Machine) -> Any:
    llvm = _binding()
    try:
        target = llvm.Target.from_triple(machine.triple)
    except RuntimeError as error:
        raise CodegenError(f"LLVM knows no target {machine.triple!r}: {error}") from error
    return target.create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=machine.opt, reloc=machine.reloc, codemodel=machine.codemodel
    )


def _optimised(ir: str, machine: Machine) -> tuple[Any, Any]:
    """The module after a short list of passes: the default pipelines are super-linear on long vector code."""
    llvm = _binding()
    target_machine = _target_machine(machine)
    try:
        module = llvm.parse_assembly(ir)
        module.verify()
    except RuntimeError as error:
        raise CodegenError(f"LLVM refused generated code: {error}") from error
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(target_machine, options)
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module, target_machine


def compile_object(ir: str, machine: Machine) -> bytes:
    """Machine code as an object file. Raises CodegenError when LLVM refuses the text."""
    with _lock:
        module, target_machine = _optimised(ir, machine)
        return bytes(target_machine.emit_object(module))


def assembly(ir: str, machine: Machine) -> str:
    with _lock:
        module, target_machine = _optimised(ir, machine)
        return str(target_machine.emit_assembly(module))


def optimised_ir(ir: str, machine: Machine) -> str:
    with _lock:
        return str(_optimised(ir, machine)[0])


class Library:
    """Loaded machine code; unloaded when nobody refers to it any more."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def address(self, name: str) -> int:
        """The address of an exported function or variable; raises CodegenError if there is none."""
        try:
            return int(self._tracker[name])
        except KeyError as error:
            raise CodegenError(f"generated code exports no {name!r}") from error


_numbers = iter(range(1 << 62))


@functools.cache
def _jit() -> Any:
    llvm = _binding()
    machine = _target_machine(Machine(host_triple()))
    return llvm.create_lljit_compiler(machine, use_jit_link=False, suppress_errors=False)


def load(objects: Sequence[bytes], exports: Sequence[str], symbols: Mapping[str, int] | None = None) -> Library:
    """Loads object files into this process. exports: names that will be asked for; symbols: addresses of what they import.

    libc and libm of the process are visible to them.
    """
    llvm = _binding()
    with _lock:
        builder = llvm.JITLibraryBuilder()
        for data in objects:
            builder.add_object_img(data)
        for name, address in (symbols or {}).items():
            builder.import_symbol(name, address)
        builder.add_current_process()
        for name in exports:
            builder.export_symbol(name)
        try:
            tracker = builder.link(_jit(), f"tgen.{next(_numbers)}")
        except RuntimeError as error:
            raise CodegenError(f"generated code does not link: {error}") from error
        return Library(tracker)

