"""The agent's socket: who is served, what becomes of nonsense, of a crowd, and of calls under way at the end."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from calico.cni.answer import Answer, Input
from calico.cni.server import Server
from tests.integration.cni.node import CLIENT

HELLO = b"calico-cni/1 calico 14 2\nCNI_COMMAND=X\0{}"


class Desk:
    """A server whose answers wait until they may go."""

    def __init__(self, path: Path, workers: int = 2, waiting: int = 2, patience: float = 30.0) -> None:
        self.path = path
        self.seen: list[Input] = []
        self.open = threading.Event()
        self.open.set()
        self.server = Server(path, self._handle, workers, waiting, patience)

    def _handle(self, given: Input) -> Answer | None:
        self.seen.append(given)
        self.open.wait(30)
        return None if given.plugin == "other" else Answer(0, given.stdin)

    def connect(self, message: bytes = b"", descriptors: tuple[int, ...] = ()) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(30)
        made.connect(str(self.path))
        if message:
            with suppress(BrokenPipeError):  # it has answered, and gone, already
                socket.send_fds(made, [message], list(descriptors))
        return made

    def ask(self, message: bytes, descriptors: tuple[int, ...] = ()) -> bytes:
        with self.connect(message, descriptors) as connection:
            return read(connection)


def read(connection: socket.socket) -> bytes:
    """All that comes; the server closes on what it did not hear, which comes as a reset behind the answer."""
    found = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            found += part
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "s")
    yield made
    made.open.set()
    made.server.stop()


def test_a_call_and_its_descriptor(desk: Desk) -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert desk.ask(HELLO, (0,)) == b"0 2\n{}"
    given = desk.seen[0]
    assert (given.plugin, given.environment, given.stdin) == ("calico", {"CNI_COMMAND": "X"}, b"{}")
    assert given.namespace >= 0
    assert desk.ask(HELLO.replace(b"calico 14", b"other 14")) == b"decline 0\n"
    assert desk.seen[1].namespace == -1
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor stays"


def test_in_pieces(desk: Desk) -> None:
    with desk.connect() as connection:
        for at in range(len(HELLO)):
            connection.sendall(HELLO[at : at + 1])
        assert read(connection) == b"0 2\n{}"


@pytest.mark.parametrize(
    "message",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * 200,
        b"calico-cni/2 calico 0 0\n",
        b"calico-cni/1 calico -1 0\n",
        b"calico-cni/1 calico 0 99999999999\n",
        b"calico-cni/1 calico 5 5\nab",
    ],
)
def test_nonsense_is_dropped(desk: Desk, message: bytes) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with desk.connect(message, (0, 1)) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert read(connection) == b""
    assert desk.seen == []
    assert desk.ask(HELLO) == b"0 2\n{}", "and the next is served"
    assert len(os.listdir("/proc/self/fd")) <= before


def test_only_root(desk: Desk) -> None:
    assert desk.path.stat().st_mode & 0o777 == 0o600
    pid = os.fork()
    if pid == 0:
        try:
            desk.path.parent.chmod(0o755)
            desk.path.chmod(0o666)  # as if somebody had opened it
            os.setuid(65534)
            os._exit(0 if desk.ask(HELLO) == b"" else 1)
        except OSError:  # it does not reach the directory
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert desk.seen == []


def test_a_crowd_is_told_to_try_again(desk: Desk) -> None:
    desk.open.clear()
    busy = [desk.connect(HELLO) for _ in range(2)]
    while len(desk.seen) < 2:
        time.sleep(0.01)
    waiting = [desk.connect(HELLO) for _ in range(2)]
    time.sleep(0.2)
    refused = desk.ask(HELLO)
    assert b'"code": 11' in refused
    assert b"too many containers" in refused
    plugin = subprocess.run(
        [sys.executable, "-I", str(CLIENT), "calico"],
        input=b"{}" + b" " * (1 << 20),
        env={"CALICO_CNI_SOCKET": str(desk.path), "CNI_COMMAND": "ADD"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (plugin.returncode, json.loads(plugin.stdout)["code"]) == (1, 11), "it does not do the work itself"
    desk.open.set()
    assert [read(one) for one in (*busy, *waiting)] == [b"0 2\n{}"] * 4


def test_who_waited_too_long_is_told_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "s", workers=1, patience=0.2)
    desk.open.clear()
    first = desk.connect(HELLO)
    while not desk.seen:
        time.sleep(0.01)
    second = desk.connect(HELLO)
    time.sleep(0.4)
    desk.open.set()
    assert read(first) == b"0 2\n{}"
    assert b"waited 0 s behind other containers" in read(second)
    desk.server.stop()


def test_calls_under_way_are_answered_at_the_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "s")
    desk.open.clear()
    under_way = desk.connect(HELLO)
    while not desk.seen:
        time.sleep(0.01)
    threading.Timer(0.3, desk.open.set).start()
    desk.server.stop()
    assert read(under_way) == b"0 2\n{}"
    assert not desk.path.exists()


def test_a_socket_that_a_killed_agent_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    desk = Desk(path)
    assert desk.ask(HELLO) == b"0 2\n{}"
    desk.server.stop()


def test_the_plugin_imports_next_to_nothing() -> None:
    """A container's start waits for it: each module more is time."""
    text = (
        "import sys; before = set(sys.modules)\n"
        f"source = open({str(CLIENT)!r}).read()\n"
        "exec(compile(source, 'client', 'exec'), {'__name__': 'client'})\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["_socket"]
