"""From the cluster to one node's BIRD: a pure function.

What is wrong with the datastore's values makes a problem and costs no more than what it is about: a peer, an address.
"""

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_network
from typing import NamedTuple

from calico.confd.cluster import Cluster, Node
from calico.confd.peering import Peer, peerings
from calico.model import formats
from calico.model.ippool import IPPoolSpec
from calico.model.keys import AffinityKey
from calico.model.problems import Problem
from calico.model.resource import resource_id

_LONGEST_PASSWORD = 80  # of TCP's MD5 signatures in Linux
_CONFIRMED = ("", "confirmed")  # the empty one is of writers before v3


class Settings(NamedTuple):
    """What a node is told outside the datastore. `router_id` is empty, an address, or `hash`."""

    node: str
    router_id: str = ""


class Password(NamedTuple):
    """The contents of a password file, or why there are none."""

    text: str = ""
    problem: str = ""


class Session(NamedTuple):
    """One BGP session, named after what made it. `cluster_id` is set where the neighbour is a client of ours."""

    name: str
    address: str
    as_number: int
    passive: bool = False
    cluster_id: str = ""
    password: str = ""


class Block(NamedTuple):
    """A block of this node. Only a confirmed one is advertised as a whole and nothing inside it."""

    cidr: str
    confirmed: bool


class Family(NamedTuple):
    """Routing in one family. `address` is empty where the node speaks no BGP in it. Routes in the pools of
    `encapsulated` are felix's, those in the others ours."""

    version: int
    address: str
    as_number: int
    blocks: tuple[Block, ...]
    pools: tuple[str, ...]
    encapsulated: tuple[str, ...]
    sessions: tuple[Session, ...]

    @property
    def confirmed(self) -> tuple[str, ...]:
        """The blocks that are advertised as a whole."""
        return tuple(block.cidr for block in self.blocks if block.confirmed)

    @property
    def longest(self) -> int:
        """The length of a single address."""
        return 32 if self.version == 4 else 128


class Configuration(NamedTuple):
    """Everything that goes into bird.cfg. `log_level` is `debug`, `info` or `none`."""

    node: str
    router_id: str
    log_level: str
    families: tuple[Family, ...]


class Plan(NamedTuple):
    """A configuration and what had to be left out of it."""

    configuration: Configuration
    problems: tuple[Problem, ...]


def plan(cluster: Cluster, settings: Settings, passwords: Mapping[str, Password] = {}) -> Plan:
    """The configuration of `settings.node`; `passwords` by the names of their files."""
    problems = [Problem(key, (), "cannot be read and counts as absent", reason) for key, reason in cluster.unreadable]
    own = cluster.nodes.get(settings.node)
    if own is None:
        hint = "dcos-calico-node writes it when it starts: systemctl status dcos-calico-node"
        message = "does not exist, so this node speaks to nobody"
        problems.append(Problem(resource_id("Node", "", settings.node), (), message, hint))
    own = own or Node(settings.node)
    problems += own.problems
    router_id = _router_id(settings, own, problems)
    sessions = _sessions(cluster, own, passwords, problems)
    families = tuple(_family(version, cluster, own, sessions, problems) for version in (4, 6))
    configuration = Configuration(own.name, router_id, cluster.log_level(own.name), families)
    return Plan(configuration, tuple(problems))


def _router_id(settings: Settings, own: Node, problems: list[Problem]) -> str:
    """The wish, else the IPv4 address, else (of a node that has IPv6 alone) a digest of the name."""
    wish = settings.router_id
    if wish and wish != "hash" and formats.ipv4(wish):
        hint = "give an IPv4 address, or the word hash"
        problems.append(Problem("CALICO_ROUTER_ID", (), f"{wish!r} is no router id", hint))
        wish = ""
    if wish and wish != "hash":
        return wish
    return own.ipv4 if own.ipv4 and not wish else hashed_router_id(own.name)


def hashed_router_id(name: str) -> str:
    """The router id upstream makes of a node's name."""
    return str(IPv4Address(hashlib.sha256(name.encode()).digest()[:4]))


