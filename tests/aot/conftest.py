"""Libraries that the tests of this folder share, built once."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable

import pytest

import tgen
from tests.aot.c_interface import CLibrary
from tests.aot.graphs import small_graph
from tgen.aot.build import Built
from tgen.aot.link import LinkError, find_linker


@pytest.fixture(scope="session", autouse=True)
def linker() -> None:
    try:
        find_linker(platform.machine())
    except LinkError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The library `small` of `small_graph`, weights inside."""
    return tgen.build(small_graph(), tmp_path_factory.mktemp("small"), name="small")


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The library `apart` of `small_graph`, weights in a file."""
    return tgen.build(small_graph(), tmp_path_factory.mktemp("apart"), name="apart", weights_file=True)


@pytest.fixture(scope="session")
def library(built: Built) -> CLibrary:
    return CLibrary(built.files[0], "small")


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """`tool("cc")`: the path of a program; skips where it is not installed."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find
