"""The addresses of a node's tunnels: one for IPIP, one for VXLAN, each while a pool that selects the node asks for it.

A tunnel's address is an allocation of its own, with a handle and attributes that name the node, and stands in the Node
resource, where the other nodes read it. It is given out first and written down then; whatever is interrupted between
the two is freed by its handle when the address next changes, or found by `check`.
"""

import logging
from contextlib import suppress
from typing import Any, NamedTuple

from calico.client.errors import ConflictError
from calico.client.resources import Client
from calico.daemon.log import fields
from calico.datastore.store import listing
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.errors import AlreadyAllocatedError, IpamError
from calico.ipam.errors import NotFoundError as NotAllocatedError
from calico.ipam.inventory import Pool, read_pools
from calico.ipam.release import Claim
from calico.model.formats import parse_ip
from calico.model.ipam import AllocationAttribute
from calico.model.keys import list_prefix
from calico.model.node import NodeBGP, NodeSpec
from calico.model.resource import Resource

log = logging.getLogger(__name__)

_ATTEMPTS = 20
_ON = ("Always", "CrossSubnet")


class Tunnel(NamedTuple):
    """A kind of tunnel: how its handle begins, its `type` in the attributes, and the pool's member that asks for it."""

    name: str
    type: str
    mode: str

    def handle(self, node: str) -> str:
        """The handle of a node's address."""
        return f"{self.name}-tunnel-addr-{node}"

    def address(self, spec: NodeSpec) -> str:
        """The address that a node has; empty for none."""
        if self.name == "vxlan":
            return spec.ipv4_vxlan_tunnel_addr
        return spec.bgp.ipv4_ipip_tunnel_addr if spec.bgp else ""

    def with_address(self, spec: NodeSpec, address: str) -> NodeSpec:
        """The node with another address, or none."""
        if self.name == "vxlan":
            return spec._replace(ipv4_vxlan_tunnel_addr=address)
        bgp = (spec.bgp or NodeBGP())._replace(ipv4_ipip_tunnel_addr=address)
        return spec._replace(bgp=None if bgp == NodeBGP() else bgp)


TUNNELS = (Tunnel("ipip", "ipipTunnelAddress", "ipip_mode"), Tunnel("vxlan", "vxlanTunnelAddress", "vxlan_mode"))


def ensure(client: Client, ipam: Ipam, node: str) -> dict[str, str]:
    """Give, keep, change or take back each tunnel's address; those the node has now, by the tunnel's name.

    Raise IpamError when no address is to be had, client's NotFoundError without the Node, and the datastore's errors.
    """
    found = {}
    for tunnel in TUNNELS:
        if address := _ensure(client, ipam, node, tunnel):
            found[tunnel.name] = address
    return found


def _ensure(client: Client, ipam: Ipam, node: str, tunnel: Tunnel) -> str:
    for _ in range(_ATTEMPTS):
        stored = client.get("Node", node)
        pools = pools_for(client, stored, tunnel)
        current = tunnel.address(stored.spec)
        with suppress(ConflictError):
            if not pools:
                return _remove(client, ipam, stored, tunnel)
            if current and _is_kept(client, ipam, node, tunnel, current, pools):
                return current
            return _assign(client, ipam, stored, tunnel, pools)
    raise ConflictError(f"Node({node})")


def pools_for(client: Client, node: Resource[Any], tunnel: Tunnel) -> tuple[Pool, ...]:
    """The enabled IPv4 pools that select a node and use a tunnel."""
    using = {pool.metadata.name for pool in client.list("IPPool").items if getattr(pool.spec, tunnel.mode) in _ON}
    pools = read_pools(listing(client.store, list_prefix("IPPool")).items)
    return tuple(
        pool
        for pool in pools
        if pool.name in using and not pool.disabled and pool.network.version == 4 and pool.selects(node.metadata.labels)
    )


def _ours(node: str, tunnel: Tunnel) -> AllocationAttribute:
    return AllocationAttribute(tunnel.handle(node), {"node": node, "type": tunnel.type})


def _is_kept(client: Client, ipam: Ipam, node: str, tunnel: Tunnel, current: str, pools: tuple[Pool, ...]) -> bool:
    """Whether the address a node has is its own and of one of the pools; one of the old format is made its own."""
    try:
        holder = ipam.holder_of(current)
    except NotAllocatedError:
        return False
    address = parse_ip(current)
    if address is None or not any(address in pool.network for pool in pools):
        return False
    notes = holder.secondary or {}
    if (notes.get("node"), notes.get("type")) == (node, tunnel.type):
        return True
    if holder != AllocationAttribute() or _is_a_workloads(client, current):
        return False  # somebody else's
    # What old versions gave out says nothing of its holder. Only such an allocation is freed, and only for the tunnel.
    if ipam.release_claims([Claim(current, AllocationAttribute())]):
        return False
    ours = _ours(node, tunnel)
    with suppress(AlreadyAllocatedError):
        ipam.assign_ip(current, node, ours.handle_id, ours.secondary)
        return True
    return False


def _is_a_workloads(client: Client, address: str) -> bool:
    """Whether an endpoint has an address: v3.14's Docker plugin leaves no note of it in IPAM."""
    endpoints = client.list("WorkloadEndpoint").items
    return any(network.partition("/")[0] == address for one in endpoints for network in one.spec.ip_networks)


def _assign(client: Client, ipam: Ipam, stored: Resource[Any], tunnel: Tunnel, pools: tuple[Pool, ...]) -> str:
    """Take an address, write it down, and only then free what the node had under this handle before."""
    node = stored.metadata.name
    ours = _ours(node, tunnel)
    before = [Claim(address, ours) for address in _held(ipam, node, tunnel)]
    cidrs = tuple(str(pool.network) for pool in pools)
    request = Request(node, ipv4=1, handle=ours.handle_id, attributes=ours.secondary, ipv4_pools=cidrs)
    given = ipam.auto_assign(request)
    if not given.ipv4:
        raise IpamError(f"no address for the node's {tunnel.name} tunnel: {'; '.join(given.shortages)}")
    address = given.ipv4[0].address
    try:
        client.replace(stored._replace(spec=tunnel.with_address(stored.spec, address)))
    except ConflictError:
        ipam.release_claims([Claim(address, ours)])
        raise
    ipam.release_claims(before)
    log.info("assigned a tunnel's address %s", fields(node=node, tunnel=tunnel.name, address=address))
    return address


def _held(ipam: Ipam, node: str, tunnel: Tunnel) -> tuple[str, ...]:
    try:
        return tuple(one.address for one in ipam.held_by(tunnel.handle(node)))
    except NotAllocatedError:
        return ()


def _remove(client: Client, ipam: Ipam, stored: Resource[Any], tunnel: Tunnel) -> str:
    """Strike a tunnel's address from the node, and free it. Somebody else's is only struck."""
    node, current = stored.metadata.name, tunnel.address(stored.spec)
    if current:
        client.replace(stored._replace(spec=tunnel.with_address(stored.spec, "")))
        log.info("took back a tunnel's address %s", fields(node=node, tunnel=tunnel.name, address=current))
    if not _release(ipam, node, tunnel) and current and not _is_a_workloads(client, current):
        with suppress(IpamError):
            ipam.release_claims([Claim(current, AllocationAttribute())])
    return ""


def _release(ipam: Ipam, node: str, tunnel: Tunnel) -> bool:
    """Free a tunnel's addresses by their handle; whether there were any."""
    try:
        ipam.release_handle(tunnel.handle(node))
    except NotAllocatedError:
        return False
    return True
