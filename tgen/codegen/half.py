"""float16 conversion for targets without an instruction for it: the two functions LLVM calls then, so that libc alone is enough."""

from __future__ import annotations

HALF_IR = """
define hidden float @__extendhfsf2(half %h) nounwind {
  %bits = bitcast half %h to i16
  %wide = zext i16 %bits to i32
  %magnitude = and i32 %wide, 32767
  %shifted = shl i32 %magnitude, 13
  %normal = add i32 %shifted, 939524096
  ; subnormal: 2^-14·(1 + x) - 2^-14, exact; no operand is subnormal as a float, which may count as zero
  %raised = add i32 %shifted, 947912704
  %sum = bitcast i32 %raised to float
  %part = fsub float %sum, 0x3F10000000000000
  %subnormal = bitcast float %part to i32
  %is_subnormal = icmp ult i32 %magnitude, 1024
  %finite = select i1 %is_subnormal, i32 %subnormal, i32 %normal
  %special = or i32 %shifted, 2139095040
  %is_special = icmp uge i32 %magnitude, 31744
  %value = select i1 %is_special, i32 %special, i32 %finite
  %sign = and i32 %wide, 32768
  %high = shl i32 %sign, 16
  %all = or i32 %value, %high
  %out = bitcast i32 %all to float
  ret float %out
}

define hidden half @__truncsfhf2(float %x) nounwind {
  %bits = bitcast float %x to i32
  %sign32 = lshr i32 %bits, 16
  %sign = and i32 %sign32, 32768
  %a = and i32 %bits, 2147483647
  ; normal: round to nearest even at bit 13, rebias
  %lsb13 = lshr i32 %a, 13
  %odd = and i32 %lsb13, 1
  %bias = add i32 %odd, 4095
  %rounded = add i32 %a, %bias
  %rebiased = sub i32 %rounded, 939524096
  %normal = lshr i32 %rebiased, 13
  ; subnormal: adding one half puts 2^-24 at the last bit, rounded
  %value = bitcast i32 %a to float
  %sum = fadd float %value, 5.000000e-01
  %sum_bits = bitcast float %sum to i32
  %subnormal = sub i32 %sum_bits, 1056964608
  %small = icmp ult i32 %a, 947912704
  %finite = select i1 %small, i32 %subnormal, i32 %normal
  %large = icmp uge i32 %a, 1199570944
  %bounded = select i1 %large, i32 31744, i32 %finite
  %payload = and i32 %lsb13, 1023
  %quiet = or i32 %payload, 32256
  %nan = icmp ugt i32 %a, 2139095040
  %all = select i1 %nan, i32 %quiet, i32 %bounded
  %signed = or i32 %all, %sign
  %out16 = trunc i32 %signed to i16
  %out = bitcast i16 %out16 to half
  ret half %out
}
"""
