"""Symbolic dimensions: names, expressions, and the shape arithmetic of exporters, which must leave no nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tgen.frontends import load
from tgen.frontends.onnx import DataDependent
from tgen.ir.errors import InvalidInput, InvalidModel, TgenError
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph

from .conftest import MakeModel

node = helper.make_node


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def ops(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes if n.op.name not in ("input", "constant")]


def shapes(graph: Graph) -> str:
    return "; ".join(str(v.type) for _, v in graph.outputs)


def test_names_of_dimensions(make_model: MakeModel) -> None:
    model = make_model(
        [node("Identity", [n], [f"{n}_out"]) for n in "abc"],
        {"a": ["batch", "past + seq", "unk__5"], "b": ["past", "seq", "batch size"], "c": [None, "batch-size", None]},
        ["a_out", "b_out", "c_out"],
    )
    assert shapes(load(model)) == "f32[batch, past + seq, unk__5]; f32[past, seq, batch_size]; f32[c_0, batch_size_2, c_2]"


def test_shapes_fix_symbols(make_model: MakeModel) -> None:
    model = make_model([node("Relu", ["x"], ["y"])], {"x": ["batch", "seq"]})
    assert shapes(load(model, shapes={"seq": 128})) == "f32[batch, 128]"
    assert shapes(load(load(model), shapes={"seq": 128, "batch": 1})) == "f32[1, 128]"


def split_heads() -> list[onnx.NodeProto]:
    """reshape(x, [batch, seq, 4, 8]) as TorchScript exports it."""
    return [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"], axis=0),
        node("Gather", ["shape", "one"], ["seq"], axis=0),
        node("Unsqueeze", ["batch", "axis0"], ["b1"]),
        node("Unsqueeze", ["seq", "axis0"], ["s1"]),
        node("Concat", ["b1", "s1", "four", "eight"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["y"]),
    ]


def test_reshape_by_gathered_extents(make_model: MakeModel) -> None:
    constants = {"zero": ints(0)[0], "one": ints(1)[0], "axis0": ints(0), "four": ints(4), "eight": ints(8)}
    graph = load(make_model(split_heads(), {"x": ["batch", "seq", 32]}, constants=constants))
    assert shapes(graph) == "f32[batch, seq, 4, 8]"
    assert ops(graph) == ["reshape"]


@pytest.mark.parametrize(
    ("wanted", "shape"), [((0, 0, 4, -1), "batch, seq, 4, 8"), ((0, -1), "batch, 32*seq"), ((-1, 32), "batch*seq, 32")]
)
def test_reshape_with_zero_and_rest(make_model: MakeModel, wanted: tuple[int, ...], shape: str) -> None:
    model = make_model([node("Reshape", ["x", "s"], ["y"])], {"x": ["batch", "seq", 32]}, constants={"s": ints(*wanted)})
    assert shapes(load(model)) == f"f32[{shape}]"


def test_reshape_that_cannot_be(make_model: MakeModel) -> None:
    for wanted in ((5, -1), (-1, -1), (0, 0, 0, 0, 1), (-2, 3)):
        model = make_model([node("Reshape", ["x", "s"], ["y"], name="view")], {"x": [2, 3, 4]}, constants={"s": ints(*wanted)})
        with pytest.raises(InvalidModel, match="view"):
            load(model)


def test_arithmetic_on_extents(make_model: MakeModel) -> None:
    """ones[max(seq // 2, 1) + 1, 2*seq] and a range, from the shape of x."""
    nodes = [
        node("Shape", ["x"], ["n"]),
        node("Div", ["n", "two"], ["half"]),
        node("Max", ["half", "one"], ["m"]),
        node("Add", ["m", "one"], ["rows"]),
        node("Mul", ["n", "two"], ["columns"]),
        node("Concat", ["rows", "columns"], ["wanted"], axis=0),
        node("ConstantOfShape", ["wanted"], ["y"], value=onnx.numpy_helper.from_array(np.ones(1, np.float32))),
        node("Squeeze", ["n"], ["limit"]),
        node("Range", ["start", "limit", "step"], ["r"]),
    ]
    constants = {"two": ints(2), "one": ints(1), "start": ints(0)[0], "step": ints(3)[0]}
    graph = load(make_model(nodes, {"x": ["seq"]}, ["y", "r"], constants=constants))
    for n in (0, 1, 2, 7, 12):
        found = evaluate(graph, {"x": np.zeros(n, np.float32)})
        assert found["y"].shape == (max(n // 2, 1) + 1, 2 * n)
        assert found["r"].tolist() == list(range(0, n, 3))


def test_expand_by_where_and_equal(make_model: MakeModel) -> None:
    """TorchScript's expand: -1 keeps an extent."""
    nodes = [
        node("Shape", ["x"], ["n"]),
        node("Concat", ["n", "minus"], ["want"], axis=0),
        node("Shape", ["want"], ["rank"]),
        node("ConstantOfShape", ["rank"], ["ones"], value=onnx.numpy_helper.from_array(ints(1))),
        node("Equal", ["want", "minus"], ["keep"]),
        node("Where", ["keep", "ones", "want"], ["shape"]),
        node("Expand", ["x", "shape"], ["y"]),
    ]
    graph = load(make_model(nodes, {"x": ["seq"]}, constants={"minus": ints(-1)}, opset=13))
    found = evaluate(load(make_model(nodes, {"x": [3]}, constants={"minus": ints(-1)})), {"x": np.zeros(3, np.float32)})
    assert shapes(graph) == "f32[seq, seq]"
    assert found["y"].shape == (3, 3)


def test_extents_used_as_data(make_model: MakeModel) -> None:
    nodes = [node("Shape", ["x"], ["n"]), node("Cast", ["n"], ["f"], to=1), node("Mul", ["f", "half"], ["y"])]
    graph = load(make_model(nodes, {"x": ["a", "b"]}, constants={"half": np.array(0.5, np.float32)}))
    assert evaluate(graph, {"x": np.zeros((3, 5), np.float32)})["y"].tolist() == [1.5, 2.5]


def test_a_question_that_depends_on_the_extent_is_data(make_model: MakeModel) -> None:
    nodes = [node("Size", ["x"], ["n"]), node("Greater", ["n", "ten"], ["y"])]
    graph = load(make_model(nodes, {"x": ["a"]}, constants={"ten": ints(10)[0]}))
    assert [bool(evaluate(graph, {"x": np.zeros(n, np.float32)})["y"]) for n in (3, 10, 11)] == [False, False, True]


def test_axes_that_are_an_input_can_be_fixed(make_model: MakeModel) -> None:
    model = make_model(
        [node("Unsqueeze", ["x", "s"], ["y"], name="view")], {"x": ["n", 6], "s": [2]}, dtypes={"s": TensorProto.INT64}
    )
    with pytest.raises(DataDependent, match="view") as info:
        load(model)
    assert info.value.inputs == ("s",)
    assert shapes(load(model, values={"s": ints(-1, 0)})) == "f32[1, n, 6, 1]"


def test_table_that_is_cut_to_the_length_of_the_input(make_model: MakeModel) -> None:
    """x[seq] + table[:seq] has the shape [seq]; a longer input is an error, as in any runtime."""
    nodes = [node("Shape", ["x"], ["n"]), node("Slice", ["table", "zero", "n"], ["t"]), node("Add", ["x", "t"], ["y"])]
    graph = load(make_model(nodes, {"x": ["seq"]}, constants={"table": np.arange(5, dtype=np.float32), "zero": ints(0)}))
    assert shapes(graph) == "f32[seq]"
    assert evaluate(graph, {"x": np.ones(3, np.float32)})["y"].tolist() == [1, 2, 3]
    with pytest.raises(InvalidInput, match="sizes that the model does not allow: it has 5 where 6"):
        evaluate(graph, {"x": np.ones(6, np.float32)})
    with pytest.raises(TgenError):
        load(graph, shapes={"seq": 6})


def test_formulas_of_one_symbol_that_must_be_equal(make_model: MakeModel) -> None:
    """Every second element, each twice, beside x itself: as networks do that go down and up again. Odd lengths would fail anywhere."""
    nodes = [
        node("Slice", ["x", "zero", "end", "zero", "two"], ["half"]),
        node("Unsqueeze", ["half", "one"], ["column"]),
        node("Expand", ["column", "pair"], ["pairs"]),
        node("Reshape", ["pairs", "flat"], ["up"]),
        node("Add", ["up", "x"], ["y"]),
        node("Unsqueeze", ["up", "zero"], ["a"]),
        node("Unsqueeze", ["x", "zero"], ["b"]),
        node("Concat", ["a", "b"], ["z"], axis=0),
    ]
    constants = {"zero": ints(0), "one": ints(1), "two": ints(2), "end": ints(2**31 - 1), "pair": ints(1, 2), "flat": ints(-1)}
    graph = load(make_model(nodes, {"x": ["n"]}, ["y", "z"], constants=constants))
    assert shapes(graph) == "f32[n]; f32[2, n]"
    x = np.arange(6, dtype=np.float32)
    out = evaluate(graph, {"x": x})
    assert out["y"].tolist() == (x + x[::2].repeat(2)).tolist()
    assert out["z"].tolist() == [x[::2].repeat(2).tolist(), x.tolist()]
    with pytest.raises(InvalidInput, match="sizes that the model does not allow: it has 6 where 5"):
        evaluate(graph, {"x": x[:5]})


@pytest.mark.parametrize("limit", [10**9, 2**31 - 1])
def test_a_slice_with_an_end_past_everything(make_model: MakeModel, limit: int) -> None:
    nodes = [node("Slice", ["x", "zero", "end"], ["s"]), node("Shape", ["x"], ["n"]), node("Reshape", ["s", "n"], ["y"])]
    graph = load(make_model(nodes, {"x": ["n"]}, constants={"zero": ints(0), "end": ints(limit)}))
    assert shapes(graph) == "f32[n]"


def test_an_axis_that_may_be_squeezed(make_model: MakeModel) -> None:
    """x.squeeze(1) is exported with a branch for extents other than 1; the ranks differ, so the model is for one of them."""
    then = helper.make_graph([node("Squeeze", ["x", "one"], ["a"])], "then", [], [onnx.ValueInfoProto(name="a")])
    other = helper.make_graph([node("Identity", ["x"], ["b"])], "else", [], [onnx.ValueInfoProto(name="b")])
    nodes = [
        node("Shape", ["x"], ["n"], start=1),
        node("Equal", ["n", "one"], ["c"]),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    graph = load(make_model(nodes, {"x": ["n", "k"]}, constants={"one": ints(1)}))
    assert shapes(graph) == "f32[n]"
    assert evaluate(graph, {"x": np.ones((3, 1), np.float32)})["y"].tolist() == [1, 1, 1]
    with pytest.raises(InvalidInput, match="it has 2 where 1"):
        evaluate(graph, {"x": np.ones((3, 2), np.float32)})


def test_open_extents_without_a_name(make_model: MakeModel) -> None:
    """-1 and "?" are extents of any size, each its own; output declarations with open extents may be wrong."""
    graph = load(make_model([node("Relu", ["x"], ["y"])], {"x": [-1, "?", "?", 3]}, {"y": [1, "n"]}))
    assert shapes(graph) == "f32[x_0, x_1, x_2, 3]"


def export_bert(path: Path, attention: str, dynamo: bool) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=100, max_position_embeddings=64
    )
    inner = transformers.BertModel._from_config(config, attn_implementation=attention)

    class Encoder(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask, token_type_ids):  # type: ignore[no-untyped-def]
            out = self.inner(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            return out.last_hidden_state, out.pooler_output

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = (torch.randint(0, 100, (2, 7)), torch.ones(2, 7, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long))
    axes = {name: {0: "batch", 1: "seq"} for name in names}
    options = {"dynamic_shapes": axes} if dynamo else {"dynamic_axes": axes, "opset_version": 17}
    torch.onnx.export(
        Encoder().eval(),
        example,
        str(path),
        input_names=names,
        output_names=["last", "pooled"],
        dynamo=dynamo,
        verbose=False,
        **options,
    )


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bert_as_torch_exports_it(tmp_path: Path, attention: str, dynamo: bool) -> None:
    """Agrees with ONNX Runtime at several lengths; no arithmetic on shapes is left."""
    ort = pytest.importorskip("onnxruntime")
    path = tmp_path / "bert.onnx"
    export_bert(path, attention, dynamo)
    graph, session = load(path), ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    dice = np.random.default_rng(0)
    for batch, seq in ((2, 7), (1, 16), (3, 1)):
        mask = np.ones((batch, seq), np.int64)
        mask[-1, seq // 2 + 1 :] = 0
        feeds = {
            "input_ids": dice.integers(0, 100, (batch, seq)),
            "attention_mask": mask,
            "token_type_ids": np.zeros((batch, seq), np.int64),
        }
        wanted = session.run(["last", "pooled"], feeds)
        found = evaluate(graph, feeds)
        np.testing.assert_allclose(found["last"], wanted[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["pooled"], wanted[1], rtol=1e-4, atol=1e-5)
    assert not [n for n in graph.nodes if n.op.name == "dims_value" and len(n.op.dims) > 3]  # type: ignore[attr-defined]
