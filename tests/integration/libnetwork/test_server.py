"""The sockets: HTTP as engines and readiness probes speak it, many at once, and what is not HTTP."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from calico.libnetwork.errors import DriverError
from calico.libnetwork.journal import Call, Journal
from calico.libnetwork.server import PluginServer

_TYPE = "Content-Type: application/vnd.docker.plugins.v1.1+json"


def _slow(_request: Mapping[str, Any], _call: Call) -> dict[str, str]:
    time.sleep(0.5)
    return {}


def _refuse(_request: Mapping[str, Any], _call: Call) -> None:
    raise DriverError("not like that")


def _break(_request: Mapping[str, Any], _call: Call) -> None:
    raise KeyError("surprise")


HANDLERS = {
    "NetworkDriver.GetCapabilities": lambda _request, _call: {"Scope": "local"},
    "Driver.Echo": lambda request, _call: request,
    "Driver.Nothing": lambda _request, _call: None,
    "Driver.Slow": _slow,
    "Driver.Refuse": _refuse,
    "Driver.Break": _break,
}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "calico.sock"
    server = PluginServer(found, HANDLERS, Journal(tmp_path / "journal"))
    yield found
    server.close()


def exchange(path: Path, request: bytes, close: bool = True) -> str:
    """What comes back, up to the end of the connection or of the first answer."""
    with socket.socket(socket.AF_UNIX) as handle:
        handle.settimeout(20)
        handle.connect(str(path))
        handle.sendall(request)
        if close:
            handle.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: handle.recv(65536), b"")).decode()


def post(path: Path, call: str, body: str = "{}", version: str = "1.1", *fields: str) -> str:
    lines = [f"POST /{call} HTTP/{version}", "Host: ", f"Content-Length: {len(body)}", *fields]
    return exchange(path, ("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def test_a_readiness_probe_of_http_1_0(path: Path) -> None:
    answer = exchange(path, b"GET /NetworkDriver.GetCapabilities HTTP/1.0\r\n\r\n", close=False)
    assert answer.startswith("HTTP/1.0 200 OK\r\n")
    assert answer.endswith('{"Scope":"local"}\n')


def test_an_answer(path: Path) -> None:
    answer = post(path, "Driver.Echo", '{"a": [1]}')
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert _TYPE in answer
    assert answer.endswith('{"a":[1]}\n')
    assert post(path, "Driver.Nothing").endswith("\r\n\r\nnull\n")


def test_many_requests_on_one_connection(path: Path) -> None:
    one = b"POST /Driver.Echo HTTP/1.1\r\nHost: \r\nContent-Length: 2\r\n\r\n{}"
    assert exchange(path, one * 3).count("200 OK") == 3


def test_a_body_in_chunks(path: Path) -> None:
    head = b"POST /Driver.Echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange(path, head + b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n').endswith('{"a":1}\n')
    assert " 400 " in exchange(path, head + b"zz\r\n").partition("\r\n")[0]


def test_a_refusal(path: Path) -> None:
    answer = post(path, "Driver.Refuse")
    assert " 500 " in answer.partition("\r\n")[0]
    assert json.loads(answer.partition("\r\n\r\n")[2]) == {"Err": "not like that"}


def test_a_mistake_of_ours_is_an_error_of_the_call_and_no_more(path: Path) -> None:
    assert "KeyError" in post(path, "Driver.Break")
    assert " 200 " in post(path, "Driver.Echo").partition("\r\n")[0]


@pytest.mark.parametrize("body", ["{", "[]", "\xff", '"x"'])
def test_a_body_that_is_none(path: Path, body: str) -> None:
    answer = post(path, "Driver.Echo", body)
    assert " 400 " in answer.partition("\r\n")[0]
    assert "text/plain" in answer


def test_a_call_nobody_knows(path: Path) -> None:
    assert " 404 " in post(path, "NetworkDriver.Future").partition("\r\n")[0]


def test_what_is_not_http_is_not_waited_for(path: Path) -> None:
    exchange(path, b"\x16\x03\x01\x00\x00\r\n\r\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))  # and says nothing
        assert " 200 " in post(path, "Driver.Echo").partition("\r\n")[0]


def test_calls_do_not_wait_for_each_other(path: Path) -> None:
    begin = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(path, "Driver.Slow"), range(20)))
    assert all(" 200 " in answer for answer in answers)
    assert time.monotonic() - begin < 8  # one after the other takes 10


def test_a_new_server_takes_the_place_of_the_old_in_one_step(path: Path, tmp_path: Path) -> None:
    failed: list[OSError] = []
    done = threading.Event()

    def connect() -> None:
        while not done.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as handle:
                    handle.connect(str(path))
            except OSError as error:
                failed.append(error)

    prober = threading.Thread(target=connect)
    prober.start()
    servers = [PluginServer(path, HANDLERS, Journal(tmp_path / "journal")) for _ in range(5)]
    done.set()
    prober.join()
    for server in servers:
        server.close()
    assert failed == []
    assert path.stat().st_mode & 0o777 == 0o660
