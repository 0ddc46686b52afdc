"""Start-up: what a node writes before anything else works. Safe to repeat, and with a whole cluster starting at once.

Each step looks at what is there and writes only what is missing, created only where nothing is and changed only as of
the revision read. Whoever is overtaken reads again; what another node made for all of them is as good as one's own.
"""

import ipaddress
import logging
import os
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError
from calico.client.initialize import ensure_initialized
from calico.client.resources import Client
from calico.daemon.log import fields
from calico.model.felixconfiguration import SPEC as FELIX_SPEC
from calico.model.ippool import IPPoolSpec
from calico.model.metadata import Metadata
from calico.model.node import NodeBGP, NodeSpec
from calico.model.profile import ProfileSpec
from calico.model.resource import Resource
from calico.model.rule import Rule
from calico.node import encapsulation
from calico.node.settings import VERSION, NodeSettings, PoolSettings

log = logging.getLogger(__name__)

PROFILE = "calico"
DEFAULT_POOLS = {4: "default-ipv4-ippool", 6: "default-ipv6-ippool"}
_ATTEMPTS = 20
_USUAL_CIDR = "192.168.0.0/16"
_OTHER_CIDRS = tuple(f"172.{number}.0.0/16" for number in range(16, 32))


class StartupError(Exception):
    """The node cannot take its place as things stand; the text says what stands against it, and what to do."""


class HostView(NamedTuple):
    """What start-up asks of the host: its addresses, for a default pool that does not overlap them."""

    addresses: Callable[[], Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]]


def start(client: Client, settings: NodeSettings, host: HostView) -> tuple[str, ...]:
    """Write all of it; lines an operator should know of, which `encapsulation.advice` finds.

    Raise StartupError, or calico.client's and calico.datastore's errors. Whatever was interrupted is done again.
    """
    is_first = not settings.nodename_file.exists()
    if is_first:
        ensure_profile(client)
    ensure_initialized(client, VERSION, settings.cluster_type)
    ensure_node(client, settings)
    if settings.default_pools:
        ensure_pools(client, settings, host)
    ensure_felix(client, settings.name)
    encapsulation.carry_out(client, settings)
    write_nodename(settings.nodename_file, settings.name)
    return encapsulation.advice(client, settings)


# -- the node ----------------------------------------------------------------------------------------------------------


def ensure_node(client: Client, settings: NodeSettings) -> None:
    """The Node with its address. Raise StartupError when another node has the address."""
    for _ in range(_ATTEMPTS):
        stored = _stored(client, "Node", settings.name)
        spec: NodeSpec = stored.spec if stored else NodeSpec()
        wanted = with_address(spec, settings)
        if wanted == spec and stored is not None:
            return
        if settings.check_addresses and _addresses(wanted) != _addresses(spec):
            _check_address(client, settings.name, wanted)
        with suppress(AlreadyExistsError, ConflictError):
            if stored is None:
                client.create(Resource("Node", Metadata(settings.name), wanted))
            else:
                client.replace(stored._replace(spec=wanted))
            log.info("wrote the node %s", fields(node=settings.name, address=wanted.bgp and wanted.bgp.ipv4_address))
            return
    raise ConflictError(f"Node({settings.name})")


def with_address(spec: NodeSpec, settings: NodeSettings) -> NodeSpec:
    """The node's spec with the addresses and AS number of the settings; what these leave out stays.

    An address without a prefix leaves the prefix that an operator gave it, which cross-subnet tunnels go by.
    """
    bgp = spec.bgp or NodeBGP()
    address = settings.address
    if address is not None:
        is_there = address.network.prefixlen == 32 and bgp.ipv4_address.partition("/")[0] == str(address.ip)
        bgp = bgp if is_there else bgp._replace(ipv4_address=str(address))
    if settings.address6:
        bgp = bgp._replace(ipv6_address=settings.address6)
    if settings.as_number is not None:
        bgp = bgp._replace(as_number=settings.as_number)
    return spec._replace(bgp=None if bgp == NodeBGP() else bgp)


def _addresses(spec: NodeSpec) -> frozenset[str]:
    """The addresses a node is reached at, without prefixes."""
    if spec.bgp is None:
        return frozenset()
    return frozenset(text.partition("/")[0] for text in (spec.bgp.ipv4_address, spec.bgp.ipv6_address) if text)


