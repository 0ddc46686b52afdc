"""Marathon application definitions, read as far as a lab can carry them out.

What would change how an application is connected and what the lab does not know is refused by name, never passed over;
what a lab has no use for (cpus, mem, healthChecks, fetch, ...) is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lab.instance import Refusal

DOMAIN = "marathon.containerip.dcos.thisdcos.directory"
_SEGMENT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_RUNTIMES = ("MESOS", "DOCKER")
_PROTOCOLS = {"tcp": ("tcp",), "udp": ("udp",), "udp,tcp": ("udp", "tcp"), "tcp,udp": ("tcp", "udp")}


class AppError(Refusal):
    """A definition that is wrong, or that asks for what a lab does not have: which file, which key, what it is."""


class Port(NamedTuple):
    """One mapping: host port 0 means one that the agent chooses."""

    container: int
    host: int
    protocol: str


class App(NamedTuple):
    """One application: `labels` are the network's, which policy selects by; `at` is the agent its constraints name."""

    id: str
    instances: int
    runtime: str
    image: str
    command: str
    network: str
    labels: Mapping[str, str]
    ports: tuple[Port, ...]
    environment: Mapping[str, str]
    at: str = ""
    spread: bool = False

    @property
    def name(self) -> str:
        """The name in DNS: /shop/web is web-shop."""
        return "-".join(reversed(self.id.strip("/").split("/")))

    @property
    def host(self) -> str:
        """The name that resolves to the addresses of its containers."""
        return f"{self.name}.{DOMAIN}"


def read(path: Path) -> list[App]:
    """The applications of a file: one definition, or a list of them."""
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise AppError(f"{path}:{error.lineno}:{error.colno}: is not JSON: {error.msg}") from None
    definitions = found if isinstance(found, list) else [found]
    return [parse(definition, str(path)) for definition in definitions]


def parse(definition: object, where: str) -> App:
    """One definition; `where` is for errors."""
    if not isinstance(definition, dict):
        raise AppError(f"{where}: is no application definition but {type(definition).__name__}")
    reader = _Reader(definition, where)
    app_id = reader.text(definition, "id")
    if not all(_SEGMENT.fullmatch(segment) for segment in app_id.strip("/").split("/")):
        raise AppError(f"{where}: id: {app_id!r} is no path of lower-case letters, digits and hyphens, like /shop/web")
    container = reader.mapping(definition, "container")
    runtime = reader.text(container, "type", "container.type", "MESOS")
    if runtime not in _RUNTIMES:
        raise AppError(f"{where}: container.type: {runtime!r} is not one of {', '.join(_RUNTIMES)}")
    if container.get("volumes"):
        raise AppError(f"{where}: container.volumes: the lab's containers have none")
    docker = reader.mapping(container, "docker", "container.docker")
    network = reader.network()
    at, spread = reader.constraints()
    return App(
        id=f"/{app_id.strip('/')}",
        instances=reader.number(definition, "instances", "instances", 1),
        runtime=runtime,
        image=reader.text(docker, "image", "container.docker.image", ""),
        command=reader.text(definition, "cmd", "cmd", ""),
        network=reader.text(network, "name", "networks[0].name"),
        labels=reader.labels(network, "networks[0].labels"),
        ports=tuple(reader.ports(container)),
        environment=reader.labels({"labels": definition.get("env")}, "env"),
        at=at,
        spread=spread,
    )


class _Reader:
    """Takes values of the right type out of a definition, or says which key holds another."""

    def __init__(self, definition: Mapping[str, Any], where: str) -> None:
        self.definition = definition
        self.where = where

    def fail(self, key: str, message: str) -> AppError:
        return AppError(f"{self.where}: {key}: {message}")

    def text(self, values: Mapping[str, Any], key: str, path: str = "", default: str | None = None) -> str:
        found = values.get(key, default)
        if found is None and default is not None:
            return default
        if not isinstance(found, str) or (default is None and not found):
            raise self.fail(path or key, "is missing" if found is None else f"{found!r} is no text")
        return found

    def mapping(self, values: Mapping[str, Any], key: str, path: str = "") -> Mapping[str, Any]:
        found = values.get(key) or {}
        if not isinstance(found, dict):
            raise self.fail(path or key, f"{found!r} is no object")
        return found

    def number(self, values: Mapping[str, Any], key: str, path: str, default: int | None = None) -> int:
        found = values.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise self.fail(path, "is missing" if found is None else f"{found!r} is no number from 0 up")
        return found

    def labels(self, values: Mapping[str, Any], path: str) -> dict[str, str]:
        found = self.mapping(values, "labels", path)
        for key, value in found.items():
            if not isinstance(value, str):
                raise self.fail(f"{path}.{key}", f"{value!r} is no text")
        return dict(found)

    def network(self) -> Mapping[str, Any]:
        found = self.definition.get("networks") or []
        if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
            raise self.fail("networks", "the lab connects an application to exactly one network")
        if found[0].get("mode") != "container":
            raise self.fail("networks[0].mode", f"{found[0].get('mode')!r} is not container")
        network: Mapping[str, Any] = found[0]
        return network

    def ports(self, container: Mapping[str, Any]) -> Iterator[Port]:
        found = container.get("portMappings") or []
        if not isinstance(found, list):
            raise self.fail("container.portMappings", "is no list")
        for number, mapping in enumerate(found):
            path = f"container.portMappings[{number}]"
            if not isinstance(mapping, dict):
                raise self.fail(path, "is no object")
            if mapping.get("hostPort") is None:
                continue
            inside = self.number(mapping, "containerPort", f"{path}.containerPort")
            outside = self.number(mapping, "hostPort", f"{path}.hostPort")
            protocol = self.text(mapping, "protocol", f"{path}.protocol", "tcp")
            if not 0 < inside < 65536 or outside > 65535:
                raise self.fail(path, f"{inside} and {outside} are no ports")
            if protocol not in _PROTOCOLS:
                raise self.fail(f"{path}.protocol", f"{protocol!r} is not one of {', '.join(_PROTOCOLS)}")
            yield from (Port(inside, outside, each) for each in _PROTOCOLS[protocol])

    def constraints(self) -> tuple[str, bool]:
        """The agent's address that CLUSTER or IS names, and whether UNIQUE asks for one agent each."""
        at, spread = "", False
        for number, constraint in enumerate(self.definition.get("constraints") or []):
            path = f"constraints[{number}]"
            match constraint:
                case ["hostname", "UNIQUE"]:
                    spread = True
                case ["hostname", "CLUSTER" | "IS", str(address)]:
                    at = address
                case _:
                    raise self.fail(path, f"{constraint!r} is none of hostname UNIQUE, hostname CLUSTER ADDRESS")
        return at, spread
