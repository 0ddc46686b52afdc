"""Releases in a repository: what is written in which order, and what is there when it stops anywhere."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgpanda.errors import PandaError
from release import layout, repository
from release.commands.promote import plan as plan_promotion
from release.layout import Entry, entry
from release.metadata import Identity, describe
from release.repository import Publication
from release.source import Commit
from release.storage.local import LocalStorage
from release.storage.settings import Storages

CHANNEL = "testing"


class Stop(Exception):
    """Where a process would have died."""


class Interrupted(LocalStorage):
    """A folder whose writer dies before its n-th write."""

    writes_left = 1 << 30

    def put(self, entry: Entry) -> None:
        if self.writes_left <= 0:
            raise Stop
        self.writes_left -= 1
        super().put(entry)


def bundle(number: int) -> list[Entry]:
    """A release's files: some that all releases share, and some of its own."""
    commit = Commit(f"{number}" * 40, False)
    core = [entry("packages/a/a--1.tar.xz", b"shared"), entry(f"packages/b/b--{number}.tar.xz", bytes([number]))]
    info = entry(layout.PACKAGE_INFO, f"info {number}".encode())
    entries = [*core, info, entry(layout.INSTALL_SCRIPT, f"#!/bin/bash\n# {number}\n".encode(), 0o755)]
    entries += describe(Identity(f"1.{number}", commit, "http://h"), [], entries, {})
    return [*entries, entry(layout.MANIFEST, b"{}"), entry(layout.SUMS, layout.encode_sums(entries))]


def release(number: int) -> Publication:
    return repository.publication(bundle(number), [entry(f"SHA256SUMS.{'0' * 16}.sig", b"s" * 64)])


def script(number: int) -> bytes:
    return f"#!/bin/bash\n# {number}\n".encode()


def publish(storage: LocalStorage, number: int, channel: str = CHANNEL) -> int:
    steps = [
        *repository.plan_publication(release(number), [storage]),
        *repository.point(channel, script(number), [storage]),
    ]
    return repository.apply(steps, lambda _line: None)


def whole(storage: LocalStorage, number: int) -> bool:
    what = release(number)
    return all(storage.holds(each) for each in (*what.shared, *what.documents))


def test_a_release_is_named_by_its_script(tmp_path: Path) -> None:
    assert release(1).name == hashlib.sha256(script(1)).hexdigest()


def test_the_package_list_has_a_name_of_its_own_where_releases_share(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"info 1").hexdigest()
    assert f"package_lists/{digest}.package_info.json" in [each.path for each in release(1).shared]


def test_metadata_is_written_last(tmp_path: Path) -> None:
    assert release(1).documents[-1].path.endswith("/metadata.json")


def test_what_is_stored_is_what_readers_find(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1)
    assert repository.channels(storage) == {CHANNEL: release(1).name}
    assert list(repository.releases(storage)) == [release(1).name]
    said = repository.metadata(storage, release(1).name)
    assert (said.tag, said.commit) == ("1.1", "1" * 40)
    assert repository.signers(storage, release(1).name) == ["0" * 16]
    for name in (CHANNEL, release(1).name, release(1).name[:12]):
        assert repository.resolve(storage, name) == release(1).name


