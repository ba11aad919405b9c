"""Side-by-side measurement: contestants in processes of their own, each stopped while another runs."""

from .interleave import Report, Row, compare

__all__ = ["Report", "Row", "compare"]
