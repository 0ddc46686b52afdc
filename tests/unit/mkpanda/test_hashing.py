"""Ids: no two inputs share one, and the stat cache never answers for another content."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pkgpanda.build import hashing
from pkgpanda.build.hashing import Digests, digest, encode, file_sha256
from pkgpanda.build.sources.local import declared_inputs, describe
from pkgpanda.errors import PandaError

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def _same(one: Any, two: Any) -> bool:
    """Equality that tells True from 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


@given(_values, _values)
def test_values_that_differ_have_encodings_that_differ(one: Any, two: Any) -> None:
    assume(not _same(one, two))
    assert encode(one) != encode(two)


@given(st.lists(_values, min_size=2, max_size=4))
def test_no_encoding_is_the_beginning_of_another(values: list[Any]) -> None:
    encodings = [encode(value) for value in values]
    for one in encodings:
        assert all(one == two or not two.startswith(one) for two in encodings)


@pytest.mark.parametrize(
    "one,two",
    [
        ([], {}),
        ([], ""),
        (1, "1"),
        (True, "True"),
        (True, 1),
        (["a", "b"], ["b", "a"]),
        (["ab"], ["a", "b"]),
        (None, ""),
    ],
)
def test_what_upstream_takes_for_one_is_told_apart(one: Any, two: Any) -> None:
    assert digest(one) != digest(two)


def test_the_order_of_keys_makes_no_difference() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_the_encoding_stays_what_it_is() -> None:
    """Ids of packages on nodes depend on it: a change must raise the builder's version."""
    assert encode({"k": [None, True, 7, "é"]}) == b"d1:s1:kl4:nti7;s2:\xc3\xa9"


def _describe(root: Path, state: Path) -> dict[str, str]:
    return describe(root, declared_inputs(root, "extra"), Digests(state))


def test_content_modes_links_and_empty_directories_are_told_apart(tmp_path: Path) -> None:
    extra, state = tmp_path / "extra", tmp_path / "state"
    extra.mkdir()
    seen = [_describe(extra, state)]
    (extra / "file").write_text("one")
    seen.append(_describe(extra, state))
    (extra / "file").write_text("two")
    seen.append(_describe(extra, state))
    (extra / "file").chmod(0o755)
    seen.append(_describe(extra, state))
    (extra / "empty").mkdir()
    seen.append(_describe(extra, state))
    (extra / "link").symlink_to("file")
    seen.append(_describe(extra, state))
    (extra / "link").unlink()
    (extra / "link").symlink_to("empty")
    seen.append(_describe(extra, state))
    assert len({digest(value) for value in seen}) == len(seen)


def test_group_modes_times_and_compiled_python_make_no_difference(tmp_path: Path) -> None:
    extra, state = tmp_path / "extra", tmp_path / "state"
    (extra / "pkg").mkdir(parents=True)
    (extra / "pkg/module.py").write_text("x = 1")
    before = _describe(extra, state)
    (extra / "pkg/module.py").chmod(0o600)
    (extra / "pkg").chmod(0o700)
    os.utime(extra / "pkg/module.py", (0, 0))
    (extra / "pkg/__pycache__").mkdir()
    (extra / "pkg/__pycache__/module.cpython-311.pyc").write_bytes(b"x")
    (extra / "pkg/old.pyc").write_bytes(b"x")
    assert _describe(extra, state) == before


def test_a_link_out_of_the_declared_inputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra/link").symlink_to("/opt/mesosphere/bin")
    with pytest.raises(PandaError, match="outside of what is declared"):
        declared_inputs(tmp_path / "extra", "extra")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path / "extra") + b"/\xff"))).write_text("x")
    with pytest.raises(PandaError, match="its name is not UTF-8"):
        declared_inputs(tmp_path / "extra", "extra")


def _old(path: Path, seconds: float = 100) -> None:
    stamp = time.time() - seconds
    os.utime(path, (stamp, stamp))


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_SETTLED_NS", 0)
    file = tmp_path / "file"
    file.write_text("x")
    digests = Digests(tmp_path / "state")
    expected = digests.of(file)
    digests.save()
    monkeypatch.setattr(hashing, "file_sha256", lambda path: pytest.fail(f"{path} was read"))
    assert Digests(tmp_path / "state").of(file) == expected


def test_a_fresh_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    digests = Digests(tmp_path / "state")
    for content in ("one", "two", "six"):
        file.write_text(content)
        assert digests.of(file) == file_sha256(file)


def test_same_size_and_time_is_not_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_SETTLED_NS", 0)
    file = tmp_path / "file"
    file.write_text("one")
    _old(file)
    stamp = file.stat().st_mtime_ns
    digests = Digests(tmp_path / "state")
    digests.of(file)
    file.write_text("two")
    os.utime(file, ns=(stamp, stamp))  # as a checkout or a copy may do; the change time gives it away
    assert digests.of(file) == file_sha256(file)


@pytest.mark.parametrize("content", ["", "[]", "{not json", '{"x": 1}', '{"PATH": [1, 2]}', '{"PATH": {"a": 1}}'])
def test_a_damaged_state_file_costs_time_only(tmp_path: Path, content: str) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/digests.json").write_text(content.replace("PATH", str(file)))
    assert Digests(tmp_path / "state").of(file) == file_sha256(file)
