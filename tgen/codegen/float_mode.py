"""A thread's floating-point mode (rounding, treatment of subnormals, traps), as LLVM IR.

    i64  float_mode()                          the mode now (internal)
    void set_float_mode(i64 mode)              (internal)
    i64  tgen_enter_float_mode()               rounds to nearest, keeps subnormals, traps nothing from here on; the mode before
    void tgen_leave_float_mode(i64 mode)       back to what `tgen_enter_float_mode` found

So results do not depend on what the caller, or a library that it uses, has set. On architectures that are not listed all of this is nothing.
"""

from __future__ import annotations

import string

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

# What IEEE 754 has as default, and the bits of the mode that say it (others are sticky flags): by architecture, 0 and 0 for others.
_DEFAULT_MODE = {"x86_64": (0x1F80, 0xFFC0), "aarch64": (0, 0x7C89F07)}
_ENTER = """
define internal i1 @is_default(i64 %mode) nounwind {
  %control = and i64 %mode, $mode_mask
  %same = icmp eq i64 %control, $default_mode
  ret i1 %same
}
define i64 @tgen_enter_float_mode() nounwind {
  %mode = call i64 @float_mode()
  %same = call i1 @is_default(i64 %mode)
  br i1 %same, label %done, label %set
set:
  call void @set_float_mode(i64 $default_mode)
  br label %done
done:
  ret i64 %mode
}
define void @tgen_leave_float_mode(i64 %mode) nounwind {
  %same = call i1 @is_default(i64 %mode)
  br i1 %same, label %done, label %set
set:
  call void @set_float_mode(i64 %mode)
  br label %done
done:
  ret void
}
"""


def float_mode_ir(triple: str) -> str:
    """The functions above for a target triple."""
    architecture = triple.split("-")[0]
    default, mask = _DEFAULT_MODE.get(architecture, (0, 0))
    return _FLOAT_MODE.get(architecture, _NO_FLOAT_MODE) + string.Template(_ENTER).substitute(default_mode=default, mode_mask=mask)
