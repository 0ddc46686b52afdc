"""A real bundle, made by the real command, once a run."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def release() -> Run:
    """Runs `release` with the repository's recipes and build directory."""

    def run(*arguments: object, cwd: Path = ROOT, **options: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "release", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=900, **options)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture(scope="session")
def dist(release: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dist/ of the shipped configuration; nobody may change it."""
    output = tmp_path_factory.mktemp("bundle") / "dist"
    done = release("bundle", "--config", ROOT / "config/calico.yaml", "--output", output)
    assert done.returncode == 0, done.stderr
    return output
