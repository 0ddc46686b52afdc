"""Every cell of the tables by a real packet through the kernel, and by the policy trace."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from calico.calicoctl.cli import main
from calico.calicoctl.session import Session
from calico.calicoctl.verbs import policy
from calico.felix import live
from calico.felix.config.sources import from_environment
from calico.felix.desired import Icmp
from calico.felix.trace.cluster import Cluster, End
from calico.felix.trace.matching import Packet
from calico.felix.trace.route import Place
from tests.integration.felix.cluster import FelixCluster
from tests.integration.felix.connectivity import SCENARIOS, Cell, Scenario
from tests.integration.felix.prober import Probe, check
from tests.integration.felix.spaces import sweep
from tests.unit.felix.documents import stored

_TO_HOST = {"h1": "Return", "h2": "Accept", "h3": "Drop"}
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}


def _port(name: str, protocol: str, port: int) -> dict[str, Any]:
    return {"name": name, "protocol": protocol, "port": port}


class _Workload:
    """What a workload is where a scenario says nothing else."""

    def __init__(self, host: str, app: str, *addresses: str, namespace: str = "default", **spec: Any) -> None:
        self.host, self.addresses, self.namespace = host, addresses, namespace
        profiles = ["projectcalico-default-allow", f"kns.{namespace}"]
        self.members: dict[str, Any] = {"labels": {"app": app}, "profiles": profiles, **spec}


_WORKLOADS = {
    "w1": _Workload("h1", "web", "10.65.1.1", "fd65:1::1"),
    "w2": _Workload(
        "h1",
        "db",
        "10.65.1.2",
        "fd65:1::2",
        ports=[_port("http", "TCP", 80), _port("dns", "UDP", 53), _port("http", "SCTP", 80)],
    ),
    "w3": _Workload("h1", "web", "10.65.1.3", "fd65:1::3", namespace="red"),
    "r1": _Workload("h2", "web", "10.65.2.1"),
    "r2": _Workload("h2", "db", "10.65.2.2", ports=[_port("http", "TCP", 8080)]),
    "r3": _Workload("h2", "web", "10.65.2.3", namespace="red"),
    "t1": _Workload("h3", "db", "10.65.3.1"),
}


class Stage:
    """The cluster, with the resources of one scenario at a time."""

    def __init__(self, cluster: FelixCluster) -> None:
        self.cluster = cluster
        self._changed: set[str] = set()
        self._keys: set[str] = set()

    def build(self) -> None:
        """What is there in every scenario."""
        cluster = self.cluster
        cluster.ready()
        cluster.vxlan()
        for name, host in cluster.hosts.items():
            host.environment = {"FELIX_DEFAULTENDPOINTTOHOSTACTION": _TO_HOST[name]}
            host.start()
        for name, one in _WORKLOADS.items():
            cluster.workload(name, one.host, *one.addresses, namespace=one.namespace, **one.members)
        for subnet in ("10.65.1.0/26",):
            cluster.outside.space.ip("route", "add", subnet, "via", cluster.hosts["h1"].address)
        for namespace in ("default", "red"):
            cluster.apply({"kind": "Profile", "metadata": {"name": f"kns.{namespace}"}, "spec": {}})

    def play(self, scenario: Scenario) -> None:
        """Leave the scenario before, and have this one's resources in the kernels."""
        cluster = self.cluster
        items = dict(scenario.items)
        for key in self._keys - items.keys():
            cluster.drop(key)
        for key, document in items.items():
            cluster.put(key, stored(document))
        self._keys = set(items)
        for name in self._changed | scenario.workloads.keys():
            one = _WORKLOADS[name]
            members: Mapping[str, Any] = {**one.members, **scenario.workloads.get(name, {})}
            cluster.store_workload(name, *one.addresses, namespace=one.namespace, **members)
        self._changed = set(scenario.workloads)
        for name in ("default", "red"):
            if f"kns.{name}" not in {key.rpartition("/")[2] for key in items}:
                cluster.apply({"kind": "Profile", "metadata": {"name": f"kns.{name}"}, "spec": {}})
        cluster.settle()

    def read(self) -> Cluster:
        """The cluster as the policy trace sees it."""

        def read() -> Cluster:
            found, unreadable = policy.read_cluster(self.cluster.store)
            assert unreadable == []
            return found

        return self.cluster.router.call(read)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    sweep()
    with FelixCluster(tmp_path_factory.mktemp("connectivity")) as cluster:
        made = Stage(cluster)
        made.build()
        cluster.settle()
        yield made


