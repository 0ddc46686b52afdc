"""From one pool to another: the new one is made, the old one takes no more, and goes when nothing has its addresses.

What was done is read from the pools themselves, so the same call goes on where an earlier one ended, whatever ended it.
"""

from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from calico.client.errors import AlreadyExistsError
from calico.client.resources import Client
from calico.ipam.allocator import Ipam
from calico.ipam.check import Use, check
from calico.ipam.snapshot import take_snapshot
from calico.model.convert import pool_name
from calico.model.formats import parse_cidr
from calico.model.metadata import Metadata
from calico.model.resource import Resource


class MigrationError(Exception):
    """It cannot begin as things stand."""


class State(StrEnum):
    """How far it is."""

    WAITING = "waiting"
    DONE = "done"


class Tenant(NamedTuple):
    """An address of the old pool that is in use still: by an endpoint, a tunnel, or nobody that can be told."""

    address: str
    use: Use
    holder: str


class Progress(NamedTuple):
    """What one call did, and what the old pool still holds."""

    state: State
    old: str
    new: str
    steps: tuple[str, ...]
    tenants: tuple[Tenant, ...]


def migrate(client: Client, ipam: Ipam, old: str, new: str) -> Progress:
    """Go as far as can be. `old` is a CIDR or a name, `new` a CIDR. Raise MigrationError, or client's errors."""
    wanted = parse_cidr(new)
    if wanted is None or wanted[0] != wanted[1].network_address:
        raise MigrationError(f"{new!r}: the new network must be a CIDR such as 172.30.0.0/16")
    client.allocations = ipam
    pools = client.list("IPPool").items
    source, target = _find(pools, old), _find(pools, str(wanted[1]))
    if source is None:
        if target is None:
            raise MigrationError(f"there is no IPPool {old}; see `calicoctl get ippool -o wide`")
        return Progress(State.DONE, old, target.spec.cidr, (), ())
    if target is not None and target.metadata.name == source.metadata.name:
        raise MigrationError(f"{old} and {new} are one pool")
    steps = [*_make_target(client, source, target, wanted[1]), *_retire(client, source)]
    tenants = _tenants(ipam, source.spec.cidr)
    if not tenants:
        client.delete("IPPool", source.metadata.name)
        steps.append(f"deleted {source.id}")
    state = State.WAITING if tenants else State.DONE
    return Progress(state, source.spec.cidr, str(wanted[1]), tuple(steps), tenants)


def _find(pools: tuple[Resource[Any], ...], text: str) -> Resource[Any] | None:
    parsed = parse_cidr(text)
    cidr = str(parsed[1]) if parsed else text
    return next((pool for pool in pools if cidr in (pool.spec.cidr, pool.metadata.name)), None)


def _make_target(client: Client, source: Resource[Any], target: Resource[Any] | None, network: Any) -> list[str]:
    """The new pool: as the old one but for its network, or the one there, if it gives out addresses."""
    if target is not None:
        if target.spec.disabled:
            raise MigrationError(f"{target.id} is disabled: enable it, or give another network")
        return []
    name = pool_name(str(network))
    spec = source.spec._replace(cidr=str(network), disabled=False)
    try:
        client.create(Resource("IPPool", Metadata(name), spec))
    except AlreadyExistsError:
        raise MigrationError(f"IPPool({name}) has another network than its name says; give it another name") from None
    return [f"made IPPool({name}) {network}"]


def _retire(client: Client, source: Resource[Any]) -> list[str]:
    if source.spec.disabled:
        return []
    client.replace(source._replace(spec=source.spec._replace(disabled=True)))
    return [f"disabled {source.id}: no new addresses come from it"]


def _tenants(ipam: Ipam, cidr: str) -> tuple[Tenant, ...]:
    network = ip_network(cidr)
    report = check(take_snapshot(ipam.context.store))
    found = [one for one in report.allocations if ip_address(one.address) in network]
    return tuple(Tenant(one.address, one.use, one.reason) for one in sorted(found, key=lambda one: _order(one.address)))


def _order(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)