def test_a_second_time_writes_nothing(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    assert publish(storage, 1) > 0
    assert publish(storage, 1) == 0


def test_shared_files_are_sent_once(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1)
    before = (storage.root / "packages/a/a--1.tar.xz").stat().st_ino
    publish(storage, 2)
    assert (storage.root / "packages/a/a--1.tar.xz").stat().st_ino == before


def test_creation_interrupted_at_every_write_leaves_the_old_channel_or_the_new(tmp_path: Path) -> None:
    total = 0
    for writes in range(100):
        storage = Interrupted("s", tmp_path / str(writes))
        publish(storage, 1)
        storage.writes_left = writes
        try:
            publish(storage, 2)
            total = writes
        except Stop:
            assert repository.channels(storage) == {CHANNEL: release(1).name}
            assert whole(storage, 1)
        else:
            assert repository.channels(storage) == {CHANNEL: release(2).name}
            break
        storage.writes_left = 1 << 30
        publish(storage, 2)
        assert repository.channels(storage) == {CHANNEL: release(2).name}
        assert whole(storage, 2)
    assert total == len(release(2).documents) + 3, (
        "a package, a package list, the channel: everything but what is shared"
    )


def test_promotion_interrupted_at_every_write_leaves_the_old_channel_or_the_new(tmp_path: Path) -> None:
    """Of two storages, either may have moved; none is anywhere else than before or after."""
    for writes in range(3):
        one, two = (Interrupted(name, tmp_path / str(writes) / name) for name in "ab")
        for storage in (one, two):
            publish(storage, 1, "stable")
            publish(storage, 2, "testing")
        known = Storages({"a": one, "b": two}, one)
        _, steps = plan_promotion(known, "testing", "stable")
        assert len(steps) == 2 and steps[-1].storage is one
        one.writes_left, two.writes_left = max(0, writes - 1), writes
        try:
            repository.apply(steps, lambda _line: None)
        except Stop:
            assert repository.channels(one)["stable"] == release(1).name
        assert repository.channels(two)["stable"] == release(1 if writes == 0 else 2).name
        one.writes_left = two.writes_left = 9
        _, steps = plan_promotion(known, "testing", "stable")
        repository.apply(steps, lambda _line: None)
        assert {repository.channels(each)["stable"] for each in (one, two)} == {release(2).name}


def test_one_goes_back_by_a_releases_name(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1)
    publish(storage, 2)
    known = Storages({"s": storage}, storage)
    _, steps = plan_promotion(known, release(1).name[:10], CHANNEL)
    repository.apply(steps, lambda _line: None)
    assert repository.channels(storage) == {CHANNEL: release(1).name}


def _gone(storage: LocalStorage) -> None:
    storage.remove("packages/b/b--1.tar.xz")


def _cut(storage: LocalStorage) -> None:
    (storage.root / "packages/b/b--1.tar.xz").write_bytes(b"")


def _script(storage: LocalStorage) -> None:
    path = storage.root / repository.document_path(release(1).name, layout.INSTALL_SCRIPT)
    path.write_bytes(b"#!/bin/false\n")


def _metadata(storage: LocalStorage) -> None:
    storage.remove(repository.document_path(release(1).name, layout.METADATA))


@pytest.mark.parametrize("spoil", [_gone, _cut, _script, _metadata])
def test_what_is_not_whole_is_not_promoted(tmp_path: Path, spoil: Callable[[LocalStorage], None]) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1)
    spoil(storage)
    with pytest.raises(PandaError):
        plan_promotion(Storages({"s": storage}, storage), CHANNEL, "stable")
    assert "stable" not in repository.channels(storage)


def test_a_path_with_other_bytes_is_never_overwritten(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    storage.put(entry("packages/a/a--1.tar.xz", b"other"))
    with pytest.raises(PandaError, match="is there with other bytes"):
        publish(storage, 1)
    assert storage.read("packages/a/a--1.tar.xz") == b"other"


def test_what_goes_away_meanwhile_stops_it_before_the_channel_moves(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    storage.put(entry("packages/a/a--1.tar.xz", b"shared"))
    steps = [*repository.plan_publication(release(1), [storage]), *repository.point(CHANNEL, script(1), [storage])]
    storage.remove("packages/a/a--1.tar.xz")
    with pytest.raises(PandaError, match=r"a--1\.tar\.xz: is not there"):
        repository.apply(steps, lambda _line: None)
    assert repository.channels(storage) == {}


@pytest.mark.parametrize("name", ["", "Testing", "../up", "a//b", "a/", "-x", "a b", "a/b/c/d/e", "x" * 64])
def test_names_that_no_channel_has(name: str) -> None:
    with pytest.raises(PandaError, match="is no name of a channel"):
        repository.check_channel(name)


@pytest.mark.parametrize("name", ["testing", "testing/pull-17", "1.2"])
def test_names_that_a_channel_may_have(name: str) -> None:
    assert repository.check_channel(name) == name


@pytest.mark.parametrize("name", ["nosuch", "0" * 64, "deadbeef"])
def test_what_is_neither_channel_nor_release(tmp_path: Path, name: str) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1)
    with pytest.raises(PandaError):
        repository.metadata(storage, repository.resolve(storage, name))


def test_a_killed_writer_leaves_no_file_that_is_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage("s", tmp_path / "s")

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", die)
    with pytest.raises(KeyboardInterrupt):
        storage.put(entry("packages/a/a--1.tar.xz", b"x"))
    (storage.root / "packages/a/.unfinished-dead").write_bytes(b"half")
    assert list(storage.listing("")) == []
    assert storage.read("packages/a/a--1.tar.xz") is None


def test_what_changes_while_it_is_read_is_not_stored(tmp_path: Path) -> None:
    source = tmp_path / "archive"
    source.write_bytes(b"other")
    storage = LocalStorage("s", tmp_path / "s")
    with pytest.raises(PandaError, match="changed"):
        storage.put(entry("packages/a/a--1.tar.xz", b"bytes")._replace(content=None, source=source))
    assert list(storage.root.rglob("*.xz")) == []


def test_a_folder_that_a_link_leads_to_is_listed(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1, "testing")
    (storage.root / "channels").rename(tmp_path / "elsewhere")
    (storage.root / "channels").symlink_to(tmp_path / "elsewhere")
    assert repository.channels(storage) == {"testing": release(1).name}


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1, "testing")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("channels"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PandaError, match="channels: Permission denied"):
        repository.channels(storage)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_a_storage_is_never_left(tmp_path: Path, path: str) -> None:
    with pytest.raises(PandaError, match="leads out"):
        LocalStorage("s", tmp_path).read(path)
