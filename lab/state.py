"""What a lab is doing: each node's units, tunnel and neighbours, and the endpoints the datastore knows."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lab.cluster import Cluster
from lab.instance import LabError
from lab.machine import Machine
from lab.plan import Node

CALICOCTL = "/opt/mesosphere/bin/calicoctl"
_FELIX = "dcos-calico-felix.service"
_VXLAN, _IPIP = "vxlan.calico", "tunl0"
_BIRDCL = "/opt/mesosphere/active/bird/bin/birdcl -s /run/calico/bird.ctl show protocols"


class Units(NamedTuple):
    """The bundle's services of a node: those that run, and those that do not though they should."""

    active: tuple[str, ...]
    other: tuple[str, ...]


class NodeState(NamedTuple):
    """One node as it is now; `tunnel` is its state in words, and `endpoints` counts what the datastore has of it."""

    node: Node
    is_on: bool
    units: Units
    tunnel_address: str
    tunnel: str
    endpoints: int


class Endpoint(NamedTuple):
    """A container as the datastore knows it."""

    name: str
    node: str
    addresses: tuple[str, ...]
    interface: str
    labels: Mapping[str, str]
    profiles: tuple[str, ...]


def resources(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    """All resources of a kind, by calicoctl on the first master that answers; LabError with its words otherwise."""
    said = "no node is switched on"
    for machine in cluster.running():
        done = machine.run(f"{CALICOCTL} get {kind} --all-namespaces -o json", check=False)
        if done.status == 0:
            return items_of(done.stdout)
        said = f"{machine.name}: calicoctl get {kind}: {done.stderr.strip() or done.stdout.strip()}"
    raise LabError(said)


def items_of(text: str) -> list[dict[str, Any]]:
    """The resources in calicoctl's JSON, which is a list of lists, a list, or one."""
    found = json.loads(text)
    items: list[dict[str, Any]] = []
    for each in found if isinstance(found, list) else [found]:
        items += each.get("items", [each])
    return items


def endpoints_in(items: Sequence[Mapping[str, Any]]) -> list[Endpoint]:
    """WorkloadEndpoints as the lab shows them."""
    return [
        Endpoint(
            item["metadata"]["name"],
            item["spec"].get("node", ""),
            tuple(network.partition("/")[0] for network in item["spec"].get("ipNetworks", [])),
            item["spec"].get("interfaceName", ""),
            dict(item["metadata"].get("labels") or {}),
            tuple(item["spec"].get("profiles", [])),
        )
        for item in items
    ]


def read_nodes(cluster: Cluster) -> list[NodeState]:
    """Every node's state; where etcd does not answer, what it would tell is left empty."""
    try:
        known = {item["metadata"]["name"]: item["spec"] for item in resources(cluster, "node")}
        endpoints = endpoints_in(resources(cluster, "workloadendpoint"))
    except LabError:
        known, endpoints = {}, []
    states = []
    for node in cluster.plan.nodes:
        machine = cluster.machines[node.name]
        spec = known.get(node.address, {})
        address = spec.get("ipv4VXLANTunnelAddr") or spec.get("bgp", {}).get("ipv4IPIPTunnelAddr", "")
        count = sum(endpoint.node == node.address for endpoint in endpoints)
        if machine.is_running:
            states.append(NodeState(node, True, units_of(machine), address, tunnel_of(machine), count))
        else:
            states.append(NodeState(node, False, Units((), ()), address, "", count))
    return states


def wait_until_connected(cluster: Cluster, timeout: float = 120) -> None:
    """Wait until every node that is on has its place in the cluster: no unit waits for its next start, no felix has
    still to start again for a new configuration, and a tunnel to every other node, or a session with it, is there."""
    deadline = time.monotonic() + timeout
    while missing := _unconnected(cluster):
        if time.monotonic() > deadline:
            raise LabError(f"not connected after {timeout:.0f} s: {'; '.join(missing)}\n{cluster.report()}")
        time.sleep(0.3)


def _is_leaving(cluster: Cluster, node: Node) -> bool:
    return cluster.machine(node.name).unit(_FELIX, "StatusText")["StatusText"].startswith("restarting")


def _unconnected(cluster: Cluster) -> list[str]:
    states = [state for state in read_nodes(cluster) if state.is_on]
    problems = [f"{state.node.name}: {', '.join(state.units.other)}" for state in states if state.units.other]
    others = len(cluster.plan.nodes) - 1
    with_felix = [state for state in states if _FELIX in state.units.active]
    problems += [f"{state.node.name}: {_FELIX} restarts" for state in with_felix if _is_leaving(cluster, state.node)]
    alone = [state for state in with_felix if not has_peers(state.tunnel, others, len(states) - 1)]
    return problems + [f"{state.node.name}: {state.tunnel or 'no tunnel'}" for state in alone]


def has_peers(tunnel: str, others: int, running: int) -> bool:
    """Whether a tunnel leads to all `others`, or BIRD has a session with each that is `running`."""
    sessions = re.search(r"BGP (\d+) of (\d+)", tunnel)
    if sessions:
        return int(sessions[1]) >= running and int(sessions[2]) == others
    return f", {others} peers" in tunnel


def units_of(machine: Machine) -> Units:
    """The bundle's services on a node that is on."""
    listed = machine.run("systemctl list-units --all --plain --no-legend 'dcos-*.service'", check=False).stdout
    rows = [line.split(None, 4) for line in listed.splitlines()]
    active = tuple(row[0] for row in rows if row[2] == "active")
    return Units(active, tuple(f"{row[0]} ({row[3]})" for row in rows if row[2] not in {"active", "inactive"}))


def tunnel_of(machine: Machine) -> str:
    """The tunnel's device with the number of its peers, and BIRD's sessions, in a few words."""
    links = json.loads(machine.inspect("ip", "-json", "-details", "link", "show") or "[]")
    words = [_vxlan(machine, link) for link in links if link["ifname"] == _VXLAN]
    words += [
        f"{_IPIP} {link['operstate'].lower()}" for link in links if link["ifname"] == _IPIP and "UP" in link["flags"]
    ]
    return ", ".join([*words, *_sessions(machine)])


def _vxlan(machine: Machine, link: Mapping[str, Any]) -> str:
    table = json.loads(machine.inspect("bridge", "-json", "fdb", "show", "dev", _VXLAN) or "[]")
    peers = {entry["dst"] for entry in table if "dst" in entry}
    data = link.get("linkinfo", {}).get("info_data", {})
    return f"VXLAN {data.get('id')}:{data.get('port')}, {len(peers)} peers"


def _sessions(machine: Machine) -> list[str]:
    done = machine.run(_BIRDCL, check=False)
    if done.status:
        return []
    sessions = [line.split() for line in done.stdout.splitlines() if " BGP " in f" {line} "]
    up = sum("Established" in words for words in sessions)
    return [f"BGP {up} of {len(sessions)} established"]
