"""Libraries of models that find out sizes in a run, or that something about their inputs is wrong."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tgen
from tests.aot.c_interface import CLibrary, Tensor, int64s, tensors
from tgen.aot.build import Built
from tgen.aot.layout import Status
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.dtypes import I64
from tgen.ir.errors import InvalidInput


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """double[n] = 2·x; first[count, 2] = pairs of the first `count` elements of x, which must all be below 9."""
    b = Builder("found")
    x, count = b.input("x", "f32", ("n",)), b.input("count", "i64", ())
    size = b.extent(count, most=symbol("n"))
    first = b.slice(x, axes=(0,), starts=(0,), sizes=(size,), steps=(1,))
    b.output("double", b.add(x, x))
    b.output("first", b.expand(b.reshape(first, shape=(size, 1)), shape=(size, 2)))
    large = b.reduce_sum(b.cast(b.greater(x, 9.0), to=I64), axes=(0,), keepdims=False)
    b.check(b.less(large, b.constant(1, I64)), "x: more than 9")
    return tgen.build(b.build(), tmp_path_factory.mktemp("found"), name="found")


def test_from_c(built: Built) -> None:
    library = CLibrary(built.files[0], "found")
    context = library.context()
    shape, data = int64s([0, 0]), ctypes.c_void_p()
    for n, count in ((5, 3), (1000, 1000), (4, 0), (7, 2)):
        x, double = np.arange(n, dtype=np.float32) / n, np.zeros(n, np.float32)
        assert library.run(context, tensors(x, np.array(count)), tensors(double, Tensor())) is Status.OK
        assert Status(library["found"](context, ctypes.c_int64(1), shape, ctypes.byref(data))) is Status.OK
        assert list(shape) == [count, 2]
        found = np.ctypeslib.as_array(ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), (count, 2)) if count else np.zeros((0, 2))
        np.testing.assert_array_equal(found, np.stack([x[:count]] * 2, 1))
        np.testing.assert_array_equal(double, x * 2)
    for output in (0, 2, -1):
        assert Status(library["found"](context, ctypes.c_int64(output), shape, ctypes.byref(data))) is Status.WRONG_OPTION
    assert Status(library["found"](None, ctypes.c_int64(1), shape, ctypes.byref(data))) is Status.NULL_POINTER
    library["destroy"](context)


@pytest.mark.parametrize(("x", "count", "text"), [([1, 2], 3, "extent"), ([1, 2], -1, "extent"), ([1, 10], 1, "x: more than 9")])
def test_wrong_values(built: Built, x: list[float], count: int, text: str) -> None:
    given = {"x": np.array(x, np.float32), "count": np.array(count)}
    library = CLibrary(built.files[0], "found")
    context = library.context()
    arrays = tensors(given["x"], given["count"])
    assert library.run(context, arrays, tensors(np.zeros(2, np.float32), Tensor())) is Status.WRONG_VALUES
    assert text in library.message(context)
    library["destroy"](context)
    loaded = tgen.load(built.files[0])
    with pytest.raises(InvalidInput, match=text):
        loaded.run(given)
    given = {"x": np.array([3, 4], np.float32), "count": np.array(1)}
    assert loaded.run(given)["first"].tolist() == [[3, 3]]


def test_the_example_finds_out_too(built: Built, tool: Callable[[str], str]) -> None:
    folder: Path = built.folder
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    command = [tool("cc"), *flags, "example.c", "-L.", "-lfound", "-Wl,-rpath,$ORIGIN", "-o", "example"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    out = subprocess.run([folder / "example", "5"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "double float32[5]: 0 0 0 0" in out and "first float32[0, 2]:" in out
