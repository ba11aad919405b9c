"""A profile as one page of HTML: no script, nothing fetched, readable on paper, in the dark and in the light."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from .profile import Profile, StepRow
from .units import bytes_text, rate_text, seconds_text

COLOURS = 8  # kernels that have a colour of their own, the dearest first
WIDTH, LANE, GAP, LEFT, AXIS = 1000, 30, 8, 70, 24  # of the drawing
TICKS = 8  # at most so many on its axis

_LIGHT = ("#3b6fb6", "#c8553d", "#4a8f5b", "#8a5fa8", "#b8862b", "#2a8c8c", "#b04a7a", "#6b7280")
_DARK = ("#7aa7e6", "#ef8a73", "#7fc492", "#bd97d9", "#dfb565", "#66c2c2", "#e089b2", "#a3adbb")
_STYLE = """
:root { --ink: #1c2330; --paper: #ffffff; --faint: #5d6675; --line: #d9dee6; --lane: #f0f2f6; LIGHT }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --paper: #14181f; --faint: #9aa4b2; --line: #333b47; --lane: #1f252e; DARK } }
@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --lane: #eee; LIGHT } details { break-inside: auto } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  print-color-adjust: exact; -webkit-print-color-adjust: exact }
h1 { font-size: 1.4rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem } .faint { color: var(--faint) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .75rem; margin: 1rem 0 }
dt { color: var(--faint); font-size: .85rem } dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { text-align: right; padding: .2rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap } th { color: var(--faint); font-weight: 600 }
.text { text-align: left; white-space: normal } tr { break-inside: avoid } thead { display: table-header-group }
svg { width: 100%; height: auto } svg text { fill: var(--faint); font-size: 11px } .lane { fill: var(--lane) } .tick { stroke: var(--line) }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .4em }
"""


def page(profile: Profile) -> str:
    """The whole page."""
    kernels = profile.by_kernel()
    colours = {row.kernel: min(k, COLOURS - 1) for k, row in enumerate(kernels)}
    title = f"tgen profile: {profile.facts['model']}"
    shapes = " ".join(f"{name}={size}" for name, size in profile.facts["shapes"].items()) or "fixed"
    facts = ", ".join(f"{key} {shapes if key == 'shapes' else value}" for key, value in profile.facts.items() if key != "model")
    parts = [
        f"<h1>{escape(title)}</h1><p class=faint>{escape(facts)}</p>",
        _list(summary(profile)),
        "<h2>Threads</h2><p class=faint>One typical run. A gap is a wait at a barrier.</p>" + _timeline(profile, colours),
        "<h2>Kernels</h2>" + _table(kernels, colours),
        "<h2>Steps</h2>" + _table(profile.rows, colours),
        "<h2>Ceilings of this machine</h2>" + _list(ceilings(profile)),
        f"<h2>How to read it</h2><p>{escape(EXPLAINED)}</p>",
    ]
    head = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_style()}</style></head>'
    )
    return f"{head}<body>{''.join(parts)}</body></html>\n"


EXPLAINED = (
    "Time is the step's part of its phase, the stretch between two barriers; medians over the runs. The roofline is the least time that the "
    "step's operations and bytes take at this machine's measured ceilings: weights from the level of memory that can hold all weights, other "
    "values from the nearest that can hold them. Idle is the time of all threads together that they wait within a phase; dead time is what "
    "passes between the end of one phase and the beginning of the next."
)


def summary(profile: Profile) -> list[tuple[str, str]]:
    """(what, value) of the whole run."""
    threads = profile.facts["threads"]
    rows = [
        ("a call, with counters", seconds_text(profile.seconds)),
        ("a call, without", seconds_text(profile.plain)),
        ("from the first step to the last", seconds_text(profile.span)),
        ("floor by the roofline", f"{seconds_text(profile.floor)} ({profile.floor / profile.span:.0%})"),
        ("idle at barriers", f"{seconds_text(profile.idle)} ({profile.idle / (threads * profile.span):.1%} of all threads)"),
        ("dead between phases", f"{seconds_text(profile.dead)} ({profile.dead / profile.span:.1%})"),
    ]
    return rows + [(name, bytes_text(size)) for name, size in profile.memory.items()]


def ceilings(profile: Profile) -> list[tuple[str, str]]:
    """(what, value): operations and bytes a second."""
    flops = [(name, rate_text(value, "op")) for name, value in profile.ceilings.flops.items()]
    return flops + [(f"reading {bytes_text(x.bytes)}", rate_text(x.rate, "B")) for x in profile.ceilings.levels]


TITLES = ("time", "share", "GFLOP/s", "GB/s", "of roofline", "idle", "dead before")


def figures(row: StepRow) -> list[str]:
    """A row's cells under TITLES."""
    speeds = [f"{row.gflops:.1f}", f"{row.gigabytes:.1f}", f"{row.roofline:.0%}"]
    return [seconds_text(row.seconds), f"{row.share:.1%}", *speeds, seconds_text(row.idle), seconds_text(row.dead)]


