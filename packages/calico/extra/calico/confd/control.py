"""BIRD's control socket: a command in, lines with reply codes out.

A reply is lines `NNNN-text` or `NNNN text` (the last of its group), or ` text` where the code of the line before goes
on; it ends with a line whose code begins with 0, 8 or 9 and is followed by a blank. Codes from 8000 on are errors.
"""

import os
import socket
import time
from typing import NamedTuple

SOCKET = "/run/calico/bird.ctl"
_TIMEOUT = 10.0
_LONGEST_REPLY = 64 << 20
_WELCOME = 1


class ControlError(Exception):
    """BIRD could not be asked, or refused: what happened, and in `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]} ({self.hint})"


class Line(NamedTuple):
    """One line of a reply."""

    code: int
    text: str


def ask(path: str, command: str, timeout: float = _TIMEOUT) -> list[Line]:
    """BIRD's reply to one command; raises ControlError, also for a reply that is an error."""
    until = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            reader = _Reader(connection, path, until)
            welcome = reader.reply()
            if welcome[-1].code != _WELCOME:
                raise ControlError(f"{path}: what answers there is not BIRD", "see who holds it: ss -lxp")
            connection.sendall(f"{command}\n".encode())
            reply = reader.reply()
    except OSError as error:
        raise _unreachable(path, error) from None
    if reply[-1].code >= 8000:
        text = "; ".join(line.text for line in reply if line.code >= 8000)
        raise ControlError(f"BIRD refused {command!r}: {text}", "the configuration it had goes on")
    return reply


class _Reader:
    """Takes replies apart as they come."""

    def __init__(self, connection: socket.socket, path: str, until: float) -> None:
        self._connection, self._path, self._until = connection, path, until
        self._pending = bytearray()

    def reply(self) -> list[Line]:
        lines: list[Line] = []
        size = 0
        while not lines or not self._is_last:
            text = self._line()
            size += len(text)
            if size > _LONGEST_REPLY:
                raise ControlError(f"{self._path}: the reply has no end", "see what answers there: ss -lxp")
            lines.append(self._parse(text, lines[-1].code if lines else 0))
        return lines

    _is_last = False

    def _parse(self, text: str, code: int) -> Line:
        self._is_last = False
        if text[:1] == " ":
            return Line(code, text[1:])
        if text[:4].isdigit() and text[4:5] in (" ", "-"):
            code = int(text[:4])
            self._is_last = text[4] == " " and text[0] in "089"
            return Line(code, text[5:])
        if text[:1] == "+":  # a message of BIRD's log, asked for by nobody
            return Line(code, text[1:])
        raise ControlError(f"{self._path}: unexpected output line from BIRD: {text!r}", "see what answers: ss -lxp")

    def _line(self) -> str:
        while (end := self._pending.find(b"\n")) < 0:
            self._connection.settimeout(max(self._until - time.monotonic(), 0.001))
            received = self._connection.recv(1 << 18)
            if not received:
                raise ControlError(f"{self._path}: BIRD hung up", "systemctl status dcos-calico-bird")
            self._pending += received
        text = self._pending[:end].decode(errors="replace")
        del self._pending[: end + 1]
        return text


def _unreachable(path: str, error: OSError) -> ControlError:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            is_there = os.path.exists(path)
            message = f"{path}: {'nobody listens there' if is_there else 'there is no such socket'}"
            return ControlError(f"BIRD is not running: {message}", "systemctl status dcos-calico-bird")
        case PermissionError():
            return ControlError(f"{path}: {error.strerror}", "run it as root")
        case TimeoutError():
            hint = "it is stuck or starved: journalctl -u dcos-calico-bird"
            return ControlError(f"{path}: BIRD does not answer", hint)
    return ControlError(f"{path}: {error.strerror or error}", "systemctl status dcos-calico-bird")
