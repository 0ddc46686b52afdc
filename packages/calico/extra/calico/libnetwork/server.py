"""HTTP over a unix socket, as the engine's plugin protocol has it.

POST with a JSON body; the answer is JSON of a type of Docker's own, status 200, or 500 with `{"Err": text}` for a
refusal. A request of HTTP/1.0, without Host or body, is answered as HTTP/1.0: readiness probes look for that.
Connections stay open for as long as the engine keeps them: one that is closed at the wrong moment costs the engine a
request, which it then repeats without its body.
"""

import json
import logging
import os
import socketserver
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

from calico.daemon.log import fields
from calico.libnetwork.errors import DriverError
from calico.libnetwork.journal import Call, Journal

_CONTENT_TYPE = "application/vnd.docker.plugins.v1.1+json"
_LARGEST_BODY = 16 << 20

_log = logging.getLogger(__name__)

Handler = Callable[[Mapping[str, Any], Call], Any]
"""Takes a call's document and its record; returns what is answered. Raises DriverError."""


class PluginServer:
    """Serves the calls of one plugin at `path`, each connection in a thread. `handlers` are by `Driver.Call`.

    The socket takes the place of an older one in one step: the engine always finds one.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler], journal: Journal) -> None:
        self.path = path
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            fresh.unlink()
        handler = type("Handler", (_Handler,), {"handlers": dict(handlers), "journal": journal})
        self._server = _Server(str(fresh), handler)
        fresh.chmod(0o660)
        fresh.rename(path)
        Thread(target=self._server.serve_forever, name=path.name, daemon=True).start()

    def close(self) -> None:
        """Take no more connections. The socket stays: an engine that starts meanwhile asks again until we are back."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    handlers: Mapping[str, Handler]
    journal: Journal
    server_version = "calico-libnetwork"

    def setup(self) -> None:
        super().setup()
        self.protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        self.protocol_version = "HTTP/1.0" if self.request_version == "HTTP/1.0" else "HTTP/1.1"
        name = self.path.partition("?")[0].lstrip("/")
        handler = self.handlers.get(name)
        if handler is None:
            self._send(404, "text/plain; charset=utf-8", b"404 page not found\n")
        else:
            self._serve(name, handler, body)

    def do_GET(self) -> None:
        """Readiness probes GET."""
        self.do_POST()

    def _serve(self, name: str, handler: Handler, body: bytes) -> None:
        with self.journal.call(name, body) as call:
            try:
                document = json.loads(call.body) if call.body.strip() else {}
                if not isinstance(document, dict):
                    raise ValueError("it is not an object")
            except ValueError as error:
                self._send(400, "text/plain; charset=utf-8", f"{name}: the body cannot be read: {error}\n".encode())
                return
            status, answer = _answer(name, handler, document, call)
        self._send(status, _CONTENT_TYPE, json.dumps(answer, separators=(",", ":")).encode() + b"\n")

    def _body(self) -> bytes | None:
        """The request's body; None after an answer, for one that cannot be taken."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            self._send(400, "text/plain; charset=utf-8", b"the request's length cannot be meant\n")
            return None
        return self.rfile.read(int(length))

    def _chunks(self) -> bytes | None:
        parts, total = [], 0
        try:
            while size := int(self.rfile.readline(64).partition(b";")[0], 16):
                total += size
                if total > _LARGEST_BODY:
                    raise ValueError("too large")
                parts.append(self.rfile.read(size))
                self.rfile.readline(8)
            while self.rfile.readline(4096).strip():
                pass
        except ValueError:
            self.close_connection = True
            self._send(400, "text/plain; charset=utf-8", b"the request's chunks are broken\n")
            return None
        return b"".join(parts)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the engine does not wait any more
            self.send_response_only(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """What is done is logged where it is decided."""


def _answer(name: str, handler: Handler, document: Mapping[str, Any], call: Call) -> tuple[int, Any]:
    """Status and document; whatever goes wrong becomes the engine's error, and no thread dies of it."""
    try:
        return 200, handler(document, call)
    except DriverError as error:
        _log.warning("refused %s", fields(call=name, error=error))
        return 500, {"Err": str(error)}
    except Exception as error:
        _log.exception("failed %s", fields(call=name))
        return 500, {"Err": f"{name}: {type(error).__name__}: {error}"}
