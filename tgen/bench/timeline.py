"""Where the threads' time goes: from begin and end of every thread in every step, in many runs, to one figure a step.

    phase 0                      phase 1
    thread 0  [step 0][step 1]   [step 2      ]        span: from the first begin to the last end in a phase
    thread 1  [step 0 ]..idle..  [step 2  ]....        dead: between spans, where every thread is on its way through a barrier
Spans and dead times add up to the run. Steps of one phase share its span as they share the threads' work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shares:
    """Medians over runs, in seconds, one of each a step. busy: of all threads together; dead: before the step's phase, at its first."""

    seconds: np.ndarray
    busy: np.ndarray
    dead: np.ndarray


def shares(times: np.ndarray, phases: Sequence[int]) -> Shares:
    """times: seconds [runs, threads, steps, 2] of begin and end; phases: the number of each step's phase, ascending."""
    number = np.asarray(phases)
    busy = (times[..., 1] - times[..., 0]).sum(1)
    seconds, dead = np.zeros_like(busy), np.zeros_like(busy)
    end = None
    for phase in np.unique(number):
        steps = np.flatnonzero(number == phase)
        begin, last = times[:, :, steps, 0].min((1, 2)), times[:, :, steps, 1].max((1, 2))
        if end is not None:  # a thread that has no work in a phase may be ahead of the others
            dead[:, steps[0]] = np.maximum(begin - end, 0.0)
            begin = np.maximum(begin, end)
        end = np.maximum(last, begin)
        part = busy[:, steps] / np.maximum(busy[:, steps].sum(1, keepdims=True), 1e-12)
        seconds[:, steps] = (end - begin)[:, None] * part
    return Shares(np.median(seconds, 0), np.median(busy, 0), np.median(dead, 0))


def spans(times: np.ndarray) -> np.ndarray:
    """Seconds of each run, from its first begin to its last end."""
    return times[..., 1].max((1, 2)) - times[..., 0].min((1, 2))


def typical(times: np.ndarray) -> np.ndarray:
    """The run whose length is the median: [threads, steps, 2], from 0 on."""
    lengths = spans(times)
    run = times[np.argsort(lengths)[len(lengths) // 2]]
    return run - run[..., 0].min()
