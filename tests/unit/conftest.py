"""Unit tests run no program and open no socket: what does belongs to tests/integration."""

import socket
import subprocess
from typing import Any, NoReturn

import pytest


def _refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
    pytest.fail("a unit test started a program or opened a socket; move it to tests/integration")


@pytest.fixture(autouse=True)
def _nothing_leaves_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", _refuse)
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    monkeypatch.setattr(socket.socket, "bind", _refuse)
    monkeypatch.setattr("os.system", _refuse)
    monkeypatch.setattr("os.fork", _refuse)
