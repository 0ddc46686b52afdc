"""A cluster with everything on it: applications on its agents, and what happens to them when something happens to it.

One lab for all: the steps are in order, each on what the one before left.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import bundle, marathon, reach
from lab.cleanup import destroy
from lab.cluster import Cluster
from lab.instance import LabError
from lab.kernel import check_kernel
from lab.machine import Machine, Running
from lab.plan import Counts, make_plan
from lab.state import CALICOCTL, resources, wait_until_connected
from lab.story import DOCKER, Story
from lab.story import HOME as BOOKSTORE
from lab.tasks import Task, Tasks
from tests.e2e import conftest, node
from tests.e2e.workstation import Workstation
from tests.samples import commands_of

STORY = True
pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(600)]

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
_MASTERS = 3 if _SOAK else 1
_CONTAINERS = 200 if _SOAK else 50
_DIAGNOSE = "docs/how-to/diagnose.md"
_LAB = "docs/how-to/lab.md"
_NETWORKS = "docs/how-to/networks.md"
_BIN = CALICOCTL.rpartition("/")[0]
_APPS = Path(marathon.__file__).parent / "apps"


@pytest.fixture(scope="module")
def cluster(node_root: Path) -> Iterator[Cluster]:
    made = Cluster.create(make_plan(None, Counts(masters=_MASTERS)))
    conftest.watch(made)
    try:
        made.up()
        wait_until_connected(made)
        yield made
    finally:
        conftest.watch(None)
        destroy(made.instance)


@pytest.fixture(scope="module")
def tasks(cluster: Cluster) -> Tasks:
    return Tasks(cluster)


def lab(cluster: Cluster, lines: list[str], directory: Path = bundle.ROOT) -> None:
    """Run commands of the guide, as processes, on this lab."""
    for line in lines:
        program, command, *words = line.split()
        path = str(Path(sys.executable).with_name(program))
        typed = [path, command, "--name", cluster.instance.title, *words]
        done = subprocess.run(typed, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def eventually(look: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not {what} after {seconds:.0f} s: {seen}"
        time.sleep(0.3)


def reaches(tasks: Tasks, source: Task, destination: Task) -> bool:
    return reach.request(tasks, source, destination).is_reached


def settled(tasks: Tasks, source: Task, destination: Task) -> None:
    eventually(lambda: reaches(tasks, source, destination), f"reached: {destination.id} from {source.id}")


def leaks(cluster: Cluster) -> str:
    """What `ipam check` finds wrong; empty where every address is somebody's."""
    done = cluster.masters()[0].run(f"{CALICOCTL} ipam check", check=False)
    return "" if done.status == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    ("on_one_node", "docker"),
    [(False, "none"), (True, "none"), (False, "mixed"), (False, "all")],
    ids=["across-vxlan", "on-one-node", "docker-and-mesos", "docker"],
)
def test_the_bookstore_story_goes_as_the_readme_tells(cluster: Cluster, on_one_node: bool, docker: str) -> None:
    outcome = Story(cluster, on_one_node=on_one_node, docker=DOCKER[docker]).play()
    assert outcome.is_as_told, "\n".join(map(str, outcome.steps))
    assert len({task.agent for task in outcome.tasks}) == (1 if on_one_node else 2)
    assert [(cell.source, cell.destination) for cell in outcome.after if not cell.is_reached] == [
        ("fruitstore-frontend", "bookstore-server")
    ]
    assert all(cell.why and cell.why.is_allowed == cell.is_reached for cell in (*outcome.before, *outcome.after))
    assert leaks(cluster) == ""


def test_mesos_and_docker_containers_reach_each_other_and_keep_their_labels(cluster: Cluster, tasks: Tasks) -> None:
    server = marathon.read(BOOKSTORE / "bookstore-server.json")[0]._replace(id="/docker-server", runtime="DOCKER")
    (docker,) = tasks.start([server], "agent1")
    (ucr,) = tasks.start(marathon.read(_APPS / "calico-ucr.json"), "agent2")
    (near,) = tasks.start(marathon.read(_APPS / "calico-docker.json"), "agent2")
    for source, destination in ((ucr, docker), (docker, ucr), (near, ucr), (near, docker)):
        settled(tasks, source, destination)
    labels = {item["spec"]["node"]: item["metadata"].get("labels", {}) for item in resources(cluster, "wep")}
    assert {"biz_type": "bookstore", "role": "server"}.items() <= labels[cluster.node("agent1").address].items()
    tasks.stop([docker, near])


