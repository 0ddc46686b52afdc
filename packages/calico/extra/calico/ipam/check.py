"""`check`: who uses each allocated address, and everything that does not add up. A pure function over a snapshot.

An allocation is used when an endpoint or a node's tunnel has its address. Otherwise it is leaked when it says who it
was for (a handle or notes), and unknown when it does not, as those of v3.14's Docker plugin do not. One look proves
little, since an address is given out before its endpoint is written: `reports.plan_release` asks for two.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from calico.datastore.store import KeyValue
from calico.ipam import block as blocks
from calico.ipam import values
from calico.ipam.errors import UnreadableError
from calico.ipam.inventory import covering, holding
from calico.ipam.snapshot import Snapshot
from calico.model.formats import parse_cidr_or_ip, parse_ip
from calico.model.ipam import AllocationAttribute, Block
from calico.model.keys import AffinityKey, BlockKey, HandleKey, parse_key
from calico.model.resource import Resource

FOREIGN_PLUGIN = "plugin"
"""The note by which an address names the CNI plugin it was given to, where that is not ours."""


class Use(StrEnum):
    """What an allocated address is for."""

    ENDPOINT = "endpoint"
    TUNNEL = "tunnel"
    RESERVED = "reserved"
    LEAKED = "leaked"
    UNKNOWN = "unknown"


class Allocation(NamedTuple):
    """An allocated address: who holds it, what it is for, and how that is known."""

    address: str
    block: str
    holder: AllocationAttribute
    use: Use
    reason: str


class Finding(NamedTuple):
    """Something that does not add up: `kind` is the rule, `where` the key or address, `hint` what to do."""

    kind: str
    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class Report(NamedTuple):
    """What one look found. `cluster` and `revision` say where and when in the datastore's time."""

    cluster: str
    revision: int
    taken: float
    allocations: tuple[Allocation, ...]
    findings: tuple[Finding, ...]

    def of(self, *uses: Use) -> tuple[Allocation, ...]:
        """The allocations of some uses."""
        return tuple(one for one in self.allocations if one.use in uses)


def check(snapshot: Snapshot) -> Report:
    """Explain every allocation of a snapshot and name what does not add up."""
    world = _World(snapshot)
    allocations = tuple(_explain(world, cidr) for cidr in world.blocks)
    findings = (*world.broken, *_block_findings(world), *_claim_findings(world))
    findings += (*_handle_findings(world), *_use_findings(world))
    flat = tuple(one for some in allocations for one in some)
    return Report(snapshot.cluster, snapshot.revision, snapshot.taken, flat, findings)


class _World:
    """A snapshot, sorted into tables."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.blocks: dict[str, Block] = {}
        self.claims: dict[tuple[str, str], str] = {}
        self.handles: dict[str, dict[str, int]] = {}
        self.broken = [
            Finding("unreadable", key, "the resource cannot be read", "correct it with calicoctl replace")
            for key in snapshot.unreadable
        ]
        for item in snapshot.ipam:
            try:
                self._sort(item)
            except UnreadableError as error:
                text = str(error).removeprefix(item.key).lstrip(": ")
                self.broken.append(Finding("unreadable", item.key, text, "correct or delete the key with etcdctl"))
        self.nodes = {node.metadata.name for node in snapshot.nodes}
        self.endpoints = _by_address(snapshot.endpoints)
        self.tunnels = {address: node.metadata.name for node in snapshot.nodes for address in tunnel_addresses(node)}

    def _sort(self, item: KeyValue) -> None:
        match parse_key(item.key):
            case BlockKey(cidr):
                self.blocks[cidr] = values.read_block(item)
            case AffinityKey(host, cidr):
                self.claims[host, cidr] = values.read_affinity(item).state
            case HandleKey(handle):
                self.handles[handle] = dict(values.read_handle(item).block)


def _by_address(endpoints: tuple[Resource[Any], ...]) -> dict[str, list[Resource[Any]]]:
    found: defaultdict[str, list[Resource[Any]]] = defaultdict(list)
    for endpoint in endpoints:
        for network in endpoint.spec.ip_networks:
            if parsed := parse_cidr_or_ip(network):
                found[str(parsed[0])].append(endpoint)
    return found


def tunnel_addresses(node: Resource[Any]) -> tuple[str, ...]:
    """The addresses a node's tunnels have, as text in one spelling."""
    spec = node.spec
    bgp, wireguard = spec.bgp, spec.wireguard
    texts = (
        spec.ipv4_vxlan_tunnel_addr,
        bgp.ipv4_ipip_tunnel_addr if bgp else "",
        wireguard.interface_ipv4_address if wireguard else "",
    )
    return tuple(str(address) for text in texts if text and (address := parse_ip(text)))


# -- allocations -------------------------------------------------------------------------------------------------------


def _explain(world: _World, cidr: str) -> Iterator[Allocation]:
    for ordinal, holder in blocks.allocated(world.blocks[cidr]):
        address = blocks.address_at(cidr, ordinal)
        use, reason = _use(world, address, holder)
        yield Allocation(address, cidr, holder, use, reason)


