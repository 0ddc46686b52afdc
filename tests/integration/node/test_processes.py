"""`pkgpanda` as real processes: over HTTP, two at once, killed, on a full disk, with systemctl faked on PATH."""

import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.node.programs import Programs
from tests.unit.node.bundle import write_bundle
from tests.unit.node.simulation import UNIT, Machine

ROOT = Path(__file__).resolve().parents[3]
_CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pkgpanda.node.cli import main; sys.exit(main())"


class Node:
    """A node below a directory, its programs, and the processes that change it."""

    def __init__(self, base: Path) -> None:
        self.machine = Machine(base)
        self.programs = Programs(base)
        self.programs.add("systemctl", 'case "$1" in show) echo ActiveState=active; echo InvocationID=1;; esac')
        self.programs.add("journalctl")
        layout = self.machine.layout
        self.places = ["--root", layout.root, "--config-dir", layout.config_dir]
        self.places += ["--state-dir-root", layout.state_root, "--systemd-dir", layout.systemd_dir]

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _CODE, *argv, *self.places],
            env=self.programs.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *argv: str) -> tuple[int, str]:
        process = self.start(*argv)
        output, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return process.returncode, output + errors


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves `root`; `moods` are what the next answers to packages are like, one each: busy, short, whole, no-range."""

    root: Path
    moods: list[str]
    ranges: list[str]

    def do_GET(self) -> None:
        data = (
            (self.root / self.path.lstrip("/")).read_bytes() if (self.root / self.path.lstrip("/")).is_file() else None
        )
        mood = self.moods.pop(0) if self.moods and "packages/" in self.path else "whole"
        asked = self.headers.get("Range", "")
        self.ranges.append(asked)
        if data is None or mood == "busy":
            self.send_error(404 if data is None else 503)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and mood != "no-range" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + (len(data) - start) // 2] if mood == "short" else data[start:])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it
        pass


@pytest.fixture
def served(node: Node) -> Iterator[tuple[type[_Server], str, str]]:
    """A bundle over HTTP: the handler class, the URL, the digest of the package list."""
    handler: Any = type("Handler", (_Server,), {"root": node.machine.archives / "dist", "moods": [], "ranges": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    archive = node.machine.package("a--1", {"dcos.target.wants/a.service": UNIT, "lib/a": os.urandom(200_000).hex()})
    _, digest = write_bundle(handler.root, [(archive, ["master"])])
    yield handler, f"http://127.0.0.1:{server.server_address[1]}", digest
    server.shutdown()
    server.server_close()


def _setup(node: Node, url: str, digest: str, *more: str) -> tuple[int, str]:
    return node("setup", "--repository-url", url, "--package-info-sha256", digest, *more)


def test_setup_over_http(node: Node, served: Any) -> None:
    _, url, digest = served
    status, told = _setup(node, url, digest)
    assert (status, node.machine.active()) == (0, ["a--1"]), told
    calls = node.programs.calls("systemctl")
    assert ["systemctl", "start", "--no-block", "dcos.target"] in calls
    assert _setup(node, url, digest)[0] == 0


def test_a_broken_download_is_resumed_where_it_ended(node: Node, served: Any) -> None:
    handler, url, digest = served
    handler.moods[:] = ["busy", "short", "whole"]
    status, told = _setup(node, url, digest)
    assert status == 0, told
    assert [asked for asked in handler.ranges if asked] != [], "the third attempt asks for the rest only"


def test_a_server_without_ranges_is_asked_for_everything_again(node: Node, served: Any) -> None:
    handler, url, digest = served
    handler.moods[:] = ["short", "no-range"]
    assert _setup(node, url, digest)[0] == 0
    assert node.machine.active() == ["a--1"]


def test_what_failed_and_why(node: Node, served: Any) -> None:
    handler, url, digest = served
    shutil.rmtree(handler.root / "packages")
    status, told = _setup(node, url, digest, "--silent")
    assert status == 3 and "the server answers 404" in told and "a--1.tar.xz" in told
    assert len(told.splitlines()) == 1


def test_a_server_that_is_not_there(node: Node) -> None:
    started = time.monotonic()
    status, told = _setup(node, "http://127.0.0.1:9", "0" * 64)
    assert status == 3 and "Connection refused, 5 times" in told
    assert 10 < time.monotonic() - started < 40


def test_two_at_once(node: Node) -> None:
    """The second is told, the first is not disturbed, and the lock goes with its holder."""
    node.machine.have("a--1", {"dcos.target.wants/a.service": UNIT})
    node.machine.have("b--1")
    fifo = node.machine.base / "fifo"
    os.mkfifo(fifo)
    node.programs.add("systemctl", f'[ "$1" != daemon-reload ] || read -r line <{fifo}')
    first = node.start("activate", "a--1")
    _until(lambda: any("daemon-reload" in argv for argv in node.programs.calls()))
    status, told = node("activate", "b--1")
    assert status == 1 and f"another pkgpanda (process {first.pid}) is changing this node" in told
    assert node("list")[0] == 0, "reading needs no lock"
    fifo.write_text("go\n")
    assert first.wait(timeout=30) == 0
    assert node.machine.active() == ["a--1"]
    node.programs.add("systemctl", 'case "$1" in show) echo ActiveState=active; echo InvocationID=1;; esac')
    assert node("activate", "b--1", "--no-health-gate")[0] == 0


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in 30 s"
        time.sleep(0.02)


def test_killed_processes_leave_the_old_or_the_new_set(node: Node) -> None:
    for version in ("1", "2"):
        files = {f"bin/p{number}": version for number in range(30)}
        node.machine.have(f"a--{version}", {**files, "dcos.target.wants/a.service": UNIT + version})
    assert node("activate", "a--1")[0] == 0
    chance, seen = random.Random(7), set()
    rounds = 200 if os.environ.get("DCOS_CALICO_SOAK") else 12
    for _ in range(rounds):
        wanted = "a--2" if node.machine.active() == ["a--1"] else "a--1"
        process = node.start("activate", wanted, "--no-health-gate")
        time.sleep(chance.uniform(0.03, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert node("setup")[0] == 0
        live = node.machine.active()
        version = live[0][-1]
        root = Path(node.machine.layout.root)
        assert {(root / f"bin/p{number}").read_text() for number in range(30)} == {version}
        assert node.machine.units() == {"a.service": UNIT + version}
        assert node("verify")[0] == 0
        seen.add(live == [wanted])
    assert seen, "at least one kill happened"


def test_a_really_full_disk(node: Node) -> None:
    """A memory file system of 1 MiB in a mount namespace of its own."""
    node.machine.have("a--1", {"bin/a": "1"})
    archive = node.machine.package("b--1", {f"lib/{number}": "x" * 200_000 for number in range(8)})
    assert node("activate", "a--1")[0] == 0
    root = node.machine.layout.root
    command = [
        sys.executable,
        "-I",
        "-c",
        _CODE,
        "add",
        str(archive.path),
        "--sha256",
        archive.digest.sha256,
        *node.places,
    ]
    script = (
        f"set -e; cp -a {root} {root}.kept; mount -t tmpfs -o size=1m tmpfs {root}; cp -a {root}.kept/. {root}/\n"
        f'before=$(cd {root} && find . ! -name .lock | sort | sha256sum); status=0; "$@" || status=$?\n'
        f"after=$(cd {root} && find . ! -name .lock | sort | sha256sum)\n"
        '[ "$before" = "$after" ] || exit 99; exit $status\n'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "",
        "two words",
        'a "quoted" \\ back`tick $HOME $(id)',
        "it's",
        "line\nbreak",
        "# no comment",
        "=",
        "ünï",
        "%n %i",
    ],
)
def test_environment_files_say_to_a_shell_what_the_package_said(node: Node, value: str) -> None:
    node.machine.have("a--1", environment={"VALUE": value})
    assert node("activate", "a--1")[0] == 0
    for name in ("environment", "environment.export"):
        done = subprocess.run(
            ["sh", "-c", '. "$1"; PATH=/usr/bin:/bin; printf %s "$VALUE"', "sh", f"{node.machine.layout.root}/{name}"],
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode() == value
    assert "LD_LIBRARY_PATH" not in Path(node.machine.layout.root, "environment").read_text()


@pytest.mark.parametrize("command", [(), ("frobnicate",), ("activate", "--nonsense"), ("rollback", "x"), ("swap",)])
def test_a_wrong_command_line_is_2(node: Node, command: tuple[str, ...]) -> None:
    assert node(*command)[0] == 2


def test_every_command_has_help_with_an_example(node: Node) -> None:
    from pkgpanda.node.commands import COMMANDS

    for command in COMMANDS:
        status, told = node(command.name, "--help")
        assert status == 0 and f"example: pkgpanda {command.name}" in told


def test_a_reader_that_goes_away_is_no_error(node: Node) -> None:
    node.machine.have("a--1")
    process = node.start("list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr is not None and process.stderr.read() == ""


def test_programs_record_their_arguments(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    programs.add("frob", "echo out; exit 3")
    done = subprocess.run(
        ["sh", "-c", "frob 'a b' '' '$x'"], env=dict(programs.environment), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert programs.calls("frob") == [["frob", "a b", "", "$x"]] and programs.calls("other") == []


def test_json_answers_are_json(node: Node) -> None:
    node.machine.have("a--1", {"check/c": "#!/bin/sh\nexit 0\n"})
    assert node("activate", "a--1")[0] == 0
    for command in ("list", "active", "history", "check", "verify"):
        status, told = node(command, "--format", "json")
        assert status == 0 and json.loads(told) is not None
    digest = hashlib.sha256(b"").hexdigest()
    assert node("add", "/nowhere/a--1.tar.xz", "--sha256", digest)[0] == 1


def test_a_failing_check_of_a_package_is_1(node: Node) -> None:
    node.machine.have("a--1", {"check/good": "#!/bin/sh\nexit 0\n", "check/bad": "#!/bin/sh\necho sorry\nexit 7\n"})
    assert node("activate", "a--1")[0] == 0
    status, told = node("check")
    assert status == 1 and "failed  a--1: bad: sorry" in told and "ok  a--1: good" in told
    assert node("check", "--list") == (0, "a--1: bad\na--1: good\n")
