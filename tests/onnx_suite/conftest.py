"""Prints how much of ONNX's standard suite was imported, at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sums what the chunks recorded (user properties travel from xdist's workers too)."""
    counts: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    if name.startswith("onnx_suite "):
                        counts.setdefault(name.removeprefix("onnx_suite "), Counter()).update(value)
    for name, count in sorted(counts.items()):
        line = ", ".join(f"{count[k]} {k}" for k in ("passed", "not reproducible", "failed", "unsupported"))
        terminalreporter.write_line(f"ONNX standard suite, {name}: {line} of {sum(count.values())}")
