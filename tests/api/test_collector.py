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


def test_what_is_left_is_old() -> None:
    """No collection of young objects goes through what was made inside; one of all objects still finds it."""
    before = gc.isenabled()
    gc.enable()
    try:
        with uncollected():
            kept = [[] for _ in range(50_000)]
            cycle: list[object] = []
            cycle.append(cycle)
            number = id(cycle)
            del cycle
        assert gc.get_count()[0] < 1000 and len(kept) == 50_000
        assert any(id(x) == number for x in gc.get_objects())
        gc.collect()
        assert not any(id(x) == number and type(x) is list and x and x[0] is x for x in gc.get_objects())
        assert gc.get_freeze_count() == 0
    finally:
        (gc.enable if before else gc.disable)()


def test_what_the_program_has_frozen_stays_so() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with uncollected():
            pass
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()
