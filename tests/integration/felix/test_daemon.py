"""The daemon: what it waits for, what makes it end, what it repairs, reports and takes away."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.felix.cluster import DEADLINE, MODULES, FelixCluster, dumps
from tests.integration.felix.prober import Probe, check
from tests.integration.felix.spaces import run, sweep

FAST = {"routeRefreshInterval": "1s", "iptablesRefreshInterval": "1s", "ipsetsRefreshInterval": "1s"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FelixCluster]:
    """Two hosts over VXLAN with a workload each; felix runs on h2, and on h1 when a test begins."""
    sweep()
    with FelixCluster(tmp_path_factory.mktemp("felix"), ("h1", "h2")) as made:
        made.ready(**FAST)
        made.vxlan()
        made.workload("one", "h1", "10.65.1.1", labels={"role": "one"})
        made.workload("near", "h1", "10.65.1.2")
        made.workload("two", "h2", "10.65.2.1")
        made.hosts["h2"].start()
        yield made


@pytest.fixture(autouse=True)
def running(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.environment = {"FELIX_PROMETHEUSMETRICSENABLED": "true"}
    if host.process is None or host.process.poll() is not None:
        host.start()
    cluster.settle()


def eventually(what: Callable[[], object], wanted: object = True, seconds: float = DEADLINE) -> None:
    """`what` gives what is wanted before the deadline."""
    until = time.monotonic() + seconds
    while (found := what()) != wanted:
        assert time.monotonic() < until, found
        time.sleep(0.05)


REACHES = [(Probe("one", "two"), True), (Probe("two", "one", "udp"), True), (Probe("one", "near", "icmp"), True)]
DENY = {
    "kind": "GlobalNetworkPolicy",
    "metadata": {"name": "deny"},
    "spec": {"selector": "role == 'one'", "types": ["Ingress"], "ingress": []},
}


def test_nothing_is_written_before_the_datastore_is_ready(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.stop()
    host.run("--cleanup")
    before = dumps(host)
    cluster.apply({"kind": "ClusterInformation", "metadata": {"name": "default"}, "spec": {"datastoreReady": False}})
    host.environment |= {"FELIX_HEALTHENABLED": "true"}
    host.start()
    eventually(lambda: host.process is not None and (host.directory / "felix.sock").exists())
    eventually(lambda: host.ask(ask="state")["in_sync"])
    assert dumps(host) == before
    assert _status(cluster, "/readiness") == 204
    assert _status(cluster, "/liveness") == 204
    cluster.apply({"kind": "ClusterInformation", "metadata": {"name": "default"}, "spec": {"datastoreReady": True}})
    host.wait(cluster.revision)
    assert check(cluster.prober, REACHES) == []
    assert _status(cluster, "/readiness") == 204


def _status(cluster: FelixCluster, page: str) -> int:
    import http.client

    def ask() -> int:
        connection = http.client.HTTPConnection("localhost", 9099, timeout=5)
        connection.request("GET", page)
        return connection.getresponse().status

    return cluster.hosts["h1"].space.call(ask)


def test_a_datastore_that_is_not_ready_any_more_ends_it_and_changes_nothing(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    before = dumps(host)
    cluster.apply({"kind": "ClusterInformation", "metadata": {"name": "default"}, "spec": {"datastoreReady": False}})
    assert host.process is not None
    assert host.process.wait(10) == 129
    assert cluster.hosts["h2"].process is not None
    cluster.hosts["h2"].process.wait(10)
    cluster.apply({"kind": "ClusterInformation", "metadata": {"name": "default"}, "spec": {"datastoreReady": True}})
    assert dumps(host) == before
    cluster.hosts["h2"].start()


@pytest.mark.parametrize("how", ["configuration", "SIGHUP"])
def test_a_new_configuration_ends_it_with_129_after_a_moment(cluster: FelixCluster, how: str) -> None:
    host = cluster.hosts["h1"]
    assert host.process is not None
    before, start = dumps(host), time.monotonic()
    if how == "SIGHUP":
        host.process.send_signal(signal.SIGHUP)
    else:
        config = {"kind": "FelixConfiguration", "metadata": {"name": "node.h1"}, "spec": {"logPrefix": "mine"}}
        cluster.apply(config)
    assert host.process.wait(10) == 129
    assert time.monotonic() - start > 1
    assert dumps(host) == before
    cluster.delete("FelixConfiguration", "node.h1")


def test_what_can_be_taken_in_place_is(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    process = host.process
    spec = {"routeRefreshInterval": "77s"}
    cluster.apply({"kind": "FelixConfiguration", "metadata": {"name": "node.h1"}, "spec": spec})
    cluster.settle("h1")
    time.sleep(2.5)
    assert host.process is process
    assert process is not None
    assert process.poll() is None
    cluster.delete("FelixConfiguration", "node.h1")


def test_a_bad_resource_is_refused_and_named_and_everything_else_goes_on(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    key = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/default.broken"
    cluster.put(key, b'{"kind": "GlobalNetworkPolicy", "spec": {"selector": "(((", "types": 7}}')
    spec = {"failsafeInboundHostPorts": [{"protocol": "SCTP", "port": 99}], "ipipMTU": 10**9}
    cluster.apply({"kind": "FelixConfiguration", "metadata": {"name": "node.h1"}, "spec": spec})
    if host.process is not None and host.process.wait(10) == 129:
        host.start()
    cluster.settle("h1")
    assert key in host.ask(ask="state")["refused"]
    assert host.metrics()["felix_resources_refused"] >= 1
    assert any("IpInIpMtu" in line for line in host.ask(ask="state")["configuration"])
    assert check(cluster.prober, REACHES) == []
    cluster.drop(key)
    cluster.delete("FelixConfiguration", "node.h1")
    host.stop(signal.SIGKILL)


def test_foreign_changes_are_undone(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    cluster.apply(DENY)
    cluster.settle()
    cells = [(Probe("one", "two"), True), (Probe("two", "one"), False)]
    assert check(cluster.prober, cells) == []
    peer = host.space.ip("neigh", "show", "10.65.2.63", "dev", "vxlan.calico").split()[2]
    damages = [
        host.space.command("nft", "delete", "table", "ip", "calico"),
        ["ip", "-n", host.space.name, "link", "del", "vxlan.calico"],
        ["ip", "-n", host.space.name, "route", "flush", "proto", "80"],
        ["ip", "-n", host.space.name, "neigh", "flush", "dev", "vxlan.calico"],
        ["ip", "-n", host.space.name, "neigh", "replace", "10.65.2.63", "dev", "vxlan.calico", "lladdr", _other(peer)],
        ["ip", "-n", host.space.name, "link", "set", "vxlan.calico", "address", "66:12:12:12:12:12"],
        ["ip", "-n", host.space.name, "link", "set", "calione", "down"],
    ]
    try:
        for damage in damages:
            run(*damage)
            if damage[-1] == "down":
                host.space.ip("link", "set", "calione", "up")
            eventually(lambda: host.run("--check").stdout.count("differs"), 0)
            assert check(cluster.prober, cells) == [], damage
    finally:
        cluster.delete("GlobalNetworkPolicy", "deny")
        cluster.settle()
    assert host.metrics()["felix_dataplane_repairs"] >= 3


def _other(mac: str) -> str:
    return mac[:-2] + ("00" if mac[-2:] != "00" else "01")


def test_a_kernel_that_takes_no_tables_is_asked_again_and_no_route_is_made_meanwhile(cluster: FelixCluster) -> None:
    """Another program owns a table of our name: nobody else may write to it, or delete it, while that runs."""
    host = cluster.hosts["h1"]
    host.stop()
    host.run("--cleanup")
    command = host.space.command("setpriv", "--pdeathsig", "KILL", "nft", "-i")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdin is not None
        owner.stdin.write("add table ip calico { flags owner; }\n")
        owner.stdin.flush()
        eventually(lambda: "table ip calico" in run(*host.space.command("nft", "list", "tables")))
        host.environment |= {"FELIX_HEALTHENABLED": "true"}
        host.start()
        eventually((host.directory / "felix.sock").exists)
        eventually(lambda: any("packet filter" in line for line in host.ask(ask="state")["problems"]))
        assert (_status(cluster, "/readiness"), _status(cluster, "/liveness")) == (503, 204)
        assert "10.65." not in host.space.ip("route")
        assert host.process is not None
        before = _seconds(host.process.pid)
        time.sleep(2)
        assert _seconds(host.process.pid) - before < 1.0, "it asks again, not all the time"
        owner.stdin.close()
        owner.wait(DEADLINE)
    eventually(lambda: _status(cluster, "/readiness"), 204)
    assert check(cluster.prober, REACHES) == []
    assert host.ask(ask="state")["problems"] == []
    assert host.metrics()["felix_int_dataplane_failures"] >= 1


def test_a_restart_with_host_endpoints_writes_nothing(cluster: FelixCluster) -> None:
    """They are found by address: who learns of the interfaces too late passes through a state without them."""
    host = cluster.hosts["h1"]
    spec = {"node": "h1", "expectedIPs": [host.address], "profiles": ["projectcalico-default-allow"]}
    cluster.apply({"kind": "HostEndpoint", "metadata": {"name": "eth0", "labels": {"role": "host"}}, "spec": spec})
    rules = {
        "selector": "role == 'host'",
        "types": ["Ingress"],
        "ingress": [{"action": "Deny", "protocol": "TCP", "destination": {"ports": [8055]}}, {"action": "Allow"}],
    }
    cluster.apply({"kind": "GlobalNetworkPolicy", "metadata": {"name": "host"}, "spec": rules})
    cluster.settle()
    cells = [(Probe("outside", "h1"), False), (Probe("outside", "h1", "udp"), True), *REACHES]
    assert check(cluster.prober, cells) == []
    host.kill()
    assert check(cluster.prober, cells) == []
    host.start()
    cluster.settle()
    assert host.metrics()["felix_dataplane_writes"] == 0
    assert check(cluster.prober, cells) == []
    cluster.delete("HostEndpoint", "eth0")
    cluster.delete("GlobalNetworkPolicy", "host")
    cluster.settle()
    assert check(cluster.prober, [(Probe("outside", "h1"), True)]) == []


def test_check_says_what_differs(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.stop()
    assert host.run("--check").returncode == 0
    host.space.ip("route", "del", "10.65.2.0/26")
    host.space.ip("link", "set", "vxlan.calico", "mtu", "1300")
    run(*host.space.command("nft", "delete", "table", "ip6", "calico"))
    run(*host.space.command("sysctl", "-qw", "net.ipv4.conf.calione.proxy_arp=0"))
    before = dumps(host)
    done = host.run("--check")
    assert done.returncode == 1
    for part in ("route 10.65.2.0/26", "MTU to 1450", "ip6", "net.ipv4.conf.calione.proxy_arp"):
        assert part in done.stdout
    assert dumps(host) == before
    assert json.loads(host.run("--check", "--format", "json").stdout)["differences"]


def test_cleanup_takes_away_what_felix_made_and_nothing_else(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.stop()
    host.run("--cleanup")
    rules = "table ip mine { chain c { type filter hook forward priority 0; ip saddr 10.9.9.9 drop; }; }"
    run(*host.space.command("nft", rules))
    host.space.ip("route", "add", "10.77.0.0/24", "via", "10.99.0.2")
    before = dumps(host)
    host.start()
    cluster.settle()
    assert check(cluster.prober, REACHES) == []
    assert dumps(host) != before
    host.stop()
    planned = host.run("--cleanup", "--dry-run")
    assert "would remove the device vxlan.calico" in planned.stdout
    done = host.run("--cleanup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("removed", "would remove") == planned.stdout
    assert dumps(host) == before
    assert host.run("--cleanup").stdout == ""
    host.space.ip("route", "add", "10.78.0.0/26", "via", "10.99.0.2", "proto", "bird")
    assert host.run("--cleanup").stdout == ""
    assert host.run("--cleanup", "--bird-routes").stdout == "removed BIRD's route 10.78.0.0/26\n"
    assert dumps(host) == before
    host.space.ip("route", "del", "10.77.0.0/24")
    run(*host.space.command("nft", "delete", "table", "ip", "mine"))


def test_etcd_that_is_away_changes_nothing_and_is_caught_up_with(cluster: FelixCluster) -> None:
    (member,) = cluster.etcd.members
    host = cluster.hosts["h1"]
    assert host.process is not None
    member.pause()
    assert check(cluster.prober, REACHES) == []
    before = _seconds(host.process.pid)
    time.sleep(2)
    assert _seconds(host.process.pid) - before < 1.0
    member.resume()
    member.restart()
    cluster.etcd.wait()
    cluster.apply(DENY)
    cluster.settle()
    assert check(cluster.prober, [(Probe("one", "two"), True), (Probe("two", "one"), False)]) == []
    cluster.delete("GlobalNetworkPolicy", "deny")
    cluster.settle()


def test_history_that_is_gone_while_it_slept_is_made_good(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    assert host.process is not None
    cluster.apply(DENY)
    cluster.settle()
    host.process.send_signal(signal.SIGSTOP)
    cluster.delete("GlobalNetworkPolicy", "deny")
    cluster.workload("later", "h1", "10.65.1.9")
    for number in range(50):
        cluster.put("/calico/filler", str(number).encode())
    cluster.etcd.ctl("compact", str(cluster.revision))
    # The connection is lost, too: a watch that is open gets what it missed, compacted or not.
    cluster.etcd.members[0].restart()
    cluster.etcd.wait()
    host.process.send_signal(signal.SIGCONT)
    cluster.settle()
    assert check(cluster.prober, [(Probe("two", "one"), True), (Probe("two", "later"), True)]) == []
    cluster.remove_workload("later")


@pytest.mark.skipif(not os.environ.get("DCOS_CALICO_SOAK"), reason="waits until a dead connection is noticed: soak")
def test_packets_to_etcd_that_vanish_are_noticed(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    ways = (("i", "input", "saddr 10.99.0.1 tcp dport"), ("o", "output", "daddr 10.99.0.1 tcp sport"))
    chains = [
        f"chain {name} {{ type filter hook {hook} priority -500; ip {way} 2379 drop; }};" for name, hook, way in ways
    ]
    run(*cluster.router.command("nft", "table ip hole { " + " ".join(chains) + " }"))
    try:
        cluster.apply(DENY)
        eventually(lambda: host.ask(ask="state")["in_sync"], False)
        assert check(cluster.prober, REACHES) == []
    finally:
        run(*cluster.router.command("nft", "delete", "table", "ip", "hole"))
    cluster.settle()
    assert check(cluster.prober, [(Probe("two", "one"), False)]) == []
    cluster.delete("GlobalNetworkPolicy", "deny")
    cluster.settle()


def test_after_a_boot_nothing_passes_before_felix_knows_it(cluster: FelixCluster) -> None:
    """The guard stands, felix does not run, and a container comes up."""
    host = cluster.hosts["h1"]
    host.stop()
    host.run("--cleanup")
    guard = [sys.executable, str(MODULES / "run.py"), "calico.felix.dataplane.nft.guard"]
    run(*host.space.command(*guard))
    cluster.workload("early", "h1", "10.65.1.20", stored=False)
    for address, interface in (("10.65.1.20", "caliearly"), ("10.65.1.2", "calinear")):
        host.space.ip("route", "add", address, "dev", interface)
        host.space.call(Path(f"/proc/sys/net/ipv4/conf/{interface}/proxy_arp").write_text, "1")
        host.space.call(Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding").write_text, "1")
    ways = [("early", "near"), ("near", "early"), ("early", "h1"), ("h1", "early"), ("early", "outside")]
    nothing = [(Probe(one, other, protocol), False) for one, other in ways for protocol in ("tcp", "udp", "icmp")]
    assert check(cluster.prober, nothing) == []
    run(*host.space.command("nft", "delete", "table", "ip", "calico-guard"))
    assert check(cluster.prober, [(Probe("early", "near", "icmp"), True)]) == [], "it was the guard"
    run(*host.space.command(*guard))
    host.start()
    cluster.settle()
    # What the host itself sends to a workload is never policed, as upstream has it; the answer is.
    unknown = [(probe, expected) for probe, expected in nothing if probe.sender != "h1"]
    assert check(cluster.prober, unknown) == [], "it is still unknown"
    assert not any(
        result.answered for result in cluster.prober.probe([Probe("h1", "early"), Probe("h1", "early", "udp")])
    )
    assert "calico-guard" not in run(*host.space.command("nft", "list", "tables"))
    cluster.store_workload("early", "10.65.1.20")
    cluster.settle()
    assert check(cluster.prober, [(Probe("early", "near"), True), (Probe("near", "early"), True)]) == []
    cluster.remove_workload("early")


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_status_is_reported(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.stop()
    host.environment |= {
        "FELIX_REPORTINGINTERVALSECS": "1",
        "FELIX_ENDPOINTREPORTINGENABLED": "true",
        "FELIX_ENDPOINTREPORTINGDELAYSECS": "0.1",
    }
    stale = "/calico/felix/v2/no-region/host/h1/workload/cni/default%2fgone/endpoint/eth0"
    cluster.put(stale, b'{"status": "up"}')
    host.start()
    cluster.settle()

    def read(key: str) -> dict[str, object]:
        items = cluster.router.call(cluster.store.get, key).items
        return json.loads(items[0].value) if items else {}

    one = "/calico/felix/v2/no-region/host/h1/workload/cni/default%2fone/endpoint/eth0"
    eventually(lambda: read(one), {"status": "up"})
    eventually(lambda: read(stale), {})
    eventually(lambda: set(read("/calico/felix/v2/no-region/host/h1/status")), {"time", "uptime", "first_update"})
    assert read("/calico/felix/v2/no-region/host/h1/last_reported_status")["uptime"]
    host.space.ip("link", "set", "calione", "down")
    eventually(lambda: read(one), {"status": "down"})
    host.space.ip("link", "set", "calione", "up")
    eventually(lambda: read(one), {"status": "up"})
    host.stop()


def test_metrics_have_upstream_s_names(cluster: FelixCluster) -> None:
    found = cluster.hosts["h1"].metrics()
    assert found["felix_active_local_endpoints"] == 2
    assert found["felix_cluster_num_workload_endpoints"] == 3
    assert found["felix_resync_state"] == 3
    assert found['felix_host{host="h1"}'] == 1
    for name in ("felix_int_dataplane_apply_time_seconds_count", "process_cpu_seconds_total", "felix_nft_chains"):
        assert found[name] > 0


def test_drops_are_counted_by_endpoint_and_cause(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    cluster.apply(DENY)
    cluster.settle()
    assert check(cluster.prober, [(Probe("two", "one"), False)]) == []
    endpoint = f"default/{cluster.endpoint_name('one')}"
    labels = f'ip_version="4",interface="calione",endpoint="{endpoint}",direction="ingress",cause="policy"'
    assert host.metrics()[f"felix_dropped_packets{{{labels}}}"] >= 1
    assert any(drop[1] == "calione" for drop in host.ask(ask="drops"))
    cluster.delete("GlobalNetworkPolicy", "deny")
    cluster.settle()


def test_it_tells_systemd(cluster: FelixCluster, tmp_path: Path) -> None:
    import socket

    host = cluster.hosts["h1"]
    host.stop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE)
        host.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        host.start()
        heard = ""
        until = time.monotonic() + DEADLINE
        while not all(word in heard for word in ("READY=1", "WATCHDOG=1", "2 local endpoints; in sync with")):
            assert time.monotonic() < until, heard
            heard += manager.recv(4096).decode() + "\n"
    host.stop()


def test_the_watchdog_hears_nothing_from_a_felix_that_hangs(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.stop()
    host.environment |= {"FELIX_DEBUGSIMULATEDATAPLANEHANGAFTER": "1"}
    host.start()
    eventually(lambda: "hanging, as the configuration asks" in host.tail())
    host.kill()


def test_a_second_felix_is_refused(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    done = host.run()
    assert done.returncode == 1
    assert host.process is not None
    assert f"another felix runs here, process {host.process.pid}" in done.stderr
    assert check(cluster.prober, REACHES) == []


def test_a_wrong_local_value_is_said_at_once(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    host.stop()
    host.environment |= {"FELIX_INTERFACEPREFIX": "cali,way-too-long-for-an-interface"}
    done: subprocess.CompletedProcess[str] = host.run()
    assert done.returncode == 1
    assert "FELIX_INTERFACEPREFIX" in done.stderr
    assert "Traceback" not in done.stderr
