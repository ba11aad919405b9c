"""Arena layout: live buffers never share bytes, whatever the symbols are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tgen.ir.dims import evaluate_dim, symbol
from tgen.plan.memory import Lifetime, aligned, layout, surely_fits

N, M = symbol("n"), symbol("m")
SIZES = st.sampled_from([0, 4, 64, 1000, N * 4, N * 8, M * 4, N * M, N * 4 + 256, N + M])


@given(st.lists(st.tuples(SIZES, st.integers(0, 12), st.integers(0, 6)), max_size=14), st.integers(0, 50), st.integers(0, 50))
def test_live_buffers_are_apart(buffers, n, m) -> None:
    lifetimes = {k: Lifetime(size, first, first + length) for k, (size, first, length) in enumerate(buffers)}
    offsets, total = layout(lifetimes)
    values = {"n": n, "m": m}
    spans = {}
    for k, life in lifetimes.items():
        start = evaluate_dim(offsets[k], values)
        spans[k] = (start, start + evaluate_dim(life.bytes, values))
        assert start % 64 == 0 and spans[k][1] <= evaluate_dim(total, values)
    for a, x in lifetimes.items():
        for b, y in lifetimes.items():
            if a < b and x.first <= y.last and y.first <= x.last:
                assert spans[a][1] <= spans[b][0] or spans[b][1] <= spans[a][0]


def test_memory_is_used_again() -> None:
    chain = {k: Lifetime(N * 4, k, k + 1) for k in range(10)}
    _, total = layout(chain)
    assert total == 2 * aligned(N * 4)


def test_surely_fits() -> None:
    assert surely_fits(64, 128) and not surely_fits(128, 64)
    assert surely_fits(N * 4, N * 8) and surely_fits(N, N + M) and not surely_fits(N, M)
