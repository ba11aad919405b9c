"""What a C caller can do to a library: right calls give right results, wrong ones a status and a message, and nothing is written."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tgen
from tests.aot.c_interface import CLibrary, Tensor, int64s, options, tensor, tensors
from tests.aot.graphs import feeds, small_graph
from tgen.aot.build import Built
from tgen.aot.layout import Status

FILL = -77.0


def outputs(batch: int) -> tuple[np.ndarray, ...]:
    return np.full((batch, 4), FILL, np.float32), np.full((batch, batch), FILL, np.float32), np.full((batch, 4), FILL, np.float32)


def expect(batch: int, results: tuple[np.ndarray, ...]) -> None:
    wanted = tgen.reference(small_graph(), feeds(batch))
    for result, name in zip(results, ("y", "twice", "row")):
        np.testing.assert_allclose(result, wanted[name], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("batch", (0, 1, 7, 33))
def test_run(library: CLibrary, batch: int) -> None:
    context, given, results = library.context(), feeds(batch), outputs(batch)
    assert library.run(context, tensors(given["x"], given["ids"]), tensors(*results)) is Status.OK
    expect(batch, results)
    library["destroy"](context)


def test_what_a_library_tells(library: CLibrary) -> None:
    about = [library["inputs"]()[k] for k in range(library["input_count"]())]
    assert [(a.name, a.dtype, a.element_bytes, [a.shape[k] for k in range(a.rank)]) for a in about] == [
        (b"x", b"float32", 4, [b"batch", b"8"]),
        (b"ids", b"int64", 8, [b"batch"]),
    ]
    assert [library["outputs"]()[k].name for k in range(library["output_count"]())] == [b"y", b"twice", b"row"]
    assert [library["symbols"]()[k] for k in range(library["symbol_count"]() + 1)] == [b"batch", None]
    shape = int64s([0, 0])
    assert library["output_shape"](1, int64s([5]), shape) == Status.OK and list(shape) == [5, 5]
    assert library["output_shape"](3, int64s([5]), shape) == Status.WRONG_OPTION
    assert library["output_shape"](0, None, shape) == Status.NULL_POINTER
    for status in Status:
        assert library["status_text"](status.value)
    assert library["status_text"](99) == library["status_text"](-1) == b"no status of this library"


def wrong_calls() -> dict[str, tuple[Status, str, list[Tensor | np.ndarray], list[Tensor | np.ndarray]]]:
    """name → status, a part of the message, inputs, outputs, for batch 3."""
    given, results = feeds(3), outputs(3)
    x, ids = given["x"], given["ids"]
    nothing = tensor(x)
    nothing.data = None
    shapeless = tensor(x)
    shapeless.shape = None
    odd = tensor(np.zeros(200, np.uint8)[1:97])
    odd.shape, odd.rank = int64s([3, 8]), 2
    huge = tensor(x)
    huge.shape = int64s([1 << 39, 8])
    many_ids = tensor(ids)
    many_ids.shape = int64s([1 << 39])
    negative = tensor(x)
    negative.shape = int64s([-3, 8])
    y, twice, row = results
    return {
        "rank": (Status.WRONG_SHAPE, "input 'ids' has rank 2; wanted 1", [x, ids[:, None]], [*results]),
        "extent": (Status.WRONG_SHAPE, "input 'x' axis 1 is 7; wanted 8", [x[:, :7].copy(), ids], [*results]),
        "symbol": (Status.WRONG_SHAPE, "input 'ids' axis 0 is 2; wanted 3 (batch)", [x, ids[:2]], [*results]),
        "output": (Status.WRONG_SHAPE, "output 'twice' axis 1 is 2; wanted 3 (batch)", [x, ids], [y, twice[:, :2].copy(), row]),
        "negative": (Status.WRONG_SHAPE, "input 'x' axis 0 is -3", [negative, ids], [*results]),
        "absurd": (Status.WRONG_SHAPE, "output 'y' axis 0 is 3; wanted 549755813888", [huge, many_ids], [*results]),
        "no data": (Status.NULL_POINTER, "the data of input 'x' is NULL", [nothing, ids], [*results]),
        "no shape": (Status.NULL_POINTER, "the shape of input 'x' is NULL", [shapeless, ids], [*results]),
        "misaligned": (
            Status.MISALIGNED,
            "the data of input 'x' is not aligned to its elements of 4 bytes",
            [odd, ids],
            [*results],
        ),
    }


@pytest.mark.parametrize("name", list(wrong_calls()))
def test_wrong_calls(library: CLibrary, name: str) -> None:
    status, message, inputs, results = wrong_calls()[name]
    context = library.context()
    assert library.run(context, tensors(*inputs), tensors(*results)) is status
    assert message in library.message(context)
    assert all((r == FILL).all() for r in results if isinstance(r, np.ndarray))
    given, right = feeds(3), outputs(3)  # the context is as good as new
    assert library.run(context, tensors(given["x"], given["ids"]), tensors(*right)) is Status.OK
    expect(3, right)
    library["destroy"](context)


def test_null_pointers(library: CLibrary) -> None:
    context, given, results = library.context(), feeds(2), outputs(2)
    inputs = tensors(given["x"], given["ids"])
    assert library.run(None, inputs, tensors(*results)) is Status.NULL_POINTER
    assert library.run(context, None, tensors(*results)) is Status.NULL_POINTER
    assert library.run(context, inputs, None) is Status.NULL_POINTER
    assert "NULL" in library.message(context)
    assert library["create"](None, None) == Status.NULL_POINTER
    assert library["workspace_bytes"](context, None, ctypes.byref(ctypes.c_int64())) == Status.NULL_POINTER
    assert library["workspace_bytes"](context, int64s([1]), None) == Status.NULL_POINTER
    assert library["use_workspace"](None, None, 0) == Status.NULL_POINTER
    library["destroy"](None)
    library["destroy"](context)


def test_strides(library: CLibrary) -> None:
    """Inputs and outputs with gaps, reversed, transposed, repeated: read and written where they are, and nothing beside them."""
    batch, given = 5, feeds(5)
    wide = np.zeros((batch * 2, 24), np.float32)
    x = wide[::-2, 1:17:2]
    x[:] = given["x"]
    ids = np.asfortranarray(np.stack([given["ids"]] * 3, 1))[:, 1]
    room = np.full((12, 3, batch), FILL, np.float32)
    y, twice, row = room[:4, 0].T, np.full((batch, batch), FILL, np.float32).T, np.full((batch, 4), FILL, np.float32)[:, ::-1]
    context = library.context()
    arrays = tensors(tensor(x, strided=True), tensor(ids, strided=True))
    assert library.run(context, arrays, tensors(*(tensor(a, strided=True) for a in (y, twice, row)))) is Status.OK
    expect(batch, (y, twice, row))
    assert (room[4:] == FILL).all() and (room[:4, 1:] == FILL).all()
    library["destroy"](context)


def test_a_workspace_of_the_caller(library: CLibrary) -> None:
    context, batch = library.context(), 40
    given, results = feeds(batch), outputs(batch)
    status, needed = library.workspace_bytes(context, batch)
    assert status is Status.OK and needed > 0
    arrays = tensors(given["x"], given["ids"]), tensors(*results)
    memory = np.full(needed + 64 + 128, 99, np.uint8)
    start = -memory.ctypes.data % 64
    place = memory.ctypes.data + start

    def use(address: int | None, size: int) -> Status:
        return Status(library["use_workspace"](context, ctypes.c_void_p(address), ctypes.c_int64(size)))

    assert use(place + 8, needed) is Status.MISALIGNED
    assert use(None, 64) is Status.NULL_POINTER
    assert use(place, -1) is Status.WRONG_OPTION
    assert use(place, needed - 1) is Status.OK
    assert library.run(context, *arrays) is Status.SMALL_WORKSPACE
    assert f"{needed} bytes; the one given has {needed - 1}" in library.message(context)
    assert (results[0] == FILL).all()
    assert use(place, needed) is Status.OK
    assert library.run(context, *arrays) is Status.OK
    expect(batch, results)
    assert (memory[:start] == 99).all() and (memory[start + needed :] == 99).all()
    memory[:] = 99
    assert use(None, 0) is Status.OK  # back to its own
    assert library.run(context, *arrays) is Status.OK
    assert (memory == 99).all()
    assert library.workspace_bytes(context, -1)[0] is Status.WRONG_SHAPE
    library["destroy"](context)


def test_options(library: CLibrary) -> None:
    wrong = options()
    wrong.struct_bytes -= 8
    none = (ctypes.c_uint64 * 1)(0)
    for given in (
        wrong,
        options(threads=-1),
        options(threads=1000),
        options(cpu_words=1, cpus=none),
        options(cpu_words=17, cpus=none),
    ):
        status, context = library.create(given)
        assert status is Status.WRONG_OPTION and not context
    first = min(os.sched_getaffinity(0))
    mask = (ctypes.c_uint64 * (first // 64 + 1))()
    mask[first // 64] = 1 << first % 64
    for given in (options(threads=1), options(threads=200), options(cpu_words=len(mask), cpus=mask)):
        context, results, arrays = library.context(given), outputs(9), feeds(9)
        assert library.run(context, tensors(arrays["x"], arrays["ids"]), tensors(*results)) is Status.OK
        expect(9, results)
        library["destroy"](context)


def test_many_threads_and_contexts(library: CLibrary) -> None:
    """Each thread with a context of its own, all at once; a context that two want at a time tells the second one so."""
    shared, problems, busy = library.context(), [], []

    def work(seed: int) -> None:
        context = library.context(options(threads=2))
        for turn in range(60):
            batch = 1 + (seed * 7 + turn) % 40
            given, results = feeds(batch), outputs(batch)
            status = library.run(context, tensors(given["x"], given["ids"]), tensors(*results))
            try:
                assert status is Status.OK
                expect(batch, results)
            except AssertionError as error:
                problems.append(error)
            busy.append(library.run(shared, tensors(given["x"], given["ids"]), tensors(*outputs(batch))))
        library["destroy"](context)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert set(busy) <= {Status.OK, Status.BUSY} and Status.OK in busy
    library["destroy"](shared)


def test_a_busy_context(library: CLibrary) -> None:
    context = library.context()
    ctypes.c_int64.from_address(context.value or 0).value = 1  # as another thread's run leaves it until it ends
    given = feeds(2)
    assert library.run(context, tensors(given["x"], given["ids"]), tensors(*outputs(2))) is Status.BUSY
    assert library["use_workspace"](context, None, 0) == Status.BUSY
    ctypes.c_int64.from_address(context.value or 0).value = 0
    library["destroy"](context)


def test_no_memory_is_lost(library: CLibrary) -> None:
    """Contexts that come and go, and runs of many sizes, leave the process as large as it was."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def turns(count: int) -> None:
        for turn in range(count):
            context, batch = library.context(), turn % 50
            given = feeds(batch)
            assert library.run(context, tensors(given["x"], given["ids"]), tensors(*outputs(batch))) is Status.OK
            library["destroy"](context)

    turns(200)
    before = resident()
    turns(2000)
    assert resident() - before < 1 << 20


