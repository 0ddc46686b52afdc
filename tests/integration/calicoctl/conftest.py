"""calicoctl as a program against a real etcd."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.etcd import Cluster, local_cluster

EXTRA = Path(__file__).resolve().parents[3] / "packages/calico/extra"


class Result(NamedTuple):
    """How one run ended."""

    code: int
    out: str
    err: str


class Program:
    """Runs calicoctl as a process of its own, against one etcd."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.command = [sys.executable, str(EXTRA / "run.py"), "calico.calicoctl.cli"]
        self.environment = {
            **{name: value for name, value in os.environ.items() if "ETCD" not in name},
            "ETCD_ENDPOINTS": cluster.urls[0],
        }

    def __call__(self, *words: str, stdin: str = "") -> Result:
        done = subprocess.run(
            [*self.command, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env=self.environment,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def file(self, name: str, text: str) -> str:
        """Write a file into the directory calicoctl runs in."""
        (self.directory / name).write_text(text)
        return name


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One member, kept for the session."""
    cluster = local_cluster(tmp_path_factory.mktemp("etcd"))
    yield cluster
    cluster.stop()


@pytest.fixture
def calicoctl(etcd: Cluster, tmp_path: Path) -> Program:
    """calicoctl on an empty etcd."""
    etcd.ctl("del", "--prefix", "/calico/")
    return Program(etcd, tmp_path)
