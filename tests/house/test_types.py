"""Types agree: what `make lint` asks of the type checker, here too where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.peer("mypy")
def test_types_agree(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The four folders stand as the one package they are when installed; what is known of other packages is kept for the next time."""
    package = tmp_path / "tgen"
    package.mkdir()
    for path in (*(ROOT / "tgen").iterdir(), ROOT / "ir", ROOT / "targets", ROOT / "models"):
        (package / path.name).symlink_to(path)
    known = request.config.cache.mkdir("mypy")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(known)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
