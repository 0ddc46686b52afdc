"""A network more for the cluster: what 5.4 of DC/OS' README makes by hand on every agent.

Pool and profile are resources; the network is an entry of the registry, from which every agent makes it in its own
engine, and every node a file for Mesos. All three are made or none: what an attempt made is taken back when a later
step fails, and a pool or profile that was there is not ours to take. The pool's node selector is `!all()`: only who
asks for it gets its addresses, so the network `calico` does not spill into it.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network, summarize_address_range
from pathlib import Path
from typing import Any, NamedTuple

from calico.calicoctl.session import Failure
from calico.client.errors import AlreadyExistsError, NotFoundError, ResourceError
from calico.client.resources import Client
from calico.cni.networks import TEMPLATE, is_for_mesos
from calico.cni.networks import configuration as make_configuration
from calico.datastore.errors import DatastoreError
from calico.datastore.store import Delete, Guard, Put, listing
from calico.ipam.allocator import Ipam
from calico.ipam.check import check
from calico.ipam.snapshot import take_snapshot
from calico.model import registry
from calico.model.registry import Definition, Entry, Placement, Record
from calico.model.resource import Resource, decode

NOTE = "dcos-calico/network"
"""The annotation by which what belongs to a network is known, and may be deleted with it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]|[a-z0-9]")
_RESERVED = ("calico", "dcos", "host", "bridge", "none", "mesos-bridge")
_BLOCK_SIZE = 26
_LOOK = 0.5
"""Seconds between two looks at who still has a network."""

