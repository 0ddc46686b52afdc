"""What looks wrong: pure rules over facts, each finding with its evidence and the next step.

A rule says nothing about what could not be read; that it could not be read is told apart.
"""

import datetime
from collections.abc import Callable, Iterator
from typing import NamedTuple

from calico.node.diagnostics.facts import Facts, Interface
from calico.node.diagnostics.redact import redact

_MB = 1 << 20
_OVERHEAD = {"vxlan.calico": 50, "tunl0": 20}
"""Bytes that felix' tunnels add to a packet. Tunnels of others are none of ours."""
_ONCE = ("dcos-setup.service", "dcos-calico-guard.service")
"""Units that do their work and end: only a failure of theirs is one."""
_RESTARTS = 3
_DISK_FREE = 0.05
_CERTIFICATE_DAYS = 30
_FULL, _NEARLY_FULL = 1.0, 0.9


class Finding(NamedTuple):
    """Something that looks wrong. `rule` is its stable name; `is_urgent`: something does not work now."""

    rule: str
    text: str
    evidence: tuple[str, ...]
    step: str
    is_urgent: bool = True


Rule = Callable[[Facts], Iterator[Finding]]


def analyse(facts: Facts) -> list[Finding]:
    """Every finding, urgent ones first, in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: not finding.is_urgent)


def _etcd(facts: Facts) -> Iterator[Finding]:
    if facts.datastore_error:
        step = "on a master: dcos-etcdctl diagnostic; from here: is TCP port 2379 of the masters reached?"
        text = "etcd does not answer: containers keep what they have, and no change arrives"
        yield Finding("etcd-down", text, (facts.datastore_error,), step)


def _units(facts: Facts) -> Iterator[Finding]:
    for unit in facts.units or ():
        log = facts.log_tails.get(unit.name, "")
        tail = tuple(line for line in log.splitlines()[-3:] if line.strip())
        evidence = (f"{unit.name}: {unit.state} ({unit.sub_state}), result {unit.result}, {unit.status}".rstrip(", "),)
        if not unit.is_wanted:
            continue
        is_down = unit.state == "failed" or (unit.state == "inactive" and unit.name not in _ONCE)
        if is_down:
            step = f"systemctl status {unit.name}; journalctl -u {unit.name} -n 50"
            yield Finding("unit-down", f"{unit.name} does not run", (*evidence, *tail), step)
        elif unit.state == "activating" and unit.sub_state == "auto-restart":
            step = f"journalctl -u {unit.name} -n 50: why it ends"
            yield Finding("unit-restarts", f"{unit.name} ends and is started again", (*evidence, *tail), step)
        elif unit.restarts > _RESTARTS:
            told = f"{unit.name} was started {unit.restarts} times more than once since the boot"
            step = f"journalctl -u {unit.name}: what it said before each end"
            yield Finding("unit-restarts", told, (*evidence, *tail), step, False)


def _bird(facts: Facts) -> Iterator[Finding]:
    if facts.bird_wanted and facts.bird_error:
        step = "systemctl status dcos-calico-bird dcos-calico-confd"
        text = "BIRD does not answer: no routes are exchanged with other nodes"
        yield Finding("bird-down", text, (facts.bird_error,), step)
    for peer in facts.peers or ():
        evidence = (f"{peer.address}: {peer.state}" + (f", {peer.reason}" if peer.reason else ""),)
        step = peer.step or "calicoctl node status"
        yield Finding("bgp-peer-down", f"the BGP session with {peer.address} is not established", evidence, step)


def _pools(facts: Facts) -> Iterator[Finding]:
    for pool in facts.pools or ():
        share = pool.in_use / pool.size if pool.size else 0.0
        evidence = (f"{pool.in_use} of {pool.size} addresses of {pool.cidr} are in use",)
        step = "calicoctl ipam check shows what is leaked; a second IPPool gives more addresses"
        if pool.disabled or share < _NEARLY_FULL:
            continue
        if share >= _FULL:
            yield Finding("pool-full", f"the pool {pool.name} is full: no container gets an address", evidence, step)
        else:
            yield Finding("pool-nearly-full", f"the pool {pool.name} is nearly full", evidence, step, False)


def _leaks(facts: Facts) -> Iterator[Finding]:
    leaks = facts.leaks or ()
    if leaks:
        evidence = tuple(f"{leak.address}: {leak.holder}" for leak in leaks[:10])
        more = (f"and {len(leaks) - 10} more",) if len(leaks) > 10 else ()
        step = "the collector frees what two looks ten minutes apart find; by hand: calicoctl ipam check, ipam release"
        yield Finding("leaked-addresses", f"{len(leaks)} addresses are used by nobody", (*evidence, *more), step, False)
    findings = facts.ipam_findings or ()
    if findings:
        text = f"{len(findings)} entries of IPAM do not add up"
        yield Finding("ipam-inconsistent", text, findings[:10], "calicoctl ipam check", False)


def _mtu(facts: Facts) -> Iterator[Finding]:
    by_name = {each.name: each for each in facts.interfaces or ()}
    tunnels = [each for each in by_name.values() if each.name in _OVERHEAD and each.is_up]
    for tunnel in tunnels:
        parent = by_name.get(tunnel.parent)
        room = _OVERHEAD[tunnel.name]
        if parent is not None and tunnel.mtu > parent.mtu - room:
            evidence = (f"{tunnel.name}: MTU {tunnel.mtu}; {parent.name}: MTU {parent.mtu}; {room} bytes are added",)
            name = "calico_vxlan_mtu" if tunnel.kind == "vxlan" else "calico_ipinip_mtu"
            step = f"set {name} to {parent.mtu - room}, install, and start the containers again"
            text = f"packets of {tunnel.name} do not fit through {parent.name}: large ones are lost between nodes"
            yield Finding("mtu-mismatch", text, evidence, step)
    yield from _workload_mtu(tunnels, list(by_name.values()))


def _workload_mtu(tunnels: list[Interface], interfaces: list[Interface]) -> Iterator[Finding]:
    smallest = min((tunnel.mtu for tunnel in tunnels), default=0)
    larger = [each for each in interfaces if each.name.startswith("cali") and smallest and each.mtu > smallest]
    if larger:
        evidence = tuple(f"{each.name}: MTU {each.mtu}; the tunnel: {smallest}" for each in larger[:5])
        step = f"set calico_veth_mtu to {smallest}, and start the containers again"
        text = f"{len(larger)} containers have a larger MTU than the tunnel: they rely on path MTU discovery"
        yield Finding("workload-mtu", text, evidence, step, False)


def _tunnel_missing(facts: Facts) -> Iterator[Finding]:
    has_tunnel = any(each.kind == "vxlan" and each.name == "vxlan.calico" for each in facts.interfaces or ())
    if facts.vxlan_wanted and facts.interfaces is not None and not has_tunnel:
        step = "systemctl status dcos-calico-felix dcos-calico-node: which of them waits, and for what"
        evidence = ("a pool uses VXLAN, and there is no vxlan.calico",)
        yield Finding("tunnel-missing", "this node has no tunnel to the others", evidence, step)


def _drops(facts: Facts) -> Iterator[Finding]:
    for drop in facts.drops or ():
        step = "allow cali+ and the tunnels there; an accept of ours does not override another table's drop"
        yield Finding("foreign-drop", "another firewall drops what policy allows", (drop,), step)


def _clocks(facts: Facts) -> Iterator[Finding]:
    for clock in facts.clocks:
        off = clock.time - clock.ours
        if abs(off) > clock.slack:
            said = datetime.datetime.fromtimestamp(clock.time, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
            evidence = (f"{clock.source} says {said} UTC",)
            step = "is the time of its node synchronised, and is the daemon started with the machine's clock?"
            text = f"the clock of {clock.daemon} is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}"
            yield Finding("clock-off", text, evidence, step)


def _silent(facts: Facts) -> Iterator[Finding]:
    if not facts.reporting or not facts.node or facts.node in facts.reporting:
        return
    felix = next((unit for unit in facts.units or () if unit.name == "dcos-calico-felix.service"), None)
    if felix is not None and felix.state == "active":
        text = "felix runs and, unlike others, has not reported to etcd in the last 90 s"
        step = "its status says what it waits for: systemctl status dcos-calico-felix"
        yield Finding("felix-silent", text, (felix.status or "no status",), step, False)


def _disks(facts: Facts) -> Iterator[Finding]:
    for disk in facts.disks or ():
        free = disk.free / disk.size if disk.size else 1.0
        evidence = (f"{disk.free // _MB} of {disk.size // _MB} MiB free at {disk.directory}",)
        if disk.size and (disk.free == 0 or (free < _DISK_FREE and disk.free < 1024 * _MB)):
            step = f"make room: du -xh {disk.directory} | sort -h | tail"
            yield Finding(
                "disk-full", f"the disk of {disk.directory} is full, or nearly", evidence, step, disk.free < 64 * _MB
            )
        if disk.inodes and disk.free_inodes * 100 < disk.inodes:
            told = (f"{disk.free_inodes} of {disk.inodes} inodes free at {disk.directory}",)
            yield Finding("disk-full", f"no more files fit on the disk of {disk.directory}", told, "remove small files")


def _differences(facts: Facts) -> Iterator[Finding]:
    if facts.differences:
        text = f"{len(facts.differences)} things in the kernel are not as felix wants them"
        step = "calico-felix --check again in a minute: felix repairs what is its own"
        yield Finding("felix-differs", text, facts.differences[:10], step, False)


def _certificates(facts: Facts) -> Iterator[Finding]:
    for certificate in facts.certificates or ():
        if certificate.error:
            step = "put the certificate there again: dcos_install.sh --pki"
            yield Finding("certificate-unreadable", f"{certificate.path} is none", (certificate.error,), step)
            continue
        days = (certificate.ends - facts.now) / 86400
        if days < _CERTIFICATE_DAYS:
            text = f"{certificate.path} has ended" if days < 0 else f"{certificate.path} ends in {days:.0f} days"
            ends = datetime.datetime.fromtimestamp(certificate.ends, datetime.UTC).strftime("%Y-%m-%d")
            step = "gen pki renew, and dcos_install.sh --pki on the nodes"
            yield Finding("certificate-ends", text, (f"notAfter {ends}",), step, days < 0)


RULES: tuple[Rule, ...] = (
    _etcd,
    _units,
    _bird,
    _disks,
    _pools,
    _drops,
    _mtu,
    _tunnel_missing,
    _clocks,
    _silent,
    _certificates,
    _differences,
    _leaks,
)


def presentable(findings: list[Finding], secrets: frozenset[str]) -> list[Finding]:
    """The findings as they may leave the node: without secrets, each text one line of characters that can be seen."""

    def clean(text: str) -> str:
        return "".join(each if each.isprintable() else " " for each in redact(text, secrets))

    return [
        finding._replace(text=clean(finding.text), evidence=tuple(map(clean, finding.evidence))) for finding in findings
    ]


def render(findings: list[Finding], facts: Facts, unread: dict[str, str]) -> str:
    """analysis.txt."""
    when = datetime.datetime.fromtimestamp(facts.now, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"dcos-calico diagnostics of {facts.node or 'this node'}, {when}", ""]
    if not findings:
        lines.append("Nothing looks wrong in what could be read.")
    for number, finding in enumerate(findings, 1):
        mark = "WRONG" if finding.is_urgent else "note"
        lines += [f"{number}. {mark}: {finding.text} [{finding.rule}]"]
        lines += [f"   evidence: {line}" for line in finding.evidence]
        lines += [f"   next: {finding.step}", ""]
    if unread:
        lines += ["", "Not read:"]
        lines += [f"  {name}: {why}" for name, why in sorted(unread.items())]
    return "\n".join(lines).rstrip("\n") + "\n"
