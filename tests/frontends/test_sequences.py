"""Sequences and optionals of ONNX beside ONNX Runtime, in the interpreter and compiled; and what is said where they make no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

import tgen
from tgen.backend import ReferenceBackend, TgenBackend
from tgen.frontends import load
from tgen.frontends.onnx import DataDependent
from tgen.ir.errors import InvalidInput, InvalidModel, TgenError, Unsupported

BACKENDS = pytest.mark.parametrize("backend", [ReferenceBackend, TgenBackend], ids=["reference", "compiled"])


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    """A model from ONNX's text of its graph."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')


MAPPED = model("""g (seq(float[A, B]) xs, float[4] b) => (seq(float[?, ?]) ys, int64 n, float[?, 4] joined, float[?, ?] last) {
    zero = Constant <value_int: int = 0> ()
    back = Constant <value_int: int = -1> ()
    first = SequenceAt (xs, zero)
    more = SequenceInsert (xs, first, back)
    fewer = SequenceErase (more, zero)
    ys = SequenceMap (fewer, b) <body = body (float[A, B] x, float[4] c) => (float[C, D] y) { s = Add (x, c)  y = Tanh (s) }>
    n = SequenceLength (ys)
    joined = ConcatFromSequence <axis: int = 0> (ys)
    last = SequenceAt (ys, back)
}""")
GROWING = model("""g (float[6] x, int64 turns, bool going) => (seq(float[?]) parts, float[?] stacked) {
    none = SequenceEmpty ()
    parts, stacked = Loop (turns, going, none) <body = body (int64 k, bool c, seq(float) held) => (bool more, seq(float[?]) kept, float total) {
        one = Constant <value_int: int = 1> ()  axis = Constant <value_ints: ints = [0]> ()  four = Constant <value_int: int = 4> ()
        next = Add (k, one)
        end = Unsqueeze (next, axis)
        part = Slice (x, axis, end)
        kept = SequenceInsert (held, part)
        total = ReduceSum <keepdims: int = 0> (part)
        more = Less (next, four)
    }>
}""")
CHOSEN = model("""g (bool c, float[2, 3] x) => (seq(float[?, 3]) ys) {
    ys = If (c) <then_branch = a () => (seq(float[?, 3]) p) { y = Sin (x)  p = SequenceConstruct (x, y) },
                 else_branch = b () => (seq(float[?, 3]) q) { z = Exp (x)  q = SequenceConstruct (z, x) }>
}""")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def assert_equal(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted):
        assert isinstance(ours, list) == isinstance(theirs, list)
        pairs = zip(ours, theirs, strict=True) if isinstance(ours, list) else [(ours, theirs)]
        for a, b in pairs:
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@BACKENDS
@pytest.mark.parametrize(
    ("proto", "feeds"),
    [
        (MAPPED, [{"xs": [random(n + 1, 4) for n in range(count)], "b": random(4)} for count in (2, 4)]),
        (GROWING, [{"x": random(6), "turns": np.array(n), "going": np.array(True)} for n in (1, 3, 9)]),
        (CHOSEN, [{"x": random(2, 3), "c": np.array(c)} for c in (True, False)]),
    ],
    ids=["mapped", "growing", "chosen"],
)
def test_as_onnx_runtime_does(backend: type[TgenBackend], proto: onnx.ModelProto, feeds: list[dict[str, Any]]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    theirs = runtime.InferenceSession(proto.SerializeToString())
    prepared = backend.prepare(proto)
    for given in feeds:
        assert_equal(prepared.run(given), theirs.run(None, given))


def test_a_choice_of_sequences_is_made_in_the_run() -> None:
    graph = load(CHOSEN)
    assert list(graph.input_types) == ["c", "x"]
    assert [name for name, _ in graph.outputs] == ["ys.0", "ys.1"]


@BACKENDS
def test_an_optional_is_there_or_not(backend: type[TgenBackend]) -> None:
    proto = model("""g (optional(float[N]) x, bool c) => (bool there, optional(float[?]) y) {
        there = OptionalHasElement (x)
        y = If (there) <then_branch = a () => (optional(float[?]) p) { v = OptionalGetElement (x)  w = Neg (v)  p = Optional (w) },
                        else_branch = b () => (optional(float[?]) q) { q = Optional <type: type_proto = float[?]> () }>
    }""")
    prepared = backend.prepare(proto)
    there, y = prepared.run({"x": random(3), "c": np.array(True)})
    assert there
    np.testing.assert_array_equal(y, -random(3))
    there, y = prepared.run({"x": None, "c": np.array(True)})
    assert not there
    assert y is None


def test_a_graph_has_an_input_for_each_element() -> None:
    graph = load(MAPPED, structures={"xs": [(2, 4), (5, 4)]})
    assert {n: str(t) for n, t in graph.input_types.items()} == {"xs.0": "f32[2, 4]", "xs.1": "f32[5, 4]", "b": "f32[4]"}
    found = tgen.compile(graph, cache=False).run({"xs.0": random(2, 4), "xs.1": random(5, 4), "b": random(4)})
    assert list(found) == ["ys.0", "ys.1", "n", "joined", "last"]
    np.testing.assert_allclose(found["last"], np.tanh(random(5, 4) + random(4)), rtol=1e-6, atol=1e-6)
    open_ended = load(model("g (seq(float[A, 4]) xs) => (seq(float[A, 4]) ys) { ys = Identity (xs) }"), structures={"xs": 2})
    assert {n: str(t) for n, t in open_ended.input_types.items()} == {"xs.0": "f32[xs_0_0, 4]", "xs.1": "f32[xs_1_0, 4]"}


@BACKENDS
def test_shapes_that_decide_how_many_there_are(backend: type[TgenBackend]) -> None:
    """A split along an axis whose extent is open, and an input whose rank is: compiled for what is given."""
    proto = model(
        "g (float[N, 2] x, float[] y) => (seq(float[?, 2]) parts, float[] z) { parts = SplitToSequence (x)  z = Neg (y) }"
    )
    prepared = backend.prepare(proto)
    for count in (1, 3):
        parts, z = prepared.run([random(count, 2), random(*range(count))])
        assert_equal([parts, z], [list(random(count, 2)[:, None]), -random(*range(count))])


def test_what_is_not_said_is_asked_for() -> None:
    with pytest.raises(
        DataDependent, match=r"'xs' is seq\(tensor\(float\)\)[\s\S]*load\(\.\.\., structures=\{'xs': \.\.\.\}\)"
    ) as info:
        load(MAPPED)
    assert info.value.structures == ("xs",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"xs": -1}, "number of its elements"),
        ({"xs": 1 << 40}, "number of its elements"),
        ({"xs": True}, "number of its elements"),
        ({"xs": None}, "number of its elements"),
        ({"xs": "12"}, "number of its elements"),
        ({"xs": [(2, -4)]}, "no shape"),
        ({"xs": [(2, 4, 4)]}, "does not allow"),
        ({"c": 1}, "no input is named 'c'; inputs: xs, b"),
    ],
)
def test_structures_that_make_no_sense(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(MAPPED, structures=given)


ENDLESS = """g (bool c) => (seq(float) y) {
    s = SequenceEmpty ()  t = Constant <value_int: int = 1000000000000> ()
    y = Loop (t, , s) <body = body (int64 k, bool c, seq(float) h) => (bool d, seq(float) i) {
        d = Constant <value: tensor = bool {1}> ()  f = Constant <value_float: float = 1.0> ()  i = SequenceInsert (h, f) }>
}"""


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "g (float[2] x) => (float[2] y) { s = SequenceConstruct (x)  y = Add (s, x) }",
            InvalidModel,
            r"Add 'y' has input 0 of type seq",
        ),
        ("g (float[2] x) => (int64 y) { y = SequenceLength (x) }", InvalidModel, r"SequenceLength 'y' has input 0 of type tensor"),
        (
            "g (float[2] x, int32[2] z) => (int64 y) { s = SequenceConstruct (x)  t = SequenceInsert (s, z)  y = SequenceLength (t) }",
            InvalidModel,
            "'t' puts a tensor.int32. in",
        ),
        (
            "g (float[2] x) => (float[2] y) { s = SequenceConstruct (x)  p = Constant <value_int: int = 1> ()  y = SequenceAt (s, p) }",
            InvalidModel,
            r"SequenceAt 'y' has position \[1\]",
        ),
        (
            "g (float[2] x) => (int64 y) { p = Constant <value_int: int = 0> ()  s = SplitToSequence (x, p)  y = SequenceLength (s) }",
            InvalidModel,
            "parts of 0",
        ),
        ("g (float[2] x) => (float[2] y) { s = SequenceConstruct (x)  y = Identity (s) }", InvalidModel, "declared as tensor"),
        ("g (float[9999] x) => (seq(float) y) { y = SplitToSequence (x) }", Unsupported, "more than 4096"),
        (ENDLESS, Unsupported, "more than 1024 turns"),
    ],
)
def test_models_that_make_no_sense(text: str, error: type[TgenError], message: str) -> None:
    with pytest.raises(error, match=message):
        load(model(text))


@BACKENDS
@pytest.mark.parametrize("backwards", [0, 1])
def test_scan_of_batches(backend: type[TgenBackend], backwards: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    proto = model(
        f"""g (float[B, 2] s, float[B, T, 2] x) => (float[B, 2] y, float[B, T, 2] z) {{
        y, z = Scan (, s, x) <num_scan_inputs = 1, directions: ints = [{backwards}], body = b (float[2] u, float[2] v) => (float[2] w, float[2] r) {{
            d = Mul (u, v)  w = Add (d, v)  r = Identity (w) }}>
    }}""",
        opset=8,
    )
    given = {"s": random(3, 2), "x": random(3, 5, 2)}
    assert_equal(backend.prepare(proto).run(given), runtime.InferenceSession(proto.SerializeToString()).run(None, given))
