"""calicoctl in this process, on a store in memory."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from calico.calicoctl.cli import main
from calico.calicoctl.session import Session
from calico.client.resources import Client
from calico.datastore.memory import MemoryStore


class Result(NamedTuple):
    """How one run ended."""

    code: int
    out: str
    err: str


class Calicoctl:
    """Runs commands, and reads what they left in the store."""

    def __init__(self, directory: Path) -> None:
        self.store = MemoryStore()
        self.client = Client(self.store)
        self.directory = directory
        self.environment = {"ETCD_ENDPOINTS": "http://192.0.2.1:2379"}

    def __call__(self, *words: str, stdin: str = "") -> Result:
        session = Session(self.environment, lambda _settings: self.store, io.BytesIO(stdin.encode()))
        session.stdout, session.stderr = io.StringIO(), io.StringIO()
        code = main(words, session)
        return Result(code, session.stdout.getvalue(), session.stderr.getvalue())

    def file(self, text: str, name: str = "f.yaml") -> str:
        """The path of a file with this text."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def apply(self, text: str) -> None:
        """Have these documents in the store."""
        result = self("apply", "-f", "-", stdin=text)
        assert result.code == 0, result


@pytest.fixture
def calicoctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calicoctl:
    """calicoctl on an empty store, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return Calicoctl(tmp_path)


@pytest.fixture
def resource() -> Callable[..., str]:
    """Writes the YAML of a v3 resource; further lines are given as text."""

    def write(kind: str, name: str, *spec: str, namespace: str = "") -> str:
        lines = [f"apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: {name}"]
        lines += [f"  namespace: {namespace}"] if namespace else []
        lines += ["spec:" if spec else "spec: {}", *(f"  {line}" for line in spec)]
        return "\n".join(lines) + "\n---\n"

    return write
