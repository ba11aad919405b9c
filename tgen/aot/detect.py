"""The choice of a code version by the CPU at hand, in native code: `int32 NAME_version(void)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import llvmlite.ir as ll

from ..codegen.context import I32, I64
from ..targets.features import FeatureBits, Word
from ..targets.target import Target
from .native import NativeFunction

_OSXSAVE = 1 << 27  # of cpuid(1).ecx: whether xgetbv may be executed
_PERMISSION = (158, 0x1023, 18)  # arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA: see `runtime.amx`


def emit_version(module: ll.Module, name: str, targets: Sequence[Target], features: FeatureBits) -> None:
    """The number of the first target whose features the CPU and the system have; -1 for none."""
    f = NativeFunction(module, name, [], I32, exported=True)
    masks = [_masks(target, features) for target in targets]
    words = {word: _word(f, word) for word in dict.fromkeys(word for mask in masks for word in mask)}
    for number, (target, mask) in enumerate(zip(targets, masks)):
        there: Any = ll.Constant(ll.IntType(1), 1)
        for word, bits in mask.items():
            there = f.b.and_(there, f.b.icmp_unsigned("==", f.b.and_(words[word], I64(bits)), I64(bits)))
        if target.uses_tiles:
            with f.when(there):
                granted = f.foreign("syscall", I64, *(I64(n) for n in _PERMISSION), fixed=1)
                f.leave_if(f.b.icmp_signed("==", granted, I64(0)), I32(number))
        else:
            f.leave_if(there, I32(number))
    f.finish(I32(-1))


def _masks(target: Target, features: FeatureBits) -> Mapping[Word, int]:
    """The bits that the code of a target needs: all it may use, not only what `needs` chooses it by."""
    masks: dict[Word, int] = {}
    for feature in dict.fromkeys((*target.needs, *target.features)):
        for word, bits in features[feature]:
            masks[word] = masks.get(word, 0) | bits
    return masks


def _word(f: NativeFunction, word: Word) -> Any:
    if word.source == "getauxval":
        return f.foreign("getauxval", I64, I64(word.arguments[0]))
    if word.source == "cpuid":
        leaf, subleaf, register = word.arguments
        known = f.b.icmp_unsigned("<=", I32(leaf), _cpuid(f, leaf & 0x80000000, 0, 0))
        return f.b.select(known, f.b.zext(_cpuid(f, leaf, subleaf, register), I64), I64(0))
    if word.source == "xgetbv":
        slot = f.slot(I64, I64(0))
        may = f.b.icmp_unsigned("!=", f.b.and_(_cpuid(f, 1, 0, 2), I32(_OSXSAVE)), I32(0))
        with f.when(may):
            pair = ll.LiteralStructType([I32, I32])
            both = f.b.asm(ll.FunctionType(pair, [I32]), "xgetbv", "={ax},={dx},{cx}", [I32(word.arguments[0])], True)
            low, high = (f.b.zext(f.b.extract_value(both, k), I64) for k in (0, 1))
            f.b.store(f.b.or_(low, f.b.shl(high, I64(32))), slot)
        return f.b.load(slot, typ=I64)
    raise AssertionError(f"no code asks for a word of {word.source}")


def _cpuid(f: NativeFunction, leaf: int, subleaf: int, register: int) -> Any:
    four = ll.LiteralStructType([I32] * 4)
    # volatile: what a CPU says may differ from call to call, and a compiler may not guess it
    result = f.b.asm(
        ll.FunctionType(four, [I32, I32]), "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}", [I32(leaf), I32(subleaf)], True
    )
    return f.b.extract_value(result, register)
