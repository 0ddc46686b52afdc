"""An engine that knows networks only: `fakeengine.py <socket> <plugins>`. It asks the plugins as dockerd does.

For many at once on a small machine; what real engines do is tested with real ones.
"""

import http.client
import json
import secrets
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

_PATH, _PLUGINS = Path(sys.argv[1]), Path(sys.argv[2])
_networks: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def _ask(plugin: str, call: str, request: dict[str, Any]) -> dict[str, Any]:
    connection = _Connection(str(_PLUGINS / f"{plugin}.sock"), timeout=30)
    connection.request("POST", f"/{call}", json.dumps(request), {"Host": ""})
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(answer["Err"])
    return answer


def _create(document: dict[str, Any]) -> tuple[int, Any]:
    if any(one["Name"] == document["Name"] for one in _networks.values()):
        return 409, {"message": f"network with name {document['Name']} already exists"}
    identity = secrets.token_hex(32)
    data = []
    for config in document["IPAM"]["Config"]:
        pool = _ask("calico-ipam", "IpamDriver.RequestPool", {"Pool": config["Subnet"], "Options": {}, "V6": False})
        data.append({"AddressSpace": "", "Gateway": pool["Data"]["com.docker.network.gateway"], "Pool": pool["Pool"]})
    options = {"com.docker.network.generic": document["Options"]}
    _ask("calico", "NetworkDriver.CreateNetwork", {"NetworkID": identity, "Options": options, "IPv4Data": data})
    _networks[identity] = {**document, "Id": identity, "Scope": "local", "Containers": {}}
    return 201, {"Id": identity}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/events":
            self._events()
        elif path == "/networks":
            self._send(200, list(_networks.values()))
        else:
            found = _networks.get(path.rpartition("/")[2])
            self._send(200, found) if found else self._send(404, {"message": "no such network"})

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            with _lock:
                self._send(*_create(document))
        except RuntimeError as error:
            self._send(500, {"message": str(error)})

    def _events(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        time.sleep(3600)

    def _send(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


_Server(str(_PATH), _Handler).serve_forever()
