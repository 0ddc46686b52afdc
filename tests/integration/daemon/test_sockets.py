"""What a daemon says over sockets: to systemd, and to who asks over HTTP."""

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from calico.daemon.metrics import Endpoint, Registry, health_page, metrics_page
from calico.daemon.notify import Notifier


def test_systemd_hears_ready_status_and_the_watchdog(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier = Notifier(str(tmp_path / "notify"), "3000000")
        assert notifier.interval == 1.0
        notifier.ready("at work")
        assert manager.recv(1000) == b"READY=1\nSTATUS=at work"
        notifier.status("at work")
        notifier.status("etcd is\naway")
        assert manager.recv(1000) == b"STATUS=etcd is away"
        notifier.alive()
        notifier.alive()
        notifier.stopping()
        assert manager.recv(1000) == b"WATCHDOG=1"
        assert manager.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_without_systemd_nothing_happens(address: str) -> None:
    notifier = Notifier(address, "")
    notifier.ready("at work")
    notifier.alive()
    assert notifier.interval == 0


def test_pages_over_http() -> None:
    registry = Registry()
    registry.counter("c", "a counter").add(3)
    good = [True]

    def broken() -> tuple[int, str, str]:
        raise RuntimeError("no")

    endpoint = Endpoint(
        "127.0.0.1",
        0,
        {"/metrics": metrics_page(registry), "/readiness": health_page(lambda: good[0]), "/broken": broken},
    )
    try:

        def status(path: str) -> int:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}{path}", timeout=5) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=5) as answer:
            assert answer.read().endswith(b"c 3\n")
        assert status("/readiness") == 204
        good[0] = False
        assert status("/readiness") == 503
        assert (status("/nothing"), status("/broken")) == (404, 500)
    finally:
        endpoint.close()
