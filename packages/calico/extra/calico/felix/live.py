"""The unix socket of a running felix: what it has applied, what it complains about, what it dropped.

One JSON object a line in each direction: `{"ask": "state"}`. Root alone may connect (the socket's mode is 0600).
"""

import contextlib
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

SOCKET = "felix.sock"
Answer = Callable[[Mapping[str, Any]], Any]


class LiveServer:
    """Answers questions on `path`. `answers` map the word of `ask` to what answers it, called in a thread of its own.

    Raises OSError where the socket cannot be made.
    """

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        handler = type("Handler", (_Handler,), {"answers": dict(answers)})
        before = os.umask(0o177)
        try:
            self._server = socketserver.ThreadingUnixStreamServer(str(path), handler)
        finally:
            os.umask(before)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="live", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Handler(socketserver.StreamRequestHandler):
    answers: ClassVar[dict[str, Answer]]

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> Any:
        try:
            question = json.loads(line)
            answer = self.answers.get(question.get("ask", ""))
            return answer(question) if answer else {"error": f"ask is one of: {', '.join(sorted(self.answers))}"}
        except Exception as error:
            return {"error": str(error) or type(error).__name__}


def ask(path: Path, question: Mapping[str, Any], timeout: float = 10.0) -> Any:
    """What the felix behind a socket answers. Raises OSError where none is there, ValueError for an `error`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as handle:
        handle.settimeout(timeout)
        handle.connect(str(path))
        handle.sendall(json.dumps(question).encode() + b"\n")
        with handle.makefile("rb") as answers:
            answer = json.loads(answers.readline() or b"null")
    if isinstance(answer, dict) and "error" in answer:
        raise ValueError(answer["error"])
    return answer
