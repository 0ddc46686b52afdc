"""What a build gives, what it sees, and what an interrupted one leaves."""

import contextlib
import json
import os
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mkpanda.conftest import COMMAND, Repository

_SCRIPT = """
mkdir -p "$PKG_PATH/bin" "$PKG_PATH/empty"
install -m 755 "$PKG_EXTRA/tool" "$PKG_PATH/bin/tool"
ln -s tool "$PKG_PATH/bin/alias"
cp "$PKG_SRC/data/data" "$PKG_PATH/data"
date >"$PKG_PATH/zone" -d @0
umask >"$PKG_PATH/umask"
"""


def _write_a(repository: Repository) -> None:
    """A recipe with a script, extra files, a source, and what pkginfo.json shows."""
    info = {
        "sources": {"data": {"kind": "local", "path": "../../shared"}},
        "username": "dcos_a",
        "environment": {"A": "1"},
        "sysctl": {"a": {"net.x": 1}},
    }
    files = {"a/buildinfo.json": info, "a/build": _SCRIPT, "a/extra/tool": "#!/bin/sh\n", "../shared/data": "data\n"}
    repository.write(files)


def _members(package: dict[str, Any]) -> dict[str, bytes]:
    with tarfile.open(package["archive"]) as tar:
        files = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: content.read() for member in files if (content := tar.extractfile(member))}


