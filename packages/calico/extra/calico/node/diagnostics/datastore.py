"""Collectors of the datastore: resources of every kind, IPAM, what felixes report, BGP's sessions."""

import calendar
import json
import time
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from calico.client.resources import Client
from calico.confd import control
from calico.confd.sessions import next_step, read_running
from calico.datastore.errors import DatastoreError
from calico.datastore.store import listing
from calico.ipam.check import Use, check
from calico.ipam.snapshot import take_snapshot
from calico.ipam.usage import utilization
from calico.model.keys import STATUS, FelixStatusKey, parse_key
from calico.model.kinds import KINDS
from calico.model.resource import encode
from calico.node.diagnostics.collect import Collected
from calico.node.diagnostics.facts import Clock, Leak, Peer, Pool

OpenClient = Callable[[], Client]

_REPORT_SLACK = 120.0


def resources(open_client: OpenClient) -> Collected:
    """Every resource, a file a kind; nothing but the reason where etcd does not answer."""
    files: dict[str, str] = {}
    try:
        client = open_client()
        for kind in KINDS:
            listed = client.list(kind)
            documents = [encode(item) for item in listed.items]
            if documents or listed.unreadable:
                files[f"resources/{kind.lower()}.json"] = json.dumps(
                    {"revision": listed.revision, "unreadable": listed.unreadable, "items": documents}, indent=1
                )
            if kind == "IPPool":
                wants_vxlan = any(_uses_vxlan(item) for item in listed.items)
    except DatastoreError as error:
        return Collected({"resources/ERROR.txt": f"{error}\n"}, {"datastore_error": str(error) or type(error).__name__})
    return Collected(files, {"vxlan_wanted": wants_vxlan})


def _uses_vxlan(pool: Any) -> bool:
    return str(pool.spec.vxlan_mode or "Never") != "Never" and not pool.spec.disabled


def ipam(open_client: OpenClient) -> Collected:
    """How full pools are, and what `ipam check` says."""
    snapshot = take_snapshot(open_client().store)
    report = check(snapshot)
    usage = [each for each in utilization(snapshot) if each.pool is not None]
    pools = tuple(
        Pool(
            each.pool.name,
            str(each.pool.network),
            ip_network(each.pool.network).num_addresses,
            each.in_use,
            each.pool.disabled,
        )
        for each in usage
        if each.pool is not None
    )
    leaks = tuple(
        Leak(one.address, f"{one.holder.handle_id or 'no handle'}, {one.reason}") for one in report.of(Use.LEAKED)
    )
    findings = tuple(str(finding) for finding in report.findings)
    lines = [f"{one.address} {one.use.value} {one.reason}" for one in report.allocations]
    files = {"ipam/pools.txt": "".join(f"{pool}\n" for pool in pools), "ipam/check.txt": "\n".join([*lines, *findings])}
    return Collected(files, {"pools": pools, "leaks": leaks, "ipam_findings": findings})


def reports(open_client: OpenClient) -> Collected:
    """What each felix last said of itself. It does so every 30 s, if it is told to, under a lease of 90 s."""
    clocks, nodes, lines = [], set(), []
    for item in listing(open_client().store, STATUS).items:
        key = parse_key(item.key)
        lines.append(f"{item.key} {item.value.decode(errors='replace')}")
        if isinstance(key, FelixStatusKey) and not key.last:
            nodes.add(key.host)
            said = str(json.loads(item.value).get("time", ""))
            at = float(calendar.timegm(time.strptime(said, "%Y-%m-%dT%H:%M:%SZ")))
            source = "its report in etcd, which is at most 90 s old,"
            clocks.append(Clock(f"felix on {key.host}", at, time.time(), source, _REPORT_SLACK))
    return Collected({"felix-reports.txt": "\n".join(lines)}, {"clocks": tuple(clocks), "reporting": frozenset(nodes)})


def bgp(socket: str = control.SOCKET) -> Collected:
    """BIRD's sessions; why it cannot be asked, where it cannot."""
    try:
        running = read_running(socket)
    except control.ControlError as error:
        return Collected({"bgp.txt": f"{error}\n"}, {"bird_error": str(error)})
    peers = [
        Peer(one.address, f"{one.state} {one.info}".strip(), one.error, next_step(one))
        for one in running.sessions
        if one.info != "Established"
    ]
    lines = "".join(f"{session}\n" for session in running.sessions)
    return Collected({"bgp.txt": lines}, {"peers": tuple(peers)})
