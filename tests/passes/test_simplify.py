"""Every rule of `simplify`: where it fires and what it gives, where it must not fire, and that special values stay what they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tgen.ir import dtypes, ops  # noqa: F401 - fills the registry
from tgen.ir.dtypes import BF16, BOOL, F16, F32, F64, DType
from tgen.ir.evaluate import evaluate
from tgen.ir.expr import cast_array
from tgen.ir.graph import Graph
from tgen.ir.identity import same_graph
from tgen.ir.rewrite import rewrite
from tgen.ir.text import parse_graph, print_graph
from tgen.passes.arithmetic import holds
from tgen.passes.simplify import RULES, simplify

from ..graphs import assert_same

ARGUMENTS = "%x: f32[n, 4], %c: bool[n, 4], %k: i32[n, 4], %r: f32[1, 4]"
ONE, ZERO, MINUS_ZERO, TWO, THREE, MINUS_ONE, EIGHT, TEN = (
    f"constant{{value=f32[]{{{v}}}}} : f32[]" for v in ("1.0", "0.0", "-0.0", "2.0", "3.0", "-1.0", "8.0", "10.0")
)
EIGHTH = "constant{value=f32[]{0.125}} : f32[]"
HALF, ROOT, INVERSE = (f"constant{{value=f32[]{{{v}}}}} : f32[]" for v in ("0.5", "1.4142135381698608", "0.7071067690849304"))
TRUE = "constant{value=bool[]{True}} : bool[]"
OUT = "f32[n, 4]"

# rule → cases: statements before (each one `%k = …`, the last is the result) and after (just the input: "%x")
FIRES: dict[str, list[tuple[list[str], list[str] | str]]] = {
    "nothing": [
        ([f"transpose{{perm=(0, 1)}}(%x) : {OUT}"], "%x"),
        ([f"cast{{to=f32}}(%x) : {OUT}"], "%x"),
        (["floor(%k) : i32[n, 4]"], "%k"),
        ([f"expand{{shape=(n, 4)}}(%x) : {OUT}"], "%x"),
        ([f"concat{{axis=0}}(%x) : {OUT}"], "%x"),
        ([f"reshape{{shape=(n, 4)}}(%x) : {OUT}"], "%x"),
        ([f"slice{{axes=(1,), starts=(0,), sizes=(4,), steps=(1,)}}(%x) : {OUT}"], "%x"),
        ([f"identity(%x) : {OUT}"], "%x"),
    ],
    "transpose_of_transpose": [
        (["transpose{perm=(1, 0)}(%x) : f32[4, n]", f"transpose{{perm=(1, 0)}}(%0) : {OUT}"], "%x"),
    ],
    "squeeze_of_transpose": [
        (["unsqueeze{axes=(1,)}(%x) : f32[n, 1, 4]", "mul(%0, %0) : f32[n, 1, 4]", "transpose{perm=(2, 1, 0)}(%1) : f32[4, 1, n]",
          "squeeze{axes=(1,)}(%2) : f32[4, n]"],
         ["unsqueeze{axes=(1,)}(%x) : f32[n, 1, 4]", "mul(%0, %0) : f32[n, 1, 4]", "squeeze{axes=(1,)}(%1) : f32[n, 4]",
          "transpose{perm=(1, 0)}(%2) : f32[4, n]"]),
    ],
    "reshape_of_reshape": [
        (["reshape{shape=(4*n,)}(%x) : f32[4*n]", "reshape{shape=(2*n, 2)}(%0) : f32[2*n, 2]"], ["reshape{shape=(2*n, 2)}(%x) : f32[2*n, 2]"]),
    ],
    "reshape_of_ones": [
        (["reshape{shape=(n, 1, 4)}(%x) : f32[n, 1, 4]"], ["unsqueeze{axes=(1,)}(%x) : f32[n, 1, 4]"]),
        (["reshape{shape=(4,)}(%r) : f32[4]"], ["squeeze{axes=(0,)}(%r) : f32[4]"]),
        (["reshape{shape=(4, 1)}(%r) : f32[4, 1]"], ["squeeze{axes=(0,)}(%r) : f32[4]", "unsqueeze{axes=(1,)}(%0) : f32[4, 1]"]),
    ],
    "ones_of_ones": [
        (["unsqueeze{axes=(0,)}(%x) : f32[1, n, 4]", f"squeeze{{axes=(0,)}}(%0) : {OUT}"], "%x"),
        (
            ["unsqueeze{axes=(0,)}(%x) : f32[1, n, 4]", "unsqueeze{axes=(3,)}(%0) : f32[1, n, 4, 1]"],
            ["unsqueeze{axes=(0, 3)}(%x) : f32[1, n, 4, 1]"],
        ),
    ],
    "broadcast_anyway": [
        ([f"expand{{shape=(n, 4)}}(%r) : {OUT}", f"add(%x, %0) : {OUT}"], [f"add(%x, %r) : {OUT}"]),
        (["unsqueeze{axes=(0,)}(%r) : f32[1, 1, 4]", "unsqueeze{axes=(0,)}(%x) : f32[1, n, 4]", "mul(%0, %1) : f32[1, n, 4]"],
         ["unsqueeze{axes=(0,)}(%x) : f32[1, n, 4]", "mul(%r, %0) : f32[1, n, 4]"]),
    ],
    "gather_of_one": [
        (
            [f"constant{{value=i64[]{{{k}}}}} : i64[]", "gather{axis=1}(%x, %0) : f32[n]"],
            ["slice{axes=(1,), starts=(3,), sizes=(1,), steps=(1,)}(%x) : f32[n, 1]", "squeeze{axes=(1,)}(%0) : f32[n]"],
        )
        for k in (3, -1)
    ],
    "times_one": [
        ([ONE, f"mul(%x, %0) : {OUT}"], "%x"),
        ([ONE, f"mul(%0, %x) : {OUT}"], "%x"),
        ([ONE, f"div(%x, %0) : {OUT}"], "%x"),
        (["constant{value=i32[1]{1}} : i32[1]", "mul(%k, %0) : i32[n, 4]"], "%k"),
    ],
    "plus_zero": [
        ([MINUS_ZERO, f"add(%x, %0) : {OUT}"], "%x"),
        ([MINUS_ZERO, f"add(%0, %x) : {OUT}"], "%x"),
        ([ZERO, f"sub(%x, %0) : {OUT}"], "%x"),
        (["constant{value=i32[]{0}} : i32[]", "add(%k, %0) : i32[n, 4]"], "%k"),
    ],
    "power": [
        ([ONE, f"pow(%x, %0) : {OUT}"], "%x"),
        ([TWO, f"pow(%x, %0) : {OUT}"], [f"mul(%x, %x) : {OUT}"]),
        ([THREE, f"pow(%x, %0) : {OUT}"], [f"mul(%x, %x) : {OUT}", f"mul(%0, %x) : {OUT}"]),
        ([MINUS_ONE, f"pow(%x, %0) : {OUT}"], [f"reciprocal(%x) : {OUT}"]),
    ],
    "by_power_of_two": [([EIGHT, f"div(%x, %0) : {OUT}"], [EIGHTH, f"mul(%x, %0) : {OUT}"])],
    "twice": [
        ([f"neg(%x) : {OUT}", f"neg(%0) : {OUT}"], "%x"),
        (["not(%c) : bool[n, 4]", "not(%0) : bool[n, 4]"], "%c"),
        ([f"relu(%x) : {OUT}", f"relu(%0) : {OUT}"], [f"relu(%x) : {OUT}"]),
        ([f"neg(%x) : {OUT}", f"abs(%0) : {OUT}"], [f"abs(%x) : {OUT}"]),
    ],
    "cast_of_cast": [
        (["cast{to=f64}(%x) : f64[n, 4]", f"cast{{to=f32}}(%0) : {OUT}"], "%x"),
        (["cast{to=i64}(%k) : i64[n, 4]", "cast{to=u8}(%0) : u8[n, 4]"], ["cast{to=u8}(%k) : u8[n, 4]"]),
    ],
    "known_choice": [
        ([TRUE, f"where(%0, %x, %r) : {OUT}"], "%x"),
        ([f"where(%c, %x, %x) : {OUT}"], "%x"),
    ],
    "normal_share": [
        ([ROOT, f"div(%x, %0) : {OUT}", f"erf(%1) : {OUT}", ONE, f"add(%2, %3) : {OUT}", *rest], [f"gelu(%x) : {OUT}"])
        for rest in (
            [f"mul(%x, %4) : {OUT}", HALF, f"mul(%5, %6) : {OUT}"],
            [HALF, f"mul(%5, %x) : {OUT}", f"mul(%4, %6) : {OUT}"],
            [HALF, f"mul(%4, %5) : {OUT}", f"mul(%6, %x) : {OUT}"],
        )
    ] + [
        ([INVERSE, f"mul(%x, %0) : {OUT}", f"erf(%1) : {OUT}", ONE, f"add(%3, %2) : {OUT}", HALF, f"mul(%5, %4) : {OUT}", f"mul(%x, %6) : {OUT}"],
         [f"gelu(%x) : {OUT}"]),
    ],
}  # fmt: skip
INEXACT = {"normal_share"}  # has a test of its own

STAYS = {
    "x + 0.0 is 0.0 for -0.0": [ZERO, f"add(%x, %0) : {OUT}"],
    "x - (-0.0) is 0.0 for -0.0": [MINUS_ZERO, f"sub(%x, %0) : {OUT}"],
    "one that broadcasts": ["constant{value=f32[2, 1, 1]{1.0, 1.0}} : f32[2, 1, 1]", "mul(%x, %0) : f32[2, n, 4]"],
    "no power of two": [TEN, f"div(%x, %0) : {OUT}"],
    "1/c is not normal": ["constant{value=f32[]{1.7014118346046923e+38}} : f32[]", f"div(%x, %0) : {OUT}"],
    "half is lossy": ["cast{to=f16}(%x) : f16[n, 4]", f"cast{{to=f32}}(%0) : {OUT}"],
    "saturates on the way": ["cast{to=f64}(%k) : f64[n, 4]", "cast{to=i8}(%0) : i8[n, 4]"],
    "choice that broadcasts": [TRUE, f"where(%0, %r, %x) : {OUT}"],
    "expand gives the shape": [f"expand{{shape=(n, 4)}}(%r) : {OUT}", f"add(%0, %r) : {OUT}"],
    "a slice is no expand": ["slice{axes=(0,), starts=(0,), sizes=(1,), steps=(1,)}(%x) : f32[1, 4]", f"add(%x, %0) : {OUT}"],
    "an axis that may be empty": ["constant{value=i64[]{0}} : i64[]", "gather{axis=0}(%x, %0) : f32[4]"],
    "not the normal distribution's": [
        TEN,
        f"div(%x, %0) : {OUT}",
        f"erf(%1) : {OUT}",
        ONE,
        f"add(%2, %3) : {OUT}",
        HALF,
        f"mul(%4, %5) : {OUT}",
        f"mul(%x, %6) : {OUT}",
    ],
    "another's share": [
        ROOT,
        "div(%r, %0) : f32[1, 4]",
        "erf(%1) : f32[1, 4]",
        ONE,
        "add(%2, %3) : f32[1, 4]",
        HALF,
        "mul(%4, %5) : f32[1, 4]",
        f"mul(%x, %6) : {OUT}",
    ],
    "square root of -0.0": ["constant{value=f32[]{0.5}} : f32[]", f"pow(%x, %0) : {OUT}"],
}


def graph(statements: list[str] | str) -> Graph:
    """The graph of numbered statements; its output is the last one, or the value itself if there are none."""
    if isinstance(statements, str):
        return parse_graph(f"graph g({ARGUMENTS}) {{ return y = {statements} }}")
    lines = "\n".join(f"%{k} = {s}" for k, s in enumerate(statements))
    return parse_graph(f"graph g({ARGUMENTS}) {{ {lines} return y = %{len(statements) - 1} }}")


def special() -> dict[str, np.ndarray]:
    """Every pair of special values, and some ordinary ones."""
    tiny, most = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    values = np.float32([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, tiny, -tiny, most, 1.5, -2.75])
    x = np.float32([(a, b, a, b) for a, b in itertools.product(values, values)])
    n = len(x)
    k = np.resize(np.int32([0, 1, -1, 200, -300, 2**31 - 1, -(2**31)]), (n, 4))
    return {"x": x, "c": k > 0, "k": k, "r": np.float32([[1.0, -0.0, np.nan, np.inf]])}


CASES = [(rule, before, after) for rule, cases in FIRES.items() for before, after in cases]


@pytest.mark.parametrize("rule,before,after", CASES, ids=[f"{rule}-{k}" for k, (rule, _, _) in enumerate(CASES)])
def test_rule(rule: str, before: list[str], after: list[str] | str) -> None:
    start = graph(before)
    function = next(r for r in RULES if r.__name__ == rule)
    assert rewrite(start, [function]) is not start
    assert same_graph(simplify(start), graph(after)), print_graph(simplify(start))
    rounds_twice = THREE in before
    if rule not in INEXACT:
        assert_same(evaluate(simplify(start), special()), evaluate(start, special()), 3e-7 if rounds_twice else 0.0)


@pytest.mark.parametrize("before", [before for before, _ in FIRES["normal_share"]], ids=("inner", "outer", "middle", "product"))
def test_the_normal_share_is_the_same_up_to_rounding(before: list[str]) -> None:
    """In units of x's last place, since 1 + erf(x/√2) cancels where x < 0."""
    x = np.resize(np.float32([np.nan, np.inf, *np.linspace(-20, 20, 9999)]), (2500, 4))
    given = {**special(), "x": x, "c": x > 0, "k": np.zeros(x.shape, np.int32)}
    (want,), (got,) = (evaluate(g, given).values() for g in (graph(before), simplify(graph(before))))
    with np.errstate(invalid="ignore"):
        error = np.abs(got - want)
    assert np.all((error <= 2.0**-22 * np.abs(x)) | (np.isnan(got) & np.isnan(want)) | (got == want))


