"""One master and two agents, from a bare host to a bare host: installed, rebooted, upgraded, rolled back, uninstalled.

The steps are in order, each on what the one before left.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.machine import Machine
from pkgpanda.node.health import SETTLE
from release import VERSION
from tests.e2e import hoststate, node
from tests.e2e.bundles import AGENT, MASTER, PUBLIC_AGENT, URL, Server, command
from tests.e2e.conftest import Lab, Versions
from tests.e2e.workstation import Workstation, cut_off
from tests.samples import commands_of

STORY = True
pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]

BEACON, ETCD = "dcos-beacon.service", "dcos-etcd.service"
PLUGIN = "dcos-calico-libnetwork-plugin.service"


(_PREFLIGHT,) = commands_of("docs/how-to/build-a-bundle.md", "bash dcos_install.sh --preflight-only")
(_INSTALL,) = commands_of("docs/how-to/build-a-bundle.md", "bash dcos_install.sh --pki")
assert commands_of("docs/how-to/releases.md", "bash dcos_install.sh") == [_INSTALL]
_LISTS = commands_of("docs/how-to/troubleshoot.md", "systemctl")
_LOGS = commands_of("docs/how-to/troubleshoot.md", "journalctl")


def _for(role: str, command: str) -> str:
    """The guide's command, which is written for a master, for another role."""
    assert command.endswith(" master")
    return command.removesuffix("master") + role


class Before(NamedTuple):
    """A node before anything was installed on it."""

    files: dict[str, str]
    units: list[str]
    kernel: dict[str, list[str]]


class Cluster(NamedTuple):
    """The nodes with their roles, what they were before, and the server they install from."""

    nodes: dict[str, Machine]
    before: dict[str, Before]
    server: Server

    @property
    def master(self) -> Machine:
        return self.nodes["master"]


@pytest.fixture(scope="module")
def cluster(lab: Lab, versions: Versions) -> Iterator[Cluster]:
    addresses = {"master": MASTER, "slave": AGENT, "slave_public": PUBLIC_AGENT}
    nodes = {role: lab.add(role.replace("_", "-"), address) for role, address in addresses.items()}
    before = {}
    for role, machine in nodes.items():
        machine.boot()
        before[role] = Before(hoststate.files(machine), hoststate.units(machine), hoststate.kernel(machine))
        node.place_keys(machine, versions.pki)
    server = Server(lab.instance, lab.network)
    server.serve(versions.first)
    nodes["master"].wait_until(f"curl -fsS -o /dev/null {URL}/dcos_install.sh", 10)
    yield Cluster(nodes, before, server)


def test_a_bare_host_has_nothing_of_ours(cluster: Cluster) -> None:
    for machine in cluster.nodes.values():
        ours = machine.run(
            "ls -d /opt/mesosphere /etc/mesosphere /etc/dcos-calico; grep dcos_ /etc/passwd", check=False
        )
        assert ours.stdout == ""


def test_the_preflight_finds_nothing_in_the_way_and_changes_nothing(cluster: Cluster) -> None:
    for role, machine in cluster.nodes.items():
        machine.run(node.fetched(_for(role, _PREFLIGHT)), timeout=node.SECONDS)
        assert hoststate.difference(cluster.before[role].files, hoststate.files(machine)) == []


def test_each_node_is_installed_by_the_words_of_the_guide(cluster: Cluster, versions: Versions) -> None:
    for role, machine in cluster.nodes.items():
        machine.run(node.fetched(_for(role, _INSTALL)), timeout=node.SECONDS)
        assert node.active(machine) == versions.first.ids_for(role)
    for machine in cluster.nodes.values():
        node.wait_until_healthy(machine)


def test_what_the_guide_asks_a_service_is_answered(cluster: Cluster) -> None:
    answers = [cluster.master.run(line).stdout for line in (*_LISTS, *_LOGS)]
    assert "dcos-calico-node.service" in answers[0] and "active (running)" in answers[1]
    assert all(answers)


def test_each_role_runs_its_services_and_no_other(cluster: Cluster) -> None:
    assert {BEACON, ETCD} <= set(node.invocations(cluster.nodes["master"]))
    for role in ("slave", "slave_public"):
        running = set(node.invocations(cluster.nodes[role]))
        assert BEACON in running
        assert ETCD not in running


