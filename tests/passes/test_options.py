"""Environment variables: what they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tgen.ir.errors import InvalidInput
from tgen.options import Options, current


def test_nothing_set() -> None:
    assert current({}) == current({"TGEN_TARGET": "", "TGEN_CACHE": " ", "TGEN_DUMP": ""}) == Options()


def test_everything_set(tmp_path: Path) -> None:
    given = {
        "TGEN_TARGET": "avx2",
        "TGEN_THREADS": "3",
        "TGEN_CACHE": str(tmp_path),
        "TGEN_DUMP": "plan, asm",
        "TGEN_VERIFY": "off",
    }
    assert current(given) == Options("avx2", 3, tmp_path, frozenset({"plan", "asm"}), False)
    assert current({"TGEN_CACHE": "off"}).cache is False and current({"TGEN_CACHE": "on"}).cache is True


WRONG = {
    ("TGEN_THREADS", "0"): "TGEN_THREADS=0: wanted a number of threads, 1 or more",
    ("TGEN_THREADS", "many"): "TGEN_THREADS=many: wanted a number of threads, 1 or more",
    ("TGEN_DUMP", "plan,ast"): "TGEN_DUMP=plan,ast: no level is named 'ast'; levels: passes, times, plan, llvm, asm",
    ("TGEN_VERIFY", "maybe"): "TGEN_VERIFY=maybe: wanted `on` or `off`",
    ("TGEN_CACHE", __file__): "this is a file",
}


@pytest.mark.parametrize("name,value", WRONG)
def test_nonsense_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=WRONG[name, value]):
        current({name: value})
