"""A Marathon for tests: the routes of its API that a migration uses, with the checks and the answers of the real one.

Applications: `GET /v2/apps`, `GET|PUT /v2/apps/<id>` (`partialUpdate`, `force`); pods: `GET /v2/pods`, `GET|PUT
/v2/pods/<id>`, which replaces the whole; `GET /v2/deployments`; `GET /ping`. Unknown ids are 404, an application that
is locked by a deployment is 409 with the deployment's id, a body that Marathon would refuse 422 with details, a missing
or wrong token 401. Every change is a deployment, which is over when the test says so or at once.
"""

import json
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_POD_READ_ONLY = {"version"}


class FakeMarathon:
    """One server on a loopback address, with what it holds."""

    def __init__(self, authorization: str = "") -> None:
        self.authorization = authorization
        self.apps: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.deployments: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.keeps_deploying = False
        self.answer: Any = ...  # to every question, instead of Marathon's
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self, certificate: tuple[Path, Path] | None = None) -> "FakeMarathon":
        """Serve; over TLS with a certificate and its key."""
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        self._thread.start()
        return self

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def lock(self, identifier: str) -> None:
        """Let a deployment of an application be under way."""
        self.deployments.append({"id": "deployment-of-others", "affectedApps": [identifier], "affectedPods": []})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        marathon = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                is_itself = marathon.answer is ...
                self._answer(*marathon._get(urllib.parse.urlsplit(self.path)) if is_itself else (200, marathon.answer))

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*marathon._put(urllib.parse.urlsplit(self.path), body))

            def _answer(self, status: int, document: Any) -> None:
                if marathon.authorization and self.headers.get("Authorization") != marathon.authorization:
                    status, document = 401, {"message": "Invalid auth token"}
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        return Handler

    def _get(self, url: urllib.parse.SplitResult) -> tuple[int, Any]:
        self.requests.append(("GET", url.path, None))
        if url.path == "/ping":
            return 200, "pong"
        if url.path == "/v2/deployments":
            current = list(self.deployments)
            if not self.keeps_deploying:
                self.deployments = [each for each in self.deployments if each["id"] == "deployment-of-others"]
            return 200, current
        if url.path == "/v2/apps":
            return 200, {"apps": [self._shown(each) for each in self.apps.values()]}
        if url.path == "/v2/pods":
            return 200, list(self.pods.values())
        kind, identifier = _split(url.path)
        if kind == "apps" and identifier in self.apps:
            return 200, {"app": self._shown(self.apps[identifier])}
        if kind == "pods" and identifier in self.pods:
            return 200, self.pods[identifier]
        return _missing(kind, identifier)

    def _shown(self, app: dict[str, Any]) -> dict[str, Any]:
        """With the members that only Marathon writes."""
        return {
            **app,
            "version": "2026-01-01T00:00:00.000Z",
            "versionInfo": {"lastScalingAt": "2026-01-01T00:00:00.000Z"},
            "tasksStaged": 0,
            "tasksRunning": 1,
            "deployments": [{"id": each["id"]} for each in self.deployments if app["id"] in each["affectedApps"]],
        }

    def _put(self, url: urllib.parse.SplitResult, body: Any) -> tuple[int, Any]:
        self.requests.append(("PUT", url.path, body))
        query = dict(urllib.parse.parse_qsl(url.query))
        kind, identifier = _split(url.path)
        holder = self.apps if kind == "apps" else self.pods
        if identifier not in holder:
            return _missing(kind, identifier)
        locks = [each["id"] for each in self.deployments if identifier in each["affectedApps"] + each["affectedPods"]]
        if locks and query.get("force") != "true":
            told = "App is locked by one or more deployments. Override with the option '?force=true'."
            return 409, {"message": told, "deployments": [{"id": each} for each in locks]}
        if problems := _problems(kind, body):
            return 422, {"message": "Object is not valid", "details": problems}
        partial = kind == "apps" and query.get("partialUpdate", "true") == "true"
        holder[identifier] = {**(holder[identifier] if partial else {}), **body, "id": identifier}
        self.deployments = [each for each in self.deployments if each["id"] not in locks]
        return 200, self._deployed(kind, identifier)

    def _deployed(self, kind: str, identifier: str) -> dict[str, Any]:
        deployment = {
            "id": f"deployment-{len(self.requests)}",
            "affectedApps": [identifier] if kind == "apps" else [],
            "affectedPods": [identifier] if kind == "pods" else [],
        }
        self.deployments.append(deployment)
        answer = {"version": "2026-01-01T00:00:01.000Z", "deploymentId": deployment["id"]}
        return answer if kind == "apps" else {**self.pods[identifier], **answer}


def _split(path: str) -> tuple[str, str]:
    _, _, kind, *rest = path.split("/")
    return kind, "/" + urllib.parse.unquote("/".join(rest).strip("/"))


def _missing(kind: str, identifier: str) -> tuple[int, Any]:
    what = "App" if kind == "apps" else "Pod"
    return 404, {"message": f"{what} '{identifier}' does not exist"}


def _problems(kind: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the real one refuses, of what a migration could get wrong."""
    found = []
    unknown = body.keys() & {"versionInfo", "tasksRunning", "tasksStaged", "deployments", "app"}
    if unknown:
        found.append({"path": f"/{min(unknown)}", "errors": ["is not allowed"]})
    networks = body.get("networks", [])
    names = [each.get("name") for each in networks if each.get("mode", "container") == "container"]
    if len(names) != len(set(names)):
        found.append({"path": "/networks", "errors": ["must not contain duplicate network names"]})
    if networks and body.get("ipAddress"):
        found.append({"path": "/networks", "errors": ["cannot be used together with ipAddress"]})
    if kind == "pods" and "containers" not in body:
        found.append({"path": "/containers", "errors": ["is undefined"]})
    return found