FIXED = (
    ("0.0.0.0/8", "'this network'"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("198.51.100.0/24", "DC/OS' internal addresses"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
DEFAULTS = (
    ("9.0.0.0/8", "the DC/OS overlay"),
    ("44.128.0.0/20", "the overlay's tunnel endpoints"),
    ("11.0.0.0/8", "named virtual IPs"),
    ("172.17.0.0/16", "docker0"),
    ("172.31.254.0/24", "the UCR bridge"),
)
"""What these have where nobody configured them otherwise."""


class Wish(NamedTuple):
    """A network to be made."""

    name: str
    cidr: IPv4Network
    profile: str
    allow_overlap: bool = False


class Claim(NamedTuple):
    """Addresses that are somebody's."""

    network: IPv4Network
    owner: str
    is_default: bool = False


def read_wish(name: str, cidr: str, profile: str, allow_overlap: bool = False) -> Wish:
    """The command line's words; Failure for what cannot be a network."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise Failure(
            f"{name!r} cannot name a network: lower-case letters, digits and -, and none of {', '.join(_RESERVED)}"
        )
    try:
        network = ip_network(cidr)
    except ValueError as error:
        raise Failure(f"--cidr: {error}") from error
    if not isinstance(network, IPv4Network) or network.prefixlen > _BLOCK_SIZE:
        raise Failure(f"--cidr: {cidr} must be an IPv4 network of at least a /{_BLOCK_SIZE}, one block")
    return Wish(name, network, profile or name, allow_overlap)


def claims(client: Client, configuration: Path) -> list[Claim]:
    """Everything a new network must not meet: pools, other networks, nodes' addresses, and DC/OS' own ranges.

    Raise Failure where what `gen` rendered onto this node cannot be read.
    """
    found = _configured(configuration)
    for pool in client.list("IPPool").items:
        if ":" not in pool.spec.cidr:
            found.append(Claim(IPv4Network(pool.spec.cidr), f"the pool {pool.metadata.name}"))
    for entry in entries(client):
        found += [
            Claim(IPv4Network(subnet), f"the network {entry.name}")
            for subnet in entry.definition.subnets
            if ":" not in subnet
        ]
    for node in client.list("Node").items:
        address = getattr(node.spec.bgp, "ipv4_address", "") if node.spec.bgp else ""
        if address:
            found.append(
                Claim(IPv4Network(IPv4Address(str(ip_interface(address).ip))), f"the node {node.metadata.name}")
            )
    return found


def _configured(configuration: Path) -> list[Claim]:
    """What the cluster is configured with, as `gen` checked it; DC/OS' defaults where this node does not have that."""
    path = configuration / "calico/networks.json"
    try:
        listed = json.loads(path.read_text())["networks"]
        return [Claim(network, one["owner"]) for one in listed for network in _networks(one["first"], one["last"])]
    except FileNotFoundError:
        return _assumed(configuration)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path}: cannot be read: {error}; `pkgpanda verify dcos-config` tells what changed") from error


def _networks(first: str, last: str) -> list[IPv4Network]:
    """An IPv4 range as networks; nothing of IPv6, of which there is no network to be made."""
    ends = ip_address(first), ip_address(last)
    return [one for one in summarize_address_range(*ends) if isinstance(one, IPv4Network)]


def _assumed(configuration: Path) -> list[Claim]:
    rendered = list(_rendered(configuration))
    return [
        *(Claim(IPv4Network(cidr), owner) for cidr, owner in FIXED),
        *(rendered or [Claim(IPv4Network(cidr), owner, True) for cidr, owner in DEFAULTS[:2]]),
        *(Claim(IPv4Network(cidr), owner, True) for cidr, owner in DEFAULTS[2:]),
    ]


def _rendered(configuration: Path) -> Iterator[Claim]:
    """The overlay's networks as `gen` rendered them onto this node, where it has them."""
    for path in sorted(configuration.glob("overlay/config/*master*.json")):
        try:
            network = json.loads(path.read_text()).get("network", {})
            yield Claim(IPv4Network(network["vtep_subnet"]), "the overlay's tunnel endpoints")
            for overlay in network["overlays"]:
                if "subnet" in overlay:
                    yield Claim(IPv4Network(overlay["subnet"]), f"the overlay {overlay['name']}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue


def problems(wish: Wish, taken: list[Claim]) -> list[str]:
    """What stands in the way."""
    return [
        f"{wish.cidr} overlaps {claim.network} of {claim.owner}"
        + (", by default (--allow-overlap, if it is configured otherwise)" if claim.is_default else "")
        for claim in taken
        if claim.network.overlaps(wish.cidr) and not (claim.is_default and wish.allow_overlap)
    ]


def create(client: Client, wish: Wish) -> list[str]:
    """Make all of it; what was done, a line each. Where a step fails nothing is left, and its error is raised."""
    done: list[str] = []
    undo: list[Callable[[], object]] = []
    try:
        pool = client.create(decode(_pool(client, wish)))
        undo.append(lambda: client.delete("IPPool", pool.metadata.name))
        done.append(f"IPPool({wish.name}): {wish.cidr}")
        try:
            client.create(decode(_profile(wish)))
            undo.append(lambda: client.delete("Profile", wish.profile))
            done.append(f"Profile({wish.profile}): allows everything, until you change it")
        except AlreadyExistsError:
            done.append(f"Profile({wish.profile}): was there")
        key = registry.entry_key(wish.name)
        value = registry.write_entry(Entry(wish.name, Definition((str(wish.cidr),), wish.profile)))
        if not client.store.commit([Guard(key, 0)], [Put(key, value)]).succeeded:
            raise AlreadyExistsError(f"network {wish.name}")
        done.append(f"network {wish.name}: every node has it within a minute")
    except (ResourceError, DatastoreError):
        for step in reversed(undo):
            step()
        raise
    return done


def _pool(client: Client, wish: Wish) -> dict[str, Any]:
    """As the cluster's first IPv4 pool but for its network, and for who gets its addresses."""
    model = next((pool.spec for pool in client.list("IPPool").items if ":" not in pool.spec.cidr), None)
    modes = {"vxlanMode": str(model.vxlan_mode), "ipipMode": str(model.ipip_mode)} if model else {"vxlanMode": "Always"}
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": wish.name, "annotations": {NOTE: wish.name}},
        "spec": {
            "cidr": str(wish.cidr),
            "natOutgoing": model.nat_outgoing if model else True,
            "nodeSelector": "!all()",
            "blockSize": _BLOCK_SIZE,
            **{name: mode for name, mode in modes.items() if mode},
        },
    }


def _profile(wish: Wish) -> dict[str, Any]:
    allow = [{"action": "Allow", "source": {}, "destination": {}}]
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Profile",
        "metadata": {"name": wish.profile, "annotations": {NOTE: wish.name}},
        "spec": {"ingress": allow, "egress": allow, "labelsToApply": {wish.profile: ""}},
    }


def delete(client: Client, name: str, patience: float | None) -> tuple[list[str], list[str]]:
    """Take a network away as far as can be: what was done, and what is still in the way (then run it again).

    Both are empty where there is none that `create` made. For the nodes to let go of it this waits up to `patience`
    seconds; None: as if they did so at once, which is what a dry run shows.
    """
    client.allocations = Ipam(client.store)
    made = [one for kind in ("IPPool", "Profile") for one in client.list(kind).items if _is_of(one, name)]
    if not made:
        return [], []
    if used := _tenants(client, name):
        return [], used
    _mark(client, name)
    if left := _wait(client, name, patience) or _tenants(client, name):
        return [], left
    _forget(client, name)
    for one in made:
        client.delete(one.kind, one.metadata.name)
    return [f"network {name}", *(one.id for one in made)], []


def _mark(client: Client, name: str) -> None:
    """Say in the registry that a network goes: from here on no node takes it up."""
    entry = _entry(client, name)
    if entry is None or entry.removing:
        return
    value = registry.write_entry(entry._replace(removing=True))
    if not _write(client, entry, Put(registry.entry_key(name), value)):
        raise Failure(f"network {name}: was changed meanwhile; run it again")


def _wait(client: Client, name: str, patience: float | None) -> list[str]:
    """The nodes that still have a network when `patience` ends, a line each."""
    if patience is None:
        return []
    late = time.monotonic() + patience
    while (nodes := _holders(client, name)) and time.monotonic() < late:
        time.sleep(_LOOK)
    return [f"the node {node} still has it" for node in nodes]


def _holders(client: Client, name: str) -> list[str]:
    """The nodes that have a network in their engine, or for Mesos."""
    there = {node.metadata.name for node in client.list("Node").items}
    placed = {one.node for one in placements(client) if one.name == name}
    return sorted({record.node for record in records(client) if record.name == name} | (placed & there))


def _forget(client: Client, name: str) -> None:
    """Take a network that no node has out of the registry, unless an agent was faster, with what gone nodes said."""
    entry = _entry(client, name)
    if entry is not None and not _write(client, entry, Delete(registry.entry_key(name))) and _entry(client, name):
        raise Failure(f"network {name}: was changed meanwhile; run it again")
    for one in placements(client):
        if one.name == name:
            client.store.commit([], [Delete(one.key)])


def _entry(client: Client, name: str) -> Entry | None:
    return next((entry for entry in entries(client) if entry.name == name), None)


def _write(client: Client, entry: Entry, operation: Put | Delete) -> bool:
    return client.store.commit([Guard(registry.entry_key(entry.name), entry.revision)], [operation]).succeeded


def _is_of(resource: Resource[Any], name: str) -> bool:
    return bool((resource.metadata.annotations or {}).get(NOTE) == name)


def _tenants(client: Client, name: str) -> list[str]:
    """Who has addresses of the network's pool."""
    try:
        pool = client.get("IPPool", name)
    except NotFoundError:
        return []
    network = ip_network(pool.spec.cidr)
    report = check(take_snapshot(client.store))
    return [
        f"{one.address}: {one.use.value}: {one.reason}"
        for one in report.allocations
        if ip_network(one.block).subnet_of(network)  # type: ignore[arg-type]
    ]


def entries(client: Client) -> list[Entry]:
    """The networks of the cluster, by name."""
    return [value for value in _registry(client) if isinstance(value, Entry)]


def records(client: Client) -> list[Record]:
    """What the agents' engines have."""
    return [value for value in _registry(client) if isinstance(value, Record)]


def placements(client: Client) -> list[Placement]:
    """Which node has which network's file for Mesos."""
    return [registry.read_placement(item.key) for item in listing(client.store, registry.PLACEMENTS).items]


def _registry(client: Client) -> Iterator[Entry | Record]:
    for item in listing(client.store, registry.REGISTRY).items:
        try:
            value = registry.read(item.key, item.value, item.mod_revision)
        except (ValueError, TypeError):
            continue
        if value is not None:
            yield value


def cni_configuration(client: Client, name: str, configuration: Path) -> str:
    """The file with which the agents give Mesos a network."""
    entry = _entry(client, name)
    if entry is None:
        raise Failure(f"there is no network {name}; calicoctl network list shows them")
    if not is_for_mesos(entry):
        raise Failure(f"network {name}: has no file for Mesos: it is being removed, or has not just one IPv4 subnet")
    path = configuration / "dcos/network/cni" / TEMPLATE
    try:
        return make_configuration(json.loads(path.read_text()), entry)
    except (OSError, ValueError, AttributeError) as error:
        raise Failure(f"{path}: {error}: run this on a node") from error