def test_a_packages_user_state_and_setting_are_there(cluster: Cluster) -> None:
    for machine in cluster.nodes.values():
        assert machine.run("stat -c %U /var/lib/dcos/beacon").stdout == "dcos_beacon\n"
        assert machine.read_file("/proc/sys/net/ipv4/tcp_keepalive_time") == "1234\n"


def test_no_secret_of_a_node_can_be_read_by_others(cluster: Cluster) -> None:
    for machine in cluster.nodes.values():
        listed = machine.run("cd /etc/dcos-calico/pki && stat -c '%a %n' *.key *password*").stdout
        assert {line.split()[0] for line in listed.splitlines()} == {"600"}


_CURL = "curl -sS -m 5 --cacert /etc/dcos-calico/pki/ca.crt"
_WITH_KEY = f"{_CURL} --cert /etc/dcos-calico/pki/client.crt --key /etc/dcos-calico/pki/client.key"


def test_etcd_answers_every_node_over_tls_and_nobody_without_a_certificate(cluster: Cluster) -> None:
    for machine in cluster.nodes.values():
        assert '"health":"true"' in machine.run(f"{_WITH_KEY} https://{MASTER}:2379/health").stdout
        assert machine.run(f"{_CURL} https://{MASTER}:2379/health", check=False).status != 0
        assert machine.run(f"curl -sS -m 5 http://{MASTER}:2379/health", check=False).status != 0


def test_a_nodes_certificate_does_not_open_the_members_own_port(cluster: Cluster) -> None:
    agent = cluster.nodes["slave"]
    refused = agent.run(f"{_WITH_KEY} https://{MASTER}:2380/members", check=False)
    # curl sees the refusal of its certificate in the handshake, or at its first write or read after it.
    assert refused.status in {35, 55, 56}, refused


def _etcdctl(machine: Machine, words: str) -> str:
    pki = "/etc/dcos-calico/pki"
    login = f"--user root:$(cat {pki}/etcd-root-password)" if _users_are_on(machine) else ""
    flags = f"--endpoints https://{MASTER}:2379 --cacert {pki}/ca.crt --cert {pki}/client.crt --key {pki}/client.key"
    return machine.run(f"ETCDCTL_API=3 /opt/mesosphere/bin/etcdctl {flags} {login} {words}").stdout


def _users_are_on(machine: Machine) -> bool:
    return '"error"' in machine.run(f'{_WITH_KEY} https://{MASTER}:2379/v3/kv/range -d \'{{"key":"YQ=="}}\'').stdout


def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    for role, machine in cluster.nodes.items():
        running, files = node.invocations(machine), hoststate.files(machine)
        node.install(machine, role, "--pki", "/root/pki")
        assert node.invocations(machine) == running
        assert _lasting(hoststate.difference(files, hoststate.files(machine))) == []


def _lasting(changes: list[str]) -> list[str]:
    """Without what running services write, which is their state, and without the pid in the lock file."""
    return [line for line in changes if not line.startswith(("var/lib/dcos/", "opt/mesosphere/.lock:"))]


def _served_certificate_ends(machine: Machine) -> list[str]:
    told = machine.run(f"{_WITH_KEY} -v -o /dev/null https://{MASTER}:2379/health").stderr
    return [line for line in told.splitlines() if "expire date" in line]


def test_renewed_certificates_are_used_without_a_restart(cluster: Cluster, versions: Versions) -> None:
    running, ends = node.invocations(cluster.master), _served_certificate_ends(cluster.nodes["slave"])
    command("gen", "pki", "renew", versions.pki, "--days", "400")
    node.place_keys(cluster.master, versions.pki)
    node.install(cluster.master, "master", "--upgrade", "--pki", "/root/pki")
    assert node.invocations(cluster.master) == running
    renewed = _served_certificate_ends(cluster.nodes["slave"])
    assert len(renewed) == 1
    assert renewed != ends
    node.wait_until_healthy(cluster.master)


def test_everything_comes_back_after_a_reboot(cluster: Cluster) -> None:
    _etcdctl(cluster.master, "put kept yes")
    for role, machine in cluster.nodes.items():
        services = set(node.invocations(machine))
        machine.reboot()
        node.wait_until_healthy(machine)
        assert set(node.invocations(machine)) == services, role
        assert machine.read_file("/proc/sys/net/ipv4/tcp_keepalive_time") == "1234\n"
    assert _etcdctl(cluster.master, "get kept --print-value-only") == "yes\n"


