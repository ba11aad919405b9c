"""simplify: local laws of the operators, applied until none fires. Each rule is one function whose docstring is the law.

Right sides are never dearer than left sides. Laws are exact for every IEEE value (which NaN of several a NaN result is, is left open)
unless the docstring says why not.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.rewrite import rewrite
from . import arithmetic, views

RULES = (*views.RULES, *arithmetic.RULES)


def simplify(graph: Graph) -> Graph:
    """evaluate is unchanged, but for roundings that a rule allows itself; no rule fires on the result."""
    return rewrite(graph, RULES)