def _style() -> str:
    light, dark = (" ".join(f"--k{k}: {c};" for k, c in enumerate(colours)) for colours in (_LIGHT, _DARK))
    fills = " ".join(f".k{k} {{ fill: var(--k{k}); background: var(--k{k}) }}" for k in range(COLOURS))
    return _STYLE.replace("LIGHT", light).replace("DARK", dark) + fills


def _list(items: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in items) + "</dl>"


def _table(rows: Sequence[StepRow], colours: dict[int, int]) -> str:
    head = "".join(f"<th>{t}</th>" for t in TITLES)
    lines = []
    for row in rows:
        number = f"{row.steps}×" if row.steps > 1 else str(row.number)
        what = f'<td class=text><span class="key k{colours[row.kernel]}"></span>{escape(row.what)}</td><td class=text>{escape(row.origin)}</td>'
        lines.append(f"<tr><td>{number}</td>{what}{''.join(f'<td>{escape(c)}</td>' for c in figures(row))}</tr>")
    titles = f"<th>step</th><th class=text>what</th><th class=text>where in the model</th>{head}"
    return f"<div class=wide><table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _timeline(profile: Profile, colours: dict[int, int]) -> str:
    """An SVG: a lane for each thread, a block for its work in each step."""
    threads = profile.intervals.shape[0]
    length = float(profile.intervals.max()) or 1e-9
    scale, height = (WIDTH - LEFT) / length, threads * (LANE + GAP)
    parts = []
    for at in ticks(length):
        x = LEFT + at * scale
        parts.append(f'<line class=tick x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height + 14}" text-anchor="middle">{seconds_text(at)}</text>')
    for thread in range(threads):
        y = thread * (LANE + GAP)
        parts.append(f'<text x="0" y="{y + LANE / 2 + 4}">thread {thread}</text>')
        parts.append(f'<rect class=lane x="{LEFT}" y="{y}" width="{WIDTH - LEFT}" height="{LANE}"/>')
        for row, (begin, end) in zip(profile.rows, profile.intervals[thread]):
            name = escape(f"step {row.number}: {row.what} {row.origin}, {seconds_text(end - begin)}")
            where = f'x="{LEFT + begin * scale:.2f}" y="{y}" width="{(end - begin) * scale:.2f}" height="{LANE}"'
            parts.append(f"<rect class=k{colours[row.kernel]} {where}><title>{name}</title></rect>")
    box = f'viewBox="0 0 {WIDTH + 20} {height + AXIS}"'
    return f'<svg {box} role="img" aria-label="What each thread does, over time">{"".join(parts)}</svg>'


def ticks(length: float) -> list[float]:
    """Round times from 0 to length, at most TICKS and one: steps of 1, 2 or 5 times a power of ten."""
    least = length / TICKS
    power = 10.0 ** np.floor(np.log10(least))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= least)
    return [float(k * step) for k in range(int(length / step + 1e-9) + 1)]
