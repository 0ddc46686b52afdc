"""The calculation on small clusters worked out by hand."""

import pytest

from calico.datastore.syncer import Update
from calico.felix.calc.cluster import mac_of
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import decode
from calico.felix.desired import (
    Changes,
    IpSet,
    Policy,
    PolicyId,
    PolicyList,
    PortRange,
    Profile,
    Route,
    Rule,
    SetChange,
    Side,
    Vtep,
    Workload,
    WorkloadId,
)
from calico.selector.parser import parse, unique_id
from tests.unit.felix.documents import Item, block, node, policy, pool, profile, rule, stored, workload


def _update(item: Item) -> Update:
    return Update(item[0], decode(item[0], stored(item[1])), 1)


def _changes(graph: Graph, *items: Item) -> Changes:
    graph.update([_update(item) for item in items])
    return graph.flush()


def test_one_endpoint_with_a_policy_a_profile_and_a_peer() -> None:
    graph = Graph("a")
    allow = rule(protocol="TCP", source={"selector": "role == 'client'"}, destination={"ports": [80]})
    changes = _changes(
        graph,
        policy("p", "app == 'db'", order=10, types=["Ingress"], ingress=[allow]),
        profile("calico", [rule()], [rule()]),
        workload("a", "1", "10.0.0.1", labels={"app": "db"}, profiles=["calico", "gone"], mac="EE-EE-EE-EE-EE-EE"),
        workload("b", "2", "10.0.0.2", labels={"role": "client"}),
    )
    clients = parse("role == 'client'").uid
    found = Rule("allow", 0, 6, source=Side(sets=(clients,)), destination=Side(ports=(PortRange(80, 80),)))
    assert changes.sets_created == {clients: IpSet("net", frozenset(["10.0.0.2"]))}
    assert changes.policies == {PolicyId("default.p"): Policy((found,), ())}
    both = (Rule("allow"),)
    assert changes.profiles == {"calico": Profile(both, both), "gone": Profile((), (), missing=True)}
    assert changes.workloads == {
        WorkloadId("libnetwork", "default/libnetwork", "1"): Workload(
            "cali1",
            "ee:ee:ee:ee:ee:ee",
            ("10.0.0.1",),
            (),
            (),
            True,
            ("calico", "gone"),
            PolicyList((PolicyId("default.p"),), ()),
            "default/a-libnetwork-libnetwork-1",
        )
    }
    more = _changes(graph, workload("b", "3", "10.0.0.3", labels={"role": "client"}))
    assert more == Changes(sets_changed={clients: SetChange(frozenset(["10.0.0.3"]), frozenset())})
    assert graph.flush().is_empty


def test_named_ports_of_selected_endpoints() -> None:
    graph = Graph("a")
    to_web = rule(protocol="UDP", destination={"selector": "has(app)", "ports": ["web"]})
    changes = _changes(
        graph,
        policy("p", types=["Egress"], egress=[to_web]),
        workload("a", "1", "10.0.0.1", labels={"app": "x"}, ports=[("web", "UDP", 5000), ("web", "TCP", 80)]),
        workload("b", "2", "fd00::2", labels={"app": "x"}, ports=[("web", "UDP", 1), ("web", "UDP", 2)]),
        workload("b", "3", "10.0.0.3", ports=[("web", "UDP", 3)]),
    )
    web = unique_id("n", f"{parse('has(app)').uid},udp,web")
    assert changes.sets_created == {
        web: IpSet("port", frozenset(["10.0.0.1,udp:5000", "fd00::2,udp:1", "fd00::2,udp:2"]))
    }
    (found,) = changes.policies.values()
    assert found is not None
    assert found.outbound == (Rule("allow", 0, 17, destination=Side(port_sets=(web,))),)


def _routes(*items: Item) -> dict[str, Route | None]:
    return dict(_changes(Graph("local"), *items).routes)


_POOL = pool("p", "10.0.0.0/16", vxlan="Always")
_REMOTE = node("remote", "192.168.0.2/24")


def test_a_block_of_another_node() -> None:
    assert _routes(_POOL, _REMOTE, block("10.0.1.0/29", "remote", {0: "remote"})) == {
        "10.0.0.0/16": Route("pool", encapsulation="vxlan"),
        "192.168.0.2/32": Route("remote-host", "remote", "192.168.0.2"),
        "10.0.1.0/29": Route("remote-workload", "remote", "192.168.0.2", "vxlan"),
    }


def test_a_borrowed_address_has_a_route_of_its_own() -> None:
    items = (_POOL, block("10.0.1.0/29", "remote", {2: "remote2"}), block("10.0.0.0/29", "local", {2: "remote"}))
    assert {cidr: route for cidr, route in _routes(*items).items() if cidr != "10.0.0.0/16"} == {
        "10.0.1.0/29": Route("remote-workload", "remote", "", "vxlan"),
        "10.0.1.2/32": Route("remote-workload", "remote2", "", "vxlan", borrowed=True),
        "10.0.0.0/29": Route("local-workload", "local", "", "vxlan"),
        "10.0.0.2/32": Route("remote-workload", "remote", "", "vxlan", borrowed=True),
    }


def test_a_block_of_nobody_has_routes_only_for_addresses_of_known_nodes() -> None:
    assert _routes(block("10.0.1.0/29", "", {1: "remote", 2: None})) == {
        "10.0.1.1/32": Route("remote-workload", "remote"),
    }


@pytest.mark.parametrize(
    ("name", "mac"),
    [
        ("localhostname", "66:48:f6:56:dc:f1"),
        ("remotehostname", "66:3e:ca:a4:db:65"),
        ("remotehostname2", "66:40:18:59:1f:16"),
    ],
)
def test_a_mac_address_derived_from_the_name(name: str, mac: str) -> None:
    assert mac_of(name) == mac


def test_vteps_are_of_other_nodes_with_both_addresses() -> None:
    changes = _changes(
        Graph("local"),
        node("local", "192.168.0.1/24", "10.0.0.1"),
        node("remotehostname", "192.168.0.2/24", "10.0.1.0"),
        node("given", "192.168.0.3", "10.0.2.0", mac="66-00-00-00-00-0A"),
        node("plain", "192.168.0.4"),
        node("lost", "", "10.0.3.0"),
    )
    assert changes.vteps == {
        "remotehostname": Vtep("10.0.1.0", "66:3e:ca:a4:db:65", "192.168.0.2"),
        "given": Vtep("10.0.2.0", "66:00:00:00:00:0a", "192.168.0.3"),
    }
