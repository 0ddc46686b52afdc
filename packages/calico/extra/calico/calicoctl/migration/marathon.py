"""Marathon's definitions: what of an application, a pod or a group says which network its containers are in.

| form | since | where the name is |
|---|---|---|
| `networks: [{"mode": "container", "name"}]` | Marathon 1.5, pods | `name`; without one the default, `dcos` |
| `ipAddress: {"networkName"}` | before | `networkName`, likewise |
| `container.docker.network: USER` | before, Docker | with `ipAddress`; HOST and BRIDGE are no virtual network |
| `container.docker.parameters: [{"key": "net", "value"}]` | Docker's own options | `value` |
| `portMappings[].networkNames`, `endpoints[].networkNames` | with several networks | the list |
| `env.VIRTUAL_NETWORK_NAME` | schedulers of dcos-commons | the value |

What Marathon does not know cannot be moved by changing a name: addresses of the overlay that are written down, and
ports of the host with the Docker Engine, which its own bridge publishes and Calico's network does not.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

from calico.calicoctl.migration import jsontext
from calico.calicoctl.migration.jsontext import Node
from calico.calicoctl.migration.values import Change, Edit, Finding, Wish, edited

_NET_PARAMETERS = ("net", "network")
_NETWORK_VARIABLES = re.compile(r"(?i)([A-Z0-9_]*_)?(VIRTUAL_)?NETWORK(_NAME)?")
_ADDRESS = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?![\w.])")
_OVERLAY = ipaddress.IPv4Network("9.0.0.0/8")
"""The subnet of DC/OS' overlay `dcos`, unless it was configured otherwise."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_READ_ONLY = ("version", "versionInfo", "tasks", "lastTaskFailure", "deployments")


class _Item(NamedTuple):
    """An application or a pod in a text, and how people call it."""

    node: Node
    name: str


class _Plan(NamedTuple):
    edits: list[Edit]
    findings: list[Finding]


def migrate(text: str, wish: Wish) -> Change:
    """The definition's text with its networks changed. Raises jsontext.NotJson."""
    edits: list[Edit] = []
    findings: list[Finding] = []
    for item in _items(jsontext.parse(text)):
        plan = _plan(text, item, wish)
        edits += plan.edits
        findings += plan.findings
    return Change(edited(text, edits), tuple(findings))


def _items(node: Node) -> Iterator[_Item]:
    """Every application and pod of a definition, a list of them, an answer of the API or a group; also a change."""
    for each in node.elements:
        yield from _items(each)
    members = node.members
    nested = [key for key in ("apps", "pods", "groups") if key in members and isinstance(members[key].value, list)]
    for key in nested:
        yield from _items(members[key])
    inner = next((members[key] for key in ("app", "spec") if key in members and "id" in members[key].members), None)
    if inner is not None:
        yield from _items(inner)
    elif not nested and members.keys() & {"id", "networks", "ipAddress"}:
        yield _Item(node, members["id"].text if "id" in members else "without an id")


def _plan(text: str, item: _Item, wish: Wish) -> _Plan:
    """The edits of one item; none of them where something about it has to be decided by a person."""
    edits = [*_network_edits(text, item, wish)]
    if not edits:
        return _Plan([], [*_mentions(item, wish)])
    edits += _name_lists(item.node, wish)
    findings = [*_open_questions(item, wish), *_mentions(item, wish)]
    if any(finding.is_open for finding in findings):
        return _Plan([], findings)
    return _Plan([*edits, *_variables(item.node, wish)], [*findings, *_labels(item)])


def _network_edits(text: str, item: _Item, wish: Wish) -> Iterator[Edit]:
    members = item.node.members
    for network in _container_networks(item.node):
        name = network.members.get("name")
        if name is None and "dcos" in wish.old:
            yield jsontext.insert(text, network, "name", wish.new)
        elif name is not None and name.text in wish.old:
            yield jsontext.replace(name, wish.new)
    address = members.get("ipAddress")
    if address is not None and isinstance(address.value, dict):
        name = address.members.get("networkName")
        if name is None and "dcos" in wish.old and _docker_network(item.node) in ("", "USER"):
            yield jsontext.insert(text, address, "networkName", wish.new)
        elif name is not None and name.text in wish.old:
            yield jsontext.replace(name, wish.new)
    for value in _net_parameters(item.node):
        if value.text in wish.old:
            yield jsontext.replace(value, wish.new)


def _container_networks(node: Node) -> list[Node]:
    """The networks whose mode is `container`, which is the mode where none is given."""
    networks = node.members.get("networks")
    listed = networks.elements if networks is not None else []
    return [each for each in listed if _mode(each) == "container"]


def _mode(network: Node) -> str:
    mode = network.members.get("mode")
    return mode.text.lower() if mode is not None else "container"


def _docker(node: Node) -> dict[str, Node]:
    container = node.members.get("container")
    docker = container.members.get("docker") if container is not None else None
    return docker.members if docker is not None else {}


