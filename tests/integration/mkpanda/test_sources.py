"""Sources: fetched once, verified always, and what happens when an archive no longer has what was pinned."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mkpanda.conftest import Repository

_COPY = 'cp -R "$PKG_SRC/." "$PKG_PATH/"'


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _recipe(repository: Repository, **source: Any) -> None:
    repository.write({"a/buildinfo.json": {"sources": {"s": source}}, "a/build": _COPY})


def _members(package: dict[str, Any]) -> dict[str, int]:
    with tarfile.open(package["archive"]) as tar:
        return {
            member.name: member.mode for member in tar.getmembers() if member.isfile() and "info" not in member.name
        }


# url


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves `content` with ranges; `faults` are taken one for each request: a status, or bytes after which to stop."""

    content = b""
    faults: list[tuple[str, int]]
    seen: list[str | None]

    def do_GET(self) -> None:
        self.seen.append(self.headers["Range"])
        kind, value = self.faults.pop(0) if self.faults else ("none", 0)
        if kind == "status":
            self.send_error(value)
            return
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start : value if kind == "cut" else None])

    def log_message(self, *_arguments: object) -> None: ...


@contextlib.contextmanager
def _served(content: bytes, *faults: tuple[str, int]) -> Iterator[tuple[str, list[str | None]]]:
    seen: list[str | None] = []
    handler = type("Handler", (_Handler,), {"content": content, "faults": list(faults), "seen": seen})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/dir/file.bin", seen
    finally:
        server.shutdown()
        server.server_close()


_CONTENT = bytes(range(256)) * 400


def test_a_download_goes_on_where_it_was_cut_off(repository: Repository) -> None:
    with _served(_CONTENT, ("cut", 1000), ("status", 503)) as (url, seen):
        _recipe(repository, kind="url", url=url, sha256=_sha256(_CONTENT).upper())
        assert _members(repository.package()) == {"s/file.bin": 0o644}
    assert seen == [None, "bytes=1000-", "bytes=1000-"]


def test_a_download_cut_off_in_an_earlier_run_goes_on(repository: Repository) -> None:
    partial = repository.path / "cache/partial" / _sha256(_CONTENT)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(_CONTENT[:5000])
    with _served(_CONTENT) as (url, seen):
        _recipe(repository, kind="url", url=url, sha256=_sha256(_CONTENT))
        repository.package()
    assert seen == ["bytes=5000-"]


def test_a_whole_partial_is_taken_and_a_longer_one_dropped(repository: Repository) -> None:
    for rest, requests in ((b"", 1), (b"more", 2)):
        with _served(_CONTENT + bytes([len(rest)])) as (url, seen):
            content = _CONTENT + bytes([len(rest)])
            partial = repository.path / "cache/partial" / _sha256(content)
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content + rest)
            _recipe(repository, kind="url", url=url, sha256=_sha256(content))
            repository.package()
            assert len(seen) == requests


@pytest.mark.parametrize("status,exit_status", [(404, 1), (403, 1)])
def test_what_the_server_refuses_is_one_line(repository: Repository, status: int, exit_status: int) -> None:
    with _served(_CONTENT, ("status", status)) as (url, seen):
        _recipe(repository, kind="url", url=url, sha256=_sha256(_CONTENT))
        done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n"), len(seen)) == (exit_status, 1, 1)
    assert f"cannot fetch {url}: the server answered {status}" in done.stderr


def test_wrong_content_is_named_with_both_digests_and_not_kept(repository: Repository) -> None:
    with _served(b"other") as (url, _):
        _recipe(repository, kind="url", url=url, sha256=_sha256(_CONTENT))
        done = repository.run("build")
    assert done.returncode == 1 and _sha256(b"other") in done.stderr and _sha256(_CONTENT) in done.stderr
    assert repository.leftovers() == []
    assert list((repository.path / "cache").glob("sources/*")) == []


def test_a_corrupt_cache_is_fetched_again(repository: Repository) -> None:
    with _served(_CONTENT) as (url, seen):
        _recipe(repository, kind="url", url=url, sha256=_sha256(_CONTENT))
        first = repository.package()
        cached = repository.path / "cache/sources" / _sha256(_CONTENT)
        cached.write_bytes(b"rotten")
        repository.write({"a/build": _COPY + " # again"})
        repository.package()
        assert len(seen) == 2 and cached.read_bytes() == _CONTENT
        repository.write({"a/build": _COPY})
        assert repository.package()["sha256"] == first["sha256"]
        assert len(seen) == 2


