"""The public API: inputs that are wrong, inputs that are odd, many threads, many sizes."""

from __future__ import annotations

import os
import resource
import threading
import time
from typing import Any

import numpy as np
import pytest

import tgen
from tgen.ir.builder import Builder


def small(symbolic: bool = True) -> tgen.Graph:
    b = Builder()
    x, y = b.input("x", "f32", ("n" if symbolic else 4, 8)), b.input("y", "f32", ("n" if symbolic else 4, 8))
    h = b.relu(b.matmul(b.add(x, y), np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)))
    b.output("out", b.softmax(h, axis=-1))
    return b.build()


@pytest.fixture(scope="module")
def executable() -> tgen.Executable:
    return tgen.compile(small(), cache=False)


def test_specs(executable) -> None:
    assert [(s.name, s.dtype, s.shape) for s in executable.inputs] == [("x", "float32", ("n", 8)), ("y", "float32", ("n", 8))]
    assert [(s.name, s.dtype, s.shape) for s in executable.outputs] == [("out", "float32", ("n", 8))]


def test_run_and_call_agree_with_the_reference(executable, rng) -> None:
    for n in (0, 1, 3, 17):
        x, y = rng.standard_normal((2, n, 8), dtype=np.float32)
        named = executable.run({"x": x, "y": y})["out"]
        (positional,) = executable(x, y)
        assert np.array_equal(named, positional)
        np.testing.assert_allclose(named, tgen.reference(small(), {"x": x, "y": y})["out"], rtol=1e-5, atol=1e-6)


def test_strided_inputs(executable, rng) -> None:
    wide = rng.standard_normal((6, 16), dtype=np.float32)
    x, y = wide[::2, ::2], wide[::-2, 8:]
    assert np.array_equal(executable(x, y)[0], executable(x.copy(), y.copy())[0])


def odd(kind: str, x: np.ndarray) -> Any:
    """The same numbers as an array that is in some way unlike others, or as no array."""
    if kind == "misaligned":
        raw = np.empty(x.nbytes + 1, np.uint8)
        moved = raw[1:].view(np.float32).reshape(x.shape)
        moved[...] = x
        return moved
    if kind == "read-only":
        x = x.copy()
        x.flags.writeable = False
        return x
    if kind == "bytes":
        return np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    kinds = {"columns first": np.asfortranarray, "list": list, "masked": np.ma.asarray}
    return kinds[kind](x)


@pytest.mark.parametrize("kind", ["misaligned", "read-only", "bytes", "columns first", "list", "masked"])
def test_odd_arrays(executable, rng, kind) -> None:
    x, y = rng.standard_normal((2, 6, 8), dtype=np.float32)
    assert np.array_equal(executable(odd(kind, x), y)[0], executable(x, y)[0])
    assert np.array_equal(executable(x, odd(kind, y))[0], executable(x, y)[0])


@pytest.mark.parametrize("given", [(), (1,), (1, 2, 3)])
def test_wrong_number_of_arrays(executable, given) -> None:
    with pytest.raises(tgen.TgenError, match=f"{len(given)} arrays given; inputs: x: float32"):
        executable(*given)


def test_wrong_dtypes_name_the_input(executable, rng) -> None:
    x = rng.standard_normal((3, 8), dtype=np.float32)
    for wrong in (x.astype(">f4"), x.astype(np.float64), x.view(np.int32), [[1.0] * 8] * 3):
        with pytest.raises(tgen.TgenError, match="input 'y' has dtype"):
            executable(x, wrong)


def test_results_are_new_arrays(executable, rng) -> None:
    x, y = rng.standard_normal((2, 6, 8), dtype=np.float32)
    first, second = executable(x, y)[0], executable(x, y)[0]
    assert not np.shares_memory(first, second) and first.flags.writeable and first.flags.owndata


@pytest.mark.parametrize(
    "feeds,words",
    [
        ({"x": np.zeros((2, 8), np.float32)}, "missing input y"),
        ({"x": np.zeros((2, 8), np.float32), "z": np.zeros((2, 8), np.float32)}, "no input is named 'z'"),
        ({"x": np.zeros((2, 8)), "y": np.zeros((2, 8), np.float32)}, "'x' has dtype float64"),
        ({"x": np.zeros((2, 8, 1), np.float32), "y": np.zeros((2, 8), np.float32)}, "'x' has rank 3"),
        ({"x": np.zeros((2, 7), np.float32), "y": np.zeros((2, 8), np.float32)}, "'x' has shape [2, 7]"),
        ({"x": np.zeros((2, 8), np.float32), "y": np.zeros((3, 8), np.float32)}, "n = 2 from input 'x' axis 0"),
    ],
)
def test_wrong_inputs_name_the_culprit(executable, feeds, words) -> None:
    with pytest.raises(tgen.TgenError) as caught:
        executable.run(feeds)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"precision": "best"}, {"subnormals": "lose"}, {"target": "z80"}, {"threads": 0}, {"shapes": {"m": 3}}]
)
def test_wrong_options(options) -> None:
    with pytest.raises(tgen.TgenError):
        tgen.compile(small(), cache=False, **options)


def test_nan_and_infinity_flow(executable) -> None:
    x = np.full((3, 8), np.nan, np.float32)
    assert np.isnan(executable(x, x)[0]).all()


def test_many_python_threads(executable, rng) -> None:
    data = [rng.standard_normal((2, n, 8), dtype=np.float32) for n in range(1, 9)]
    want = [executable(*d)[0] for d in data]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(200):
            if not np.array_equal(executable(*data[k])[0], want[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_same_bits_for_any_number_of_threads(rng) -> None:
    x, y = rng.standard_normal((2, 300, 8), dtype=np.float32)
    results = [tgen.compile(small(), cache=False, threads=k)(x, y)[0] for k in (1, 2, 3, 5)]
    assert all(np.array_equal(r, results[0]) for r in results)


def test_threads_by_work() -> None:
    """Small runs are done by the caller alone, large ones by as many threads as they are worth."""
    executable = tgen.compile(small(), cache=False, threads=4)
    counts = [executable._measure(((n, 8), (n, 8))).threads.value for n in (0, 1, 1000, 5000, 10_000, 10**6)]
    assert counts[:3] == [1, 1, 1] and counts == sorted(counts) and 1 < counts[-2] < counts[-1] == 4


def test_ten_thousand_sizes_leave_memory_flat(executable, rng) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    sizes = rng.integers(0, 400, 10_000)
    buffer = rng.standard_normal((2, 400, 8), dtype=np.float32)
    for n in sizes[:1000]:
        executable(buffer[0, :n], buffer[1, :n])
    before = resident()
    for n in sizes:
        executable(buffer[0, :n], buffer[1, :n])
    assert resident() - before < 0.02 * before + (1 << 20)


def test_fork_after_a_run(executable, rng) -> None:
    x, y = rng.standard_normal((2, 200, 8), dtype=np.float32)
    want = executable(x, y)[0]
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if np.array_equal(executable(x, y)[0], want) else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8


def test_idle_pool_sleeps(executable, rng) -> None:
    x, y = rng.standard_normal((2, 200, 8), dtype=np.float32)
    executable(x, y)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_fixed_shapes() -> None:
    executable = tgen.compile(small(), cache=False, shapes={"n": 5})
    assert executable.inputs[0].shape == (5, 8)
    with pytest.raises(tgen.TgenError, match="axis 0 must be 5"):
        executable(np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32))