def _changed_by_a_new_veth_mtu(role: str) -> set[str]:
    """The CNI plugin reads its file anew for each container, so on a master nothing but the new package restarts."""
    return {BEACON} if role == "master" else {BEACON, PLUGIN}


_ILL = "/etc/systemd/system/dcos-beacon.service.d"
_NOT_THE_SECOND = "[Service]\nExecStartPre=+/bin/bash -c '! grep -q 2 /opt/mesosphere/etc/beacon/version'\nRestart=no\n"


@pytest.fixture(scope="module")
def workstation(
    cluster: Cluster, versions: Versions, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Workstation:
    made = Workstation(tmp_path_factory.mktemp("workstation"), lab.instance, reversed(cluster.nodes.values()))
    made.write_script(versions.first.directory, versions.second.directory)
    return made


def _assert_upgraded(role: str, machine: Machine, before: dict[str, str], versions: Versions) -> None:
    """It has the second bundle, and what that changes was restarted, and nothing else."""
    assert node.active(machine) == versions.second.ids_for(role)
    after = node.invocations(machine)
    assert after.keys() == before.keys()
    assert {unit for unit in before if before[unit] != after[unit]} == _changed_by_a_new_veth_mtu(role)
    assert machine.read_file("/var/lib/dcos/beacon/running") == "2\n"


def test_a_dry_run_of_a_clusters_upgrade_changes_nothing(
    cluster: Cluster, versions: Versions, workstation: Workstation
) -> None:
    cluster.server.serve(versions.second)
    agent = cluster.nodes["slave"]
    running, files = node.invocations(agent), hoststate.files(agent)
    done = workstation.upgrade("--dry-run")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert f"{agent.address}: fetch {versions.second.ids['beacon']}" in done.stdout
    assert node.invocations(agent) == running
    assert _lasting(hoststate.difference(files, hoststate.files(agent))) == []


def test_a_clusters_upgrade_stops_at_a_node_that_becomes_ill_which_goes_back(
    cluster: Cluster, versions: Versions, workstation: Workstation
) -> None:
    changed = {name for name, package in versions.second.ids.items() if versions.first.ids[name] != package}
    assert changed == {"beacon", "dcos-config"}
    ill, agent = cluster.nodes["slave_public"], cluster.nodes["slave"]
    ill.write_file(f"{_ILL}/ill.conf", _NOT_THE_SECOND)
    ill.run("systemctl daemon-reload")
    before = {role: node.invocations(machine) for role, machine in cluster.nodes.items()}
    done = workstation.upgrade()
    assert done.returncode == 1, done
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"dcos_node_upgrade.sh: error: {ill.address}: {BEACON}: was healthy before"), told
    assert f"this node runs dcos-calico {VERSION} (list {versions.first.list_id()[:12]}) and is healthy" in told
    assert "run the same command again" in told
    _assert_upgraded("master", cluster.master, before["master"], versions)
    assert node.active(ill) == versions.first.ids_for("slave_public")
    node.wait_until_healthy(ill)
    assert (node.active(agent), node.invocations(agent)) == (versions.first.ids_for("slave"), before["slave"])


def test_the_same_command_goes_on_where_the_cause_is_removed_even_when_it_is_killed(
    cluster: Cluster, versions: Versions, workstation: Workstation
) -> None:
    before = {role: node.invocations(machine) for role, machine in cluster.nodes.items()}
    ill, agent = cluster.nodes["slave_public"], cluster.nodes["slave"]
    ill.run(f"rm -r {_ILL} && systemctl daemon-reload")
    running = workstation.start()
    node.wait_for(node.journal(ill), running)
    cut_off(running)
    assert node.active(agent) == versions.first.ids_for("slave")
    done = workstation.upgrade()
    assert (done.returncode, done.stderr) == (0, ""), done
    assert node.invocations(cluster.master) == before["master"], "what is done is left alone"
    for role in ("slave_public", "slave"):
        _assert_upgraded(role, cluster.nodes[role], before[role], versions)
    healthy, touched = _second_beacon_started(ill), _live_generation_was_made(agent)
    assert healthy + SETTLE <= touched, "a node was touched before the one before it was healthy"


def _second_beacon_started(machine: Machine) -> float:
    return (machine.root / "var/lib/dcos/beacon/running").stat().st_mtime