def test_there_are_cells_enough() -> None:
    cells = [cell for scenario in SCENARIOS for cell in scenario.cells]
    assert len(cells) >= 150
    assert sum(cell.passes for cell in cells) > 50
    assert sum(not cell.passes for cell in cells) > 50
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def _probe(cell: Cell) -> tuple[Probe, bool]:
    protocol: Any = cell.protocol
    version: Any = cell.version
    probe = Probe(cell.sender, cell.receiver, protocol, cell.port, version=version)
    return probe._replace(source=cell.source, source_port=cell.source_port), cell.passes


def _traced(stage: Stage, cluster: Cluster, cell: Cell) -> str:
    """What is wrong with the trace's answer; empty where it is the cell's."""
    ends = []
    for name in (cell.sender, cell.receiver):
        party = stage.cluster.prober.parties[name]
        address = party.address4 if cell.version == 4 else party.address6
        ends.append((_end(cluster, name, party.address4, address), address))
    (source, here), (destination, there) = ends
    number = 58 if cell.protocol == "icmp" and cell.version == 6 else _PROTOCOLS[cell.protocol]
    icmp = Icmp(128 if cell.version == 6 else 8, 0) if cell.protocol == "icmp" else None
    packet = Packet(cell.source or here, there, number, cell.source_port or 40000, cell.port, icmp)
    found = cluster.trace(packet, source, destination, "eth0")
    return "" if (found.verdict == "allow") == cell.passes else f"{cell}: the trace says {found.verdict}: {found.why}"


def _end(cluster: Cluster, name: str, address4: str, address: str) -> End:
    if name == "outside":
        return End(Place(), (address,), name)
    return cluster.find(address4)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_packets_and_the_policy_trace(stage: Stage, scenario: Scenario) -> None:
    stage.play(scenario)
    cluster = stage.read()
    local = {name: host.variables() for name, host in stage.cluster.hosts.items()}
    cluster.local = {name: (from_environment(variables),) for name, variables in local.items()}
    wrong = check(stage.cluster.prober, map(_probe, scenario.cells))
    wrong += filter(None, (_traced(stage, cluster, cell) for cell in scenario.cells))
    assert wrong == []


def test_what_leaves_a_pool_with_nat_outgoing_has_the_nodes_address(stage: Stage) -> None:
    cluster = stage.cluster
    stage.play(Scenario("nat", (), ()))
    probes = [Probe("w1", "outside"), Probe("w1", "r1"), Probe("w1", "outside", "udp")]
    assert [one.seen_from for one in cluster.prober.probe(probes)] == ["10.65.1.1"] * 3
    cluster.pool("vxlan", "10.65.0.0/16", vxlan="Always", nat=True)
    cluster.settle()
    try:
        seen = [one.seen_from for one in cluster.prober.probe(probes)]
        assert seen == ["10.99.0.1", "10.65.1.1", "10.99.0.1"]
    finally:
        cluster.pool("vxlan", "10.65.0.0/16", vxlan="Always")
        cluster.settle()


def test_calicoctl_tells_what_was_dropped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own output, with the counters of a felix that has just dropped something."""
    cluster = stage.cluster
    monkeypatch.setattr(policy, "LIVE_SOCKET", cluster.hosts["h1"].directory / live.SOCKET)
    stage.play(next(one for one in SCENARIOS if one.name == "a policy of a direction denies what it does not allow"))

    def told() -> dict[str, Any]:
        session = Session({"ETCD_ENDPOINTS": "http://192.0.2.1:2379"}, lambda _: cluster.store)
        session.stdout = io.StringIO()
        words = ["policy", "trace", "w1", "10.65.1.2", "--port", "80", "--live", "-o", "json"]
        assert cluster.router.call(main, words, session) == 0
        return dict(json.loads(session.stdout.getvalue()))

    def dropped(found: dict[str, Any]) -> int:
        wanted = {"version": 4, "interface": "caliw2", "direction": "ingress", "cause": "policy"}
        return sum(one["packets"] for one in found["drops"] if wanted.items() <= one.items())

    before = told()
    assert before["verdict"] == "deny"
    assert not cluster.prober.probe([Probe("w1", "w2", port=80)])[0].arrived
    assert dropped(told()) > dropped(before)