def test_the_same_inputs_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    answers = []
    for place, umask, surroundings in (
        ("one", 0o022, {"TZ": "UTC", "LANG": "C"}),
        ("two/with a much longer name", 0o077, {"TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}),
    ):
        before = os.umask(umask)
        try:
            repository = Repository(tmp_path / place)
            _write_a(repository)
            answers.append(repository.package(**surroundings, PYTHONHASHSEED="7", SECRET="x"))
        finally:
            os.umask(before)
    first, second = ({key: answer[key] for key in ("id", "sha256", "tar_sha256", "size")} for answer in answers)
    assert first == second
    assert Path(answers[1]["archive"]).stat().st_mode & 0o777 == 0o644


def test_metadata_has_upstreams_members(repository: Repository) -> None:
    _write_a(repository)
    package = repository.package()
    members = _members(package)
    assert json.loads(members["pkginfo.json"]) == {
        "environment": {"A": "1"},
        "requires": [],
        "state_directory": False,
        "username": "dcos_a",
        "sysctl": {"a": {"net.x": 1}},
    }
    full = json.loads(members["buildinfo.full.json"])
    assert full.keys() == {"name", "variant", "package_version", "sources", "extra_source", "build_ids"}
    assert (full["name"], full["variant"], f"a--{full['package_version']}") == ("a", None, package["id"])
    assert full["sources"]["data"]["kind"] == "local"
    assert members["umask"] == b"0022\n" and b"UTC" in members["zone"]


@pytest.mark.parametrize(
    "change",
    [
        lambda packages: (packages / "a/build").write_text(_SCRIPT + "#\n"),
        lambda packages: (packages / "a/build").chmod(0o700),
        lambda packages: (packages / "a/extra/tool").chmod(0o755),
        lambda packages: (packages / "a/extra/link").symlink_to("tool"),
        lambda packages: (packages / "a/extra/empty").mkdir(),
        lambda packages: (packages / "../shared/data").write_text("other"),
        lambda packages: (packages / "../shared/data").chmod(0o755),
    ],
    ids=["script", "script mode", "extra mode", "extra link", "empty directory", "source", "source mode"],
)
def test_every_input_changes_the_id(repository: Repository, change: Any) -> None:
    _write_a(repository)
    before = repository.run("id", "a").stdout
    change(repository.path / "packages")
    after = repository.run("id", "a").stdout
    assert before.startswith("a--") and after.startswith("a--")
    assert before != after


def test_what_a_package_requires_is_there_and_changes_its_id(repository: Repository) -> None:
    script = 'cp "$PKG_REQUIRES_DIR/$PKG_REQUIRES_LIB_C_1/value" "$PKG_PATH/got"\n'
    script += 'ls "$PKG_REQUIRES_DIR" | wc -l >>"$PKG_PATH/got"'
    repository.write(
        {
            "lib-c.1/buildinfo.json": {},
            "lib-c.1/build": 'echo one >"$PKG_PATH/value"',
            "b/buildinfo.json": {"requires": ["lib-c.1"]},
            "b/build": "true",
            "a/buildinfo.json": {"requires": ["b"]},
            "a/build": script,
        }
    )
    first = repository.package()
    assert _members(first)["got"] == b"one\n2\n"
    assert [required.partition("--")[0] for required in first["requires"]] == ["b"]
    repository.write({"lib-c.1/build": 'echo two >"$PKG_PATH/value"'})
    second = repository.package()
    assert second["id"] != first["id"]
    assert _members(second)["got"] == b"two\n2\n"


def test_the_second_build_builds_nothing(repository: Repository) -> None:
    _write_a(repository)
    first, second = repository.package(), repository.package()
    assert (first["reused"], second["reused"]) == (False, True)
    assert {**first, "reused": True} == second
    assert repository.run("build").stdout == "a: unchanged\nmkpanda: 0 built, 1 unchanged\n"


@pytest.mark.parametrize("damage", ["archive", "description", "description gone"])
def test_a_damaged_package_is_built_again(repository: Repository, damage: str) -> None:
    _write_a(repository)
    package = repository.package()
    archive = Path(package["archive"])
    description = archive.with_name(f"{package['id']}.json")
    if damage == "archive":
        archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    elif damage == "description":
        description.write_text("{}")
    else:
        description.unlink()
    again = repository.package()
    assert (again["reused"], again["sha256"]) == (False, package["sha256"])


def test_the_script_sees_its_own_environment_and_no_network(repository: Repository) -> None:
    script = (
        'env -0 | sort -z | tr "\\0" "\\n" >"$PKG_PATH/../../../../environment"; cat /proc/net/dev >"$PKG_PATH/net"'
    )
    repository.write({"a/buildinfo.json": {}, "a/build": script})
    package = repository.package(SECRET="value", LD_PRELOAD="", PYTHONPATH=repository.environment["PYTHONPATH"])
    seen = dict(line.split("=", 1) for line in (repository.path / "environment").read_text().splitlines())
    assert "SECRET" not in seen and "PYTHONPATH" not in seen
    assert (seen["TZ"], seen["LC_ALL"], seen["PKG_ID"]) == ("UTC", "C.UTF-8", package["id"])
    assert seen["PKG_INSTALL_PATH"] == f"/opt/mesosphere/packages/{package['id']}"
    interfaces = [line.split(b":")[0].strip() for line in _members(package)["net"].splitlines()[2:]]
    assert interfaces == [b"lo"]


def test_what_is_not_declared_is_not_there(repository: Repository) -> None:
    _write_a(repository)
    repository.write({"a/undeclared": "x", "a/build": 'test ! -e "$PKG_BUILD_DIR/undeclared"\n' + _SCRIPT})
    repository.package()


def test_a_failure_shows_the_last_lines_and_where_the_log_is(repository: Repository) -> None:
    repository.write({"a/buildinfo.json": {}, "a/build": "seq 100; echo the reason >&2; exit 4"})
    done = repository.run("build")
    assert done.returncode == 1
    assert "a: | 100\na: | the reason\n" in done.stdout and "a: | 80\n" not in done.stdout
    log = repository.path / "build/logs/a.log"
    assert done.stderr == f"mkpanda: packages/a/build: the build script exited with 4 (all it said is in {log})\n"
    assert log.read_text().startswith("1\n2\n")


def test_an_input_that_changes_meanwhile_stops_the_build(repository: Repository) -> None:
    _write_a(repository)
    repository.write({"a/build": f"echo more >>{repository.path}/packages/a/extra/tool"})
    done = repository.run("build")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "packages/a/buildinfo.json: changed while it was being built" in done.stderr
    assert list((repository.path / "build/packages").rglob("*")) in ([], [repository.path / "build/packages/a"])


def test_a_failure_lets_others_finish_and_keeps_them(repository: Repository) -> None:
    repository.write({f"{name}/buildinfo.json": {} for name in "ab"} | {"a/build": "exit 1", "b/build": "sleep 0.5"})
    assert repository.run("build", "--jobs", "2").returncode == 1
    assert repository.package("b")["reused"]


def test_a_killed_build_leaves_nothing_that_counts(repository: Repository) -> None:
    started = repository.path / "started"
    script = f'echo half >"$PKG_PATH/half"; touch {started}; sleep 60'
    repository.write({"a/buildinfo.json": {}, "a/build": script})
    process = subprocess.Popen([*COMMAND, "build"], cwd=repository.path, env=repository.environment)
    _wait_for(started)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    assert _running_in(repository.path) == []
    assert list((repository.path / "build").rglob("*.tar.xz")) == []
    assert any((repository.path / "build/work").glob("a-*"))
    repository.write({"a/build": 'echo whole >"$PKG_PATH/whole"'})
    assert sorted(_members(repository.package())) == ["buildinfo.full.json", "pkginfo.json", "whole"]
    assert list((repository.path / "build/work").glob("a-*")) == []


def test_an_interrupted_build_ends_its_script(repository: Repository) -> None:
    started = repository.path / "started"
    script = f"sleep 60 & touch {started}; wait"
    repository.write({"a/buildinfo.json": {}, "a/build": script})
    process = subprocess.Popen(
        [*COMMAND, "build"], cwd=repository.path, env=repository.environment, stderr=subprocess.PIPE, text=True
    )
    _wait_for(started)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "mkpanda: interrupted; nothing half done was kept\n")
    assert repository.leftovers() == []
    assert _running_in(repository.path) == []


def _running_in(path: Path) -> list[str]:
    """Processes whose working directory is below `path`: a script starts in its sources."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(process / "cwd")).is_relative_to(path):
                found.append(process.name)
    return found


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_two_runs_at_once_build_once(repository: Repository) -> None:
    log = repository.path / "log"
    repository.write({"a/buildinfo.json": {}, "a/build": f'echo x >>{log}; sleep 1; echo x >"$PKG_PATH/x"'})
    command = [*COMMAND, "build", "--format", "json"]
    runs = [
        subprocess.Popen(command, cwd=repository.path, env=repository.environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len({answer["packages"][0]["sha256"] for answer in answers}) == 1
    assert log.read_text() == "x\n"


def test_variants_have_ids_of_their_own(repository: Repository) -> None:
    repository.write(
        {"a/buildinfo.json": {}, "a/build": 'echo $PKG_VARIANT >"$PKG_PATH/x"', "a/v.buildinfo.json": {}}
        | {"a/v.build": 'echo $PKG_VARIANT >"$PKG_PATH/x"'}
    )
    plain = repository.built("build", "a")["packages"][0]
    variant = repository.built("build", "a", "--variant", "v")["packages"][0]
    assert plain["id"] != variant["id"]
    assert (_members(plain)["x"], _members(variant)["x"]) == (b"\n", b"v\n")
    assert json.loads(_members(variant)["pkginfo.json"])["variant"] == "v"


def test_why_names_the_input_that_changed(repository: Repository) -> None:
    _write_a(repository)
    assert repository.run("why", "a").stdout == "a: was never built here\n"
    package = repository.package()
    assert repository.run("why", "a").stdout == f"a: nothing changed since {package['id']}\n"
    (repository.path / "packages/a/extra/tool").chmod(0o755)
    (repository.path / "packages/a/extra/new").write_text("x")
    lines = repository.run("why", "a").stdout.splitlines()
    assert lines[0] == f"a: since {package['id']}"
    assert [line.split(":")[0] for line in lines[1:]] == ["  extra new", "  extra tool"]
    assert "added" in lines[1] and "644 " in lines[2] and "-> 755 " in lines[2]


def test_list_and_gc(repository: Repository) -> None:
    _write_a(repository)
    old = repository.package()
    (repository.path / "packages/a/extra/tool").write_text("other")
    rows = repository.built("list")["packages"]
    assert [(row["name"], row["archive"]) for row in rows] == [("a", None)]
    new = repository.package()
    assert repository.built("gc", "--dry-run")["removed"] == [
        old["archive"].removesuffix(".tar.xz") + suffix for suffix in (".json", ".tar.xz")
    ]
    assert Path(old["archive"]).exists()
    repository.built("gc")
    assert not Path(old["archive"]).exists() and Path(new["archive"]).exists()
    assert repository.package()["reused"]


def _tree(repository: Repository, scripts: dict[str, str], tree: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    recipes = {f"{name}/build": script for name, script in scripts.items()}
    repository.write({**recipes, **{f"{name}/buildinfo.json": {} for name in scripts}, "../buildinfo.json": tree})
    return repository.run("tree")


@pytest.mark.parametrize(
    "one,two,says",
    [
        ("bin/x", "bin/x", "bin/x: is in b and in a"),
        ("bin/x", "bin_master/x", "bin_master/x: is in b and in a as bin/x"),
        ("etc/x", "etc/x/y", "etc/x: is a file in a and a directory in b (etc/x/y)"),
    ],
)
def test_a_file_in_two_packages_is_named_with_both(repository: Repository, one: str, two: str, says: str) -> None:
    scripts = {
        name: f'mkdir -p "$PKG_PATH/{Path(path).parent}"; touch "$PKG_PATH/{path}"'
        for name, path in (("a", one), ("b", two))
    }
    done = _tree(repository, scripts, {"requires": ["a", "b"]})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert says in done.stderr


@pytest.mark.parametrize(
    "paths,roles", [(("bin_slave/x", "bin_master/x"), ()), (("bin/x", "bin/x"), ("master", "slave"))]
)
def test_the_same_file_for_different_roles_is_no_conflict(
    repository: Repository, paths: tuple[str, ...], roles: tuple[str, ...]
) -> None:
    scripts = {
        name: f'mkdir -p "$PKG_PATH/{Path(path).parent}"; touch "$PKG_PATH/{path}"'
        for name, path in zip("ab", paths, strict=True)
    }
    names = [{"name": name, "roles": [role]} for name, role in zip("ab", roles, strict=True)] if roles else ["a", "b"]
    done = _tree(repository, scripts, {"requires": names})
    assert (done.returncode, done.stderr) == (0, "")


def test_roles_reach_what_is_required(repository: Repository) -> None:
    repository.write({f"{name}/build": "true" for name in "abc"} | {f"{name}/buildinfo.json": {} for name in "bc"})
    repository.write({"a/buildinfo.json": {"requires": ["b"]}})
    repository.write({"../buildinfo.json": {"requires": [{"name": "a", "roles": ["master"]}, "c"]}})
    packages = repository.built("tree")["packages"]
    assert {package["id"].partition("--")[0]: package["roles"] for package in packages} == {
        "a": ["master"],
        "b": ["master"],
        "c": ["master", "slave", "slave_public"],
    }


def test_mkpanda_finds_packages_from_below(repository: Repository) -> None:
    _write_a(repository)
    expected = repository.run("id", "a").stdout
    done = subprocess.run(
        [*COMMAND, "id", "a"],
        cwd=repository.path / "packages/a/extra",
        env=repository.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == expected


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter; pytest closes its own to others."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_without_root_the_bytes_are_the_same(tmp_path: Path, open_directory: Path) -> None:
    mine, theirs = Repository(tmp_path / "mine"), Repository(open_directory / "theirs")
    _write_a(mine)
    _write_a(theirs)
    for path in (theirs.path, *theirs.path.rglob("*")):
        os.chown(path, 65534, 65534)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *COMMAND, "build", "--format", "json"],
        cwd=theirs.path,
        env=theirs.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["packages"][0]["sha256"] == mine.package()["sha256"]