def _sessions(
    cluster: Cluster, own: Node, passwords: Mapping[str, Password], problems: list[Problem]
) -> tuple[tuple[int, Session], ...]:
    if not own.ipv4 and not own.ipv6:
        if own.name in cluster.nodes and not own.problems:
            message, hint = "has no address, so this node speaks to nobody", "dcos-calico-node finds it at its start"
            problems.append(Problem(resource_id("Node", "", own.name), ("spec", "bgp"), message, hint))
        return ()
    found = peerings(cluster, own)
    problems += found.problems
    sessions = []
    for peer in found.peers:
        password = passwords.get(peer.password_file, Password(problem="does not exist"))
        if peer.password_file and (message := password.problem or _unfit(password.text)):
            hint = f"the session with {peer.address} is left out until it is there"
            text = f"{peer.password_file}: {message}"
            problems.append(Problem(resource_id("BGPPeer", "", peer.origin), ("spec", "passwordFile"), text, hint))
            continue
        sessions.append((peer.version, _session(cluster, own, peer, password.text if peer.password_file else "")))
    return tuple(sessions)


def _unfit(password: str) -> str:
    """Why BIRD could not use a password; nothing of it is repeated."""
    if not password:
        return "is empty"
    if len(password.encode()) > _LONGEST_PASSWORD:
        return f"is longer than {_LONGEST_PASSWORD} bytes"
    return "" if password.isprintable() and '"' not in password else "holds a quotation mark or a control character"


def _session(cluster: Cluster, own: Node, peer: Peer, password: str) -> Session:
    mine = own.address(peer.version)
    return Session(
        f"{peer.kind}_{peer.address.replace('.', '_').replace(':', '_')}",
        peer.address,
        peer.as_number,
        # Compared as text, as upstream does: both ends must come to the same answer.
        passive=peer.kind == "Mesh" and peer.address > mine,
        cluster_id=_client_of(cluster, own, peer),
        password=password,
    )


def _client_of(cluster: Cluster, own: Node, peer: Peer) -> str:
    """Our cluster id where the neighbour is a client of ours: in our AS, and no reflector of the same cluster."""
    is_client = peer.kind != "Mesh" and peer.as_number == cluster.as_of(own) and peer.cluster_id != own.cluster_id
    return own.cluster_id if is_client else ""


def _family(
    version: int, cluster: Cluster, own: Node, sessions: tuple[tuple[int, Session], ...], problems: list[Problem]
) -> Family:
    pools: list[str] = []
    encapsulated: list[str] = []
    for name, pool in sorted(cluster.pools.items()):
        found = formats.parse_cidr(pool.cidr)
        if found is None:
            message, hint = f"{pool.cidr!r} is no network", "no route of it is advertised"
            if version == 4:
                problems.append(Problem(resource_id("IPPool", "", name), ("spec", "cidr"), message, hint))
        elif found[1].version == version:
            (encapsulated if is_encapsulated(pool) else pools).append(str(found[1]))
    return Family(
        version,
        own.address(version),
        cluster.as_of(own),
        _blocks(version, cluster, own.name, problems),
        _in_order([*pools, *encapsulated]),
        _in_order(encapsulated),
        tuple(session for of, session in sessions if of == version),
    )


def is_encapsulated(pool: IPPoolSpec) -> bool:
    """Whether felix has the pool's routes: all of them, also those a cross-subnet pool sends without a tunnel."""
    return any(mode not in ("", "Never") for mode in (pool.ipip_mode, pool.vxlan_mode))


def _in_order(cidrs: list[str]) -> tuple[str, ...]:
    return tuple(str(network) for network in sorted({ip_network(cidr) for cidr in cidrs}))


def _blocks(version: int, cluster: Cluster, node: str, problems: list[Problem]) -> tuple[Block, ...]:
    blocks = {}
    for cidr, affinity in cluster.affinities.items():
        found = formats.parse_cidr(cidr)
        if found is None:
            if version == 4:
                problems.append(Problem(AffinityKey(node, cidr).path, (), "names no block", "delete this key"))
        elif found[1].version == version:
            blocks[found[1]] = Block(str(found[1]), affinity.state in _CONFIRMED)
    return tuple(blocks[network] for network in sorted(blocks))