def _use(world: _World, address: str, holder: AllocationAttribute) -> tuple[Use, str]:
    if endpoints := world.endpoints.get(address):
        return Use.ENDPOINT, ", ".join(endpoint.id for endpoint in endpoints)
    if node := world.tunnels.get(address):
        return Use.TUNNEL, f"Node({node})"
    if holder.handle_id == blocks.RESERVED_HANDLE:
        return Use.RESERVED, "reserved by Windows"
    notes = holder.secondary or {}
    if plugin := notes.get(FOREIGN_PLUGIN):
        return Use.UNKNOWN, f"given to the CNI plugin {plugin}, which writes no endpoint"
    if node := notes.get("node"):
        if node not in world.nodes:
            return Use.LEAKED, f"Node({node}) does not exist"
        what = "tunnel" if "tunnel" in notes.get("type", "").lower() else "endpoint"
        return Use.LEAKED, f"Node({node}) has no {what} with this address"
    if holder.handle_id is not None:
        return Use.LEAKED, f"no endpoint has the address of handle {holder.handle_id}"
    return Use.UNKNOWN, "neither a handle nor notes say who it is for, and no endpoint has it"


# -- what does not add up ----------------------------------------------------------------------------------------------


def _block_findings(world: _World) -> Iterator[Finding]:
    previous: Any = None
    for cidr, block in sorted(world.blocks.items(), key=lambda one: _sort_key(one[0])):
        key, network, owner = BlockKey(cidr).path, ip_network(cidr), blocks.owner(block)
        if previous and previous.version == network.version and previous.overlaps(network):
            yield Finding("overlap", key, f"overlaps the block {previous}", "release the addresses of one of them")
        else:
            previous = network
        if text := blocks.disorder(block):
            yield Finding("disorder", key, text, "no address is given out twice by it; release and re-create the block")
        if covering(world.snapshot.pools, network) is None:
            yield Finding("no-pool", key, "is of no IPPool", "its addresses are freed as their workloads end")
        if owner and (owner, cidr) not in world.claims:
            yield Finding("no-claim", key, f"belongs to {owner}, which has no claim on it", _DROP)
        elif not owner and blocks.is_empty(block):
            yield Finding("empty", key, "is neither used nor owned", "delete it")
        if owner and owner not in world.nodes:
            yield Finding("no-node", key, f"belongs to {owner}, and Node({owner}) does not exist", _DROP)


_DROP = "calicoctl node decommission frees what it holds"


def _sort_key(cidr: str) -> tuple[int, int, int]:
    network = ip_network(cidr)
    return network.version, int(network.network_address), network.prefixlen


def _claim_findings(world: _World) -> Iterator[Finding]:
    for (host, cidr), state in world.claims.items():
        key, block = AffinityKey(host, cidr).path, world.blocks.get(cidr)
        if block is None:
            yield Finding("no-block", key, "claims a block that does not exist", "the node takes it up or drops it")
        elif blocks.owner(block) != host:
            owner = blocks.owner(block) or "nobody"
            yield Finding("stale-claim", key, f"claims a block of {owner}", "the node drops it when it next allocates")
        elif state != values.CONFIRMED:
            yield Finding("unconfirmed", key, f"is {state}", "the node confirms it when it next allocates")
        if host not in world.nodes:
            yield Finding("no-node", key, f"Node({host}) does not exist", _DROP)


def _handle_findings(world: _World) -> Iterator[Finding]:
    held: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cidr, block in world.blocks.items():
        for handle, count in blocks.handle_counts(block).items():
            held[handle][cidr] = count
    for handle in sorted({*held, *world.handles} - {blocks.RESERVED_HANDLE}):
        said, real = world.handles.get(handle), held[handle]
        if said is None:
            yield Finding("no-handle", HandleKey(handle).path, f"is missing; {_told(real)} name it", _REBUILD)
        elif said != real:
            text = f"says {_told(Counter(said))}; the blocks say {_told(real)}"
            yield Finding("handle", HandleKey(handle).path, text, _REBUILD)


_REBUILD = "release --from-report puts it right"


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} in {cidr}" for cidr, count in sorted(counts.items())) or "no address"


def _use_findings(world: _World) -> Iterator[Finding]:
    """Addresses in use that IPAM does not know of, or that two have: these can be given out twice."""
    users = {address: [one.id for one in some] for address, some in world.endpoints.items()}
    for address, node in world.tunnels.items():
        users.setdefault(address, []).append(f"Node({node})")
    taken = {
        blocks.address_at(cidr, ordinal)
        for cidr, block in world.blocks.items()
        for ordinal, _ in blocks.allocated(block)
    }
    for address, names in sorted(users.items()):
        if len(names) > 1:
            yield Finding("twice", address, f"is used by {', '.join(names)}", "recreate all but one of them")
        if address not in taken and holding(world.snapshot.pools, ip_address(address)):
            text = f"is used by {', '.join(names)} and not allocated"
            yield Finding("not-allocated", address, text, "recreate it, before somebody else is given the address")
