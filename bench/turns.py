"""Calls in turns within one process: for contestants of one thread, which leave no pool behind that could disturb the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tgen.bench.worker import burst

from .report import Settings

WARMUP = 3


def in_turns(calls: Mapping[str, Callable[[], Any]], settings: Settings) -> dict[str, list[list[float]]]:
    """Seconds a call, a list for each round; the first of a round changes from round to round."""
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(settings.rounds):
        for k in range(len(names)):
            name = names[(k + number) % len(names)]
            times[name].append(burst(calls[name], settings.burst, WARMUP))
    return times
