"""Where the threads' time goes: from begin and end of every thread in every step, in many runs, to one figure a step.

    phase 0                      phase 1
    thread 0  [step 0][step 1]   [step 2      ]        span: from the first begin to the last end in a phase
    thread 1  [step 0 ]..idle..  [step 2  ]....        dead: between spans, where every thread is on its way through a barrier
Spans and dead times add up to the run. Steps of one phase share its span as they share the threads' work. Of a loop there are the times of
its last turn, so how long the threads took to its first phase is not known. Steps of sections run beside those of other sections: each
counts for as much of its time as the others leave it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class Shares:
    """Medians over runs, in seconds, one of each a step. busy: of all threads together; dead: before the step's phase, at its first."""

    seconds: np.ndarray
    busy: np.ndarray
    dead: np.ndarray


def shares(
    times: np.ndarray, phases: Sequence[int], heads: Container[int] = (), beside: Mapping[int, int] = MappingProxyType({})
) -> Shares:
    """times: seconds [runs, threads, steps, 2] of begin and end; phases: the number of each step's phase, ascending. heads: phases that
    a loop begins with; beside: how many sections are done at once where a phase belongs to one.
    """
    number = np.asarray(phases)
    busy = (times[..., 1] - times[..., 0]).sum(1)
    seconds, dead = np.zeros_like(busy), np.zeros_like(busy)
    end = None
    for phase in np.unique(number):
        steps = np.flatnonzero(number == phase)
        begin, last = times[:, :, steps, 0].min((1, 2)), times[:, :, steps, 1].max((1, 2))
        if phase in beside:
            seconds[:, steps], end = busy[:, steps] / beside[phase], None
            continue
        if end is not None and phase not in heads:  # a thread that has no work in a phase may be ahead of the others
            dead[:, steps[0]] = np.maximum(begin - end, 0.0)
            begin = np.maximum(begin, end)
        end = np.maximum(last, begin)
        part = busy[:, steps] / np.maximum(busy[:, steps].sum(1, keepdims=True), 1e-12)
        seconds[:, steps] = (end - begin)[:, None] * part
    return Shares(np.median(seconds, 0), np.median(busy, 0), np.median(dead, 0))


def complete(clock: np.ndarray) -> np.ndarray:
    """The same [runs, threads, steps, 2] where threads that took no part in a step, whose begin and end are 0, come and go when those
    that did are through with it; where no thread did, because the run took another way, when the step before was over.
    """
    filled = clock.copy()
    over = np.where(clock == 0, clock.max(), clock).min((1, 2, 3))
    for step in range(clock.shape[2]):
        part = filled[:, :, step]
        ended = part[..., 1].max(1)
        over = np.where(ended != 0, ended, over)
        part[...] = np.where(part == 0, over[:, None, None], part)
    return filled


def spans(times: np.ndarray) -> np.ndarray:
    """Seconds of each run, from its first begin to its last end."""
    return times[..., 1].max((1, 2)) - times[..., 0].min((1, 2))


def typical(times: np.ndarray) -> np.ndarray:
    """The run whose length is the median: [threads, steps, 2], from 0 on."""
    lengths = spans(times)
    run = times[np.argsort(lengths)[len(lengths) // 2]]
    return run - run[..., 0].min()
