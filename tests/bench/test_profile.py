"""A profile of a real run: figures that belong together, as table, JSON and page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.native import host
from tgen.bench.native import NativeRun
from tgen.bench.page import page, ticks
from tgen.bench.profile import Profile, profile
from tgen.bench.timeline import complete, shares, spans, typical
from tgen.bench.units import bytes_text, rate_text, seconds_text
from tgen.cli import main
from tgen.compiler import compile_graph
from tgen.frontends import load

BIG = 1 << 15  # rows: work enough for two threads


@pytest.fixture(scope="module")
def found(model) -> Profile:
    return profile(model, shapes={"batch": BIG}, threads=2, seconds=0.0)


def test_shares() -> None:
    """Two phases on two threads: steps 0 and 1, then step 2."""
    one = [[[0, 4], [4, 6], [11, 15]], [[1, 3], [3, 10], [11, 21]]]
    times = np.array([one], float)
    got = shares(times, [0, 0, 1])
    assert got.seconds.tolist() == [10 * 6 / 15, 10 * 9 / 15, 10], "a phase's span is shared out as the work is"
    assert got.busy.tolist() == [6, 9, 14] and got.dead.tolist() == [0, 0, 1]
    assert spans(times).tolist() == [21]
    assert typical(np.array([times[0] + 5, times[0] * 3, times[0] * 2])).max() == 42, "the middle one, from 0 on"


def test_a_thread_ahead_takes_no_time() -> None:
    """Thread 1 has nothing to do in phase 1 and is through with it before thread 0 begins."""
    got = shares(np.array([[[[0, 10], [10, 20]], [[0, 5], [5, 5]]]], float), [0, 1])
    assert got.seconds.tolist() == [10, 10] and got.dead.tolist() == [0, 0]


def test_loops_and_sections() -> None:
    """Phase 1 begins a loop of which the last turn is seen; phases 2 and 3 are sections, each one thread's."""
    times = np.array([[[[0, 4], [90, 94], [95, 99], [99, 99]], [[0, 2], [90, 92], [99, 99], [95, 97]]]], float)
    got = shares(times, [0, 1, 2, 3], heads={1}, beside={2: 2, 3: 2})
    assert got.seconds.tolist() == [4, 4, 2, 1] and got.dead.tolist() == [0, 0, 0, 0]


def test_who_takes_no_part() -> None:
    """Thread 1 has none in step 0, nobody in step 1, thread 0 none in step 2."""
    clock = np.array([[[[5, 9], [0, 0], [0, 0]], [[0, 0], [0, 0], [11, 14]]]])
    assert complete(clock).tolist() == [[[[5, 9], [9, 9], [14, 14]], [[9, 9], [9, 9], [11, 14]]]]


def test_counted_code_computes_the_same(model) -> None:
    graph, feeds, values = load(model), {"x": np.random.default_rng(0).standard_normal((BIG, 8)).astype(np.float32)}, {"batch": BIG}
    counted, plain = (
        NativeRun(compile_graph(graph, host(), "highest", profile=on), host(), 2, feeds, values) for on in (True, False)
    )
    counted.run()
    plain.run()
    np.testing.assert_array_equal(counted.outputs["y"], plain.outputs["y"])
    assert (counted.times[0, :, 1] >= counted.times[0, :, 0]).all() and counted.times[0].all()
    assert not plain.times.any()


def test_profile(found) -> None:
    assert found.facts["shapes"] == {"batch": BIG} and found.memory["weights"] >= 8 * 16 * 4
    product = next(row for row in found.rows if row.what.startswith("contraction"))
    assert product.what.startswith(f"contraction {BIG}×16×8 by ") and product.origin == "Relu 'relu'"
    assert product.operations == 2 * BIG * 16 * 8
    assert product.bytes == 4 * (BIG * 8 + 8 * 16 + BIG * 16), "x and w read, y written"
    assert sum(row.share for row in found.rows) == pytest.approx(1 - found.dead / (found.dead + sum(r.seconds for r in found.rows)))
    for row in found.rows:
        assert row.seconds > 0 and row.floor > 0 and row.roofline == pytest.approx(row.floor / row.seconds)
        assert 0 <= row.idle <= found.facts["threads"] * row.seconds
    assert found.intervals.shape == (found.facts["threads"], len(found.rows), 2)


def test_kernels_sum_up_steps(found) -> None:
    kernels = found.by_kernel()
    assert sum(row.steps for row in kernels) == len(found.rows)
    assert sum(row.seconds for row in kernels) == pytest.approx(sum(row.seconds for row in found.rows))


class Tags(HTMLParser):
    """Checks that tags nest; counts them; notes what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page(found) -> None:
    text, tags = page(found), Tags()
    tags.feed(text)
    assert not tags.open and not tags.links and "script" not in tags.count and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert tags.count["rect"] == found.facts["threads"] * (1 + len(found.rows))
    assert tags.count["tr"] == 2 + len(found.by_kernel()) + len(found.rows)


def test_page_escapes_names(found) -> None:
    from dataclasses import replace

    odd = replace(found, rows=tuple(replace(row, origin="<b>&") for row in found.rows), facts={**found.facts, "model": "<i>"})
    text = page(odd)
    assert "<b>" not in text and "<i>" not in text and "&lt;b&gt;&amp;" in text


def test_ticks_are_round() -> None:
    assert ticks(0.0021) == pytest.approx([0, 0.0005, 0.001, 0.0015, 0.002])
    assert len(ticks(8.0)) == 9


def test_units() -> None:
    assert [seconds_text(x) for x in (1.5, 0.0123, 4.5e-6, 2e-9, 0.0)] == ["1.5 s", "12.3 ms", "4.5 µs", "2 ns", "0"]
    assert [bytes_text(512), bytes_text(9.09e7), rate_text(98.1e9, "op")] == ["512 B", "90.9 MB", "98.1 Gop/s"]


def test_command(model, tmp_path, capsys) -> None:
    path = tmp_path / "p.html"
    assert main(["bench", model, "--profile", "--steps", "--html", str(path), "--shapes", f"batch={BIG}"]) == 0
    out = capsys.readouterr().out
    assert "of roofline" in out and "idle at barriers" in out and f"contraction {BIG}×16×8" in out
    assert path.read_text().startswith("<!doctype html>")
    assert main(["bench", model, "--profile", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["steps"][0]["roofline"] > 0 and fields["memory"]["weights"] > 0 and fields["ceilings"]["levels"]


def test_options_of_the_profile_need_it(model, capsys) -> None:
    assert main(["bench", model, "--steps"]) == 1
    assert "belong to --profile" in capsys.readouterr().err
    assert main(["bench", model, "--profile", "--vs", "torch"]) == 2
