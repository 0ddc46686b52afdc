"""A short way to read workload endpoints, of which there are more than of everything else together.

Nearly all are plain: the members that today's plugins write, each of its usual form. `plain_workload` reads those in a
quarter of the time that the model takes to read and validate them, and answers None for anything out of the ordinary,
valid or not, which the model then decides about. So it must be right about what it accepts and may give up on anything.
"""

import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from calico.felix.calc.inputs import INHERITED, ORCHESTRATOR_LABEL, NamedPort, Workload
from calico.felix.desired import WorkloadId
from calico.model import formats
from calico.model.keys import NAMESPACE_LABEL, list_prefix
from calico.model.kinds import API_VERSION

_PREFIX = list_prefix("WorkloadEndpoint")
_TOP = frozenset(("kind", "apiVersion", "metadata", "spec"))
_METADATA = frozenset(("name", "namespace", "labels", "creationTimestamp", "uid"))
_REQUIRED = ("orchestrator", "node", "endpoint", "interfaceName")
_LISTS = frozenset(("ipNetworks", "profiles", "ports"))
_SPEC = frozenset((*_REQUIRED, *_LISTS, "workload", "containerID", "pod", "mac"))
_WORKLOAD = {"k8s": "pod", "cni": "containerID"}
_LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_CONTAINER = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_TIME = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_PORTS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


def plain_workload(key: str, document: Any) -> Workload | None:
    """The endpoint that a document under a key describes; None where it is not a plain one."""
    try:
        if (
            document["apiVersion"] != API_VERSION
            or document["kind"] != "WorkloadEndpoint"
            or not document.keys() <= _TOP
        ):
            return None
        metadata, spec = document["metadata"], document["spec"]
        if not (metadata.keys() <= _METADATA and spec.keys() <= _SPEC):
            return None
        return _workload(key, metadata, spec)
    except (KeyError, TypeError, AttributeError):
        return None


def _workload(key: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Workload | None:
    if not all(type(value) is str or member in _LISTS for member, value in spec.items()):
        return None
    orchestrator, node, endpoint, interface = (spec[member] for member in _REQUIRED)
    workload = "libnetwork" if orchestrator == "libnetwork" else spec[_WORKLOAD.get(orchestrator, "workload")]
    parts = (node, orchestrator, workload, endpoint)
    name, namespace = "-".join([part.replace("-", "--") for part in parts]), metadata["namespace"]
    if name != metadata["name"] or key != f"{_PREFIX}{namespace}/{name}" or len(name) > formats.LONGEST_NAME:
        return None
    if not _are_names(spec, (name, namespace, node, orchestrator, endpoint)) or not _INTERFACE.fullmatch(interface):
        return None
    if not _is_time(metadata.get("creationTimestamp")) or not isinstance(metadata.get("uid", ""), str):
        return None
    labels, profiles = metadata.get("labels", {}), spec.get("profiles", [])
    nets, ports = _nets(spec["ipNetworks"]), _named_ports(spec.get("ports", []))
    mac = spec.get("mac", "")
    if not nets or ports is None or (mac and not _MAC.fullmatch(mac)):
        return None
    if not all(map(_is_label, labels.items())) or not all(map(_is_name, profiles)) or type(profiles) is not list:
        return None
    own = {label: value for label, value in labels.items() if not label.startswith(INHERITED)}
    own[NAMESPACE_LABEL], own[ORCHESTRATOR_LABEL] = namespace, orchestrator
    return Workload(
        node,
        WorkloadId(orchestrator, f"{namespace}/{workload}", endpoint),
        f"{namespace}/{name}",
        interface,
        mac,
        nets,
        (),
        tuple(dict.fromkeys(profiles)),
        own,
        ports,
    )


def _are_names(spec: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether these are names, and what else of the workload is given, too."""
    others = [one for one in (spec.get("workload", ""), spec.get("pod", "")) if one]
    if not all(map(_NAME.fullmatch, (*names, *others))) or any(len(one) > formats.LONGEST_NAME for one in others):
        return False
    container = spec.get("containerID", "")
    return not container or _CONTAINER.fullmatch(container) is not None


def _is_time(text: Any) -> bool:
    return text is None or _TIME.fullmatch(text) is not None


@lru_cache(65536)
def _is_label(pair: tuple[str, str]) -> bool:
    return all(type(one) is str for one in pair) and not formats.label(*pair)


@lru_cache(4096)
def _is_name(text: str) -> bool:
    return type(text) is str and not formats.name(text)


def _nets(given: Any) -> tuple[str, ...]:
    """The addresses of a list of whole-length networks in their one spelling; empty where they are not that."""
    if type(given) is not list:
        return ()
    found = tuple([_address(one) for one in given])
    return tuple(dict.fromkeys(found)) if all(found) else ()


def _address(text: str) -> str:
    address, _, length = text.partition("/")
    if length == "32":
        return address if _IPV4.fullmatch(address) else ""
    if length != "128" or "." in address:
        return ""
    try:
        spelt = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
    except OSError:
        return ""
    return address if spelt == address and "." not in spelt else ""


def _named_ports(given: Any) -> tuple[NamedPort, ...] | None:
    """Ports by name; None where one is not of the usual form."""
    ports = [_named_port(one["name"], one["protocol"], one["port"], len(one)) for one in given]
    found = tuple([port for port in ports if port is not None])
    return found if type(given) is list and len(found) == len(ports) else None


@lru_cache(4096, typed=True)
def _named_port(name: str, protocol: str, port: int, members: int) -> NamedPort | None:
    is_plain = members == 3 and type(name) is str and type(port) is int and protocol in _PORTS and 0 < port < 65536
    return NamedPort(name, _PORTS[protocol], port) if is_plain and not formats.port_name(name) else None
