"""Archives: the same tree gives the same bytes, and nothing that is no part of the content gets in."""

import hashlib
import io
import lzma
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkgpanda.build import archive
from pkgpanda.errors import PandaError


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 KiB, so that a small tree makes several."""
    monkeypatch.setattr(archive, "BLOCK", 64 * 1024)
    monkeypatch.setattr(archive, "PRESET", 0)


def _tree(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "bin/tool").write_bytes(b"#!/bin/sh\n")
    (root / "bin/tool").chmod(0o755)
    (root / "bin.d").write_text("sorts between bin and bin/tool by bytes of the path")
    (root / "data").write_bytes(bytes(range(256)) * 1500)
    (root / "link").symlink_to("bin/tool")
    os.link(root / "data", root / "data2")
    (root / ("long" * 30)).mkdir()
    (root / ("long" * 30) / ("name" * 40)).write_text("needs a pax header")
    (root / "ünïcode").write_text("x")
    return root


def _members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar.getmembers()}


def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    outputs = []
    for threads in (1, 2, 4, 0):
        packed = archive.pack(tree, tmp_path / f"{threads}.tar.xz", threads)
        outputs.append((packed, (tmp_path / f"{threads}.tar.xz").read_bytes()))
    assert outputs.count(outputs[0]) == len(outputs)
    assert len(outputs[0][1]) > 0


def test_the_digests_are_of_the_file_and_of_the_tar(tmp_path: Path) -> None:
    packed = archive.pack(_tree(tmp_path / "tree"), tmp_path / "a.tar.xz")
    data = (tmp_path / "a.tar.xz").read_bytes()
    assert packed.sha256 == hashlib.sha256(data).hexdigest()
    assert packed.size == len(data)
    assert packed.tar_sha256 == hashlib.sha256(lzma.decompress(data)).hexdigest()


def test_owner_times_and_odd_modes_do_not_get_in(tmp_path: Path) -> None:
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    for path in two.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 2))
            path.chmod(0o700 if path.is_dir() or path.name == "tool" else 0o606)
    first = archive.pack(one, tmp_path / "one.tar.xz")
    assert archive.pack(two, tmp_path / "two.tar.xz") == first
    for member in _members(tmp_path / "one.tar.xz").values():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
        assert member.mode == (0o777 if member.issym() else 0o755 if member.isdir() or "tool" in member.name else 0o644)


def test_members_are_in_the_order_of_their_bytes_and_hard_links_are_files(tmp_path: Path) -> None:
    archive.pack(_tree(tmp_path / "tree"), tmp_path / "a.tar.xz")
    members = _members(tmp_path / "a.tar.xz")
    assert list(members) == sorted(members, key=str.encode)
    assert members["data2"].isreg() and members["data2"].size == members["data"].size
    assert members["empty"].isdir()
    assert members["link"].linkname == "bin/tool"


def test_the_umask_makes_no_difference_to_the_file(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    before = os.umask(0o077)
    try:
        archive.pack(tree, tmp_path / "a.tar.xz")
    finally:
        os.umask(before)
    assert (tmp_path / "a.tar.xz").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "path,target",
    [
        ("link", "../outside"),
        ("link", "/etc/passwd"),
        ("d/link", "../../outside"),
        ("link", "d/../../outside"),
        ("link", "/opt/mesosphere/../../etc/passwd"),
        ("link", "/opt/mesosphere"),
        ("link", "up/.."),  # through a link to the top: lexically inside, for the kernel outside
        ("loop", "loop"),
    ],
)
def test_links_that_lead_out_are_refused(tmp_path: Path, path: str, target: str) -> None:
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/up").symlink_to("..")
    (tmp_path / "tree/up").symlink_to("d/up")
    (tmp_path / "tree" / path).symlink_to(target)
    with pytest.raises(PandaError, match=f"{path}: links to"):
        archive.pack(tmp_path / "tree", tmp_path / "a.tar.xz")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["tree"]


@pytest.mark.parametrize("target", ["bin/tool", "../d/file", "missing", "/opt/mesosphere/packages/x--1/bin/x", "up/d"])
def test_links_that_stay_are_kept(tmp_path: Path, target: str) -> None:
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/up").symlink_to("..")
    (tmp_path / "tree/d/link").symlink_to(target)
    archive.pack(tmp_path / "tree", tmp_path / "a.tar.xz")
    assert _members(tmp_path / "a.tar.xz")["d/link"].linkname == target


def test_a_pipe_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree/pipe")
    with pytest.raises(PandaError, match=r"a\.tar\.xz: pipe: is a device"):
        archive.pack(tmp_path / "tree", tmp_path / "a.tar.xz")
    assert not (tmp_path / "a.tar.xz").exists()


def test_an_old_archive_survives_a_failed_pack(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    archive.pack(tmp_path / "tree", tmp_path / "a.tar.xz")
    before = (tmp_path / "a.tar.xz").read_bytes()
    (tmp_path / "tree/link").symlink_to("/etc")
    with pytest.raises(PandaError):
        archive.pack(tmp_path / "tree", tmp_path / "a.tar.xz")
    assert (tmp_path / "a.tar.xz").read_bytes() == before


def test_files_without_a_directory_pack_like_a_directory(tmp_path: Path) -> None:
    (tmp_path / "tree/etc/deep").mkdir(parents=True)
    (tmp_path / "tree/etc/deep/file").write_bytes(b"content")
    (tmp_path / "tree/bin").mkdir()
    (tmp_path / "tree/bin/tool").write_bytes(b"#!")
    (tmp_path / "tree/bin/tool").chmod(0o755)
    files = [("etc/deep/file", b"content", 0o644), ("bin/tool", b"#!", 0o755)]
    one = archive.pack(tmp_path / "tree", tmp_path / "one.tar.xz")
    assert archive.pack_files(files, tmp_path / "two.tar.xz") == one
    assert archive.pack_files(reversed(files), tmp_path / "three.tar.xz") == one


def test_a_file_that_is_also_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PandaError, match="etc: is a file and a directory at once"):
        archive.pack_files([("etc", b"", 0o644), ("etc/x", b"", 0o644)], tmp_path / "a.tar.xz")


_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_names, st.tuples(st.binary(max_size=2000), st.sampled_from([0o644, 0o755])), max_size=6))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, int]]) -> None:
    output = tmp_path_factory.mktemp("pack") / "a.tar.xz"
    archive.pack_files([(name, content, mode) for name, (content, mode) in files.items()], output)
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(output.read_bytes()))) as tar:
        found = {}
        for member in tar.getmembers():
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = (content.read(), member.mode)
    assert found == files
