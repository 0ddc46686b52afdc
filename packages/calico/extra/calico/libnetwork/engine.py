"""The Docker Engine's API over its unix socket: the few calls the plugin needs.

No SDK: it would bring `requests` and ten more packages onto every node for six calls. Paths carry no version, so that
an engine answers in its own current one; only members that all of them have are read.
"""

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

_TIMEOUT = 30.0
_CREATION_TIMEOUT = 90.0
"""A creation or removal calls the plugin, which the engine asks again for 30 seconds."""


class EngineAwayError(Exception):
    """No engine answers at the socket."""


class EngineRefusedError(Exception):
    """The engine answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class EngineEndpoint(NamedTuple):
    """A container's connection to a network as the engine knows it. `container` is empty where it has none yet."""

    id: str
    container: str
    networks: tuple[str, ...]
    mac: str


class EngineNetwork(NamedTuple):
    """A network of the engine. Subnets are those asked for at its creation."""

    id: str
    name: str
    driver: str
    subnets: tuple[str, ...]
    options: Mapping[str, str]
    ipv6: bool
    labels: Mapping[str, str]
    endpoints: tuple[EngineEndpoint, ...]
    scope: str


class EngineEvent(NamedTuple):
    """Something that happened to a network."""

    action: str
    network: str
    driver: str
    container: str


class Engine:
    """The engine at a socket. Each call has a connection of its own, so threads may share it.

    Raises EngineAwayError and EngineRefusedError.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def networks(self) -> tuple[EngineNetwork, ...]:
        """Every network, without endpoints."""
        return tuple(_network(one) for one in self._ask("GET", "/networks"))

    def network(self, name: str) -> EngineNetwork:
        """A network by id or name, with its endpoints."""
        return _network(self._ask("GET", f"/networks/{quote(name)}"))

    def create_network(self, document: Mapping[str, Any]) -> str:
        """A new network; its id. Status 409: the name is taken."""
        answer = self._ask("POST", "/networks/create", document, _CREATION_TIMEOUT)
        return str(answer["Id"])

    def remove_network(self, identity: str) -> None:
        """Remove a network. Status 403: containers are on it; 404: there is none."""
        self._ask("DELETE", f"/networks/{quote(identity)}", timeout=_CREATION_TIMEOUT)

    def labels(self, container: str) -> dict[str, str]:
        """A container's labels. Unlike an inspection, a listing does not wait for a container that is being started."""
        query = urlencode({"all": "1", "filters": json.dumps({"id": [container]})})
        for one in self._ask("GET", f"/containers/json?{query}"):
            if one["Id"] == container:
                return dict(one.get("Labels") or {})
        return {}

    def used_networks(self) -> set[str]:
        """The networks that containers refer to, stopped ones too."""
        containers = self._ask("GET", "/containers/json?all=1")
        settings = ((one.get("NetworkSettings") or {}).get("Networks") or {} for one in containers)
        return {each["NetworkID"] for networks in settings for each in networks.values() if each.get("NetworkID")}

    def events(self, tick: float) -> Iterator[EngineEvent | None]:
        """What happens to networks from now on; None at the beginning and every `tick` seconds. Ends with the engine.

        Asked over HTTP/1.0, whose answer is the events as they are, up to the connection's end.
        """
        query = urlencode({"filters": json.dumps({"type": ["network"]})})
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as handle:
            try:
                handle.settimeout(_TIMEOUT)
                handle.connect(self._path)
                handle.sendall(f"GET /events?{query} HTTP/1.0\r\n\r\n".encode())
                handle.settimeout(tick)
                yield from _follow(handle)
            except OSError as error:
                raise EngineAwayError(f"{self._path}: {error}") from None

    def _ask(self, method: str, path: str, document: Any = None, timeout: float = _TIMEOUT) -> Any:
        connection = _Connection(self._path, timeout)
        try:
            content = self._send(connection, method, path, document).read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineAwayError(f"{self._path}: {error}") from None
        finally:
            connection.close()
        return json.loads(content) if content.strip() else None

    def _send(self, connection: "_Connection", method: str, path: str, document: Any) -> http.client.HTTPResponse:
        body = None if document is None else json.dumps(document)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise EngineAwayError(f"{self._path}: {error}") from None
        if response.status >= 400:
            raise EngineRefusedError(response.status, _message(response.read()))
        return response


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _follow(handle: socket.socket) -> Iterator[EngineEvent | None]:
    """The events behind the answer's head."""
    buffer = b""
    is_in_body = False
    yield None
    while True:
        try:
            data = handle.recv(65536)
        except TimeoutError:
            yield None
            continue
        if not data:
            return
        buffer += data
        if not is_in_body:
            head, blank, rest = buffer.partition(b"\r\n\r\n")
            if not blank:
                continue
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ConnectionRefusedError(head.partition(b"\r\n")[0].decode("latin-1"))
            is_in_body, buffer = True, rest
        *lines, buffer = buffer.split(b"\n")
        yield from (_event(json.loads(line)) for line in lines if line.strip())


def _event(document: Mapping[str, Any]) -> EngineEvent:
    actor = document.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    return EngineEvent(
        str(document.get("Action", "")),
        str(actor.get("ID", "")),
        str(attributes.get("type", "")),
        str(attributes.get("container", "")),
    )


def _network(document: Mapping[str, Any]) -> EngineNetwork:
    config = (document.get("IPAM") or {}).get("Config") or []
    return EngineNetwork(
        id=document["Id"],
        name=document["Name"],
        driver=document.get("Driver", ""),
        subnets=tuple(one["Subnet"] for one in config if one.get("Subnet")),
        options=dict(document.get("Options") or {}),
        ipv6=bool(document.get("EnableIPv6")),
        labels=dict(document.get("Labels") or {}),
        endpoints=tuple(_endpoint(key, one) for key, one in (document.get("Containers") or {}).items()),
        scope=document.get("Scope", ""),
    )


def _endpoint(key: str, document: Mapping[str, Any]) -> EngineEndpoint:
    """`key` is the container's id, or `ep-` and the endpoint's where it has none."""
    networks = (document.get("IPv4Address"), document.get("IPv6Address"))
    return EngineEndpoint(
        id=document.get("EndpointID") or key.removeprefix("ep-"),
        container="" if key.startswith("ep-") else key,
        networks=tuple(one for one in networks if one),
        mac=document.get("MacAddress") or "",
    )


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()
