"""Operators over strings, compiled, mean what ONNX Runtime says; and strings as a caller gives and gets them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tgen
from tgen.frontends.onnx import load_onnx
from tgen.frontends.onnx.regex import automaton
from tgen.ir.errors import InvalidInput, InvalidModel, Unsupported
from tgen.ir.evaluate import evaluate
from tgen.ir.strings import decoded, encoded
from tgen.ir.text import parse_graph, print_graph, tensors_of

ML = "ai.onnx.ml"
LETTERS = ["a", "b", "B", "-", " ", "é", "漢", "😀"]
WORDS = ["a", "ab", "B", "", "é", "-", "aB"]


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, domain=domain, **attributes)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: Sequence[str],
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, TensorProto.STRING, s) for n, s in inputs.items()]
    tensors = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    results = [onnx.ValueInfoProto(name=n) for n in outputs]
    graph = helper.make_graph(list(nodes), "text", infos, results, tensors)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(ML, 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    words = [str(rng.choice(WORDS)) if rng.random() < 0.5 else "".join(rng.choice(LETTERS, 5)) for _ in range(int(np.prod(shape)))]
    return np.array(words, object).reshape(shape)


def everything() -> onnx.ModelProto:
    """x [rows, 3], y [1, 3]"""
    words: dict[str, Any] = {"keys_strings": WORDS[:4]}
    locale: dict[str, Any] = {"locale": "C.UTF-8"}  # not every machine has the default
    return model_of(
        [
            node("StringConcat", ["x", "y"], ["joined"]),
            node("StringSplit", ["joined"], ["pieces", "counts"], delimiter="-", maxsplit=2),
            node("StringSplit", ["x"], ["words", "word_counts"]),
            node("Equal", ["x", "y"], ["same"]),
            node("Where", ["same", "joined", "x"], ["either"]),
            node("Transpose", ["either"], ["turned"], perm=[1, 0]),
            node("Concat", ["turned", "turned"], ["twice"], axis=0),
            node("Gather", ["twice", "places"], ["taken"], axis=0),
            node("StringConcat", ["twice", "word"], ["some"]),
            node("RegexFullMatch", ["joined"], ["matched"], pattern="[^b]*(é|漢)?.?[[:alpha:]]*"),
            node("LabelEncoder", ["x"], ["numbers"], ML, values_int64s=[5, 6, 7, 8], default_int64=-3, **words),
            node("LabelEncoder", ["numbers"], ["names"], ML, keys_int64s=[5, 7], values_strings=["fünf", ""], default_string="?"),
            node("CategoryMapper", ["x"], ["mapped"], ML, cats_int64s=[1, 2, 4], cats_strings=["B", "", "é"], default_int64=9),
            node("OneHotEncoder", ["y"], ["hot"], ML, cats_strings=WORDS, zeros=1),
            node("Shape", ["pieces"], ["shape"]),
            node(
                "TfIdfVectorizer", ["x"], ["grams"], mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1,
                pool_strings=["a", "B", "é", "a", "ab", "B", "a"], ngram_counts=[0, 3], ngram_indexes=[0, 1, 2, 3, 4],
            ),
            node("Reshape", ["y", "line"], ["flat"]),
            node("StringNormalizer", ["flat"], ["upper"], case_change_action="UPPER", stopwords=["AB", "-"], **locale),
            node("StringNormalizer", ["flat"], ["lower"], case_change_action="LOWER", is_case_sensitive=1, stopwords=["B"], **locale),
        ],
        {"x": ["rows", 3], "y": [1, 3]},
        ["joined", "pieces", "counts", "words", "word_counts", "some", "taken", "twice", "matched", "names", "mapped", "hot", "shape", "grams", "upper",
         "lower"],
        {"word": np.array("Ünicode", object), "places": np.array([4, 0, -1, 0]), "line": np.array([-1])},
    )  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> Any:
    return tgen.compile(everything(), cache=False)


@pytest.mark.peer("onnxruntime")
def test_agrees_with_onnxruntime(compiled: Any, rng: np.random.Generator) -> None:
    import onnxruntime

    model = everything()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in model.graph.output]
    for rows in (5, 1, 40):
        feeds = {"x": drawn(rng, (rows, 3)), "y": drawn(rng, (1, 3))}
        feeds["y"][feeds["y"] == ""] = "a"  # in an empty string it finds no piece, where ONNX's reference finds one
        want = dict(zip(names, session.run(None, feeds)))
        want["taken"] = want["twice"][[4, 0, -1, 0]]  # its Gather of strings gives the first column only
        for found in (compiled.run(feeds), tgen.reference(model, feeds)):
            for name in names:
                assert found[name].shape == want[name].shape, name
                np.testing.assert_array_equal(found[name], want[name], err_msg=name)


NUMBERS = {
    "f32": (TensorProto.FLOAT, np.array([0.1, -0.0, 1e8, 3.4e38, 1e-45, np.nan, np.inf, -np.inf, 123456789, 1e-5], np.float32)),
    "f64": (TensorProto.DOUBLE, np.array([0.1, 1e17, 123456789.125, -5e-324, 1e22])),
    "f16": (TensorProto.FLOAT16, np.array([0.1, 65504, 1e-7], np.float16)),
    "i8": (TensorProto.INT8, np.array([-128, 0, 127], np.int8)),
    "u64": (TensorProto.UINT64, np.array([2**64 - 1, 0, 10], np.uint64)),
    "bool": (TensorProto.BOOL, np.array([True, False])),
}


def numbers_model() -> onnx.ModelProto:
    """Numbers as strings; strings t of decimals and w of integers as numbers."""
    nodes = [node("Cast", [name], [f"{name}_text"], to=TensorProto.STRING) for name in NUMBERS]
    nodes += [node("Cast", ["t"], [f"t_{name}"], to=kind) for name, (kind, _) in NUMBERS.items()]
    nodes += [node("Cast", ["w"], [f"w_{name}"], to=kind) for name, (kind, _) in NUMBERS.items()]
    nodes += [
        node("CastLike", ["i8", "w"], ["like_text"]),
        node("CastLike", ["w", "i8"], ["like_i8"]),
        node("Cast", ["t"], ["same"], to=8),
    ]
    infos = [helper.make_tensor_value_info(n, kind, [f"{n}s"]) for n, (kind, _) in NUMBERS.items()]
    infos += [helper.make_tensor_value_info(n, TensorProto.STRING, ["rows", 2]) for n in ("t", "w")]
    results = [onnx.ValueInfoProto(name=name) for made in nodes for name in made.output]
    graph = helper.make_graph(nodes, "numbers", infos, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.fixture(scope="module")
def numbers() -> Any:
    return tgen.compile(numbers_model(), cache=False)


@pytest.mark.peer("onnxruntime")
def test_numbers_become_strings_and_strings_numbers(numbers: Any) -> None:
    import onnxruntime

    model = numbers_model()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in model.graph.output]
    words = np.array([["1.5", " -3"], ["0", "12.75"], ["+7", "120"]], object)
    for rows in (3, 0):
        feeds: dict[str, Any] = {name: array for name, (_, array) in NUMBERS.items()}
        feeds |= {
            "t": words[:rows],
            "w": np.array([["12", "-3"], ["300", "0.9"], ["18446744073709551615"[: 3 * k] or "1" for k in (3, 6)]], object)[:rows],
        }
        for name, want in zip(names, session.run(None, feeds)):
            for found in (numbers.run(feeds)[name], tgen.reference(model, feeds)[name]):
                assert found.dtype == want.dtype and found.shape == want.shape, name
                np.testing.assert_array_equal(found, want, err_msg=name)


@pytest.mark.parametrize("word", ["", "1.5x", "0x10", "1e400", "١"])
def test_a_string_that_is_no_number_ends_the_run(numbers: Any, word: str) -> None:
    feeds: dict[str, Any] = {name: array for name, (_, array) in NUMBERS.items()}
    feeds |= {"w": np.array([["1", "2"]], object), "t": np.array([["1", word]], object)}
    with pytest.raises(InvalidInput, match="Cast 't_.*': a string is no number of"):
        numbers.run(feeds)


def test_specs_name_text(compiled: Any) -> None:
    assert [str(spec) for spec in compiled.inputs] == ["x: object[rows, 3]", "y: object[1, 3]"]
    assert str(compiled.outputs[0]) == "joined: object[rows, 3]"


def test_what_is_no_text_is_refused(compiled: Any) -> None:
    text = np.array([["a", "b", "c"]])
    with pytest.raises(InvalidInput, match="'x' has dtype float64; wanted text"):
        compiled.run({"x": np.ones((1, 3)), "y": text})
    with pytest.raises(InvalidInput, match="'x' holds what is no text"):
        compiled.run({"x": np.array([["a", None, 1]], object), "y": text})
    with pytest.raises(InvalidInput, match="missing input y"):
        compiled.run({"x": text})
    with pytest.raises(InvalidInput, match="rank 1"):
        compiled(text[0], text)


@pytest.mark.parametrize("ends", [[3, 1, 4], [1, 2, 9], [-1, 2, 4], [1, 2, 3]])
def test_ends_that_do_not_fit_end_the_run(compiled: Any, ends: list[int]) -> None:
    """As a caller in C could give them."""
    good = encoded({"x": np.array([["a", "b", "cd"]]), "y": np.array([["a", "b", "c"]])}, ("x", "y"))
    with pytest.raises(InvalidInput, match="input 'x': the ends of its strings"):
        compiled._executable.run({**good, "x.ends": np.array([ends])})


def test_the_text_form_knows_texts() -> None:
    graph = load_onnx(everything())
    assert print_graph(parse_graph(print_graph(graph), tensors_of(graph))) == print_graph(graph)
    assert graph.texts[:2] == ("x", "y")


def test_a_library_takes_and_gives_text(tmp_path: Path) -> None:
    model = model_of([node("StringConcat", ["x", "tail"], ["y"])], {"x": ["n"]}, ["y"], {"tail": np.array(["!"], object)})
    built = tgen.build(model, tmp_path, name="shout")
    assert list(tgen.load(built.files[0])(np.array(["é", "", "b"]))[0]) == ["é!", "!", "b!"]


def test_bytes_that_are_no_utf8_come_back() -> None:
    given = {"x": np.array([b"\xff\x00a", b""], object)}
    found = decoded(encoded(given, ("x",)), ("x",))["x"]
    assert [word.encode(errors="surrogateescape") for word in found] == given["x"].tolist()


def test_constants_are_computed_while_importing() -> None:
    """Nothing is left to do for a model without inputs; an initialiser of strings may be replaced."""
    model = model_of([node("Identity", ["w"], ["y"])], {}, ["y"], {"w": np.array(["a", "bc"], object)})
    graph = load_onnx(model, weights={"w": np.array(["xyz", "é"])})
    assert list(decoded(evaluate(graph, {}), graph.texts)["y"]) == ["xyz", "é"]


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (node("RegexFullMatch", ["x"], ["z"], pattern="(a"), InvalidModel, "unterminated"),
        (node("RegexFullMatch", ["x"], ["z"], pattern=r"(a)\1"), Unsupported, "groupref in a pattern"),
        (node("RegexFullMatch", ["x"], ["z"], pattern="((a{99}){99}){99}"), Unsupported, "places"),
        (node("RegexFullMatch", ["x"], ["z"], pattern="(a|b)*a(a|b){20}"), Unsupported, "states"),
        (node("StringConcat", ["x", "n"], ["z"]), InvalidModel, r"StringConcat 'z' does not take \(string"),
        (node("Gather", ["n", "x"], ["z"]), InvalidModel, r"Gather 'z' does not take \(i64"),
        (node("Where", ["n", "x", "x"], ["z"]), InvalidModel, "Where 'z' does not take"),
        (node("StringConcat", ["n", "n"], ["z"]), Unsupported, "StringConcat"),
        (node("Add", ["x", "x"], ["z"]), Unsupported, "for strings"),
        (node("LabelEncoder", ["x"], ["z"], ML, keys_int64s=[1], values_int64s=[2]), InvalidModel, "of x's type"),
        (node("CategoryMapper", ["x"], ["z"], ML, cats_int64s=[1, 2], cats_strings=["a"]), InvalidModel, "2 numbers for 1 words"),
        (node("StringNormalizer", ["cube"], ["z"]), InvalidModel, "StringNormalizer 'z'"),
        (node("ConstantOfShape", ["n"], ["z"], value=numpy_helper.from_array(np.array(["a"], object))), Unsupported, "strings"),
    ],
)
def test_refuses(made: onnx.NodeProto, error: type[Exception], message: str) -> None:
    made.name = "z"
    constants = {"n": np.array([1]), "cube": np.array([[["a"]]], object)}
    with pytest.raises(error, match=message):
        load_onnx(model_of([made], {"x": ["rows"]}, ["z"], constants))


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (r"\d{2,3}", ["12", "123"], ["1", "1234", "٣٤"]),
        (r"(?i)straße", ["STRAßE"], ["strasse"]),
        (r"a.c", ["a漢c", "abc"], ["a\nc", "ac"]),
        (r"[^a-y]+|^$", ["z€😀", ""], ["b", "zb"]),
        (r"\bcat\b.*", ["cat", "cat!"], ["cats"]),
        (r"\Qa.b\E[[:digit:]]\z", ["a.b7"], ["axb7", "a.b"]),
        (r"(ab|a)(bc)?", ["abc", "ab", "a", "abbc"], ["abcb"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fails: list[str]) -> None:
    kinds, steps, accepts = automaton(pattern)
    for word in (*fits, *fails):
        state = 0
        for byte in word.encode():
            state = int(steps[state, kinds[byte]]) if state >= 0 else -1
        assert (state >= 0 and bool(accepts[state])) == (word in fits), word
