"""What the documents say is so: the operator table, the how-to's code, the README's commands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import tgen
from tgen.ir.builder import Builder
from tgen.ir.op import OPS
from tgen.operators import table

ROOT = Path(__file__).parents[2]


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_operator_table_is_up_to_date() -> None:
    page = (ROOT / "docs/operators.md").read_text()
    if f"As ONNX {onnx.__version__} " not in page:
        pytest.skip("docs/operators.md was written with another version of ONNX")
    assert page == table(), "python -m tgen.operators > docs/operators.md"


def test_how_to_add_an_op(rng) -> None:
    """The page's class is all there is to a new operator: it is interpreted and compiled."""
    (code,) = code_blocks("docs/how-to/add-an-op.md", "python")
    try:
        exec(code, {"__name__": "example"})
        b = Builder()
        x, y = b.input("x", "f32", ("n",)), b.input("y", "f32", ("n",))
        b.output("z", b.squared_difference(x, y))
        graph, feeds = b.build(), {k: rng.standard_normal(33).astype(np.float32) for k in "xy"}
        np.testing.assert_allclose(tgen.compile(graph, cache=False).run(feeds)["z"], tgen.reference(graph, feeds)["z"], rtol=1e-6)
    finally:
        OPS.pop("squared_difference", None)


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_of_the_readme_exist() -> None:
    from tgen import cli

    for command in set(re.findall(r"^tgen (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)):
        try:
            cli.main([command, "--help"])
        except SystemExit as done:
            assert done.code in (0, None), command