def _check_address(client: Client, name: str, wanted: NodeSpec) -> None:
    for other in client.list("Node").items:
        both = _addresses(other.spec) & _addresses(wanted)
        if other.metadata.name != name and both:
            raise StartupError(
                f"Node({other.metadata.name}) has the address {min(both)} too: remove it with `calicoctl node "
                f"decommission {other.metadata.name}` if that machine is gone, or give one of them another address"
            )


def _stored(client: Client, kind: str, name: str) -> Resource[Any] | None:
    try:
        return client.get(kind, name)
    except NotFoundError:
        return None


# -- what all nodes share ----------------------------------------------------------------------------------------------


def ensure_pools(client: Client, settings: NodeSettings, host: HostView) -> None:
    """The default pools, each only where there is no pool of its family at all, not even a disabled one."""
    families = {6 if ":" in pool.spec.cidr else 4 for pool in client.list("IPPool").items}
    for family, pool in ((4, settings.pool4), (6, settings.pool6)):
        if pool is None or family in families:
            continue
        cidr = pool.cidr or (_free_cidr(host) if family == 4 else _local_cidr())
        with suppress(AlreadyExistsError):  # another node was faster
            client.create(Resource("IPPool", Metadata(DEFAULT_POOLS[family]), pool_spec(pool, cidr)))
            log.info("made the default pool %s", fields(pool=DEFAULT_POOLS[family], cidr=cidr))


def pool_spec(pool: PoolSettings, cidr: str) -> IPPoolSpec:
    """A pool as the settings have it."""
    return IPPoolSpec(
        cidr=cidr,
        vxlan_mode=pool.encapsulation.vxlan,
        ipip_mode=pool.encapsulation.ipip,
        nat_outgoing=pool.nat_outgoing,
        block_size=pool.block_size,
        node_selector=pool.node_selector,
    )


def _free_cidr(host: HostView) -> str:
    """The usual network of pools, or another where the host has an address in it."""
    taken = list(host.addresses())
    for cidr in (_USUAL_CIDR, *_OTHER_CIDRS):
        network = ipaddress.ip_network(cidr)
        if not any(address in network for address in taken):
            return cidr
    return _USUAL_CIDR


def _local_cidr() -> str:
    """A random network of unique local addresses."""
    text = f"fd{random.SystemRandom().getrandbits(40):010x}"
    return str(ipaddress.ip_network(f"{text[:4]}:{text[4:8]}:{text[8:]}::/48"))


def ensure_felix(client: Client, node: str) -> None:
    """The FelixConfigurations that upstream's start-up writes, each member only where nobody has set it."""
    _ensure_felix(client, "default", reporting_interval=0, log_severity_screen="Info")
    _ensure_felix(client, f"node.{node}", default_endpoint_to_host_action="Return")


def _ensure_felix(client: Client, name: str, **members: Any) -> None:
    for _ in range(_ATTEMPTS):
        stored = _stored(client, "FelixConfiguration", name)
        spec = stored.spec if stored else FELIX_SPEC.zero
        missing = {member: value for member, value in members.items() if getattr(spec, member) in (None, "")}
        if stored is not None and not missing:
            return
        with suppress(AlreadyExistsError, ConflictError):
            if stored is None:
                client.create(Resource("FelixConfiguration", Metadata(name), spec._replace(**missing)))
            else:
                client.replace(stored._replace(spec=spec._replace(**missing)))
            return
    raise ConflictError(f"FelixConfiguration({name})")


def ensure_profile(client: Client) -> None:
    """The profile of the network `calico`, which allows everything. An operator's own stays as it is."""
    allow = (Rule("Allow"),)
    with suppress(AlreadyExistsError):
        client.create(Resource("Profile", Metadata(PROFILE), ProfileSpec(allow, allow, {PROFILE: ""})))


def write_nodename(path: Path, name: str) -> None:
    """The file by which CNI plugins know their node: the name, without a newline."""
    with suppress(OSError):
        before = path.read_text().strip()
        if before == name:
            return
        hint = f"calicoctl node decommission {before} clears away what it had by that name"
        log.warning("this node has another name now %s", fields(before=before, now=name, hint=hint))
    replace_file(path, name.encode(), 0o644)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put a file in the place of the one there, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
