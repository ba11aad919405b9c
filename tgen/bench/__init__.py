"""Side-by-side measurement: contestants in processes of their own, each stopped while another runs."""

from .interleave import compare
from .rows import Report, Row

__all__ = ["Report", "Row", "compare"]