CHILD = """
import os, sys
import numpy as np
from tests.aot.c_interface import CLibrary, options, tensors
from tgen.aot.layout import Status
library = CLibrary(sys.argv[1], "wide")
context = library.context(options(threads=2))
x = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
def once():
    result = np.zeros((64, 256), np.float32)
    assert library.run(context, tensors(x), tensors(result)) is Status.OK
    return result
wanted = once()
child = os.fork()
same = np.array_equal(once(), wanted)
if child == 0:
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
sys.exit(0 if same and status == 0 else 1)
"""


def test_fork(tmp_path: Path) -> None:
    """Parent and child go on with a context whose library has threads."""
    b = tgen.Builder("wide")
    x = b.input("x", "f32", ("batch", 256))
    for seed in range(3):
        x = b.tanh(b.matmul(x, np.random.default_rng(seed).standard_normal((256, 256)).astype(np.float32)))
    b.output("y", x)
    built = tgen.build(b.build(), tmp_path, name="wide")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", CHILD, str(built.files[0])], cwd=root, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_weights_file(apart: Built, tmp_path: Path) -> None:
    """Beside the library, or named; another's, a damaged, a short one and none are refused."""
    library, file = CLibrary(apart.files[0], "apart"), apart.folder / "apart.weights"
    given = feeds(6)

    def right(context: ctypes.c_void_p) -> None:
        results = outputs(6)
        assert library.run(context, tensors(given["x"], given["ids"]), tensors(*results)) is Status.OK
        expect(6, results)
        library["destroy"](context)

    right(library.context())
    right(library.context(options(check_weights=1)))
    right(library.context(options(weights=os.fsencode(file), check_weights=1)))
    raw = bytearray(file.read_bytes())
    cases = {"short": raw[:-1], "long": raw + b"\0", "empty": b"", "header": b"X" + raw[1:]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        assert library.create(options(weights=os.fsencode(tmp_path / name)))[0] is Status.WRONG_WEIGHTS, name
    raw[-5] ^= 4
    (tmp_path / "damaged").write_bytes(raw)
    assert library.create(options(weights=os.fsencode(tmp_path / "damaged"), check_weights=1))[0] is Status.WRONG_WEIGHTS
    assert library.create(options(weights=os.fsencode(tmp_path / "none")))[0] is Status.NO_WEIGHTS
    assert library.create(options(weights=os.fsencode(tmp_path)))[0] is not Status.OK
