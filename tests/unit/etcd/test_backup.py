"""An archive is whole and of a known cluster, or it is refused."""

import gzip
import hashlib
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcos_etcd.backup import SNAPSHOT, Manifest, check_cluster, read_archive, write_archive
from dcos_etcd.errors import EtcdError

CONTENT = bytes(range(256)) * 40


def quiet(done: int, total: int) -> None:
    """No progress."""


def manifest(content: bytes = CONTENT) -> Manifest:
    return Manifest(
        format=1,
        taken="2026-01-31T10:00:00Z",
        member="etcd-10.0.0.1",
        etcd="3.4.23",
        clusters=("a1", "b2"),
        revision=9,
        keys=4,
        hash=77,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    snapshot = tmp_path / "s.db"
    snapshot.write_bytes(CONTENT)
    write_archive(tmp_path / "b.tar.gz", snapshot, manifest(), quiet)
    return tmp_path / "b.tar.gz"


def read(path: Path) -> Manifest:
    target = path.parent / "unpacked"
    target.mkdir(exist_ok=True)
    return read_archive(path, target, quiet)


def test_what_was_written_is_read(archive: Path) -> None:
    assert read(archive) == manifest()
    assert (archive.parent / "unpacked" / SNAPSHOT).read_bytes() == CONTENT
    assert archive.stat().st_mode & 0o777 == 0o600


def test_nothing_is_replaced_and_nothing_left_beside_it(archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(EtcdError, match="exists"):
        write_archive(archive, archive.parent / "s.db", manifest(), quiet)
    assert archive.read_bytes() == before
    assert {path.name for path in archive.parent.iterdir()} == {"b.tar.gz", "s.db"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_a_flipped_bit_is_found(archive: Path, data: st.DataObject) -> None:
    content = bytearray(archive.read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    damaged = archive.with_name("damaged")
    damaged.write_bytes(content)
    with pytest.raises(EtcdError, match="is no whole backup"):
        read(damaged)


def sealed(content: bytes) -> bytes:
    """`content`, with the seal of what it is: for archives that are wrong inside."""
    return (
        content
        + bytes.fromhex("1f8b08100000000000ff")
        + (f"sha256:{hashlib.sha256(content).hexdigest()}".encode() + b"\0\x03\0" + bytes(8))
    )


def test_tar_reads_past_the_seal(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        assert opened.getnames() == ["manifest.json", SNAPSHOT]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_truncation_is_found(archive: Path, data: st.DataObject) -> None:
    content = archive.read_bytes()
    damaged = archive.with_name("damaged")
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(EtcdError, match="is no whole backup"):
        read(damaged)


def test_another_programs_archive(tmp_path: Path) -> None:
    path = tmp_path / "other.tar.gz"
    path.write_bytes(sealed(gzip.compress(b"hello" * 1000, mtime=0)))
    with pytest.raises(EtcdError, match="is no whole backup"):
        read(path)
    path.write_bytes(gzip.compress(b"hello" * 1000, mtime=0))
    with pytest.raises(EtcdError, match="is no whole backup"):
        read(path)


def test_more_than_a_snapshot(archive: Path) -> None:
    content = gzip.decompress(archive.read_bytes())
    entry = tarfile.TarInfo("../../etc/passwd")
    # A tar ends in empty blocks; one more entry goes before them.
    longer = content.rstrip(b"\0")
    longer += bytes(-len(longer) % 512) + entry.tobuf() + bytes(1024)
    archive.write_bytes(sealed(gzip.compress(longer, mtime=0)))
    with pytest.raises(EtcdError, match="more in it than a snapshot"):
        read(archive)


def test_a_snapshot_that_is_not_the_manifests(tmp_path: Path) -> None:
    snapshot = tmp_path / "s.db"
    snapshot.write_bytes(CONTENT[::-1])
    write_archive(tmp_path / "b.tar.gz", snapshot, manifest(), quiet)
    with pytest.raises(EtcdError, match="is not what the manifest names"):
        read(tmp_path / "b.tar.gz")


def test_which_clusters_backup_is_taken() -> None:
    path = Path("b.tar.gz")
    check_cluster(path, manifest(), ("b2", "c3"), "")
    check_cluster(path, manifest(), ("a1",), "")
    check_cluster(path, manifest(), ("z9",), "b2")
    with pytest.raises(EtcdError, match=r"has been in z9 .*--cluster b2"):
        check_cluster(path, manifest(), ("z9",), "")
    with pytest.raises(EtcdError, match="never been in a cluster"):
        check_cluster(path, manifest(), (), "")
    with pytest.raises(EtcdError, match="you named z9"):
        check_cluster(path, manifest(), ("b2",), "z9")
