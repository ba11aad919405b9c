"""Every damaged or contradictory model gives a TgenError that names the culprit."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tgen
import tgen.ir.evaluate
from tgen.frontends import load
from tgen.ir.errors import InvalidInput, InvalidModel, TgenError, Unsupported

from .conftest import MakeModel

node = helper.make_node


def mlp(make_model: MakeModel) -> onnx.ModelProto:
    w = np.arange(12, dtype=np.float32).reshape(3, 4)
    nodes = [node("MatMul", ["x", "w"], ["h"], name="project"), node("Relu", ["h"], ["y"], name="act")]
    return make_model(nodes, {"x": ["batch", 3]}, constants={"w": w})


def fails(model: object, error: type[TgenError], *words: str, **options: object) -> str:
    with pytest.raises(error) as info:
        load(model, **options)  # type: ignore[arg-type]
    text = str(info.value)
    for word in words:
        assert word in text, text
    return text


def test_missing_file(tmp_path: Path) -> None:
    fails(tmp_path / "none.onnx", InvalidModel, "none.onnx", "no such file")


def test_folder_that_holds_no_model(tmp_path: Path) -> None:
    fails(tmp_path, InvalidModel, "neither config.json nor model.onnx")


def test_not_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    fails(tmp_path / "pipe.onnx", InvalidModel, "pipe.onnx", "not a regular file")


def test_not_a_model() -> None:
    fails(b"", InvalidModel, "empty")
    fails(b"\x00hello world, this is text", InvalidModel, "corrupt")
    fails(3, InvalidModel, "int")
    fails(onnx.ModelProto(), InvalidModel, "no graph")


def test_truncated_anywhere(make_model: MakeModel) -> None:
    data = mlp(make_model).SerializeToString()
    for length in range(len(data)):
        with pytest.raises(TgenError):
            load(data[:length])


def test_flipped_bytes_never_raise_anything_else(make_model: MakeModel) -> None:
    data, dice = bytearray(mlp(make_model).SerializeToString()), random.Random(1)
    for _ in range(4000):
        broken = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 4))):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(TgenError):
            load(bytes(broken))


def test_unknown_opset(make_model: MakeModel) -> None:
    model = mlp(make_model)
    model.opset_import[0].version = 999
    fails(model, Unsupported, "opset 999", "known:")
    del model.opset_import[:]
    fails(model, InvalidModel, "operator set")


def test_cycle(make_model: MakeModel) -> None:
    nodes = [node("Add", ["x", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"], name="second"), node("Relu", ["b"], ["y"])]
    fails(make_model(nodes, {"x": [2]}), InvalidModel, "cyclic", "first", "second")


def test_undefined_name(make_model: MakeModel) -> None:
    fails(make_model([node("Relu", ["z"], ["y"], name="act")], {"x": [2]}), InvalidModel, "act", "'z'")
    fails(make_model([node("Relu", ["x"], ["h"])], {"x": [2]}), InvalidModel, "'y'", "nothing defines")


def test_name_defined_twice(make_model: MakeModel) -> None:
    nodes = [node("Relu", ["x"], ["y"], name="one"), node("Relu", ["x"], ["y"], name="two")]
    fails(make_model(nodes, {"x": [2]}), InvalidModel, "two", "one", "'y'")
    fails(make_model([node("Relu", ["x"], ["x"], name="loop")], {"x": [2]}, ["x"]), InvalidModel, "loop", "'x'")


def test_unsorted_nodes_are_sorted(make_model: MakeModel) -> None:
    nodes = [node("Relu", ["a"], ["y"]), node("Add", ["x", "x"], ["a"])]
    out = tgen.ir.evaluate.evaluate(load(make_model(nodes, {"x": [2]})), {"x": np.array([-1, 2], np.float32)})
    assert out["y"].tolist() == [0, 4]


def test_contradicting_shapes(make_model: MakeModel) -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"], name="project")]
    fails(make_model(nodes, {"x": [2, 5], "w": [3, 4]}), InvalidModel, "project", "5", "3")
    fails(make_model([node("Add", ["x", "w"], ["y"], name="plus")], {"x": [2], "w": [3]}), InvalidModel, "plus", "broadcast")


def test_contradicting_dtypes(make_model: MakeModel) -> None:
    model = make_model([node("Add", ["x", "w"], ["y"], name="plus")], {"x": [2], "w": [2]}, dtypes={"w": TensorProto.INT64})
    fails(model, InvalidModel, "plus", "f32", "i64")


def test_contradicting_output(make_model: MakeModel) -> None:
    relu = [node("Relu", ["x"], ["y"])]
    fails(make_model(relu, {"x": [2]}, {"y": [3]}), InvalidModel, "'y'", "f32[3]", "f32[2]")
    fails(make_model(relu, {"x": [2]}, {"y": [2, 1]}), InvalidModel, "'y'")
    fails(make_model(relu, {"x": [2]}, {"y": [2]}, dtypes={"y": TensorProto.INT32}), InvalidModel, "i32[2]")


def test_absurd_and_negative_dimensions(make_model: MakeModel) -> None:
    relu = [node("Relu", ["x"], ["y"])]
    fails(make_model(relu, {"x": [2**40, 2**40]}), InvalidModel, "'x'", "more than any machine holds")
    fails(make_model(relu, {"x": [-2]}), InvalidModel, "'x'", "negative")
    model = make_model([node("Add", ["x", "w"], ["y"])], {"x": [2]}, constants={"w": np.zeros(2, np.float32)})
    model.graph.initializer[0].dims[:] = [2**62]
    fails(model, InvalidModel, "'w'")


def test_absurd_result(make_model: MakeModel) -> None:
    model = make_model([node("Add", ["x", "w"], ["y"], name="plus")], {"x": [2**30, 1], "w": [1, 2**30]})
    fails(model, InvalidModel, "plus", "more than any machine holds")


def test_initialiser_of_wrong_length(make_model: MakeModel) -> None:
    model = mlp(make_model)
    model.graph.initializer[0].raw_data = b"1234"
    fails(model, InvalidModel, "'w'", "needs 48 bytes", "holds 4")


def test_two_inputs_of_one_name(make_model: MakeModel) -> None:
    model = mlp(make_model)
    model.graph.input.append(model.graph.input[0])
    fails(model, InvalidModel, "two inputs", "'x'")


def test_signature(make_model: MakeModel) -> None:
    fails(make_model([node("Add", ["x"], ["y"], name="plus")], {"x": [2]}), InvalidModel, "plus", "has 1 inputs", "wants 2")
    fails(make_model([node("Relu", ["x"], ["y"], name="act", slope=1.0)], {"x": [2]}), InvalidModel, "act", "'slope'")
    fails(make_model([node("Softmax", ["x"], ["y"], name="s", axis=1.5)], {"x": [2]}), InvalidModel, "'axis'", "int")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (node("LayerNormalization", ["x", "x"], ["y"], name="norm", axis=2**63 - 1), ["norm", "9223372036854775807"]),
        (node("GatherND", ["x", "i"], ["y"], name="take", batch_dims=-5), ["take", "-5"]),
        (node("Split", ["x"], ["y"], name="parts", num_outputs=2**31), ["parts", "2147483648"]),
        (node("Unsqueeze", ["x", "x"], ["y"], name="axes"), ["axes", "integers"]),
        (node("Relu", ["x"], ["y", "z"], name="act"), ["act", "2 outputs"]),
        (node("Conv", ["x", "i"], ["y"], name="conv"), ["conv", "i64[2]"]),
        (node("BitCast", ["x", "x", "x"], ["y"], name="bits"), ["bits", "3 inputs"]),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else None,
)
def test_numbers_and_ranks_that_no_operator_has(make_model: MakeModel, wanted: onnx.NodeProto, words: list[str]) -> None:
    model = make_model([wanted], {"x": [2, 4, 4]}, constants={"i": np.zeros(2, np.int64)}, opset=18)
    fails(model, InvalidModel, *words)


def test_everything_unsupported_is_listed_at_once(make_model: MakeModel) -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("ImageDecoder", ["a"], ["b"], name="decode"),
        node("Frobnicate", ["b"], ["c"], name="frob1", domain="com.example"),
        node("Frobnicate", ["c"], ["d"], name="frob2", domain="com.example"),
        node("StringSplit", ["x"], ["y", "n"], name="split"),
    ]
    text = fails(make_model(nodes, {"x": [2]}, opset=20, domains=["com.example"]), Unsupported, "3 things")
    assert "ImageDecoder (ai.onnx 20) ×1: not implemented — decode" in text
    assert "Frobnicate (com.example 1) ×2: no such operator — frob1, frob2" in text
    assert "StringSplit" in text


def test_unknown_symbol_and_bad_extents(make_model: MakeModel) -> None:
    model = mlp(make_model)
    fails(model, InvalidInput, "'seq'", "batch", shapes={"seq": 3})
    fails(model, InvalidInput, "batch = -1", shapes={"batch": -1})
    fails(model, InvalidInput, "'z'", "inputs: x", values={"z": np.zeros(2)})
    fails(model, InvalidInput, "'x'", "f32[batch, 3]", values={"x": np.zeros((2, 4), np.float32)})


def test_weights_that_replace(make_model: MakeModel) -> None:
    model, ones = mlp(make_model), np.ones((3, 4), np.float32)
    out = tgen.ir.evaluate.evaluate(load(model, weights={"w": ones}), {"x": np.ones((1, 3), np.float32)})
    assert out["y"].tolist() == [[3, 3, 3, 3]]
    fails(model, InvalidInput, "'v'", weights={"v": ones})
    fails(model, InvalidInput, "'w'", "f32[3, 4]", weights={"w": ones.T})
    fails(load(model), Unsupported, "weights", weights={"w": ones})


def test_function_that_calls_itself(make_model: MakeModel) -> None:
    loop = helper.make_function(
        "my", "loop", ["a"], ["b"], [node("loop", ["a"], ["b"], domain="my")], [helper.make_opsetid("my", 1)]
    )
    model = make_model([node("loop", ["x"], ["y"], name="call", domain="my")], {"x": [2]}, functions=[loop], domains=["my"])
    fails(model, InvalidModel, "calls itself", "loop")


def test_functions_that_double(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tgen.frontends.onnx.importer.MAX_NODES", 1000)
    calls = [[node(f"f{k + 1}", ["a"], ["h"], domain="my"), node(f"f{k + 1}", ["h"], ["b"], domain="my")] for k in range(40)]
    imports = [helper.make_opsetid("my", 1), helper.make_opsetid("", 17)]
    bodies = [*calls, [node("Relu", ["a"], ["b"], name="act")]]
    functions = [helper.make_function("my", f"f{k}", ["a"], ["b"], body, imports) for k, body in enumerate(bodies)]
    model = make_model([node("f0", ["x"], ["y"], domain="my")], {"x": [2]}, functions=functions, domains=["my"])
    fails(model, InvalidModel, "1,000 nodes", "f40")


def test_sizes_that_square_themselves(make_model: MakeModel) -> None:
    nodes = [node("Shape", ["x"], ["s0"]), *(node("Mul", [f"s{k}"] * 2, [f"s{k + 1}"]) for k in range(40))]
    graph = load(make_model([*nodes, node("Expand", ["x", "s40"], ["y"])], {"x": ["n"]}))
    assert [check.message for check in graph.checks] == ["Expand 'y': entry 0 of the shape is neither 1 nor n"]
    tiles = [
        step for k in range(40) for step in (node("Shape", [f"t{k}"], [f"r{k}"]), node("Tile", [f"t{k}", f"r{k}"], [f"t{k + 1}"]))
    ]
    fails(make_model([*tiles, node("Identity", ["t40"], ["y"])], {"t0": ["n"]}), InvalidModel, "'t10'", "more than 1024")


def test_constants_that_no_memory_holds(make_model: MakeModel) -> None:
    doubled = [node("Concat", [f"w{k}"] * 2, [f"w{k + 1}"], axis=0) for k in range(45)]
    model = make_model([*doubled, node("Identity", ["w45"], ["y"])], {"x": [1]}, constants={"w0": np.ones(2, np.float32)})
    with pytest.raises(TgenError, match="bytes of memory are needed"):
        tgen.compile(model, cache=False)


def external(make_model: MakeModel, folder: Path, **entries: str) -> Path:
    model = mlp(make_model)
    tensor = model.graph.initializer[0]
    (folder / "w.bin").write_bytes(b"\0" * 16 + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "16", "length": "48", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_external_data_is_read(make_model: MakeModel, tmp_path: Path) -> None:
    graph = load(external(make_model, tmp_path))
    out = tgen.ir.evaluate.evaluate(graph, {"x": np.eye(3, dtype=np.float32)})
    assert out["y"].tolist() == np.arange(12).reshape(3, 4).tolist()


def test_external_data_needs_a_folder(make_model: MakeModel, tmp_path: Path) -> None:
    path = external(make_model, tmp_path)
    fails(path.read_bytes(), InvalidModel, "'w'", "load it by its path")


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"location": "none.bin"}, "No such file"),
        ({"location": "../w.bin"}, "outside"),
        ({"location": "/etc/passwd"}, "outside"),
        ({"location": "link.bin"}, "outside"),
        ({"location": ""}, "names no file"),
        ({"location": "."}, "not a regular file"),
        ({"offset": "17"}, "64 bytes"),
        ({"offset": "-4"}, "offset = '-4'"),
        ({"offset": str(2**70)}, "64 bytes"),
        ({"length": "44"}, "length = 44"),
        ({"length": "many"}, "length = 'many'"),
    ],
)
def test_external_data_that_is_wrong(make_model: MakeModel, tmp_path: Path, entries: dict[str, str], word: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 64)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link.bin").symlink_to(tmp_path / "secret.bin")
    fails(external(make_model, inner, **entries), InvalidModel, "'w'", word)


def test_unsupported_element_type(make_model: MakeModel) -> None:
    model = make_model([node("Relu", ["x"], ["y"])], {"x": [2]}, dtypes={"x": TensorProto.COMPLEX64})
    fails(model, Unsupported, "complex64", "x")
    model.graph.input[0].type.tensor_type.elem_type = 77
    fails(model, InvalidModel, "'x'", "77")


def test_sparse_and_sequence(make_model: MakeModel) -> None:
    model = mlp(make_model)
    model.graph.sparse_initializer.add().values.CopyFrom(numpy_helper.from_array(np.zeros(1, np.float32), "s"))
    model.graph.input.append(helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, [2]))
    fails(model, Unsupported, "sparse tensors", "is seq(tensor(float))")