def test_a_mapped_port_leads_to_the_container_from_every_host(cluster: Cluster, tasks: Tasks) -> None:
    (mapped,) = tasks.start(marathon.read(_APPS / "calico-mapped.json"), "agent1")
    url = f"http://{cluster.node('agent1').address}:{mapped.app.ports[0].host}/id"
    for name in ("master1", "agent2", "agent1"):
        cluster.machine(name).wait_until(f"[ $(curl -fsS -m 3 {url}) = {mapped.answer} ]", 30)
    tasks.stop([mapped])
    assert cluster.machine("master1").run(f"curl -fsS -m 2 {url}", check=False).status != 0
    assert "container_id" not in cluster.machine("agent1").run("iptables -t nat -S M-CALICO").stdout


def test_diagnostics_find_nothing_on_healthy_nodes_and_name_a_daemon_that_is_stopped(cluster: Cluster) -> None:
    diags = f"{CALICOCTL} node diags --analysis"
    everywhere = zip(("master1", "agent1", "agent2"), commands_of(_DIAGNOSE, "calicoctl node diags"), strict=True)
    for name, written in everywhere:
        done = cluster.machine(name).run(f"cd /root && {_BIN}/{written}", check=False)
        assert (done.status, "WRONG" in done.stdout) == (0, False), done.stdout
    agent = cluster.machine("agent1")
    agent.run("systemctl stop dcos-calico-felix")
    try:
        done = agent.run(diags, check=False)
        assert done.status == 1
        assert "dcos-calico-felix.service does not run [unit-down]" in done.stdout
    finally:
        agent.run("systemctl start dcos-calico-felix")


def test_a_network_more_is_on_every_agent_and_goes_as_a_whole(cluster: Cluster, tasks: Tasks) -> None:
    agents = [cluster.machine(name) for name in ("agent1", "agent2")]
    (shown,) = commands_of(_NETWORKS, "calicoctl network list")
    for written in commands_of(_NETWORKS, "calicoctl network create"):
        agents[0].run(f"{_BIN}/{written}")
    assert "blue" in agents[0].run(f"{_BIN}/{shown}").stdout
    for agent in agents:
        agent.wait_until("docker network inspect blue >/dev/null && [ -e /var/lib/calico/cni/net.d/blue.conf ]", 90)
    apps = {kind: marathon.read(_APPS / f"calico-{kind}.json")[0] for kind in ("docker", "ucr")}
    blue = {kind: app._replace(id=f"/blue-{kind}", network="blue") for kind, app in apps.items()}
    (docker,), (ucr,) = tasks.start([blue["docker"]], "agent1"), tasks.start([blue["ucr"]], "agent2")
    assert all(task.address.startswith("10.1.") for task in (docker, ucr)), (docker, ucr)
    settled(tasks, docker, ucr)
    settled(tasks, ucr, docker)
    tasks.stop([docker, ucr])
    rehearsal, delete = commands_of(_NETWORKS, "calicoctl network delete")
    assert "would remove network blue" in agents[0].run(f"{_BIN}/{rehearsal}").stdout
    agents[0].wait_until(f"{_BIN}/{delete}", 120)
    for agent in agents:
        assert agent.run("docker network inspect blue", check=False).status != 0
        assert "blue.conf" not in agent.run("ls /var/lib/calico/cni/net.d").stdout.split()
    assert leaks(cluster) == ""


def test_an_agents_applications_come_back_after_its_reboot(cluster: Cluster, tasks: Tasks) -> None:
    (source,) = tasks.start([marathon.read(_APPS / "calico-ucr.json")[0]._replace(id="/source")], "agent1")
    (docker,) = tasks.start(marathon.read(_APPS / "calico-docker.json"), "agent2")
    cluster.machine("agent2").reboot()
    cluster.wait_until_healthy(["agent2"])
    fresh = tasks.recover("agent2")
    assert {task.app.id for task in fresh} == {"/calico-ucr", "/calico-docker"}
    wait_until_connected(cluster)
    for task in fresh:
        settled(tasks, source, task)
        settled(tasks, task, source)
    assert leaks(cluster) == ""
    tasks.stop(tasks.of(docker.app.id))


