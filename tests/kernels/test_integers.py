"""Products of 8-bit integers on every target: the same bits as int32 arithmetic that wraps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.native import Guarded, build_executable, runnable_targets
from tgen.ir.builder import Builder
from tgen.ir.dtypes import DTYPES, I32
from tgen.ir.graph import Graph
from tgen.ir.ops.fused import TiledContraction
from tgen.passes.pipeline import pipeline, run_pipeline
from tgen.targets.find import all_targets

TARGETS = {
    name: t for name, t in runnable_targets(every=True).items() if "bf16" not in name
}  # multiplies integers as avx512_vnni does
SIGNS = list(itertools.product(("u8", "i8"), repeat=2))
SHAPES = [(1, 1, 1), (5, 33, 70), (6, 15, 7), (35, 66, 129)]


def random(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """All values, extremes often: what saturates does so here."""
    limits = np.iinfo(dtype.replace("u", "uint") if dtype[0] == "u" else dtype.replace("i", "int"))
    x = rng.integers(limits.min, limits.max + 1, shape)
    extreme = rng.choice([limits.min, limits.max], shape)
    return np.where(rng.random(shape) < 0.5, x, extreme).astype(limits.dtype)


def wrapped(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(np.int32)


def product(a: str, weight: np.ndarray, zeros: tuple[np.ndarray, ...] = ()) -> Graph:
    b = Builder()
    x = b.input("x", a, ("m", weight.shape[0]))
    b.output("y", b.mat_mul_integer(x, b.constant(weight), *(b.constant(z) for z in zeros)))
    return b.build()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("signs", SIGNS, ids="".join)
def test_tails(target, signs, rng) -> None:
    for m, n, k in SHAPES:
        weight = random(rng, signs[1], (k, n))
        guard = Guarded(random(rng, signs[0], (m, k)))
        got = build_executable(product(signs[0], weight), target)(guard.array)[0]
        assert np.array_equal(got, wrapped(guard.array, weight)), (m, n, k)
        guard.release()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("signs", SIGNS, ids="".join)
def test_zero_points(target, signs, rng) -> None:
    k, n = 66, 35
    weight, x = random(rng, signs[1], (k, n)), random(rng, signs[0], (7, k))
    for shape in ((), (n,)):
        p, q = random(rng, signs[0], ()), random(rng, signs[1], shape)
        got = build_executable(product(signs[0], weight, (p, q)), target)(x)[0]
        assert np.array_equal(got, wrapped(x - p.astype(int), weight - q.astype(int)))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("signs", SIGNS, ids="".join)
def test_all_computed(target, signs, rng) -> None:
    """Zero points and both operands known at run time only, one zero point for each row and each column; batches."""
    b = Builder()
    shapes = {"x": ("s", 3, "m", 67), "y": (3, 67, 18), "p": (3, "m", 1), "q": (3, 1, 18)}
    x, y, p, q = (b.input(name, dtype, shapes[name]) for name, dtype in zip(shapes, (*signs, *signs)))
    centred = [b.sub(b.cast(v, to=I32), b.cast(z, to=I32)) for v, z in ((x, p), (y, q))]
    b.output("z", b.matmul(*centred))
    executable = build_executable(b.build(), target)
    for s, m in ((1, 1), (2, 19), (2, 0)):
        feeds = {
            name: random(rng, dtype, tuple({"s": s, "m": m}.get(d, d) for d in shapes[name]))  # type: ignore[arg-type]
            for name, dtype in zip(shapes, (*signs, *signs))
        }
        want = wrapped(feeds["x"].astype(int) - feeds["p"], feeds["y"].astype(int) - feeds["q"])
        assert np.array_equal(executable.run(feeds)["z"], want)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_sums_wrap(target, rng) -> None:
    """Sums past 2^31, of the products and of what zero points bring."""
    k = 70_000
    x, weight = np.full((2, k), 255, np.uint8), np.full((k, 3), -128, np.int8)
    got = build_executable(product("u8", weight, (np.uint8(1), np.int8(127))), target)(x)[0]
    assert np.array_equal(got, wrapped(x - np.array(1, int), weight - np.array(127, int)))
    assert abs(int((x[0].astype(int) - 1) @ (weight[:, 0].astype(int) - 127))) > 2**31


@pytest.mark.parametrize("target", [t for t in TARGETS.values() if any(tile.in_pairs for tile in t.tiles)], ids=lambda t: t.name)
@pytest.mark.parametrize(("large", "small", "fits"), [(64, 64, True), (65, 64, False), (128, 0, True), (-128, -1, False)])
def test_products_are_added_in_pairs_where_no_numbers_saturate(target, large, small, fits, rng) -> None:
    k, n = 70, 20
    weight = np.where(np.arange(k)[:, None] % 2 == 0, large, small) * rng.choice([-1, 1], (k, n))
    weight = np.where(weight > 127, -weight, weight).astype(np.int8)
    x = random(rng, "u8", (9, k))
    x[0] = 255
    graph = product("u8", weight)
    tiles = [n.op.tile for n in run_pipeline(graph, pipeline(target)).nodes if isinstance(n.op, TiledContraction)]
    assert [t.startswith("vpmaddubsw") for t in tiles] == [fits]
    assert np.array_equal(build_executable(graph, target)(x)[0], wrapped(x, weight))


WANTED = {
    "amx": "tdpb",
    "avx512_bf16": "vpdpbusd",
    "avx512_vnni": "vpdpbusd",
    "avx512": "vpmaddwd",
    "avx_vnni": "vpdpbusd",
    "avx2": "vpmaddwd",
    "neon_matrix": ("smmla", "ummla", "usmmla"),
    "neon_dot": ("sdot", "udot"),
}


@pytest.mark.parametrize("target", [t for t in all_targets() if t.name in WANTED], ids=lambda t: t.name)
@pytest.mark.parametrize("signs", SIGNS, ids="".join)
def test_small_numbers_are_multiplied_as_such(target, signs, rng) -> None:
    """Constant weights, a zero point for A known at run time: one product of narrow numbers, and at most one pass over A before it."""
    b = Builder()
    x, p = b.input("x", signs[0], (64, 512)), b.input("p", signs[0], ())
    weight = b.constant(rng.integers(0, 100, (512, 256)).astype(DTYPES[signs[1]].numpy))
    b.output("y", b.mat_mul_integer(x, weight, p))
    after = run_pipeline(b.build(), pipeline(target))
    found = [node.op for node in after.nodes if isinstance(node.op, TiledContraction)]
    assert len(found) == 1
    assert found[0].tile.startswith(WANTED[target.name])
    assert len([n for n in after.nodes if n.inputs and n.types[0].shape == (64, 512)]) <= 1
