"""Nodes of an unencapsulated cluster: real BIRDs in namespaces, each configured by its confd."""

import time
from collections.abc import Callable

import pytest

from tests.integration.confd.site import Cluster, Flow, Node, Site, wait_established
from tests.servers.bird import wait_for

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

Make = Callable[..., Node]
POOL: dict[str, object] = {"cidr": "10.65.0.0/16", "ipipMode": "Never", "vxlanMode": "Never"}


def block(number: int) -> str:
    return f"10.65.{number}.0/26"


def test_a_mesh_of_five(site: Site, cluster: Cluster, node: Make) -> None:
    """Both families; every node has everybody's block, its own leads nowhere; a node that leaves is forgotten; the
    block of a node is lent by the address, and given up."""
    cluster.put("IPPool", "plain", POOL)
    cluster.put("IPPool", "six", {"cidr": "fd65::/64"})
    for number in range(1, 6):
        cluster.claim(f"n{number}", block(number))
        cluster.claim(f"n{number}", f"fd65::{number}:0/122")
    nodes = [node(f"n{number}", number) for number in range(1, 6)]
    wait_established(*nodes)
    assert {len(one.bird.sessions()) for one in nodes} == {8}
    for number, one in enumerate(nodes, 1):
        others = {block(other): f"via 10.80.0.{other} dev eth0" for other in range(1, 6) if other != number}
        wait_for(
            lambda name=one.name, others=others: routes_are(site, name, others),  # type: ignore[misc]
            f"{one.name}'s routes",
            one.explain,
        )
        assert "blackhole" in site.ip(one.name, "route", "show", "exact", block(number))
        six = site.ip(one.name, "-6", "route", "show", "proto", "bird")
        assert six.count("fd65::") == 5, six

    # n2 has an address out of n1's block.
    site.add_workload("n2", "borrower", "10.65.1.9")
    for one in (nodes[0], nodes[3]):
        wait_for(lambda name=one.name: routes_are(site, name, {"10.65.1.9": "via 10.80.0.2 dev eth0"}), "the loan")  # type: ignore[misc]
    site.remove_workload("n2", "borrower")
    wait_for(lambda: "10.65.1.9" not in site.routes("n4"), "the end of the loan")

    cluster.release("n3", block(3))
    wait_for(lambda: block(3) not in site.routes("n1") and block(3) not in site.routes("n3"), "n3's block to be gone")

    cluster.delete("Node", "n5")
    wait_for(lambda: len(nodes[0].bird.sessions()) == 6, "n5 to be forgotten", nodes[0].explain)
    assert all(session.is_established for session in nodes[0].bird.sessions().values()), "the others did not notice"


def routes_are(site: Site, host: str, wanted: dict[str, str]) -> bool:
    routes = site.routes(host)
    return all(routes.get(to, "").startswith(behind) for to, behind in wanted.items())


@pytest.mark.parametrize("ending", ["killed", "stopped by its unit"])
def test_traffic_of_an_unencapsulated_cluster_and_a_graceful_restart(
    ending: str, site: Site, cluster: Cluster, node: Make
) -> None:
    """Containers of two nodes talk; while BIRD ends and comes back, and while confd is away, no packet is lost."""
    cluster.put("IPPool", "plain", POOL)
    cluster.claim("n1", block(1))
    cluster.claim("n2", block(2))
    one, two = node("n1", 1), node("n2", 2)
    site.add_workload("n1", "w1", "10.65.1.1")
    site.add_workload("n2", "w2", "10.65.2.1")
    wait_established(one, two)
    wait_for(lambda: site.reaches("w1", "10.65.2.1"), "w1 to reach w2", one.explain)
    assert not site.reaches("w1", "10.65.2.7"), "nobody has it"
    assert not site.reaches("w1", "10.65.1.7"), "nobody has it here"

    with Flow(site, "w1", "10.65.2.1") as flow:
        if ending == "killed":
            two.bird.kill()
        else:
            two.bird.stop()
            assert block(1) in site.routes("n2"), "what BIRD had in the kernel stays"
        wait_for(lambda: not one.is_established(), "n1 to notice", one.explain)
        time.sleep(1)
        two.bird.start()
        wait_established(one, two)
        two.stop_confd()
        two.start_confd()
        wait_for(two.confd.follower.synced.is_set, "confd to come back")
        time.sleep(1)
    assert flow.sent > 30
    assert flow.lost == [], f"of {flow.sent}"
    two.bird.down()
    assert block(1) in site.routes("n2"), "also when an operator ends BIRD for good"


def test_felix_has_the_routes_of_encapsulated_pools(site: Site, cluster: Cluster, node: Make) -> None:
    """What felix programs (protocol 80) is neither replaced, learned nor passed on, in each kind of pool; blocks are
    advertised all the same, for routers outside."""
    modes: dict[str, dict[str, object]] = {
        "10.66.0.0/16": {"ipipMode": "Always"},
        "10.67.0.0/16": {"ipipMode": "CrossSubnet"},
        "10.68.0.0/16": {"vxlanMode": "Always"},
        "10.69.0.0/16": {"vxlanMode": "CrossSubnet"},
    }
    for index, (cidr, mode) in enumerate(modes.items()):
        cluster.put("IPPool", f"p{index}", {"cidr": cidr, **mode})
        for number in (1, 2):
            cluster.claim(f"n{number}", cidr.replace("0.0/16", f"{number}.0/26"))
    cluster.put("IPPool", "plain", POOL)
    for number in (1, 2):
        cluster.claim(f"n{number}", block(number))
    one, two = node("n1", 1), node("n2", 2)
    wait_established(one, two)
    for second in (66, 67, 68, 69):
        site.ip("n1", "route", "add", f"10.{second}.2.0/26", "via", "10.80.0.2", "dev", "eth0", "proto", "80")
        site.ip("n1", "route", "add", f"10.{second}.7.0/26", "via", "10.80.0.7", "dev", "eth0", "proto", "80")
        site.ip("n1", "route", "add", "blackhole", f"10.{second}.1.0/26", "proto", "80")
        # As upstream's felix programs them.
        site.ip("n1", "route", "add", f"10.{second}.6.0/26", "via", "10.80.0.6", "dev", "eth0", "proto", "boot")
    # A workload with an address out of another node's block: routers outside are to find it here.
    site.add_workload("n1", "borrower", "10.66.2.9")
    # A plain pool's route of felix's, from before a change of encapsulation, and somebody else's.
    site.ip("n1", "route", "add", "10.65.7.0/26", "via", "10.80.0.7", "dev", "eth0", "proto", "80")
    site.ip("n1", "route", "add", "10.65.8.0/26", "via", "10.80.0.8", "dev", "eth0", "proto", "static")
    wait_for(lambda: "10.65.8.0/26" in two.bird.networks("protocol Mesh_10_80_0_1"), "n2 to hear n1", two.explain)
    time.sleep(5)  # two scans of the kernel's table

    heard = two.bird.networks("protocol Mesh_10_80_0_1")
    own = {"10.65.1.0/26", *(f"10.{second}.1.0/26" for second in (66, 67, 68, 69))}
    assert heard == {*own, "10.65.8.0/26", "10.66.2.9/32"}
    assert set(site.routes("n1", "proto", "bird")) == {"10.65.1.0/26", "10.65.2.0/26"}
    assert len(site.routes("n1", "proto", "80")) == 13
    assert not [line for line in one.bird.log().splitlines() if "File exists" in line or "Invalid NEXT_HOP" in line]
