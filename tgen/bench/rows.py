"""What a comparison says: a row for each contestant, and what all rows hold for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

INTERVAL = (0.05, 0.95)  # of the rounds' ratios: nine rounds in ten


@dataclass(frozen=True)
class Row:
    """One contestant. Times in milliseconds a run; ratio: median of its rounds over tgen's of the same round, and INTERVAL of these.

    gflops: of the model's contractions, per second. roofline: the fraction of this machine's measured ceilings that is. Both are None where
    the sizes of contractions depend on data.
    error: greatest difference from tgen's outputs of the same name and shape, over the greatest magnitude there.
    note: what else to know of it; failed: why there is no measurement, and then there are no numbers.
    """

    name: str
    median: float | None = None
    p10: float | None = None
    p99: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    gflops: float | None = None
    roofline: float | None = None
    error: float | None = None
    load_seconds: float | None = None
    megabytes: float | None = None
    note: str = ""
    failed: str = ""

    @property
    def speed(self) -> list[str]:
        """GFLOP/s and what part of the roofline that is, as text."""
        return ["–" if x is None else form.format(x) for form, x in (("{:.0f}", self.gflops), ("{:.0%}", self.roofline))]


@dataclass(frozen=True)
class Report:
    """rows: tgen first. facts: what the rows hold for (model, shapes, threads, precision)."""

    rows: tuple[Row, ...]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"facts": dict(self.facts), "rows": [asdict(r) for r in self.rows]}


def timed_row(
    name: str,
    times: Sequence[Sequence[float]],
    base: Sequence[Sequence[float]],
    flops: float | None,
    floor: float | None,
    **facts: Any,
) -> Row:
    """The row of one that ran.

    times, base: seconds a run for each round, its own and tgen's; flops, floor: of a run, in seconds, if known.
    """
    milliseconds = np.concatenate([np.asarray(t) for t in times]) * 1e3
    medians = np.array([np.median(t) for t in times])
    ratios = medians / np.array([np.median(t) for t in base])
    p10, p99 = np.quantile(milliseconds, (0.1, 0.99))
    low, high = np.quantile(ratios, INTERVAL)
    median = float(np.median(medians))
    return Row(
        name, median * 1e3, float(p10), float(p99), float(np.median(ratios)), float(low), float(high),
        gflops=flops and flops / median / 1e9, roofline=floor and floor / median, **facts,
    )  # fmt: skip


def difference(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float | None:
    """Greatest difference over outputs of the same name and shape, over the greatest magnitude of mine; None without such outputs.

    Of strings the share that differs.
    """
    pairs = [(x, theirs[k]) for k, x in mine.items() if k in theirs and x.shape == theirs[k].shape and x.size]
    return max(float(np.mean(x != y) if x.dtype.kind == "U" else _apart(x, y)) for x, y in pairs) if pairs else None


def _apart(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(x - y).max() / (np.abs(x).max() or 1.0))
