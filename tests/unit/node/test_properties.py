"""Properties: encoders against decoders, the merge against a slow twin, extraction against damaged archives."""

import lzma
import os
import random
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pkgpanda.errors import PandaError
from pkgpanda.node import archive, environment
from pkgpanda.node.merge import merge
from pkgpanda.node.package import Tree, read_package
from tests.unit.node.simulation import Machine, member, tar_bytes

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
_VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_COUNT = settings(max_examples=5000 if _SOAK else 150, deadline=None, database=None, derandomize=not _SOAK)


def _systemd_reads(text: str) -> dict[str, str]:
    """EnvironmentFile= as systemd.exec(5) describes it, for what we write: comments, plain and double-quoted values."""
    values, rest = {}, text
    while rest:
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        name, _, rest = rest.partition("=")
        value, closed = "", not rest.startswith('"')
        if closed:
            value, _, rest = rest.partition("\n")
            assert not re.search(r"[\s\\\"'$`;]", value)
        else:
            position = 1
            while rest[position] != '"':
                if rest[position] == "\\" and rest[position + 1] in '"\\`$':
                    position += 1
                value += rest[position]
                position += 1
            rest = rest[position + 1 :].removeprefix("\n")
        values[name] = value
    return values


@_COUNT
@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), _VALUES, max_size=4))
@example({"A": 'x"\nPATH=/evil\n'})
@example({"A": "trailing\\"})
def test_what_systemd_reads_is_what_the_package_said(variables: dict[str, str]) -> None:
    variables.pop("PATH", None)
    package = read_package("a--1", {"environment": variables}, None, {})
    read = _systemd_reads(environment.for_systemd("/opt/mesosphere", [package]))
    assert read == {"PATH": environment.search_path("/opt/mesosphere"), **variables}


_TREES = st.recursive(
    st.sampled_from(["f", "l"]),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def _paths(tree: Tree, prefix: str) -> set[str]:
    """Every leaf of a tree."""
    found = set()
    for name, entry in tree.items():
        found |= _paths(entry, f"{prefix}/{name}") if isinstance(entry, dict) else {f"{prefix}/{name}"}
    return found


@_COUNT
@given(st.lists(_TREES, min_size=1, max_size=3))
def test_the_merge_shows_every_file_once_or_names_the_conflict(trees: list[Tree]) -> None:
    packages = [read_package(f"p{number}--1", {}, None, {"etc": tree}) for number, tree in enumerate(trees)]
    merged = merge(packages, ())
    owners: dict[str, list[int]] = {}
    for number, tree in enumerate(trees):
        for path in _paths(tree, "etc"):
            owners.setdefault(path, []).append(number)
    clash = any(len(who) > 1 for who in owners.values()) or _file_meets_directory(trees)
    assert bool(merged.problems) == clash
    if clash:
        return
    shown = {}
    for path, source in merged.links:
        number = int(source[1])
        assert "/".join(path.split("/")[:-1]) in merged.directories, "no link is written through another"
        for leaf in _leaves_below(trees[number], source.partition("/")[2]):
            shown[path + leaf] = number
    assert shown == {path: who[0] for path, who in owners.items()}


def _file_meets_directory(trees: list[Tree]) -> bool:
    kinds: dict[str, set[bool]] = {}

    def walk(tree: Tree, prefix: str) -> None:
        for name, entry in tree.items():
            kinds.setdefault(f"{prefix}/{name}", set()).add(isinstance(entry, dict))
            if isinstance(entry, dict):
                walk(entry, f"{prefix}/{name}")

    for tree in trees:
        walk(tree, "")
    return any(len(found) > 1 for found in kinds.values())


def _leaves_below(tree: Tree, path: str) -> set[str]:
    """The leaves at or below `path` (which begins with `etc`), relative to it."""
    entry: Tree | str = tree
    for name in path.split("/")[1:]:
        assert isinstance(entry, dict)
        entry = entry[name]
    return _paths(entry, "") if isinstance(entry, dict) else {""}


_NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c d", "pkginfo.json"]), min_size=1, max_size=4).map(
    "/".join
)
_MEMBERS = st.builds(
    lambda name, kind, target, mode: member(name, b"x" if kind == b"0" else b"", type=kind, linkname=target, mode=mode),
    _NAMES,
    st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"]),
    _NAMES,
    st.sampled_from([0o644, 0o755, 0o4755, 0o666]),
)


@_COUNT
@given(st.lists(_MEMBERS, max_size=6), st.randoms(use_true_random=False), st.booleans())
def test_no_archive_writes_outside_its_directory_or_ends_in_a_traceback(
    members: list[object], chance: random.Random, damaged: bool
) -> None:
    base = Path(tempfile.mkdtemp(prefix="extract-"))
    try:
        data = bytearray(tar_bytes(members))  # type: ignore[arg-type]
        if damaged:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (base / "x.tar.xz").write_bytes(lzma.compress(bytes(data), preset=0))
        host = Machine(base / "node").host
        try:
            entries = archive.extract(host, str(base / "x.tar.xz"), f"{base}/out", "")
        except PandaError as error:
            assert len(error.problems) == 1
        else:
            _assert_inside(base / "out", entries)
        assert {path.name for path in base.iterdir()} <= {"x.tar.xz", "out", "node"}
    finally:
        shutil.rmtree(base)


def _assert_inside(root: Path, entries: list[archive.Entry]) -> None:
    found = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert found >= {entry.path for entry in entries}
    for entry in entries:
        path = root / entry.path
        assert path.parent.resolve().is_relative_to(root.resolve())
        if entry.kind == "l":
            assert Path(os.path.normpath(path.parent / os.readlink(path))).is_relative_to(root)
        assert not path.lstat().st_mode & 0o7000


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (archive.Limits(size=20_000), "unpacks to more than 20000 bytes"),
        (archive.Limits(entries=2), "holds more than 2 entries"),
    ],
)
def test_an_archive_that_grows_past_a_limit_is_stopped(machine: Machine, limits: archive.Limits, says: str) -> None:
    made = machine.package("a--1", {"lib/zeros": "0" * 1_000_000})
    with pytest.raises(PandaError, match=says):
        archive.extract(machine.host, str(made.path), f"{machine.base}/out", "", limits)


def test_the_tar_inside_must_be_the_promised_one(machine: Machine) -> None:
    made = machine.package("a--1")
    with pytest.raises(PandaError, match="holds a tar with sha256"):
        archive.extract(machine.host, str(made.path), f"{machine.base}/out", "0" * 64)
