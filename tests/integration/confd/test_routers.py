"""Neighbours that are no nodes of the cluster: route reflectors' clients aside, routers outside, with and without a
password. They learn a node's blocks as aggregates and hand routes back."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.confd.site import Cluster, Node, Site, wait_established
from tests.samples import commands_of
from tests.servers.bird import Bird, wait_for
from tests.servers.frr import Frr

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

Make = Callable[..., Node]
POOL: dict[str, object] = {"cidr": "10.65.0.0/16"}
OUTSIDE = "203.0.113.0/24"


def block(number: int) -> str:
    return f"10.65.{number}.0/26"


def stock_bird(number: int, as_number: int, *neighbours: str) -> str:
    """A router's configuration as an operator would write it."""
    text = f"""
        log stderr all;
        router id 10.80.0.{number};
        protocol device {{}}
        protocol direct {{ ipv4; }}
        protocol kernel {{ ipv4 {{ export all; import none; }}; }}
        protocol static outside {{ ipv4; route {OUTSIDE} blackhole; }}
        filter to_nodes {{ if proto = "outside" then accept; reject; }}
    """
    for index, neighbour in enumerate(neighbours):
        text += f"""
        protocol bgp node{index} {{
            local 10.80.0.{number} as {as_number};
            {neighbour}
            ipv4 {{ import all; export filter to_nodes; next hop self; }};
        }}
        """
    return text


@pytest.fixture
def router(site: Site, tmp_path: Path) -> Iterator[Callable[[int, str], Bird]]:
    birds: list[Bird] = []

    def make(number: int, config: str) -> Bird:
        name = f"router{number}"
        site.add_host(name, number)
        birds.append(Bird(tmp_path / name, site.prefix(name)))
        birds[-1].config.write_text(config)
        return birds[-1].start()

    yield make
    for one in birds:
        one.kill()


def write_as_the_guide_says(secret: Path, password: str) -> None:
    instead = {"/etc/dcos-calico/bgp/rack-1": secret, "/etc/dcos-calico/bgp": secret.parent, "the password": password}
    for line in commands_of("docs/how-to/bgp.md", "install", instead):
        subprocess.run(["bash", "-c", line], check=True)


def test_a_stock_bird_outside(site: Site, cluster: Cluster, node: Make, router: Callable[[int, str], Bird]) -> None:
    """With one password for the session of each node, which lies in a file that only root reads."""
    cluster.put("IPPool", "plain", POOL)
    cluster.put("IPPool", "ipip", {"cidr": "10.66.0.0/16", "ipipMode": "Always"})
    cluster.put("BGPPeer", "tor", {"peerIP": "10.80.0.20", "asNumber": 65001, "passwordFile": "tor"})
    cluster.claim("n1", block(1))
    cluster.claim("n1", "10.66.1.0/26")
    cluster.claim("n2", block(2))
    one, two = node("n1", 1), node("n2", 2)
    assert [problem.where for problem in one.confd.plan().problems] == ["BGPPeer(tor)"], "no password yet"
    two.passwords.mkdir()
    secret = one.passwords / "tor"
    write_as_the_guide_says(secret, "a secret, with spaces")
    neighbours = [f'neighbor 10.80.0.{number} as 64512; password "a secret, with spaces";' for number in (1, 2)]
    outside = router(20, stock_bird(20, 65001, *neighbours))
    wait_for(lambda: one.is_established("Global_10_80_0_20"), "the router", lambda: one.explain() + outside.log())
    wait_established(one, two)
    assert set(one.bird.sessions()) == {"Global_10_80_0_20", "Mesh_10_80_0_2", "Mesh_fd80__2"}

    site.add_workload("n1", "w", "10.65.1.1")
    # Over its session with either node: nodes pass on to routers what the mesh tells them.
    blocks = {block(1), block(2), "10.66.1.0/26"}
    wait_for(lambda: blocks <= set(site.routes("router20")), "blocks", lambda: str(site.routes("router20")))
    assert not [to for to in site.routes("router20") if "/" not in to and to.startswith("10.65.")], "no single address"
    wait_for(lambda: site.routes("n1").get(OUTSIDE, "").startswith("via 10.80.0.20"), "what it hands back")
    assert oct(one.bird.config.stat().st_mode & 0o777) == "0o600"

    # Whoever may read the file makes it worthless; the session goes, and comes back with the file's mode.
    secret.chmod(0o644)
    wait_for(lambda: "Global_10_80_0_20" not in one.bird.sessions(), "the session to be left out")
    assert "chmod 600" in str(one.confd.plan().problems)
    secret.chmod(0o600)
    wait_for(lambda: one.is_established("Global_10_80_0_20"), "the session to come back", one.explain, 90)
    secret.write_text("another secret")
    wait_for(lambda: not one.is_established("Global_10_80_0_20"), "the changed password to be used", outside.log)


