"""Putting dist/ in place: all of it or nothing, nothing stale, the same modes under any umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkgpanda.errors import PandaError
from release.assemble import check_place, is_current, swap, write_draft
from release.layout import FORMAT, MANIFEST, Entry, entry


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "dist"


@pytest.fixture(autouse=True)
def _tight_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def entries(text: str = "one") -> list[Entry]:
    return [
        entry("dcos_install.sh", b"#!/bin/sh\n", 0o755),
        entry("packages/etcd/etcd--1.tar.xz", text.encode()),
        entry(MANIFEST, FORMAT.encode()),
    ]


def place(output: Path, wanted: list[Entry]) -> None:
    swap(write_draft(output, wanted), output)


def test_files_have_their_modes_whatever_the_umask(output: Path) -> None:
    place(output, entries())
    modes = {str(path.relative_to(output)): stat.S_IMODE(path.stat().st_mode) for path in output.rglob("*")}
    assert modes == {
        "dcos_install.sh": 0o755,
        "packages": 0o755,
        "packages/etcd": 0o755,
        "packages/etcd/etcd--1.tar.xz": 0o644,
        MANIFEST: 0o644,
    }
    assert stat.S_IMODE(output.stat().st_mode) == 0o755


def test_what_was_there_is_gone_and_nothing_is_left_beside(output: Path) -> None:
    place(output, [*entries(), entry("packages/old/old--1.tar.xz", b"old")])
    place(output, entries("two"))
    assert not (output / "packages/old").exists()
    assert (output / "packages/etcd/etcd--1.tar.xz").read_text() == "two"
    assert [path.name for path in output.parent.iterdir()] == ["dist"]


def test_until_the_swap_the_old_bundle_stands(output: Path) -> None:
    place(output, entries())
    write_draft(output, entries("two"))
    assert is_current(output, entries())
    place(output, entries("two"))
    assert is_current(output, entries("two"))


def test_a_killed_runs_draft_is_thrown_away(output: Path) -> None:
    stale = output.parent / ".dist.new"
    stale.mkdir()
    (stale / "half").write_text("")
    place(output, entries())
    assert is_current(output, entries())


def test_a_file_that_changes_meanwhile_is_noticed(output: Path, tmp_path: Path) -> None:
    source = tmp_path / "archive"
    source.write_text("changed")
    with pytest.raises(PandaError, match="changed while the bundle was assembled"):
        write_draft(output, [entry("a", b"expected")._replace(content=None, source=source)])
    assert not output.exists()
    assert not (output.parent / ".dist.new").exists()


@pytest.mark.parametrize("change", ["missing", "extra", "bytes", "mode", "directory mode", "link", "empty directory"])
def test_a_bundle_that_differs_is_not_current(output: Path, change: str) -> None:
    place(output, entries())
    assert is_current(output, entries())
    archive = output / "packages/etcd/etcd--1.tar.xz"
    if change == "missing":
        archive.unlink()
    elif change == "extra":
        (output / "more").write_text("")
    elif change == "bytes":
        archive.write_text("eno")
    elif change == "mode":
        archive.chmod(0o600)
    elif change == "empty directory":
        (output / "old").mkdir(mode=0o755)
        (output / "old").chmod(0o755)
    elif change == "directory mode":
        (output / "packages").chmod(0o700)
    else:
        archive.rename(output.parent / "elsewhere")
        archive.symlink_to(output.parent / "elsewhere")
    assert not is_current(output, entries())


def test_a_directory_that_is_not_ours_is_left_alone(output: Path) -> None:
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    with pytest.raises(PandaError, match="neither empty nor a bundle"):
        check_place(output)


def test_a_file_or_a_link_is_no_place(output: Path) -> None:
    output.write_text("")
    with pytest.raises(PandaError, match="is not a directory"):
        check_place(output)
    output.unlink()
    output.symlink_to("/tmp")
    with pytest.raises(PandaError, match="is not a directory"):
        check_place(output)


def test_free_empty_and_our_own_places_will_do(output: Path) -> None:
    check_place(output)
    output.mkdir()
    check_place(output)
    place(output, entries())
    check_place(output)
