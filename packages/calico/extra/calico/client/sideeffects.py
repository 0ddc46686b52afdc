"""What a write or deletion asks of other resources: overlapping pools, encapsulation flags, what hangs on a node."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError
from calico.model.keys import BLOCKS, BlockKey, parse_key
from calico.model.problems import Problem
from calico.model.resource import Resource, with_metadata

if TYPE_CHECKING:
    from calico.client.resources import Client

_GIVEN_UP_AFTER = 10

AnyResource = Resource[Any]


class Allocations(Protocol):
    """IPAM, as far as deletions need it. Each is safe to repeat."""

    def release_pool(self, cidr: str) -> None:
        """Let new allocations in a disabled pool end, then give up every affinity inside it."""

    def release_addresses(self, addresses: tuple[str, ...]) -> None:
        """Free these addresses, where they are allocated."""

    def release_node(self, node: str) -> None:
        """Give up the node's affinities."""


def problems(client: "Client", resource: AnyResource, stored: AnyResource | None) -> list[Problem]:
    """What the other resources, and the one stored now (None: a creation), have against a write."""
    if resource.kind != "IPPool":
        return []
    if stored is not None:
        return _fixed_members(resource, stored)
    return [*_overlaps(client, resource), *_conflicting_blocks(client, resource)]


def _fixed_members(pool: AnyResource, stored: AnyResource) -> list[Problem]:
    found = []
    hint = "make another pool, disable this one, move the workloads, then delete it"
    if pool.spec.cidr != stored.spec.cidr:
        found.append(Problem(pool.id, ("spec", "cidr"), "IPPool CIDR cannot be modified", hint))
    if pool.spec.block_size != stored.spec.block_size:
        found.append(Problem(pool.id, ("spec", "blockSize"), "IPPool BlockSize cannot be modified", hint))
    return found


def _overlaps(client: "Client", pool: AnyResource) -> list[Problem]:
    from calico.model.formats import parse_cidr

    mine = parse_cidr(pool.spec.cidr)
    found = []
    for other in client.list("IPPool").items if mine else ():
        theirs = parse_cidr(other.spec.cidr)
        if mine and theirs and other.metadata.name != pool.metadata.name and mine[1].overlaps(theirs[1]):
            text = f"IPPool({pool.metadata.name}) CIDR overlaps with {other.id} CIDR {other.spec.cidr}"
            found.append(Problem(pool.id, ("spec", "cidr"), text))
    return found


def _conflicting_blocks(client: "Client", pool: AnyResource) -> list[Problem]:
    """Blocks that an earlier pool left, cut in another size than this one would."""
    from calico.model.formats import parse_cidr

    mine = parse_cidr(pool.spec.cidr)
    if mine is None:
        return []
    for page in client.store.pages(f"{BLOCKS}ipv{mine[1].version}/block/"):
        for item in page.items:
            key = parse_key(item.key)
            block = parse_cidr(key.cidr) if isinstance(key, BlockKey) else None
            if block and block[1].prefixlen != pool.spec.block_size and mine[1].overlaps(block[1]):
                text = f"conflicts with existing allocations that use a different blockSize ({block[1]})"
                return [Problem(pool.id, ("spec", "blockSize"), text)]
    return []


def before_write(client: "Client", resource: AnyResource) -> None:
    """Make true what a resource about to be written takes for granted."""
    if resource.kind == "IPPool":
        for mode, flag in ((resource.spec.ipip_mode, "ipip_enabled"), (resource.spec.vxlan_mode, "vxlan_enabled")):
            if mode in ("Always", "CrossSubnet"):
                _enable(client, flag)
    elif resource.kind == "Node" and not resource.metadata.resource_version:
        from calico.client.initialize import ensure_initialized

        ensure_initialized(client)


def _enable(client: "Client", flag: str) -> None:
    """Set a flag of the cluster's FelixConfiguration unless somebody has set it, or unset it, already."""
    from calico.model.felixconfiguration import FelixConfigurationSpec
    from calico.model.metadata import Metadata

    for _ in range(_GIVEN_UP_AFTER):
        try:
            stored = client.get("FelixConfiguration", "default")
            if getattr(stored.spec, flag) is None:
                client.replace(stored._replace(spec=stored.spec._replace(**{flag: True})))
        except NotFoundError:
            unset: Any = FelixConfigurationSpec()
            try:
                client.create(Resource("FelixConfiguration", Metadata("default"), unset._replace(**{flag: True})))
            except AlreadyExistsError:
                continue
        except ConflictError:
            continue
        return
    raise ConflictError("FelixConfiguration(default)")


def before_delete(client: "Client", kind: str, name: str, namespace: str, resource_version: str) -> str:
    """Delete or release what hangs on a resource; the version to delete it as of."""
    if kind == "IPPool":
        return _retire_pool(client, client.get(kind, name, namespace), resource_version)
    if kind == "Node":
        _clear_node(client, client.get(kind, name, namespace))
    return resource_version


def _retire_pool(client: "Client", pool: AnyResource, resource_version: str) -> str:
    """Stop allocations from a pool and give up its affinities."""
    if not pool.spec.disabled:
        version = resource_version or pool.metadata.resource_version
        pool = client.replace(
            with_metadata(pool._replace(spec=pool.spec._replace(disabled=True)), resource_version=version)
        )
        resource_version = pool.metadata.resource_version if resource_version else ""
    if client.allocations is not None:
        client.allocations.release_pool(pool.spec.cidr)
    return resource_version


def _clear_node(client: "Client", node: AnyResource) -> None:
    """Delete what belongs to a node alone: its endpoints with their addresses, affinities, peers and configuration."""
    name = node.metadata.name
    endpoints = [one for one in client.list("WorkloadEndpoint").items if one.spec.node == name]
    if client.allocations is not None:
        client.allocations.release_addresses(_addresses(node, endpoints))
    for endpoint in endpoints:
        _delete_quietly(client, "WorkloadEndpoint", endpoint.metadata.name, endpoint.metadata.namespace)
    if client.allocations is not None:
        client.allocations.release_node(name)
    for peer in client.list("BGPPeer").items:
        if peer.spec.node == name:
            _delete_quietly(client, "BGPPeer", peer.metadata.name)
    for kind in ("FelixConfiguration", "BGPConfiguration"):
        _delete_quietly(client, kind, f"node.{name}")


def _addresses(node: AnyResource, endpoints: list[AnyResource]) -> tuple[str, ...]:
    """Every address the node holds: of its endpoints and of its tunnels."""
    found = [network.partition("/")[0] for endpoint in endpoints for network in endpoint.spec.ip_networks]
    tunnels = [node.spec.ipv4_vxlan_tunnel_addr, node.spec.bgp.ipv4_ipip_tunnel_addr if node.spec.bgp else ""]
    return tuple(dict.fromkeys([*found, *(address for address in tunnels if address)]))


def _delete_quietly(client: "Client", kind: str, name: str, namespace: str = "") -> None:
    with suppress(NotFoundError):  # somebody else was faster, which is as good
        client.delete(kind, name, namespace)
