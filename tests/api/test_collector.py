"""Python's garbage collector is put off while a model is compiled, and given back as it was."""

from __future__ import annotations

import gc

import pytest

from tgen.collector import uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_given_back_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with uncollected():
            with uncollected():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_given_back_after_an_error() -> None:
    before = gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled() == before
