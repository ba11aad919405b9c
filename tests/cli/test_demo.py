"""`tgen demo` with the real model, and what it says where something is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tgen.cli import main


@pytest.mark.peer("tokenizers")
def test_demo_answers(known_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(known_model("minilm"))
    assert main(["demo", "how do I reset my password?", "--top", "1", "--folder", folder]) == 0
    text = capsys.readouterr().out
    assert "choose a new password on the sign-in page" in text
    for fact in ("model to machine code", "one query", "the collection", "this CPU", "threads"):
        assert fact in text


def test_demo_without_tokenizers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before anything is downloaded."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == ("tgen: error: the package tokenizers is not installed; pip install 'tgen[demo]' brings it\n")


@pytest.mark.peer("tokenizers")
def test_demo_with_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--folder", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1] == f"tgen: error: {tmp_path / 'tokenizer.json'} is missing"
