"""`calicoctl migrate` as a program: on files and back, and through Marathon's API and back."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from calico.calicoctl.migration import record
from tests.servers import certificates
from tests.servers.marathon import FakeMarathon
from tests.unit.calicoctl.definitions import CASES
from tests.unit.calicoctl.test_migrate_svc import CONFIG, MARATHON, SVC

from .conftest import EXTRA, Result

Migrate = Callable[..., Result]

DEFINITION = '{"id": "/a", "networks": [{"name": "dcos"}]}'


@pytest.fixture
def migrate(tmp_path: Path) -> Migrate:
    """Runs it in a directory, without a datastore."""

    def run(*words: object, environment: dict[str, str] | None = None) -> Result:
        command = [sys.executable, str(EXTRA / "run.py"), "calico.calicoctl.cli", "migrate", *map(str, words)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=60,
            env={**os.environ, **(environment or {})},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """Every definition in a file of its own, some of them below."""
    directory = tmp_path / "apps"
    for index, case in enumerate(CASES):
        path = directory / ("deep/er" if index % 3 == 0 else ".") / f"{case.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.before.encode())
        path.chmod(0o640)
    return directory


def test_a_directory_there_and_back_byte_for_byte(apps: Path, migrate: Migrate) -> None:
    before = contents(apps)
    done = migrate("marathon", apps)
    assert done.code == 1, "some are to be decided"
    changed = sum(case.after != case.before for case in CASES)
    assert f"{changed} migrated" in done.err
    for case in CASES:
        (path,) = apps.rglob(f"{case.name}.json")
        assert path.read_bytes() == case.after.encode(), case.name
        assert path.stat().st_mode & 0o777 == 0o640
    back = migrate("marathon", apps, "--back")
    assert (back.code, f"{changed} taken back" in back.err) == (0, True), back.err
    assert contents(apps) == before, "the record is gone too"


def test_a_dry_run_shows_and_changes_nothing(apps: Path, migrate: Migrate) -> None:
    before = contents(apps)
    done = migrate("marathon", apps, "--dry-run")
    assert contents(apps) == before
    assert '-      "name": "dcos"\n+      "name": "calico"\n' in done.out


def test_migrated_twice_the_first_bytes_are_the_way_back(migrate: Migrate, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"id": "/a", "networks": [{"name": "dcos"}]}')
    migrate("marathon", path)
    assert migrate("marathon", path, "--from", "calico", "--to", "calico-2").code == 0
    assert "calico-2" in path.read_text()
    migrate("marathon", path, "--back")
    assert path.read_text() == '{"id": "/a", "networks": [{"name": "dcos"}]}'


def test_what_was_changed_meanwhile_is_not_overwritten(migrate: Migrate, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"id": "/a", "networks": [{"name": "dcos"}]}')
    migrate("marathon", path)
    path.write_text(path.read_text() + "\n")
    mine = path.read_bytes()
    done = migrate("marathon", path, "--back")
    assert done.code == 1 and "was changed since" in done.err
    assert path.read_bytes() == mine


def test_a_damaged_record_is_said(migrate: Migrate, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"id": "/a", "networks": [{"name": "dcos"}]}')
    migrate("marathon", path)
    (tmp_path / ".calico-migration/index.json").write_text("[")
    done = migrate("marathon", path, "--back")
    assert done.code == 1 and "is no record of a migration" in done.err


def test_the_record_may_be_where_other_files_are(migrate: Migrate, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(DEFINITION)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ("0" * 64)).write_text("somebody's")
    migrate("marathon", path, "--record", tmp_path / "kept")
    assert migrate("marathon", path, "--back", "--record", tmp_path / "kept").code == 0
    assert contents(tmp_path) == {"a.json": DEFINITION.encode(), "kept/" + "0" * 64: b"somebody's"}


def test_a_link_stays_one_and_what_it_leads_to_is_migrated_once(migrate: Migrate, tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "real.json").write_text(DEFINITION)
    for name in ("a.json", "b.json"):
        (tmp_path / "apps" / name).symlink_to("../real.json")
    assert "1 migrated, 1 not concerned" in migrate("marathon", tmp_path / "apps").err
    assert (tmp_path / "apps/a.json").is_symlink()
    assert "calico" in (tmp_path / "real.json").read_text()
    assert "1 taken back, 1 not concerned" in migrate("marathon", tmp_path / "apps", "--back").err
    assert contents(tmp_path)["real.json"] == DEFINITION.encode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody")
def test_the_owner_stays(migrate: Migrate, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(DEFINITION)
    os.chown(path, 1234, 2345)
    migrate("marathon", path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_migration_that_died_before_it_wrote_is_no_change_of_somebodys(migrate: Migrate, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(DEFINITION)
    migrate("marathon", path)
    path.write_text(DEFINITION)
    back = migrate("marathon", path, "--back")
    assert (back.code, "0 taken back, 1 not concerned" in back.err) == (0, True), back.err
    assert contents(tmp_path) == {"a.json": DEFINITION.encode()}


def test_a_full_disk_leaves_the_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(DEFINITION)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        record.write(path, b"other")
    assert contents(tmp_path) == {"a.json": DEFINITION.encode()}


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a: b", "{{x}}"])
def test_no_network_has_such_a_name(migrate: Migrate, tmp_path: Path, name: str) -> None:
    done = migrate("marathon", tmp_path, "--to", name)
    assert (done.code, "cannot name a network" in done.err) == (1, True), done.err


def test_what_is_no_definition_stops_nobody_else(migrate: Migrate, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "good.json").write_text('{"id": "/a", "networks": [{"name": "dcos"}]}')
    done = migrate("marathon", tmp_path, tmp_path / "none.json", "-o", "json")
    document = json.loads(done.out)
    assert done.code == 1
    assert document["changed"] == [str(tmp_path / "good.json")]
    assert len(document["failures"]) == 2


def test_what_is_no_file_stops_nobody_else(migrate: Migrate, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("nowhere")
    (tmp_path / "c.json").symlink_to("c.json")
    (tmp_path / "good.json").write_text(DEFINITION)
    for words, told in (((), "1 migrated"), (("--back",), "1 taken back")):
        done = migrate("marathon", tmp_path, *words)
        assert (done.code, told in done.err) == (1, True), done.err
        assert all(f"{tmp_path}/{name}.json: " in done.err for name in "abc"), done.err


def test_a_package_of_a_service_there_and_back(migrate: Migrate, tmp_path: Path) -> None:
    package = tmp_path / "service"
    for name, text in (
        ("universe/config.json", CONFIG),
        ("universe/marathon.json.mustache", MARATHON),
        ("src/main/dist/svc.yml", SVC),
        ("src/main/dist/other.yml", SVC),
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    before = contents(package)
    done = migrate("svc", package)
    assert "3 migrated" in done.err
    assert (package / "src/main/dist/other.yml").read_text() == SVC
    assert migrate("svc", package, "--back").code == 0
    assert contents(package) == before


# ---------------------------------------------------------------------------------------------- Marathon's API

APPS: list[dict[str, Any]] = [
    {"id": "/web", "instances": 1, "networks": [{"mode": "container", "name": "dcos", "labels": {"role": "web"}}]},
    {"id": "/group/db", "cmd": "x", "ipAddress": {"networkName": "dcos"}},
    {"id": "/on-host", "networks": [{"mode": "host"}]},
    {
        "id": "/published",
        "container": {"type": "DOCKER", "portMappings": [{"containerPort": 80, "hostPort": 80}]},
        "networks": [{"name": "dcos"}],
    },
]
POD: dict[str, Any] = {"id": "/pod", "containers": [{"name": "c"}], "networks": [{"name": "dcos"}], "scaling": {}}


@pytest.fixture
def marathon() -> Iterator[FakeMarathon]:
    server = FakeMarathon("token=secret-token").start()
    server.apps = {each["id"]: json.loads(json.dumps(each)) for each in APPS}
    server.pods = {POD["id"]: json.loads(json.dumps(POD))}
    yield server
    server.stop()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret-token\n")
    return path


def network_of(server: FakeMarathon) -> dict[str, str]:
    names = {}
    for each in [*server.apps.values(), *server.pods.values()]:
        networks = each.get("networks") or [{"name": each["ipAddress"]["networkName"]}]
        names[each["id"]] = networks[0].get("name", networks[0].get("mode"))
    return names


def test_all_of_a_marathon_there_and_back(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    before = network_of(marathon)
    done = migrate("marathon", marathon.url, "--token-file", token, "--wait", 10)
    assert done.code == 1 and "port 80 of the host" in done.err
    assert network_of(marathon) == {
        "/web": "calico",
        "/group/db": "calico",
        "/on-host": "host",
        "/published": "dcos",
        "/pod": "calico",
    }
    puts = {path: body for method, path, body in marathon.requests if method == "PUT"}
    assert puts["/v2/apps/web"] == {"networks": [{"mode": "container", "name": "calico", "labels": {"role": "web"}}]}, (
        "of an application only what changes"
    )
    assert puts["/v2/pods/pod"] == {**POD, "networks": [{"name": "calico"}]}, "a pod is given whole"
    assert any(path == "/v2/deployments" for _, path, _ in marathon.requests)
    back = migrate("marathon", marathon.url, "--back", "--token-file", token)
    assert back.code == 0, back.err
    assert network_of(marathon) == before
    assert marathon.apps == {each["id"]: each for each in APPS}
    assert "secret-token" not in done.out + done.err + back.out + back.err


def test_one_application_by_its_address(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    done = migrate("marathon", f"{marathon.url}/v2/apps//group/db", "--token-file", token)
    assert done.code == 0, done.err
    assert [name for name, network in network_of(marathon).items() if network == "calico"] == ["/group/db"]


def test_a_dry_run_asks_and_changes_nothing(marathon: FakeMarathon, migrate: Migrate) -> None:
    done = migrate("marathon", marathon.url, "--dry-run", environment={"DCOS_ACS_TOKEN": "secret-token"})
    assert {method for method, _, _ in marathon.requests} == {"GET"}
    assert '+      "name": "calico"' in done.out


def test_who_may_not_is_told_what_to_give(marathon: FakeMarathon, migrate: Migrate) -> None:
    done = migrate("marathon", marathon.url)
    assert done.code == 1
    assert "401" in done.err and "give a token or a password" in done.err


def test_a_user_with_a_password(migrate: Migrate, tmp_path: Path) -> None:
    server = FakeMarathon("Basic bWU6aHVudGVyMg==").start()
    server.apps = {"/web": json.loads(json.dumps(APPS[0]))}
    (tmp_path / "password").write_text("hunter2\n")
    try:
        done = migrate("marathon", server.url, "--user", "me", "--password-file", tmp_path / "password")
        assert done.code == 0, done.err
        assert network_of(server)["/web"] == "calico"
    finally:
        server.stop()


def test_a_deployment_in_the_way(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    marathon.lock("/web")
    url = f"{marathon.url}/v2/apps//web"
    done = migrate("marathon", url, "--token-file", token)
    assert done.code == 1
    assert "409" in done.err and "--force" in done.err
    assert migrate("marathon", url, "--token-file", token, "--force").code == 0
    assert network_of(marathon)["/web"] == "calico"


def test_a_deployment_that_does_not_end_is_said(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    marathon.keeps_deploying = True
    done = migrate("marathon", f"{marathon.url}/v2/apps//web", "--token-file", token, "--wait", 0.5)
    assert done.code == 1 and "is not over after 0.5 s" in done.err


def test_an_application_that_was_changed_meanwhile_is_left_alone(
    marathon: FakeMarathon, migrate: Migrate, token: Path
) -> None:
    url = f"{marathon.url}/v2/apps//web"
    migrate("marathon", url, "--token-file", token)
    marathon.apps["/web"]["instances"] = 7
    marathon.apps["/web"]["networks"][0]["labels"] = {}
    done = migrate("marathon", url, "--back", "--token-file", token)
    assert done.code == 1 and "was changed since" in done.err
    marathon.apps["/web"]["networks"][0]["labels"] = {"role": "web"}
    assert migrate("marathon", url, "--back", "--token-file", token).code == 0
    assert marathon.apps["/web"]["instances"] == 7, "what has nothing to do with it stays"
    assert network_of(marathon)["/web"] == "dcos"


def test_a_marathon_that_is_away_or_without_that_application(
    marathon: FakeMarathon, migrate: Migrate, token: Path
) -> None:
    away = migrate("marathon", "http://127.0.0.1:9", "--token-file", token)
    assert (away.code, "Connection refused" in away.err) == (1, True)
    missing = migrate("marathon", f"{marathon.url}/v2/apps//none", "--token-file", token)
    assert missing.code == 1 and "'/none' does not exist" in missing.err


def test_svc_takes_no_address(migrate: Migrate) -> None:
    assert migrate("svc", "http://127.0.0.1:9").code == 1


def test_the_way_back_needs_no_option_of_the_way_there(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    before = json.loads(json.dumps([marathon.apps, marathon.pods]))
    options = ("--token-file", token, "--wait", 10)
    assert migrate("marathon", marathon.url, "--to", "blue", "--allow-host-ports", *options).code == 0
    assert network_of(marathon)["/published"] == "blue"
    back = migrate("marathon", marathon.url, "--back", *options)
    assert (back.code, "4 taken back" in back.err) == (0, True), back.err
    assert [marathon.apps, marathon.pods] == before


def test_what_marathon_refused_needs_no_way_back(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    marathon.lock("/web")
    url = f"{marathon.url}/v2/apps//web"
    assert migrate("marathon", url, "--token-file", token).code == 1
    back = migrate("marathon", url, "--back", "--token-file", token)
    assert (back.code, "0 taken back, 1 not concerned" in back.err) == (0, True), back.err


@pytest.mark.parametrize("answer", ["pong", {"apps": [1]}, {"apps": [{"cmd": "x"}]}, {"apps": {}}, None])
def test_a_server_that_is_no_marathon(marathon: FakeMarathon, migrate: Migrate, token: Path, answer: Any) -> None:
    marathon.answer = answer
    done = migrate("marathon", marathon.url, "--token-file", token)
    assert (done.code, "is it Marathon's address?" in done.err) == (1, True), done.err


def test_a_definition_that_cannot_be_written_stops_nobody_else(
    marathon: FakeMarathon, migrate: Migrate, token: Path
) -> None:
    marathon.apps["/web"]["cpus"] = float("inf")
    done = migrate("marathon", marathon.url, "--token-file", token, "--allow-host-ports")
    assert done.code == 1 and "/v2/apps//web: is no definition" in done.err
    assert network_of(marathon)["/group/db"] == "calico"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://me:hunter2@127.0.0.1:9/", "give the user with --user"),
        ("http://127.0.0.1:9x/", "is no address"),
        ("http://127.0.0.1:9/a b", "control characters"),
    ],
)
def test_addresses_that_are_none(migrate: Migrate, url: str, told: str) -> None:
    done = migrate("marathon", url)
    assert (done.code, told in done.err, "hunter2" in done.err) == (1, True, False), done.err


@pytest.mark.parametrize("content", [b"two\nlines", "t\u00f6ken".encode(), b"\xff"])
def test_a_token_that_is_none_is_not_shown(
    marathon: FakeMarathon, migrate: Migrate, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    done = migrate("marathon", marathon.url, "--token-file", tmp_path / "token")
    assert (done.code, "token: holds no token" in done.err) == (1, True), done.err
    assert "lines" not in done.err


def test_a_file_of_an_option_that_is_missing_is_named(migrate: Migrate, tmp_path: Path) -> None:
    for option in ("--token-file", "--password-file", "--ca-file"):
        done = migrate("marathon", "http://127.0.0.1:9/", "--user", "me", option, tmp_path / "none")
        assert (done.code, str(tmp_path / "none") in done.err) == (1, True), (option, done.err)


def test_what_a_server_says_is_shown_as_what_can_be_seen(marathon: FakeMarathon, migrate: Migrate, token: Path) -> None:
    missing = migrate("marathon", f"{marathon.url}/v2/apps//none%0a%1b[2J", "--token-file", token)
    assert missing.code == 1 and "\x1b" not in missing.err and "'/none  [2J' does not exist" in missing.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "x"])
def test_what_is_no_time_to_wait(migrate: Migrate, seconds: str) -> None:
    done = migrate("marathon", "http://127.0.0.1:9", f"--wait={seconds}")
    assert (done.code, "is no number of seconds" in done.err) == (1, True), done.err


def test_a_server_that_is_not_who_it_should_be(migrate: Migrate, tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path)
    server = FakeMarathon().start(authority.issue("server", ("127.0.0.1",)))
    server.apps = {"/web": json.loads(json.dumps(APPS[0]))}
    try:
        stranger = migrate("marathon", server.url)
        assert (stranger.code, "--ca-file names its authority" in stranger.err) == (1, True), stranger.err
        assert migrate("marathon", server.url, "--ca-file", authority.ca).code == 0
        assert network_of(server)["/web"] == "calico"
    finally:
        server.stop()
