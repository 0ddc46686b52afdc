"""Whose data a directory holds, from the head of a log that etcd 3.4.23 wrote."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcos_etcd.datadir import Identity, _identity, read_identity, set_aside
from dcos_etcd.errors import EtcdError

HEAD = bytes.fromhex(
    "040000000000008408041000000000001e000000000000820801109af6e7bc03"
    "1a1408feb8e58890f291e96310b0b89cddf5d3a2c42b00000e00000000000082"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "default.etcd"
    (data / "member/wal").mkdir(parents=True)
    return data


def test_a_log_names_its_member_and_cluster(data: Path) -> None:
    (data / "member/wal/0000000000000000-0000000000000000.wal").write_bytes(HEAD)
    assert read_identity(data) == Identity(0x63D2479101195C7E, 0x2B888A9F5BA71C30)


def test_no_directory_and_no_log_are_no_data(data: Path) -> None:
    (data / "member/wal/0.tmp").write_bytes(HEAD)
    assert read_identity(data) is None
    assert read_identity(data / "none") is None


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\xff" * 64, HEAD[:30]])
def test_a_log_that_cannot_be_read_is_for_an_operator(data: Path, content: bytes) -> None:
    (data / "member/wal/0.wal").write_bytes(content)
    with pytest.raises(EtcdError, match="does not begin as a log of etcd"):
        read_identity(data)


@given(st.binary(max_size=100))
def test_garbage_ends(content: bytes) -> None:
    with contextlib.suppress(IndexError, ValueError, KeyError):
        _identity(content)


def test_setting_aside_keeps_it(data: Path) -> None:
    kept = set_aside(data, "removed")
    assert not data.exists()
    assert (kept / "member/wal").is_dir()
