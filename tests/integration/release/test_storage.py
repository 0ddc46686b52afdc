"""Places of releases: one contract for a folder and for a bucket, and what a bucket does beyond it."""

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pkgpanda.errors import PandaError
from release import prune, repository
from release.layout import Entry, entry
from release.storage.base import Storage
from release.storage.http import HttpStorage
from release.storage.local import LocalStorage
from release.storage.s3 import Bucket, S3Storage
from tests.servers.s3 import S3Server
from tests.unit.release.test_repository import bundle, release, script

PART = 5 << 20
"""The smallest part that S3 takes."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3")).start()
    yield server
    server.stop()


def bucket(server: S3Server, prefix: str) -> S3Storage:
    where = Bucket(server.bucket, prefix, server.url, "us-east-1", "test", "test")
    storage = S3Storage("s3", where, f"{server.url}/{server.bucket}/{prefix}")
    storage.part_size = PART
    return storage


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, server: S3Server) -> Storage:
    if request.param == "folder":
        return LocalStorage("folder", tmp_path / "store")
    return bucket(server, f"t{os.urandom(6).hex()}")


def large(tmp_path: Path, size: int) -> Entry:
    content = os.urandom(1 << 16) * (size // (1 << 16) + 1)
    path = tmp_path / "large"
    path.write_bytes(content[:size])
    return Entry("packages/l/large.tar.xz", hashlib.sha256(content[:size]).hexdigest(), size, 0o644, source=path)


# ------------------------------------------------------------------------------------------------ the contract


def test_what_is_put_is_there_whole(storage: Storage, tmp_path: Path) -> None:
    wanted = entry("a/b.json", b"{}")
    assert storage.holds(wanted) is None
    assert storage.read("a/b.json") is None
    storage.put(wanted)
    assert storage.holds(wanted) is True
    assert storage.read("a/b.json") == b"{}"
    storage.fetch("a/b.json", tmp_path / "x/y")
    assert (tmp_path / "x/y").read_bytes() == b"{}"


def test_other_bytes_are_told_apart(storage: Storage) -> None:
    storage.put(entry("a", b"one"))
    assert storage.holds(entry("a", b"two")) is False
    storage.put(entry("a", b"two"))
    assert storage.read("a") == b"two"


def test_large_files(storage: Storage, tmp_path: Path) -> None:
    wanted = large(tmp_path, 2 * PART + 12345)
    storage.put(wanted)
    assert storage.holds(wanted) is True
    storage.fetch(wanted.path, tmp_path / "back")
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == wanted.sha256


def test_listings_are_sorted_and_of_a_prefix(storage: Storage) -> None:
    for path in ("b/2", "a/1", "b/1", "b.txt"):
        storage.put(entry(path, path.encode()))
    assert sorted(each.path for each in storage.listing("b/")) == ["b/1", "b/2"]
    assert {each.path: each.size for each in storage.listing("")} == {"a/1": 3, "b/1": 3, "b/2": 3, "b.txt": 5}


def test_removing_twice_is_no_problem(storage: Storage) -> None:
    storage.put(entry("a/b/c", b"x"))
    storage.remove("a/b/c")
    storage.remove("a/b/c")
    assert list(storage.listing("")) == []


def test_fetching_what_is_not_there(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(PandaError):
        storage.fetch("none", tmp_path / "x")


def test_a_release_comes_channels_move_and_the_old_one_goes(storage: Storage) -> None:
    for number in (1, 2):
        steps = repository.plan_publication(release(number), [storage])
        steps += repository.point("testing", script(number), [storage])
        assert repository.apply(steps, lambda _line: None) > 0
        assert repository.channels(storage) == {"testing": release(number).name}
    again = repository.plan_publication(release(2), [storage])
    assert all(step.has for step in again)
    state = prune.look(storage, max(each.modified for each in storage.listing("")) + 40 * 86400)
    for each in prune.plan(state, 30):
        storage.remove(each.path)
    assert list(repository.releases(storage)) == [release(2).name]
    assert all(storage.holds(each) for each in (*release(2).shared, *release(2).documents))


# --------------------------------------------------------------------------------------------------- a bucket


class _CutOff(Exception):
    """The connection broke."""


def cut_after(storage: S3Storage, parts: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the transfer break after so many parts; the numbers of those that are sent."""
    sent: list[int] = []
    upload = storage._client.upload_part

    def send(**about: Any) -> Any:
        if len(sent) == parts:
            raise _CutOff
        sent.append(about["PartNumber"])
        return upload(**about)

    monkeypatch.setattr(storage._client, "upload_part", send)
    return sent