def _docker_network(node: Node) -> str:
    network = _docker(node).get("network")
    return network.text.upper() if network is not None else ""


def _net_parameters(node: Node) -> Iterator[Node]:
    parameters = _docker(node).get("parameters")
    for each in parameters.elements if parameters is not None else []:
        key, value = each.members.get("key"), each.members.get("value")
        if key is not None and value is not None and key.text in _NET_PARAMETERS:
            yield value


def _is_docker_engine(node: Node) -> bool:
    container = node.members.get("container")
    kind = container.members.get("type") if container is not None else None
    return kind is not None and kind.text.upper() == "DOCKER"


def _port_mappings(node: Node) -> Iterator[tuple[str, Node]]:
    """Every mapping of a port, with its path: of applications old and new, and of pods' containers."""
    container = node.members.get("container")
    lists = [("container.portMappings", container.members.get("portMappings"))] if container is not None else []
    lists.append(("container.docker.portMappings", _docker(node).get("portMappings")))
    containers = node.members.get("containers")
    for index, each in enumerate(containers.elements if containers is not None else []):
        lists.append((f"containers[{index}].endpoints", each.members.get("endpoints")))
    for path, listed in lists:
        for index, mapping in enumerate(listed.elements if listed is not None else []):
            yield f"{path}[{index}]", mapping


def _name_lists(node: Node, wish: Wish) -> Iterator[Edit]:
    for _, mapping in _port_mappings(node):
        names = mapping.members.get("networkNames")
        for name in names.elements if names is not None else []:
            if name.text in wish.old:
                yield jsontext.replace(name, wish.new)


def _variables(node: Node, wish: Wish) -> Iterator[Edit]:
    for place in ("env", "environment"):
        variables = node.members.get(place)
        for key, value in (variables.members if variables is not None else {}).items():
            if _NETWORK_VARIABLES.fullmatch(key) and value.text in wish.old:
                yield jsontext.replace(value, wish.new)


def _open_questions(item: _Item, wish: Wish) -> Iterator[Finding]:
    """What only a person can decide; with any of these the item is left as it is."""
    names = [network.members["name"].text for network in _container_networks(item.node) if "name" in network.members]
    after = [wish.new if name in wish.old else name for name in names]
    if len(after) != len(set(after)):
        yield Finding(item.name, f"would be in the network {wish.new} twice: take one of its networks out", True)
    if _docker_network(item.node) in ("HOST", "BRIDGE"):
        told = f"container.docker.network is {_docker_network(item.node)} and a network is named too: which is meant?"
        yield Finding(item.name, told, True)
    if _is_docker_engine(item.node) and not wish.host_ports:
        for path, mapping in _port_mappings(item.node):
            port = mapping.members.get("hostPort")
            if port is not None and port.value is not None:
                told = (
                    f"{path} asks for port {port.value or 'any'} of the host, which the Docker Engine does not publish "
                    f"from {wish.new}: use its address, a VIP or UCR (--allow-host-ports goes on all the same)"
                )
                yield Finding(item.name, told, True)


def _mentions(item: _Item, wish: Wish) -> Iterator[Finding]:
    """Strings elsewhere that look as if they were about the old network; they are left as they are."""
    for path, node in jsontext.strings(item.node):
        if path.split(".")[0] in _READ_ONLY or path == "id":
            continue
        for found in _ADDRESS.findall(node.text):
            if _is_of_overlay(found):
                yield Finding(item.name, f"{path} has {found}, an address of the overlay: it will be another")
        if path.startswith("constraints") and node.text in wish.old:
            yield Finding(item.name, f"{path} is {node.text!r}: is the network meant?")
        key = path.rpartition(".")[2]
        if path.startswith("labels.") and node.text in wish.old:
            yield Finding(item.name, f"{path} is {node.text!r}: labels are left alone; is the network meant ({key})?")


def _is_of_overlay(text: str) -> bool:
    try:
        return ipaddress.IPv4Address(text) in _OVERLAY
    except ValueError:
        return False


def _labels(item: _Item) -> Iterator[Finding]:
    """Labels that policy selects by: those of networks, which Calico keeps, and which must fit it."""
    places = [(f"networks[{index}].labels", each) for index, each in enumerate(_container_networks(item.node))]
    address = item.node.members.get("ipAddress")
    if address is not None:
        places.append(("ipAddress.labels", address))
    for path, holder in places:
        labels = holder.members.get("labels")
        for key, value in (labels.members if labels is not None else {}).items():
            prefix, _, name = key.rpartition("/")
            if not _LABEL_NAME.fullmatch(name) or len(prefix) > 253:
                yield Finding(item.name, f"{path}: {key!r} is no name that a Calico label may have")
            if len(value.text.encode()) > 63:
                told = f"{path}.{key} has more than 63 bytes: Calico keeps a digest and the end of it"
                yield Finding(item.name, told)
