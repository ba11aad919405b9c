"""Numbers as people read them."""

from __future__ import annotations


def seconds_text(value: float) -> str:
    """12.3 ms, 4.5 µs, 0."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return "0"


def bytes_text(value: float) -> str:
    """90.9 MB, 512 B."""
    return _scaled(value, "B")


def rate_text(value: float, unit: str) -> str:
    """98.1 Gop/s."""
    return f"{_scaled(value, unit)}/s"


def _scaled(value: float, unit: str) -> str:
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