def test_archives_are_unpacked_without_their_top(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "top-1.0/bin").mkdir(parents=True)
    (tmp_path / "top-1.0/bin/tool").write_text("#!/bin/sh\n")
    (tmp_path / "top-1.0/bin/tool").chmod(0o755)
    with tarfile.open(repository.path / "packages/x.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "top-1.0", "top-1.0")
    with zipfile.ZipFile(repository.path / "packages/x.zip", "w") as archive:
        archive.write(tmp_path / "top-1.0/bin/tool", "top-1.0/bin/tool")
    for name in ("x.tar.gz", "x.zip"):
        sha256 = _sha256((repository.path / "packages" / name).read_bytes())
        _recipe(repository, kind="url_extract", url=f"file://../{name}", sha256=sha256)
        assert _members(repository.package()) == {"s/bin/tool": 0o755}


# git


def _git(directory: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment = {**os.environ, **identity}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    path = tmp_path / "upstream"
    path.mkdir()
    _git(path, "init", "-q", "-b", "main")
    (path / "tool").write_text("one")
    (path / "tool").chmod(0o755)
    _git(path, "add", ".")
    _git(path, "commit", "-q", "-m", "one")
    return path


@pytest.mark.parametrize("origin", [{}, {"ref_origin": "main"}, {"ref_origin": "no-such-branch"}])
def test_git_gives_the_commit_without_its_history(
    repository: Repository, upstream: Path, origin: dict[str, str]
) -> None:
    ref = _git(upstream, "rev-parse", "HEAD")
    (upstream / "tool").write_text("two")
    _git(upstream, "commit", "-q", "-a", "-m", "two")
    _recipe(repository, kind="git", git=str(upstream), ref=ref, **origin)
    package = repository.package()
    assert _members(package) == {"s/tool": 0o755}
    assert package["sources"][0]["version"] == ref
    with tarfile.open(package["archive"]) as tar:
        content = tar.extractfile("s/tool")
        assert content and content.read() == b"one"


def test_git_local_gives_head_and_refuses_changes(repository: Repository, upstream: Path) -> None:
    _recipe(repository, kind="git_local", rel_path=os.path.relpath(upstream, repository.path / "packages/a"))
    assert _members(repository.package()) == {"s/tool": 0o755}
    (upstream / "tool").write_text("changed")
    done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "has changes that are not committed" in done.stderr


# deb

_APT = """#!{python}
import json, os, shutil, sys
home = {home!r}
words = [word for word in sys.argv[1:]]
with open(home + "/calls", "a") as log:
    log.write(json.dumps(words) + "\\n")
words = [word for at, word in enumerate(words) if word not in ("-o", "-q") and words[at - 1] != "-o"]
index = json.load(open(home + "/index"))
if words[0] == "update":
    state = sys.argv[sys.argv.index("-o") + 1].split("=")[1]
    open(state + "/lists/x_Release", "w").close()
    sys.exit(0)
for word in [word for word in words[1:] if not word.startswith("--")]:
    name, _, version = word.partition("=")
    name = name.partition(":")[0]
    if name not in index:
        sys.exit("E: Unable to locate package " + name)
    version = version or index[name][0][0]
    if version not in dict(index[name]):
        sys.exit("E: Version '%s' for '%s' was not found" % (version, name))
    file, sha256 = dict(index[name])[version]
    base = name + "_" + version.replace(":", "%3a") + "_amd64.deb"
    if "--print-uris" in words:
        print("'http://archive/" + base + "' " + base + " 1 SHA256:" + sha256)
    else:
        shutil.copy(file, base)
"""


class Archive:
    """A Debian archive as `apt-get` on PATH sees it: a fake that records how it is called."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.index: dict[str, list[Any]] = {}
        (home / "bin").mkdir(parents=True)
        (home / "bin/apt-get").write_text(_APT.format(python=sys.executable, home=str(home)))
        (home / "bin/apt-get").chmod(0o755)
        self.publish()
        self.path = f"{home}/bin:{os.environ['PATH']}"

    def add(self, package: str, version: str) -> str:
        """A real .deb of that version becomes the current one; its digest."""
        root = self.home / f"{package}-{version}".replace(":", "_")
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN/control").write_text(
            f"Package: {package}\nVersion: {version}\nArchitecture: amd64\nMaintainer: a <a@b>\nDescription: x\n"
        )
        doc = root / "usr/share/doc" / package
        doc.mkdir(parents=True)
        (doc / "copyright").write_text("Format: x\n\nFiles: *\nLicense: MIT\n\nFiles: b\nLicense: BSD-3-clause\n")
        (root / "usr/bin").mkdir()
        (root / "usr/bin/tool").write_text(version)
        (root / "usr/bin/tool").chmod(0o4755)
        deb = root.with_suffix(".deb")
        subprocess.run(["dpkg-deb", "-b", "--root-owner-group", root, deb], check=True, capture_output=True)
        sha256 = _sha256(deb.read_bytes())
        self.index.setdefault(package, []).insert(0, [version, [str(deb), sha256]])
        self.publish()
        return sha256

    def drop(self, package: str, version: str) -> None:
        self.index[package] = [entry for entry in self.index[package] if entry[0] != version]
        self.publish()

    def publish(self) -> None:
        (self.home / "index").write_text(json.dumps(self.index))

    def calls(self) -> list[list[str]]:
        """What apt-get was asked to do so far, without the options; the log starts anew."""
        log = self.home / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [[word for word in json.loads(line) if "::" not in word and word not in ("-o", "-q")] for line in lines]


@pytest.fixture
def archive(tmp_path: Path, repository: Repository) -> Archive:
    archive = Archive(tmp_path / "archive")
    repository.environment["PATH"] = archive.path
    return archive


def _deb(repository: Repository, package: str, version: str, sha256: str) -> None:
    _recipe(repository, kind="deb", package=package, version=version, sha256=sha256)


def test_a_deb_is_unpacked_without_special_bits_and_its_licence_is_known(
    repository: Repository, archive: Archive
) -> None:
    _deb(repository, "pkg", "1:1.0+x-2", archive.add("pkg", "1:1.0+x-2"))
    package = repository.package()
    assert _members(package)["s/usr/bin/tool"] == 0o755
    source = package["sources"][0]
    assert (source["name"], source["version"], source["unlocked"]) == ("pkg", "1:1.0+x-2", False)
    assert source["licence"] == "BSD-3-clause, MIT"


def test_apt_is_asked_once_for_all_and_never_again(repository: Repository, archive: Archive) -> None:
    pins = {name: archive.add(name, "1.0") for name in ("pkg", "qqq")}
    sources = {name: {"kind": "deb", "package": name, "version": "1.0", "sha256": pin} for name, pin in pins.items()}
    repository.write({"a/buildinfo.json": {"sources": sources}, "a/build": _COPY})
    repository.package()
    assert archive.calls() == [["update"], ["download", "pkg=1.0", "qqq=1.0"]]
    repository.write({"a/build": _COPY + " # again"})
    repository.package()
    assert archive.calls() == []


def test_a_dropped_version_is_replaced_reported_and_gives_another_id(repository: Repository, archive: Archive) -> None:
    old = archive.add("pkg", "1.0")
    _deb(repository, "pkg", "1.0", old)
    pinned = repository.run("id", "a").stdout.strip()
    new = archive.add("pkg", "1.1")
    archive.drop("pkg", "1.0")
    done = repository.run("build")
    assert done.returncode == 0, done.stderr
    assert "s: pkg 1.0 is gone from the archive; 1.1 is used instead (unlocked)" in done.stdout
    package = repository.package()
    source = package["sources"][0]
    assert (source["version"], source["sha256"], source["unlocked"]) == ("1.1", new, True)
    assert package["id"] != pinned
    assert repository.run("id", "a").stdout.strip() == package["id"]


def test_a_replaced_version_is_found_again_without_asking(repository: Repository, archive: Archive) -> None:
    _deb(repository, "pkg", "1.0", "0" * 64)
    archive.add("pkg", "1.1")
    first = repository.package()
    archive.calls()
    second = repository.package()
    assert (second["reused"], second["sha256"], archive.calls()) == (True, first["sha256"], [])


def test_a_replacement_that_is_pinned_later_is_no_longer_unlocked(repository: Repository, archive: Archive) -> None:
    sha256 = archive.add("pkg", "1.1")
    _deb(repository, "pkg", "1.0", "0" * 64)
    assert repository.package()["sources"][0]["unlocked"]
    _deb(repository, "pkg", "1.1", sha256)
    package = repository.built("build", "--locked")["packages"][0]
    assert (package["reused"], package["sources"][0]["unlocked"]) == (True, False)


def test_without_lists_the_line_says_why(repository: Repository, archive: Archive) -> None:
    _deb(repository, "pkg", "1.0", "0" * 64)
    (archive.home / "bin/apt-get").write_text("#!/bin/sh\necho 'E: no network' >&2\nexit 100\n")
    done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "E: no network" in done.stderr


def test_locked_refuses_a_replacement(repository: Repository, archive: Archive) -> None:
    archive.add("pkg", "1.1")
    _deb(repository, "pkg", "1.0", "0" * 64)
    for _ in range(2):  # also after a build that was not locked
        done = repository.run("build", "--locked")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "pkg 1.0 is gone from the archive, which has 1.1 (mkpanda update-sources pins it" in done.stderr
        repository.package()


def test_the_same_version_with_other_bytes_is_never_taken(repository: Repository, archive: Archive) -> None:
    sha256 = archive.add("pkg", "1.0")
    _deb(repository, "pkg", "1.0", "1" * 64)
    done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"pkg 1.0 has the sha256 {sha256} in the archive, the recipe pins {'1' * 64}" in done.stderr


def test_a_package_no_archive_has_is_one_line(repository: Repository, archive: Archive) -> None:
    _deb(repository, "nothing", "1.0", "0" * 64)
    done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no archive of apt's configuration has nothing" in done.stderr


def test_apt_keeps_its_state_in_the_cache(repository: Repository, archive: Archive) -> None:
    _deb(repository, "pkg", "1.0", archive.add("pkg", "1.0"))
    repository.package()
    words = json.loads((archive.home / "calls").read_text().splitlines()[0])
    assert f"Dir::State={repository.path}/cache/apt/state" in words
    assert f"Dir::Cache={repository.path}/cache/apt/cache" in words


_ODD = """{
  "sources": {
    "one":  {"kind": "deb", "package": "pkg",
             "version": "1.0", "sha256": "%s"},\t
    "tw\\u006f": {"sha256": "%s", "version": "1.0", "kind": "deb", "package": "qqq"}
  },
     "environment": {"version": "1.0"} }"""


def test_update_sources_moves_pins_and_nothing_else(repository: Repository, archive: Archive) -> None:
    old, kept = archive.add("pkg", "1.0"), archive.add("qqq", "1.0")
    new = archive.add("pkg", "1.1")
    repository.write({"a/buildinfo.json": _ODD % (old, kept), "a/build": "true"})
    file = repository.path / "packages/a/buildinfo.json"
    assert repository.run("update-sources", "--dry-run").returncode == 0
    assert file.read_text() == _ODD % (old, kept)
    done = repository.run("update-sources", "a")
    assert done.stdout == "packages/a/buildinfo.json: one: 1.0 -> 1.1\nmkpanda: 1 source re-pinned\n"
    assert file.read_text() == (_ODD % (new, kept)).replace('"1.0", "sha256"', '"1.1", "sha256"')
    assert repository.run("update-sources").stdout == "mkpanda: 0 sources re-pinned\n"


def test_a_real_deb_is_fetched_with_the_hosts_archives(repository: Repository) -> None:
    """The pin is whatever the archive has now: update-sources finds it, and then it is locked."""
    _deb(repository, "libmnl0", "0", "0" * 64)
    done = repository.run("update-sources", "a")
    assert done.returncode == 0, done.stderr
    package = repository.built("build", "a", "--locked")["packages"][0]
    assert not package["sources"][0]["unlocked"]
    assert any(name.startswith("s/usr/lib/x86_64-linux-gnu/libmnl.so.0.") for name in _members(package))
    assert "LGPL" in package["sources"][0]["licence"]


# pypi


def _wheel(directory: Path) -> tuple[str, str]:
    """A wheel for the nodes' Python in a directory that pip searches; its name and digest."""
    name = "someproject-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(directory / name, "w") as archive:
        archive.writestr("someproject.py", "x = 1\n")
        metadata = "Metadata-Version: 2.1\nName: someproject\nVersion: 1.0\n"
        archive.writestr("someproject-1.0.dist-info/METADATA", metadata + "License-Expression: MIT\n")
        archive.writestr("someproject-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("someproject-1.0.dist-info/RECORD", "")
    return name, _sha256((directory / name).read_bytes())


def test_a_wheel_is_fetched_for_the_nodes_python(repository: Repository, tmp_path: Path) -> None:
    name, sha256 = _wheel(tmp_path)
    repository.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    _recipe(repository, kind="pypi", project="someproject", version="1.0", filename=name, sha256=sha256)
    package = repository.package()
    assert _members(package)["s/someproject.py"] == 0o644
    assert package["sources"][0]["licence"] == "MIT"


def test_a_wheel_with_another_digest_is_refused(repository: Repository, tmp_path: Path) -> None:
    name, _ = _wheel(tmp_path)
    repository.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    _recipe(repository, kind="pypi", project="someproject", version="1.0", filename=name, sha256="0" * 64)
    done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "sources.s: pip failed: ERROR:" in done.stderr
    assert repository.leftovers() == []


def test_update_sources_finds_the_newest_wheel(repository: Repository, tmp_path: Path) -> None:
    name, sha256 = _wheel(tmp_path)
    repository.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    old = "someproject-0.9-py3-none-any.whl"
    _recipe(repository, kind="pypi", project="someproject", version="0.9", filename=old, sha256="0" * 64)
    assert repository.run("update-sources").stdout.startswith("packages/a/buildinfo.json: s: 0.9 -> 1.0\n")
    pinned = json.loads((repository.path / "packages/a/buildinfo.json").read_text())["sources"]["s"]
    assert (pinned["version"], pinned["filename"], pinned["sha256"]) == ("1.0", name, sha256)