def test_a_transfer_that_broke_goes_on_where_it_was(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, wanted = bucket(server, "resume"), large(tmp_path, 3 * PART + 1)
    sent = cut_after(storage, 2, monkeypatch)
    with pytest.raises(_CutOff):
        storage.put(wanted)
    assert sent == [1, 2]
    assert storage.holds(wanted) is None, "half a file is no file"
    monkeypatch.undo()
    rest = cut_after(storage, 99, monkeypatch)
    storage.put(wanted)
    assert rest == [3, 4], "what was sent is not sent again"
    assert storage.holds(wanted) is True


def test_parts_of_other_bytes_are_sent_again(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, wanted = bucket(server, "other"), large(tmp_path, 3 * PART)
    cut_after(storage, 2, monkeypatch)
    with pytest.raises(_CutOff):
        storage.put(wanted)
    monkeypatch.undo()
    assert wanted.source is not None
    content = bytearray(wanted.source.read_bytes())
    content[0] ^= 1
    wanted.source.write_bytes(content)
    changed = wanted._replace(sha256=hashlib.sha256(content).hexdigest())
    rest = cut_after(storage, 99, monkeypatch)
    storage.put(changed)
    assert rest == [1, 3]
    assert storage.holds(changed) is True, "the digest is that of the bytes, not of those before"
    storage.fetch(wanted.path, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_what_goes_wrong_is_one_line_with_the_place(server: S3Server) -> None:
    nowhere = S3Storage("s3", Bucket("no-such-bucket", "", server.url, "us-east-1", "test", "test"))
    with pytest.raises(PandaError) as caught:
        nowhere.put(entry("a", b"x"))
    assert caught.value.status == 3
    assert "s3://no-such-bucket/a" in str(caught.value) and "\n" not in str(caught.value.problems[0])


def test_a_server_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = S3Storage("s3", Bucket("b", "", "http://127.0.0.1:9", "us-east-1", "test", "test"))
    with pytest.raises(PandaError) as caught:
        away.read("a")
    assert caught.value.status == 3


@pytest.mark.parametrize("size", [1000, 2 * PART])
def test_what_changes_while_it_is_sent_is_not_stored(server: S3Server, tmp_path: Path, size: int) -> None:
    storage, wanted = bucket(server, f"changes-{size}"), large(tmp_path, size)
    with pytest.raises(PandaError, match="changed while it was stored"):
        storage.put(wanted._replace(sha256="0" * 64))
    assert list(storage.listing("")) == []


# ----------------------------------------------------------------------------------------------- a web server


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[HttpStorage]:
    """What LocalStorage wrote, served."""
    local = LocalStorage("local", tmp_path / "served")
    steps = repository.plan_publication(release(1), [local]) + repository.point("testing", script(1), [local])
    repository.apply(steps, lambda _line: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(local.root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield HttpStorage("web", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_release_is_read_over_http(web: HttpStorage, tmp_path: Path) -> None:
    assert repository.resolve(web, "testing") == release(1).name
    assert repository.metadata(web, release(1).name).tag == "1.1"
    web.fetch("packages/a/a--1.tar.xz", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"shared"
    assert web.holds(release(1).shared[0]) is True
    assert web.holds(entry("packages/a/a--1.tar.xz", b"other")) is False
    assert web.holds(entry("none", b"")) is None


def test_a_web_server_is_only_read(web: HttpStorage) -> None:
    for attempt in (
        lambda: web.put(bundle(1)[0]),
        lambda: list(web.listing("")),
        lambda: web.remove("a"),
    ):
        with pytest.raises(PandaError, match="can only be read"):
            attempt()


def test_a_web_server_that_is_away() -> None:
    with pytest.raises(PandaError) as caught:
        HttpStorage("web", "http://127.0.0.1:9").read("a")
    assert caught.value.status == 3
