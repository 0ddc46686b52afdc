"""Start-up, tunnels, decommissioning and migration die, or lose an answer, at every call: the next run ends them."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from calico.client.errors import ResourceError
from calico.client.resources import Client
from calico.datastore.errors import DatastoreError
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Store, listing, put
from calico.ipam.assign import Request
from calico.ipam.check import Use, check
from calico.ipam.errors import IpamError
from calico.ipam.snapshot import take_snapshot
from calico.model.registry import PLACEMENTS, Placement
from calico.node import tunnels
from calico.node.decommission import clear
from calico.node.migration import State, migrate
from calico.node.startup import start
from tests.unit.calico_node.cluster import IPIP, client_of, host, settings, started, stored
from tests.unit.cni.steps import BAD_FATES, Steps
from tests.unit.ipam.actors import Crash, Fate, GatedStore
from tests.unit.ipam.cluster import allocated, assert_consistent, documents, ipam_of, put_endpoint

NODE, OTHER = "10.0.0.5", "10.0.0.6"
Operation = Callable[[Store, Path], object]


def prepared(state: Path) -> MemoryStore:
    """Two nodes with tunnels; one has an endpoint, and an address that leaked."""
    store = MemoryStore()
    client = started(state, NODE, OTHER, store=store)
    ipam = ipam_of(store)
    for node in (NODE, OTHER):
        tunnels.ensure(client, ipam, node)
    given = ipam.auto_assign(Request(NODE, ipv4=1, handle="calico.c1", attributes={"node": NODE})).ipv4[0].address
    put_endpoint(store, NODE, "c1", given)
    ipam.auto_assign(Request(NODE, ipv4=1, handle="calico.gone", attributes={"node": NODE}))
    put(store, f"/calico/felix/v2/no-region/host/{NODE}/status", b"{}")
    for node in (NODE, OTHER):
        put(store, Placement(node, "blue").key, b"{}")
    return store


def start_up(store: Store, state: Path) -> object:
    return start(client_of(store), settings(state, NODE), host())


def switch(store: Store, state: Path) -> object:
    start(client_of(store), settings(state, NODE, IPIP), host())
    return tunnels.ensure(client_of(store), ipam_of(store), NODE)


def tunnel(store: Store, state: Path) -> object:
    return tunnels.ensure(client_of(store), ipam_of(store), NODE)


def decommission(store: Store, state: Path) -> object:
    return clear(Client(store), ipam_of(store), NODE)


def migration(store: Store, state: Path) -> object:
    return migrate(Client(store), ipam_of(store), "172.29.0.0/16", "172.30.0.0/16")


class Case(NamedTuple):
    """An operation, and what it starts from."""

    operation: Operation
    before: Callable[[Path], MemoryStore]


CASES = {
    "start-up": Case(start_up, lambda _state: MemoryStore()),
    "tunnels": Case(tunnel, lambda state: started(state, NODE).store),  # type: ignore[return-value,arg-type]
    "encapsulation": Case(switch, prepared),
    "decommission": Case(decommission, prepared),
    "migration": Case(migration, prepared),
}


def outcome(store: MemoryStore) -> Any:
    """What stands there, without what is drawn at random."""
    found = stored(client_of(store))
    found["clusterinformations/default"].pop("clusterGUID", None)
    for spec in found.values():
        spec.pop("ipv4VXLANTunnelAddr", None)
        (spec.get("bgp") or {}).pop("ipv4IPIPTunnelAddr", None)
    handles = sorted(documents(store, "/calico/ipam/v2/handle/"))
    others = [item.key for prefix in ("/calico/felix/", PLACEMENTS) for item in listing(store, prefix).items]
    return found, handles, len(allocated(store)), others


@pytest.mark.parametrize("fate", BAD_FATES)
@pytest.mark.parametrize("name", CASES)
def test_the_next_run_completes_it(tmp_path: Path, name: str, fate: Fate) -> None:
    case, steps = CASES[name], Steps()
    whole = case.before(tmp_path / "whole")
    count = steps.calls_of(lambda: case.operation(GatedStore(whole, steps.gate), tmp_path / "whole"))
    assert count > 4
    for number in range(count):
        state = tmp_path / str(number)
        store = case.before(state)
        steps.arm(number, fate)
        with suppress(Crash, DatastoreError, IpamError, ResourceError):
            case.operation(GatedStore(store, steps.gate), state)
        steps.disarm()
        assert_consistent(store)
        case.operation(store, state)
        found, expected = outcome(store), outcome(whole)
        extra = set(found[1]) - set(expected[1])
        assert (found[0], found[1], found[3]) == (expected[0], expected[1], expected[3]), (number, extra)
        assert_consistent(store)
        report = check(take_snapshot(store))
        assert [one for one in report.findings if one.kind != "no-pool"] == []
        lost = [one for one in report.of(Use.LEAKED) if one.holder.handle_id != "calico.gone"]
        assert len(lost) <= 1, "what a lost answer gave, under a handle of the node's"
        assert all(str(one.holder.handle_id).endswith(f"tunnel-addr-{NODE}") for one in lost)


def test_a_migration_ends_when_nothing_is_left(tmp_path: Path) -> None:
    store = prepared(tmp_path)
    client, ipam = client_of(store), ipam_of(store)
    assert migrate(client, ipam, "172.29.0.0/16", "172.30.0.0/16").state is State.WAITING
    for node in (NODE, OTHER):
        tunnels.ensure(client, ipam, node)
    left = migrate(client, ipam, "172.29.0.0/16", "172.30.0.0/16").tenants
    assert [one.use for one in left] == [Use.ENDPOINT, Use.LEAKED]
    ipam.release_ips([one.address for one in left])
    assert migrate(client, ipam, "172.29.0.0/16", "172.30.0.0/16").state is State.DONE
    assert [pool.spec.cidr for pool in client.list("IPPool").items] == ["172.30.0.0/16"]
    assert set(tunnels.ensure(client, ipam, NODE)) == {"vxlan"}
    assert check(take_snapshot(store)).findings == ()