def test_containers_talk_while_a_master_is_lost(cluster: Cluster, tasks: Tasks) -> None:
    source, destination = tasks.one("source"), tasks.one("calico-ucr")
    cluster.machine("master1").kill()
    for _ in range(3):
        assert reaches(tasks, source, destination)
    if _MASTERS > 1:
        tasks.stop(tasks.start([source.app._replace(id="/meanwhile")]))
    cluster.machine("master1").boot()
    cluster.wait_until_healthy()
    wait_until_connected(cluster)
    (again,) = tasks.start([source.app._replace(id="/afterwards")], "agent2")
    settled(tasks, source, again)
    tasks.stop([again])


_DENY = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: nobody}
spec: {selector: all(), types: [Ingress]}
"""


def test_an_agent_that_was_cut_off_catches_up_when_it_is_healed(cluster: Cluster, tasks: Tasks) -> None:
    source, destination = tasks.one("source"), tasks.one("calico-ucr")
    cluster.network.cut(destination.agent)
    assert not reaches(tasks, source, destination)
    (near,) = tasks.start([source.app._replace(id="/near")], source.agent)
    cluster.masters()[0].run(f"{CALICOCTL} apply -f -", given=_DENY)
    eventually(lambda: not reaches(tasks, source, near), "cut off by policy where the node is reached")
    cluster.network.heal(destination.agent)
    wait_until_connected(cluster)
    felix = cluster.machine(destination.agent)
    eventually(lambda: "nobody" in felix.inspect("nft", "list", "ruleset"), "in force on the node that is back", 120)
    assert not reaches(tasks, source, destination)
    cluster.masters()[0].run(f"{CALICOCTL} delete gnp nobody")
    settled(tasks, source, destination)
    tasks.stop([near])


def make_other_tree(home: Path) -> Path:
    """The repository's recipes with a calico that differs, so that an upgrade restarts all of Calico's daemons."""
    for part in ("packages", "pkgpanda", "tools", "buildinfo.json"):
        source = bundle.ROOT / part
        if source.is_dir():
            shutil.copytree(source, home / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, home / part)
    with (home / "packages/calico/extra/calico/__init__.py").open("a") as file:
        file.write("\n# Another version.\n")
    return home


@contextmanager
def pinging(tasks: Tasks, source: Task, address: str) -> Iterator[Running]:
    """An established flow, ten packets a second."""
    machine = tasks.cluster.machine(source.agent)
    running = machine.start([*tasks.entry(source), "ping", "-i", "0.1", address])
    try:
        yield running
    finally:
        running.kill()


def lost(running: Running) -> tuple[int, int]:
    """How many of the packets were lost, of how many."""
    numbers = [int(number) for number in re.findall(r"seq=(\d+)", running.log.read_text())]
    return (max(numbers) + 1 - len(set(numbers)), max(numbers) + 1) if numbers else (1, 1)


def test_an_upgrade_of_every_daemon_loses_no_packet_of_a_flow(
    cluster: Cluster, tasks: Tasks, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source, destination = tasks.one("source"), tasks.one("calico-ucr")
    home = cluster.instance.directory
    bundle.build(home / "config.yaml", tmp_path / "dist", make_other_tree(tmp_path / "tree"))
    before = {name: node.invocations(cluster.machine(name)) for name in ("agent1", "agent2")}
    workstation = Workstation(tmp_path, cluster.instance, reversed(cluster.machines.values()))
    workstation.write_script(home / "dist", tmp_path / "dist", cluster.plan.url)
    cluster.server.serve(tmp_path / "dist")
    with pinging(tasks, source, destination.address) as running:
        eventually(lambda: "seq=20" in running.log.read_text(), "flowing")
        done = workstation.upgrade()
        wait_until_connected(cluster)
        time.sleep(1)
    assert (done.returncode, done.stderr) == (0, ""), done
    order = [line.split()[1] for line in done.stdout.splitlines() if f" of {len(cluster.machines)})" in line]
    assert set(order[:_MASTERS]) == {machine.address for machine in cluster.masters()}, "masters come first"
    for name, invocations in before.items():
        now = node.invocations(cluster.machine(name))
        for unit in ("dcos-calico-felix.service", "dcos-calico-node.service", "dcos-calico-libnetwork-plugin.service"):
            assert now[unit] != invocations[unit], f"{unit} of {name} was not restarted"
    missing, sent = lost(running)
    record_property("lost", missing)
    assert (missing, sent > 50) == (0, True), f"{missing} of {sent} packets lost"


def test_fifty_containers_come_and_go_and_no_address_is_left(cluster: Cluster, tasks: Tasks) -> None:
    before = len(resources(cluster, "wep"))
    app = marathon.read(_APPS / "calico-ucr.json")[0]._replace(id="/many", instances=_CONTAINERS)
    many = tasks.start([app])
    assert len({task.address for task in many}) == _CONTAINERS
    assert len(resources(cluster, "wep")) == before + _CONTAINERS
    fetch = ["wget", "-qO-", "--timeout=3", f"{many[-1].address}/id"]
    eventually(lambda: tasks.run(tasks.one("source"), fetch)[1] == many[-1].answer, "reached by its address")
    tasks.stop(many)
    assert len(resources(cluster, "wep")) == before
    assert leaks(cluster) == ""
    for machine in cluster.agents():
        assert machine.run("ls /var/lib/mesos/isolators/network/cni").stdout.split() == [
            task.container for task in tasks.all() if task.agent == machine.name
        ]


def _pool(cluster: Cluster) -> dict[str, Any]:
    (pool,) = (each for each in resources(cluster, "pool") if ":" not in each["spec"]["cidr"])
    spec: dict[str, Any] = pool["spec"]
    return spec


def test_another_network_by_configuration_is_never_silent(cluster: Cluster, tasks: Tasks) -> None:
    source, destination = tasks.one("source"), tasks.one("calico-ucr")
    lab(cluster, commands_of(_LAB, "lab upgrade --set calico_network_cidr=172.30.0.0/16"))
    # The command is a process of its own, and this object knows nothing of what it changed.
    cluster.plan = Cluster.open(cluster.instance.title).plan
    assert _pool(cluster)["cidr"] == "172.29.0.0/16"
    told = cluster.machine("agent1").unit("dcos-calico-node.service", "StatusText")["StatusText"]
    assert "calicoctl pool migrate" in told
    assert reaches(tasks, source, destination)
    cluster.masters()[0].run(f"{CALICOCTL} pool migrate 172.29.0.0/16 172.30.0.0/16", check=False)
    (moved,) = tasks.start([source.app._replace(id="/moved")], "agent2")
    assert moved.address.startswith("172.30.")
    wait_until_connected(cluster)
    settled(tasks, source, moved)
    settled(tasks, moved, source)
    tasks.stop([moved])


def test_another_encapsulation_by_configuration_changes_the_pool(cluster: Cluster, tasks: Tasks) -> None:
    try:
        check_kernel({"calico_vxlan_enabled": False})
    except LabError as error:
        pytest.skip(str(error))
    cluster.reconfigure({"calico_vxlan_enabled": False})
    wait_until_connected(cluster)
    settled(tasks, tasks.one("source"), tasks.one("calico-ucr"))
    cluster.reconfigure({"calico_vxlan_enabled": True})
    wait_until_connected(cluster)
    settled(tasks, tasks.one("source"), tasks.one("calico-ucr"))


def ours_in_the_kernel(machine: Machine) -> list[str]:
    links = machine.inspect("ip", "-brief", "link").splitlines()
    routes = machine.inspect("ip", "route", "show", "proto", "80").splitlines()
    rules = machine.inspect("nft", "list", "ruleset").splitlines()
    return [
        *(line for line in links if line.startswith(("cali", "vxlan.calico", "tunl0@"))),
        *routes,
        *(line for line in rules if "calico" in line or "cali-" in line),
    ]


def test_calico_is_switched_off_by_a_bundle(cluster: Cluster, tasks: Tasks, tmp_path: Path) -> None:
    tasks.stop(tasks.all())
    without = cluster.plan._replace(values={**cluster.plan.values, "calico_enabled": False})
    (tmp_path / "config.yaml").write_text(without.config())
    bundle.build(tmp_path / "config.yaml", tmp_path / "dist")
    lab(cluster, commands_of(_LAB, "lab upgrade dist/"), tmp_path)
    for machine in cluster.machines.values():
        assert [unit for unit in node.invocations(machine) if "calico" in unit or "etcd" in unit] == []
        assert (
            machine.run(
                "ls /opt/mesosphere/etc/calico /opt/mesosphere/etc/dcos/network/cni/calico.conf", check=False
            ).stdout
            == ""
        )
        assert machine.run("ls -d /var/lib/calico /run/calico", check=False).stdout == ""
        assert ours_in_the_kernel(machine) == []
