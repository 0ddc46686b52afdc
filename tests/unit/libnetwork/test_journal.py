"""Calls that were begun and not answered."""

import os
from pathlib import Path

from calico.libnetwork.journal import Journal


def interrupted(directory: Path, *calls: tuple[str, str, bytes]) -> Journal:
    """A journal in which a process left these calls (name, token, body) when it died."""
    directory.mkdir(exist_ok=True)
    for name, token, body in calls:
        (directory / f"{name}.{token}").write_bytes(body)
    return Journal(directory)


def test_a_call_is_on_record_until_it_is_answered(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    with journal.call("Driver.Join", b"{}") as call:
        (file,) = (tmp_path / "j").iterdir()
        assert file.name == f"Driver.Join.{call.token}"
        assert (call.body, call.again) == (b"{}", False)
    assert list((tmp_path / "j").iterdir()) == []


def test_a_request_without_body_is_the_interrupted_one(tmp_path: Path) -> None:
    journal = interrupted(tmp_path, ("Driver.Join", "t", b'{"a":1}'), ("Driver.Leave", "u", b"{}"))
    with journal.call("Driver.Join", b"") as call:
        assert call == ("t", b'{"a":1}', True)
        assert (tmp_path / "Driver.Join.t").exists()  # should this process die too
    assert not (tmp_path / "Driver.Join.t").exists()
    with journal.call("Driver.Join", b"") as call:
        assert (call.body, call.again) == (b"", False)


def test_of_several_interrupted_calls_none_is_guessed(tmp_path: Path) -> None:
    journal = interrupted(tmp_path, ("Driver.Join", "t", b"1"), ("Driver.Join", "u", b"2"))
    with journal.call("Driver.Join", b"") as call:
        assert call.body == b""


def test_equal_ones_are_each_answered(tmp_path: Path) -> None:
    journal = interrupted(tmp_path, ("Driver.Ask", "t", b"1"), ("Driver.Ask", "u", b"1"))
    tokens = []
    for _ in range(2):
        with journal.call("Driver.Ask", b"") as call:
            assert call.body == b"1"
            tokens.append(call.token)
    assert sorted(tokens) == ["t", "u"]


def test_what_no_engine_asks_for_any_more_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "Driver.Join.t"
    file.write_bytes(b"{}")
    os.utime(file, (1, 1))
    with Journal(tmp_path).call("Driver.Join", b"") as call:
        assert call.body == b""
    assert not file.exists()
