"""calicoctl as one file: names of branches and tags, paths, and the same bytes from anywhere."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

from pkgpanda.errors import PandaError
from release import calicoctl
from release.calicoctl import build_zipapp, read_line
from release.source import Commit

ROOT = Path(__file__).resolve().parents[3]
CALICO = ROOT / "packages/calico/extra/calico"
COMMIT = Commit("0123456789abcdef" * 2 + "01234567", False)
YAML = Path(yaml.__file__).parent


@pytest.mark.parametrize("tag", ["v3.14-d2iq.1", "v3.14.0-d2iq.12"])
def test_tags(tag: str) -> None:
    path = read_line("", tag).path(COMMIT, "fedcba9" + "0" * 57, "linux-amd64")
    assert path == f"dcos-calicoctl/bin/{tag}/0123456-fedcba9/calicoctl-linux-amd64"


def test_a_branch() -> None:
    path = read_line("release-v3.14-d2iq.2", "").path(COMMIT, "fedcba9" + "0" * 57, "darwin-arm64")
    assert path == "autodelete7d/release-v3.14-d2iq.2/bin/0123456-fedcba9/calicoctl-darwin-arm64"


@pytest.mark.parametrize(
    ("branch", "tag"),
    [
        ("main", ""),
        ("release-v3.14-d2iq", ""),
        ("v3.14-d2iq.1", ""),
        ("release-v3.15-d2iq.1", ""),
        ("", "3.14-d2iq.1"),
        ("", "release-v3.14-d2iq.1"),
        ("", "v3.14-d2iq.x"),
        ("", "v3.140-d2iq.1"),
        ("", "v3.14-d2iq.1\n"),
        ("", "v3.14-d2iq.\u0661"),
        ("release-v3.14-d2iq.\u0661", ""),
    ],
)
def test_names_that_are_refused(branch: str, tag: str) -> None:
    with pytest.raises(PandaError):
        read_line(branch, tag)


def test_every_platform_gets_the_same_file() -> None:
    entries = calicoctl.entries(b"x", read_line("", "v3.14-d2iq.1"), COMMIT)
    assert {entry.sha256 for entry in entries} == {hashlib.sha256(b"x").hexdigest()}
    assert len({entry.path for entry in entries}) == len(calicoctl.PLATFORMS)


def test_the_same_sources_give_the_same_bytes_whatever_their_times_and_modes(tmp_path: Path) -> None:
    shutil.copytree(CALICO, tmp_path / "elsewhere")
    for number, path in enumerate(sorted((tmp_path / "elsewhere").rglob("*.py"))):
        path.chmod(0o600)
        os.utime(path, (number, number))
    assert build_zipapp(CALICO, YAML, "x") == build_zipapp(tmp_path / "elsewhere", YAML, "x")
    assert build_zipapp(CALICO, YAML, "x") != build_zipapp(CALICO, YAML, "y")


def test_it_holds_python_source_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "calicoctl"
    path.write_bytes(build_zipapp(CALICO, YAML, "x"))
    assert path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert {"__main__.py", "calico/calicoctl/cli.py", "yaml/__init__.py"} <= set(names)
    assert [name for name in names if not name.endswith(".py")] == []
