"""Large constants that are computed when they are wanted."""

from __future__ import annotations

import weakref

import numpy as np

from tgen.ir.builder import Builder
from tgen.ir.deferred import Deferred
from tgen.ir.dtypes import F32
from tgen.ir.graph import Constant, Node, Tensor, Value
from tgen.ir.ops.elementwise import Floor, Mul, Neg
from tgen.ir.ops.movement import Transpose
from tgen.passes.cse import cse
from tgen.passes.fold import SMALL, fold

MATRIX = np.arange(256 * 300, dtype=np.float32).reshape(256, 300)


def constant(tensor: Tensor) -> Value:
    return Value(Node(Constant(tensor)))


def transposed(tensor: Tensor) -> Deferred:
    return Deferred(Node(Transpose((1, 0)), (constant(tensor),)))


def test_a_chain_is_computed_when_asked() -> None:
    once = transposed(Tensor(MATRIX))
    twice = transposed(once)
    assert twice.type == Tensor(MATRIX).type and once.type.shape == (300, 256)
    np.testing.assert_array_equal(once.array, MATRIX.T)
    np.testing.assert_array_equal(twice.array, MATRIX)
    assert not once.array.flags.writeable
    assert all(isinstance(v.op, Constant) and not isinstance(v.op.value, Deferred) for v in once.recipe.node.inputs)


def test_the_array_is_not_kept() -> None:
    tensor = Deferred(Node(Neg(), (constant(Tensor(MATRIX)),)))
    array = tensor.array
    assert tensor.array is array
    gone = weakref.ref(array)
    del array
    assert gone() is None
    np.testing.assert_array_equal(tensor.array, -MATRIX)


def test_equal_where_made_alike() -> None:
    source = Tensor(MATRIX)
    assert transposed(source) == transposed(source) and hash(transposed(source)) == hash(transposed(source))
    assert transposed(source) != transposed(Tensor(MATRIX.copy()))  # not computed, so not known
    assert transposed(transposed(source)) == transposed(transposed(source))
    assert transposed(transposed(source)) != source and source != transposed(transposed(source))
    neg, floor = (Deferred(Node(op, (constant(source),))) for op in (Neg(), Floor()))
    assert neg != floor


def test_shared_parts_are_computed_once_a_time() -> None:
    tensor: Tensor = Tensor(np.ones((256, 256), np.float32))
    for _ in range(64):  # 2^64 computations if each use was one
        tensor = Deferred(Node(Mul(), (constant(tensor), constant(tensor))))
    np.testing.assert_array_equal(tensor.array, np.ones((256, 256)))


def test_fold_defers_what_is_large_and_cse_sees_what_is_equal() -> None:
    b = Builder()
    x = b.input("x", F32, (4, 300))
    w = b.constant(MATRIX)
    for name in ("p", "q"):
        b.output(name, b.matmul(x, b.transpose(w, perm=(1, 0))))
    b.output("small", b.neg(b.constant(np.ones(3, np.float32))))
    folded = fold(b.build())
    large, same, small = (
        v for v in (folded.outputs[0][1].node.inputs[1], folded.outputs[1][1].node.inputs[1], folded.outputs[2][1])
    )
    assert MATRIX.nbytes > SMALL
    assert isinstance(large.op, Constant) and isinstance(large.op.value, Deferred)
    assert isinstance(small.op, Constant) and not isinstance(small.op.value, Deferred)
    assert large != same
    merged = cse(folded)
    assert merged.outputs[0][1] == merged.outputs[1][1]
    np.testing.assert_array_equal(large.constant, MATRIX.T)
