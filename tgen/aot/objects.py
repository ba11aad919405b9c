"""A library as object files: the interface, the thread pool, the code of each version, the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..codegen import llvm
from ..codegen.llvm import Machine, machine_of
from ..codegen.program import emit_program
from ..codegen.runtime import runtime_ir
from .elf_data import data_object
from .interface import interface_ir
from .model import Library


def object_files(library: Library, manifest: str) -> Iterator[tuple[str, list[bytes | memoryview]]]:
    """(what it is, an ELF object in pieces), one after the other. Everything but the interface is hidden and has a name of the library's
    own, so several libraries go into one program.
    """
    target = library.versions[0].target
    baseline = Machine(target.triple)
    yield "interface", [llvm.compile_object(_private(interface_ir(library, manifest), library), baseline)]
    yield "threads", [llvm.compile_object(_private(runtime_ir(target.triple, target.spin_hint), library), baseline)]
    for number, version in enumerate(library.versions):
        ir = emit_program(version.plan, version.target, entry=library.private(f"run_{number}"), flush=version.manifest.flushes)
        yield f"code for {version.target.name}", [llvm.compile_object(_private(ir, library), machine_of(version.target))]
    if not library.weights_file:
        yield "weights", data_object(library.private("weights"), library.weights.block.data, library.architecture)


def _private(ir: str, library: Library) -> str:
    """The module with names of the library's own for what belongs to no model (`tgen_parallel`), seen by nobody outside."""
    prefix = re.escape(library.private(""))
    ir = re.sub(r'@"?tgen_(\w+)"?', rf"@{library.private('')}\1", ir)
    ir = re.sub(rf'^(define|declare) ([^@\n]*@"?{prefix})', r"\1 hidden \2", ir, flags=re.M)
    return re.sub(rf'^(@"?{prefix}\w+"? = external) ', r"\1 hidden ", ir, flags=re.M)