def _live_generation_was_made(machine: Machine) -> float:
    live = machine.run("readlink /opt/mesosphere/current").stdout.strip()
    return (machine.root / "opt/mesosphere" / live / "generation.json").stat().st_mtime


def test_the_new_configuration_is_what_a_reader_finds(cluster: Cluster) -> None:
    for machine in cluster.nodes.values():
        assert "1400" in machine.run("grep -rh MTU /opt/mesosphere/etc/calico/").stdout


def test_a_rollback_returns_to_the_set_before(cluster: Cluster, versions: Versions) -> None:
    for role, machine in cluster.nodes.items():
        before = node.invocations(machine)
        machine.run([node.PKGPANDA, "rollback"], timeout=node.SECONDS)
        assert node.active(machine) == versions.first.ids_for(role)
        node.wait_until_healthy(machine)
        after = node.invocations(machine)
        assert {unit for unit in before if before[unit] != after.get(unit)} == _changed_by_a_new_veth_mtu(role)
        assert machine.read_file("/var/lib/dcos/beacon/running") == "1\n"
        machine.run([node.PKGPANDA, "verify"])
    assert _etcdctl(cluster.master, "get kept --print-value-only") == "yes\n"


def test_a_script_for_other_releases_touches_no_node(
    cluster: Cluster, versions: Versions, lab: Lab, tmp_path: Path
) -> None:
    workstation = Workstation(tmp_path, lab.instance, cluster.nodes.values())
    workstation.write_script(versions.second.directory, versions.broken.directory)
    before = [node.invocations(machine) for machine in cluster.nodes.values()]
    done = workstation.upgrade()
    assert done.returncode == 1
    *told, summary = done.stderr.splitlines()
    assert [line.split(": ")[2] for line in told] == [machine.address for machine in cluster.nodes.values()]
    assert all("has another release" in line for line in told)
    assert "3 of 3 nodes cannot be upgraded, and none was touched" in summary
    assert [node.invocations(machine) for machine in cluster.nodes.values()] == before


def test_an_upgrade_to_what_does_not_start_goes_back_by_itself_and_says_why(
    cluster: Cluster, versions: Versions
) -> None:
    cluster.server.serve(versions.broken)
    agent, ids = cluster.nodes["slave"], versions.first.ids_for("slave")
    bundle = f"--repository-url {URL} --package-info-sha256 {versions.broken.info_digest()}"
    words = f"{node.PKGPANDA} setup --upgrade --health-timeout 5 {bundle}"
    refused = agent.run(words, timeout=node.SECONDS, check=False)
    assert refused.status == 1, refused
    assert BEACON in refused.stderr
    assert "beacon: this version cannot start" in refused.stderr
    assert node.active(agent) == ids
    node.wait_until_healthy(agent)
    assert agent.read_file("/var/lib/dcos/beacon/running") == "1\n"


_DROP_IN = "/run/systemd/system/dcos-beacon.service.d"


def _let_fail(machine: Machine) -> None:
    """Let a service be in failure, as where something it needs is missing."""
    machine.run(
        f"mkdir -p {_DROP_IN} && printf '[Service]\\nExecStartPre=/bin/false\\nRestart=no\\n' >{_DROP_IN}/ill.conf"
    )
    machine.run(f"systemctl daemon-reload; systemctl restart {BEACON}; rm -r {_DROP_IN}", check=False)
    assert BEACON in machine.run("systemctl list-units --failed --no-legend").stdout


def test_after_the_removal_each_host_is_as_it_was_before(cluster: Cluster) -> None:
    _let_fail(cluster.nodes["slave"])
    for role, machine in cluster.nodes.items():
        machine.run([node.PKGPANDA, "uninstall", "--purge"], timeout=node.SECONDS)
        before = cluster.before[role]
        assert hoststate.difference(before.files, hoststate.files(machine)) == []
        assert hoststate.units(machine) == before.units
        assert hoststate.kernel(machine) == before.kernel
        assert machine.run("systemctl list-units --all --no-legend 'dcos*'").stdout == ""
        assert machine.run("systemctl is-system-running").stdout == "running\n"


def test_after_the_removal_nothing_of_ours_comes_back_at_a_boot(cluster: Cluster) -> None:
    for role, machine in cluster.nodes.items():
        machine.reboot()
        assert hoststate.difference(cluster.before[role].files, hoststate.files(machine)) == []
        assert hoststate.kernel(machine) == cluster.before[role].kernel
