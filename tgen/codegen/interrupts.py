"""Ctrl-C during a run: loops whose end no one knows look at a count of interrupts, which a signal handler in front of the program's own adds to.

    i64 tgen_watch_interrupts()     sees to the handler; interrupts so far
    i64 tgen_interrupts()           interrupts so far

A program without a handler of its own for SIGINT is left alone: there the signal ends the process. Models without such loops never ask.
"""

INTERRUPTS_IR = """
@interrupts = internal global i64 0, align 8
@before = internal global ptr null, align 8
declare i32 @sigaction(i32, ptr, ptr)

define internal void @on_interrupt(i32 %signal) nounwind {
  %n = atomicrmw add ptr @interrupts, i64 1 seq_cst
  %handler = load atomic ptr, ptr @before acquire, align 8
  call void %handler(i32 %signal)
  ret void
}

define i64 @tgen_watch_interrupts() nounwind {
entry:
  %action = alloca [152 x i8], align 16
  %r = call i32 @sigaction(i32 2, ptr null, ptr %action)
  %handler = load ptr, ptr %action, align 8
  %number = ptrtoint ptr %handler to i64
  %flags.p = getelementptr i8, ptr %action, i64 136
  %flags = load i32, ptr %flags.p, align 8
  %wide = and i32 %flags, 4
  %plain = icmp eq i32 %wide, 0
  %real = icmp ugt i64 %number, 1
  %other = icmp ne ptr %handler, @on_interrupt
  %told = icmp eq i32 %r, 0
  %a = and i1 %plain, %real
  %b = and i1 %other, %told
  %ours = and i1 %a, %b
  br i1 %ours, label %install, label %done
install:
  store atomic ptr %handler, ptr @before release, align 8
  store ptr @on_interrupt, ptr %action, align 8
  %s = call i32 @sigaction(i32 2, ptr %action, ptr null)
  br label %done
done:
  %n = load atomic i64, ptr @interrupts acquire, align 8
  ret i64 %n
}

define i64 @tgen_interrupts() nounwind {
  %n = load atomic i64, ptr @interrupts acquire, align 8
  ret i64 %n
}
"""
