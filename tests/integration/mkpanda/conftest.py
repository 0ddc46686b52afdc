"""A repository with recipes of its own, a cache of its own, and the program `mkpanda` to run on them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

Files = Mapping[str, Any]
COMMAND = (sys.executable, "-m", "pkgpanda.build.cli")
ROOT = Path(__file__).resolve().parents[3]


class Repository:
    """`packages/`, `buildinfo.json` and `build/` below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {**os.environ, "DCOS_CALICO_CACHE": str(path / "cache"), "PYTHONPATH": str(ROOT)}
        (path / "packages").mkdir(parents=True, exist_ok=True)

    def write(self, files: Files) -> None:
        """Write files below packages/ (`../` for the repository); objects and lists become JSON, scripts executable."""
        for name, content in files.items():
            path = self.path / "packages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(content) if isinstance(content, dict | list) else content
            path.write_bytes(text.encode() if isinstance(text, str) else text)

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run mkpanda here."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.path,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def built(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run a command that must succeed; its answer as JSON."""
        done = self.run(*arguments, "--format", "json", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def package(self, name: str = "a", **environment: str) -> dict[str, Any]:
        """Build a package; its entry in the answer."""
        packages = self.built("build", name, **environment)["packages"]
        return next(package for package in packages if package["id"].startswith(f"{name}--"))

    def leftovers(self) -> list[str]:
        """What a failed build must not leave: packages, work, cut-off downloads, temporary files."""
        places = ("build/packages", "build/work", "cache/partial", "cache/scratch")
        left = [path for place in places for path in (self.path / place).rglob("*") if path.name != ".lock"]
        left += (self.path / "packages").rglob(".buildinfo.json.*")
        return sorted(str(path.relative_to(self.path)) for path in left)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")
