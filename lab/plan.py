"""What a lab is to be: its nodes with their roles and addresses, its network, and the configuration they install.

Addresses come from the configuration's lists; where it lists fewer nodes than asked for, free addresses of the same
network follow. The network is the /24 in which they all are.
"""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lab.instance import Refusal

_SUBNET = "10.99.0.0/24"
_LISTS = {"master": "master_list", "slave": "agent_list", "slave_public": "public_agent_list"}
_NAMES = {"master": "master", "slave": "agent", "slave_public": "public"}
_DEFAULT_COUNTS = {"master": 1, "slave": 2, "slave_public": 0}
_PORT = 8000


class Counts(NamedTuple):
    """How many nodes of each role were asked for; None: as many as the configuration lists, or the default's."""

    masters: int | None = None
    agents: int | None = None
    public_agents: int | None = None

    def of(self, role: str) -> int | None:
        """The number for a role as the bundle names it."""
        return dict(zip(_LISTS, self, strict=True))[role]


class Node(NamedTuple):
    """One node: `role` is the installer's word for it."""

    name: str
    role: str
    address: str

    @property
    def is_agent(self) -> bool:
        """Whether it runs containers."""
        return self.role != "master"


class Plan(NamedTuple):
    """A lab before it is made; `values` is its config.yaml, and `notes` is what had to be other than was asked."""

    nodes: tuple[Node, ...]
    subnet: str
    gateway: str
    url: str
    values: dict[str, Any]
    notes: tuple[str, ...] = ()

    def config(self) -> str:
        """The text of config.yaml: JSON is YAML."""
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in self.values.items())

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {**self._asdict(), "nodes": [node._asdict() for node in self.nodes]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Plan":
        """A plan that was written down."""
        nodes = tuple(Node(**each) for each in stored["nodes"])
        return cls(**{**stored, "nodes": nodes, "notes": tuple(stored["notes"])})


def make_plan(given: Mapping[str, Any] | None, counts: Counts, home: Path = Path()) -> Plan:
    """The lab of a configuration (None: the lab's own) whose file is in `home`; LabError says what cannot be had."""
    values = dict(given) if given is not None else {"cluster_name": "lab"}
    values.setdefault("master_discovery", "static")
    if values["master_discovery"] != "static":
        raise Refusal("master_discovery: a lab needs static, with the masters' addresses in master_list")
    listed = {role: _listed(values, key) for role, key in _LISTS.items()}
    subnet = _subnet([address for addresses in listed.values() for address in addresses])
    wanted = str(urlsplit(str(values.get("bootstrap_url", ""))).hostname or "")
    taken = {address for addresses in listed.values() for address in addresses}
    has_place = _is_in(subnet, wanted) and wanted not in taken
    gateway = wanted if has_place else str(subnet.broadcast_address - 1)
    if gateway in taken:
        raise Refusal(
            f"{gateway}: the lab's own address, the last of {subnet}, is a node's; give bootstrap_url another"
        )
    free = (str(host) for host in subnet.hosts() if str(host) not in taken | {gateway})
    nodes = tuple(
        node for role in _LISTS for node in _nodes(role, listed[role], _count(role, counts, listed[role]), free)
    )
    url = str(values["bootstrap_url"]) if has_place else f"http://{gateway}:{_PORT}"
    notes: tuple[str, ...] = ()
    if given is not None and not has_place:
        notes = (f"bootstrap_url is {url} in the lab: it serves the bundle itself, in the nodes' network",)
    values |= {"bootstrap_url": url}
    values |= {key: [node.address for node in nodes if node.role == role] for role, key in _LISTS.items()}
    if "ip_detect_filename" in values:
        values["ip_detect_filename"] = str((home / values["ip_detect_filename"]).resolve())
    return Plan(nodes, str(subnet), gateway, url, values, notes)


def _listed(values: Mapping[str, Any], key: str) -> list[str]:
    found = values.get(key) or []
    if isinstance(found, str):
        found = json.loads(found)
    return [str(address) for address in found]


def _count(role: str, counts: Counts, listed: list[str]) -> int:
    asked = counts.of(role)
    if asked is None:
        asked = len(listed) or _DEFAULT_COUNTS[role]
    if role == "master" and asked < 1:
        raise Refusal("a lab needs a master")
    return asked


def _nodes(role: str, listed: list[str], count: int, free: Iterator[str]) -> Iterator[Node]:
    for number in range(count):
        address = listed[number] if number < len(listed) else next(free, "")
        if not address:
            raise Refusal("the lab's network has no address left for so many nodes")
        yield Node(f"{_NAMES[role]}{number + 1}", role, address)


def _subnet(addresses: list[str]) -> ipaddress.IPv4Network:
    if not addresses:
        return ipaddress.IPv4Network(_SUBNET)
    try:
        networks = {ipaddress.IPv4Network(f"{address}/24", strict=False) for address in addresses}
    except ValueError as error:
        raise Refusal(f"the configuration's lists of nodes: {error}") from None
    if len(networks) > 1:
        shown = ", ".join(sorted(map(str, networks)))
        raise Refusal(f"the nodes of a lab are in one /24, and the configuration's are in {shown}")
    return networks.pop()


def _is_in(subnet: ipaddress.IPv4Network, host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host) in subnet
    except ValueError:
        return False