def test_frr_outside(site: Site, cluster: Cluster, node: Make, tmp_path: Path) -> None:
    cluster.put("IPPool", "plain", POOL)
    cluster.put("BGPConfiguration", "default", {"asNumber": 65100, "nodeToNodeMeshEnabled": True})
    cluster.put("BGPPeer", "frr", {"peerIP": "10.80.0.30", "asNumber": 65002})
    cluster.claim("n1", block(1))
    one = node("n1", 1)
    site.add_host("frr", 30)
    frr = Frr(tmp_path / "frr", site.prefix("frr"))
    config = """
        router bgp 65002
         bgp router-id 10.80.0.30
         no bgp ebgp-requires-policy
         no bgp network import-check
         neighbor 10.80.0.1 remote-as 65100
         address-family ipv4 unicast
          network 203.0.113.0/24
         exit-address-family
    """
    try:
        frr.start("\n".join(line[8:] for line in config.splitlines()))
        wait_for(lambda: one.is_established("Global_10_80_0_30"), "FRR's session", lambda: one.explain() + frr.log())
        wait_for(
            lambda: site.routes("frr", "proto", "bgp").get(block(1), "").startswith(("via 10.80.0.1", "nhid")),
            "FRR to learn the block",
            lambda: str(site.routes("frr")) + frr.log(),
        )
        wait_for(lambda: site.routes("n1").get(OUTSIDE, "").startswith("via 10.80.0.30"), "FRR's route", frr.log)
    finally:
        frr.stop()


def test_a_pair_of_reflectors_with_six_clients(site: Site, cluster: Cluster, node: Make) -> None:
    """No mesh: the clients peer with both reflectors alone, hear of each other through either, and go on with one."""
    cluster.put("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False})
    cluster.put("BGPPeer", "reflectors", {"nodeSelector": "all()", "peerSelector": "reflector == 'yes'"})
    cluster.put("IPPool", "plain", POOL)
    for number in range(1, 9):
        cluster.claim(f"n{number}", block(number))
    reflectors = [node(f"n{number}", number, rr="1.0.0.1", reflector="yes") for number in (1, 2)]
    clients = [node(f"n{number}", number) for number in range(3, 9)]
    wait_established(*reflectors, *clients)
    assert {len(one.bird.sessions()) for one in clients} == {4}, "two reflectors, two families"
    assert {len(one.bird.sessions()) for one in reflectors} == {14}, "six clients and each other, two families"
    kinds = {
        protocol.name: protocol.details.get("Session", "")
        for protocol in reflectors[0].bird.protocols()
        if protocol.proto == "BGP"
    }
    assert "route-reflector" in kinds["Node_10_80_0_3"], "a client"
    assert "route-reflector" not in kinds["Node_10_80_0_2"], "the other reflector of the cluster is none"
    hears_all(site, range(3, 9), range(1, 9))
    reflectors[0].stop()
    cluster.delete("Node", "n1")
    wait_established(*clients)
    hears_all(site, range(3, 9), range(2, 9))


def hears_all(site: Site, hosts: range, owners: range) -> None:
    for number in hosts:
        wanted = {block(owner): f"via 10.80.0.{owner} " for owner in owners if owner != number}
        wait_for(
            lambda name=f"n{number}", wanted=wanted: all(  # type: ignore[misc]
                site.routes(name).get(to, "").startswith(via) for to, via in wanted.items()
            ),
            f"n{number} to hear {wanted}",
            lambda name=f"n{number}": str(site.routes(name)),  # type: ignore[misc]
        )