@pytest.mark.parametrize("case", STAYS)
def test_what_stays(case: str) -> None:
    start = graph(STAYS[case])
    assert simplify(start) is start


def test_every_rule_is_tested() -> None:
    assert {r.__name__ for r in RULES} == set(FIRES)
    assert all(r.__doc__ for r in RULES)


def sample(dtype: DType) -> np.ndarray:
    """Values of a dtype: all of them where they are few."""
    if dtype is BOOL:
        return np.array([False, True])
    if dtype.bits == 8 or dtype.bits == 16:
        return np.arange(1 << dtype.bits, dtype=np.uint32).astype(f"u{dtype.size}").view(dtype.numpy)
    if dtype.bits < 8:
        return np.arange(16 if dtype.kind == "uint" else 8).astype(dtype.numpy)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        return np.array([0, 1, info.max, info.max - 1, info.min, info.min + 1], dtype.numpy)
    fraction = 1 + np.finfo(dtype.numpy).eps
    return np.array(
        [0.0, -0.0, fraction, np.inf, -np.inf, np.nan, np.finfo(dtype.numpy).max, np.finfo(dtype.numpy).smallest_subnormal],
        dtype.numpy,
    )


NUMERIC = [d for d in dtypes.DTYPES.values() if d.kind != "string"]


@pytest.mark.parametrize("narrow", NUMERIC, ids=str)
def test_holds_is_a_promise(narrow: DType) -> None:
    """Where `holds(wide, narrow)`, every value comes back; and where it does not, some value does not (or it is a close call)."""
    values = sample(narrow)
    for wide in NUMERIC:
        if holds(wide, narrow):
            with np.errstate(all="ignore"):
                back = cast_array(cast_array(values, wide), narrow)
            np.testing.assert_array_equal(back.astype(np.float64), values.astype(np.float64), err_msg=f"{narrow} in {wide}")
    assert holds(narrow, narrow) and not (narrow.bits > 16 and holds(F16, narrow))
    assert holds(F64, F32) and holds(F32, BF16) and not holds(BF16, F16)
