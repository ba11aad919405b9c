"""Models with something wrong in them, by chance: every one loads or gives a TgenError, whatever was changed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from tgen.frontends import load
from tgen.ir.errors import TgenError

from .conftest import MakeModel

node = helper.make_node
NUMBERS = (0, 1, -1, 2, 3, -5, 64, 2**15, 2**31 - 1, 2**31, -(2**31), 2**40, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 0.5, 3e38, float("nan"), float("inf"))
TEXTS = (b"", b"SAME_UPPER", b"linear", b"reflect", b"\xff\xfe", b"x" * 1000)
SHAPES: dict[str, list[int | str]] = {"x": ["n", 4, 8, 8], "w": [4, 4, 3, 3], "v": [8], "m": ["n", 8]}
MUTATIONS = 150  # of each node

# A few of each kind of what a mapping reads: ranks, entries of constants, attributes, subgraphs.
NODES = [
    node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2], group=1),
    node("ConvTranspose", ["x", "w"], ["y"], output_padding=[1, 1], strides=[2, 2]),
    node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], ceil_mode=1),
    node("LayerNormalization", ["m", "v", "v"], ["y", "mean"], axis=-1, epsilon=1e-5),
    node("GatherND", ["m", "i"], ["y"], batch_dims=0),
    node("Gather", ["m", "i"], ["y"], axis=1),
    node("Split", ["x"], ["y", "z"], axis=2),
    node("Slice", ["x", "i", "i", "i", "i"], ["y"]),
    node("Pad", ["m", "p"], ["y"], mode="reflect"),
    node("Reshape", ["i", "i"], ["y"], allowzero=0),
    node("Unsqueeze", ["m", "i"], ["y"]),
    node("Resize", ["x", "", "s"], ["y"], mode="linear", axes=[2, 3]),
    node("LSTM", ["m3", "m3", "m3"], ["y", "h"], hidden_size=8, direction="reverse"),
    node("Einsum", ["m", "m"], ["y"], equation="ab,cb->ac"),
    node("TopK", ["m", "i"], ["y", "z"], axis=-1, sorted=1),
    node("OneHot", ["i", "i", "v2"], ["y"], axis=-1),
    node("ConstantOfShape", ["i"], ["y"]),
    node("QuantizeLinear", ["m", "v", "z8"], ["y"], axis=1),
    node("Trilu", ["m", "i"], ["y"], upper=1),
    node("EyeLike", ["m"], ["y"], k=-1),
]


def model_with(make_model: MakeModel, wanted: onnx.NodeProto) -> onnx.ModelProto:
    constants = {"i": np.array([1], np.int64), "p": np.zeros(4, np.int64), "s": np.ones(2, np.float32)}
    constants |= {"v2": np.ones(2, np.float32), "z8": np.zeros(8, np.int8)}
    return make_model([wanted], {**SHAPES, "m3": [1, 32, 8]}, [wanted.output[0]], constants=constants, opset=20)


def change_attribute(node: onnx.NodeProto, dice: random.Random) -> None:
    """Another value, another kind, one more entry, or none."""
    attribute = dice.choice(node.attribute) if node.attribute else node.attribute.add(name="axis", type=AttributeProto.INT)
    how = dice.random()
    if how < 0.1:
        node.attribute.remove(attribute)
    elif how < 0.2:
        attribute.type = dice.randrange(15)  # type: ignore[assignment] # any number may be in a file
    elif attribute.type == AttributeProto.INTS:
        attribute.ints[:] = [dice.choice([*attribute.ints, *NUMBERS]) for _ in range(dice.randrange(6))]
    attribute.i, attribute.f, attribute.s = dice.choice(NUMBERS), dice.choice(FLOATS), dice.choice(TEXTS)


def change_shape(graph: onnx.GraphProto, dice: random.Random) -> None:
    dims = dice.choice(graph.input).type.tensor_type.shape.dim
    if dims and dice.random() < 0.5:
        del dims[dice.randrange(len(dims))]
    dims.add(dim_value=dice.choice(NUMBERS))


def change_dtype(graph: onnx.GraphProto, dice: random.Random) -> None:
    if dice.random() < 0.5:
        dice.choice(graph.input).type.tensor_type.elem_type = dice.randrange(27)
    else:
        dice.choice(graph.initializer).data_type = dice.randrange(27)


def change_constant(graph: onnx.GraphProto, dice: random.Random) -> None:
    tensor = next(t for t in graph.initializer if t.name == "i")
    values = [dice.choice(NUMBERS) for _ in range(dice.randrange(5))]
    tensor.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [len(values)], values))


def change_names(graph: onnx.GraphProto, dice: random.Random) -> None:
    names = graph.node[0].input if dice.random() < 0.8 else graph.node[0].output
    known = [*(i.name for i in graph.input), *(t.name for t in graph.initializer), ""]
    if names and dice.random() < 0.5:
        names[dice.randrange(len(names))] = dice.choice(known)
    elif names and dice.random() < 0.5:
        del names[dice.randrange(len(names))]
    else:
        names.append(dice.choice(known))


CHANGES: tuple[Callable[[onnx.GraphProto, random.Random], None], ...] = (
    lambda graph, dice: change_attribute(graph.node[0], dice),
    change_shape,
    change_dtype,
    change_constant,
    change_names,
)


@pytest.mark.parametrize("wanted", NODES, ids=lambda n: n.op_type)
def test_changed_models_load_or_are_refused(make_model: MakeModel, wanted: onnx.NodeProto) -> None:
    model, dice, loaded = model_with(make_model, wanted), random.Random(wanted.op_type), 0
    load(model)
    for _ in range(MUTATIONS):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for _ in range(dice.choice((1, 1, 2))):
            dice.choice(CHANGES)(changed.graph, dice)
        with contextlib.suppress(TgenError):
            load(changed)
            loaded += 1
    assert loaded < MUTATIONS
