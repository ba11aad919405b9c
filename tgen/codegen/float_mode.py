"""A thread's floating-point mode (rounding, treatment of subnormals, traps), as LLVM IR.

    i64  float_mode()                          the mode now (internal)
    void set_float_mode(i64 mode)              (internal)
    i64  tgen_enter_float_mode(i64 flush)      rounds to nearest and traps nothing from here on; the mode before. flush: 0 to keep
                                               subnormals, 1 to take them for zeros, as operands and as results
    void tgen_leave_float_mode(i64 mode)       back to what `tgen_enter_float_mode` found

So results do not depend on what the caller, or a library that it uses, has set. On architectures that are not listed all of this is
nothing: subnormals are treated as they were before.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

# Reads and sets the mode: by architecture, the first part of the triple.
_FLOAT_MODE = {
    "x86_64": """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal i64 @float_mode() nounwind {
  %p = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  %m = load i32, ptr %p, align 4
  %r = zext i32 %m to i64
  ret i64 %r
}
define internal void @set_float_mode(i64 %mode) nounwind {
  %p = alloca i32, align 4
  %m = trunc i64 %mode to i32
  store i32 %m, ptr %p, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
""",
    "aarch64": """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal i64 @float_mode() nounwind {
  %m = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %m
}
define internal void @set_float_mode(i64 %mode) nounwind {
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret void
}
""",
}
_NO_FLOAT_MODE = """
define internal i64 @float_mode() nounwind {
  ret i64 0
}
define internal void @set_float_mode(i64 %mode) nounwind {
  ret void
}
"""


@dataclass(frozen=True)
class _Modes:
    """keep: IEEE 754's default; flush: the same with subnormals as zeros; control: the bits that say it (others are sticky flags)."""

    keep: int = 0
    flush: int = 0
    control: int = 0


# By architecture. MXCSR: FTZ and DAZ are bits 15 and 6. FPCR: FZ, which is both, is bit 24.
_MODES = {"x86_64": _Modes(0x1F80, 0x1F80 | 0x8040, 0xFFC0), "aarch64": _Modes(0, 1 << 24, 0x7C89F07)}
_ENTER = """
define internal void @change_float_mode(i64 %now, i64 %wanted) nounwind {
  %differences = xor i64 %now, %wanted
  %control = and i64 %differences, $control
  %same = icmp eq i64 %control, 0
  br i1 %same, label %done, label %set
set:
  call void @set_float_mode(i64 %wanted)
  br label %done
done:
  ret void
}
define i64 @tgen_enter_float_mode(i64 %flush) nounwind {
  %mode = call i64 @float_mode()
  %keeps = icmp eq i64 %flush, 0
  %wanted = select i1 %keeps, i64 $keep, i64 $flush
  call void @change_float_mode(i64 %mode, i64 %wanted)
  ret i64 %mode
}
define void @tgen_leave_float_mode(i64 %mode) nounwind {
  %now = call i64 @float_mode()
  call void @change_float_mode(i64 %now, i64 %mode)
  ret void
}
"""


def float_mode_ir(triple: str) -> str:
    """The functions above for a target triple."""
    architecture = triple.split("-")[0]
    modes = _MODES.get(architecture, _Modes())
    return _FLOAT_MODE.get(architecture, _NO_FLOAT_MODE) + string.Template(_ENTER).substitute(modes.__dict__)
