"""Felix: from an answered put to the kernel, cold start, restart, idling, and what it costs a packet.

Everything is real: an etcd, felix processes in network namespaces, veths. A latency is from the moment etcd has
answered the put to the kernel's notification that all of the change is in. Beside each stands the *bare* cost: the same
change made by the packet filter alone, in this process, on a table of the same content.
"""

import itertools
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from calico.datastore.store import Operation, Put
from calico.datastore.syncer import Update
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import decode
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.tables import Tables
from calico.model.keys import to_stored
from calico.model.resource import decode as decode_resource
from calico.netlink.socket import NETLINK_NETFILTER, Netlink
from tests.integration.felix.cluster import FelixCluster, Host
from tests.integration.felix.spaces import Space, sweep

_NFNLGRP_NFTABLES = 7
_NEWGEN = (10 << 8) | 15
_OPERATIONS = 100
_QUIET = 0.02


class Size(NamedTuple):
    """Local endpoints, remote ones, policies, policies of each endpoint, different policy lists."""

    local: int = 1000
    remote: int = 1000
    policies: int = 100
    each: int = 2
    groups: int = 20

    def __str__(self) -> str:
        return f"E={self.local} P={self.policies}, {self.each} an endpoint, {self.groups} groups"


def _document(kind: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": dict(labels or {})}
    if kind == "WorkloadEndpoint":
        metadata["namespace"] = "default"
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def _stored(document: Mapping[str, Any]) -> tuple[str, bytes]:
    key, stored = to_stored(decode_resource(document))
    return key, json.dumps(stored).encode()


def _address(number: int) -> str:
    return f"10.{100 + number // 60000}.{number // 240 % 250}.{number % 240 + 1}"


def endpoint(host: str, number: int, labels: Mapping[str, str], prefix: str = "w") -> tuple[str, bytes]:
    """A workload endpoint's key and value."""
    name = f"{prefix}{number}"
    spec = {
        "node": host,
        "orchestrator": "cni",
        "containerID": name,
        "endpoint": "eth0",
        "interfaceName": f"cali{name}",
        "ipNetworks": [f"{_address(number)}/32"],
        "profiles": ["projectcalico-default-allow"],
    }
    return _stored(_document("WorkloadEndpoint", f"{host}-cni-{name}-eth0", spec, labels))


def policy(number: int, size: Size, port: int = 80) -> tuple[str, bytes]:
    """A policy of five rules each way; the groups it selects make every endpoint have `size.each` policies."""
    groups = [
        group
        for group in range(size.groups)
        if any((group * size.each + turn) % size.policies == number for turn in range(size.each))
    ]
    names = ", ".join(f"'g{group}'" for group in groups)
    rules = [
        {
            "action": "Allow",
            "protocol": "TCP",
            "source": {"selector": f"role == 'r{(number + turn) % 20}'"},
            "destination": {"ports": [port + turn]},
        }
        for turn in range(5)
    ]
    back = [{"action": "Allow", "destination": {"selector": f"role == 'r{(number + turn) % 20}'"}} for turn in range(5)]
    spec = {
        "selector": f"group in {{{names}}}" if groups else "group == 'nobody'",
        "order": number,
        "types": ["Ingress", "Egress"],
        "ingress": rules,
        "egress": back,
    }
    return _stored(_document("GlobalNetworkPolicy", f"p{number}", spec))


def everything(size: Size) -> list[tuple[str, bytes]]:
    """The whole state, as keys and values."""
    found = [policy(number, size) for number in range(size.policies)]
    found += [
        endpoint("h1", number, {"group": f"g{number % size.groups}", "role": f"r{number % 20}"})
        for number in range(size.local)
    ]
    found += [
        endpoint("h2", number, {"group": f"g{number % size.groups}", "role": f"r{number % 20}"})
        for number in range(size.local, size.local + size.remote)
    ]
    return found


class Bench:
    """A cluster of one host with a state, felix running, and a listener for the kernel's notifications."""

    def __init__(self, directory: Path, size: Size) -> None:
        self.size = size
        self.cluster = FelixCluster(directory, ("h1",))
        self.cluster.ready()
        self.host = self.cluster.hosts["h1"]
        self.cluster.node("h1")
        self.state = everything(size)
        self.write(self.state)
        self._interfaces(range(size.local + 200))
        self.bare_space = Space("bare")
        self.bare = self.bare_space.call(_Bare, self.state)

    def close(self) -> None:
        self.bare_space.call(self.bare.close)
        self.bare_space.remove()
        self.cluster.close()

    def write(self, items: Sequence[tuple[str, bytes]]) -> int:
        """Put many keys; the revision."""

        def work() -> int:
            revision = 0
            for start in range(0, len(items), _OPERATIONS):
                puts: list[Operation] = [Put(key, value) for key, value in items[start : start + _OPERATIONS]]
                revision = self.cluster.store.commit([], puts).revision
            return revision

        self.cluster.revision = self.cluster.router.call(work)
        return self.cluster.revision

    def _interfaces(self, numbers: range) -> None:
        lines = []
        for number in numbers:
            lines += [f"link add caliw{number} type veth peer name x{number}", f"link set caliw{number} up"]
        self.host.space.batch(lines)

    def start(self) -> str:
        """Start felix: how long until it has applied everything, its processor time and largest memory until then."""
        began = time.monotonic()
        self.host.start()
        self.host.wait(self.cluster.revision, 120)
        took = time.monotonic() - began
        assert self.host.process is not None
        status = Path(f"/proc/{self.host.process.pid}/status").read_text()
        (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
        return f"{took:.2f} s ({_cpu(self.host.process.pid):.2f} s of processor time), {peak / 1024:.0f} MB"

    def latencies(self, changes: Iterator[tuple[str, bytes]], rounds: int) -> tuple[list[float], list[float]]:
        """Milliseconds from an answered put to the kernel; and of the bare change."""
        found, bare = [], []
        listener = self.host.space.call(_Listener)
        try:
            for key, value in itertools.islice(changes, rounds):
                listener.clear()
                answered = self.cluster.router.call(self._timed_put, key, value)
                found.append((listener.wait() - answered) * 1000)
                bare.append(self.bare_space.call(self.bare.change, key, value) * 1000)
                time.sleep(0.005)
        finally:
            listener.close()
        return found, bare

    def _timed_put(self, key: str, value: bytes) -> float:
        self.cluster.store.commit([], [Put(key, value)])
        return time.monotonic()


class _Listener:
    """Hears of nftables' transactions in the namespace it is made in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 25)
        self._socket.bind((0, 0))
        self._socket.setsockopt(270, 1, _NFNLGRP_NFTABLES)

    def clear(self) -> None:
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(1 << 20)
        except BlockingIOError:
            return

    def wait(self) -> float:
        """When the last transaction of a change is in: one makes way, one changes, one clears away."""
        self._socket.settimeout(30)
        last = self._next()
        self._socket.settimeout(_QUIET)
        while True:
            try:
                last = self._next()
            except TimeoutError:
                return last

    def _next(self) -> float:
        while True:
            data = self._socket.recv(1 << 20)
            heard = time.monotonic()
            offset = 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == _NEWGEN:
                    return heard
                offset += (length + 3) & ~3

    def close(self) -> None:
        self._socket.close()


class _Bare:
    """The calculation and the packet filter alone, on the same state; what is timed is the kernel's part."""

    def __init__(self, state: Sequence[tuple[str, bytes]]) -> None:
        self._netlink = Netlink(NETLINK_NETFILTER)
        self._graph = Graph("h1")
        self._tables = Tables(self._netlink, NftSettings())
        self._graph.update([Update(key, decode(key, value), 1) for key, value in state])
        self._tables.apply(self._graph.flush())

    def change(self, key: str, value: bytes) -> float:
        self._graph.update([Update(key, decode(key, value), 1)])
        changes = self._graph.flush()
        began = time.perf_counter()
        self._tables.apply(changes)
        return time.perf_counter() - began

    def close(self) -> None:
        self._netlink.close()


def _changes(size: Size) -> dict[str, Callable[[], Iterator[tuple[str, bytes]]]]:
    """The kinds of change, each an endless stream."""
    numbers = itertools.count(size.local + size.remote + 1000)

    def set_member() -> Iterator[tuple[str, bytes]]:
        return (endpoint("h2", number, {"role": "r3"}, "m") for number in numbers)

    def known_list() -> Iterator[tuple[str, bytes]]:
        return (
            endpoint("h1", size.local + number, {"group": f"g{number % size.groups}", "role": "r1"}) for number in _new
        )

    def rule() -> Iterator[tuple[str, bytes]]:
        return (policy(1, size, 1000 + turn) for turn in itertools.count())

    def label() -> Iterator[tuple[str, bytes]]:
        return (endpoint("h1", 5, {"group": f"g{turn % size.groups}", "role": "r5"}) for turn in itertools.count(6))

    _new = itertools.count(0)
    return {
        "set member": set_member,
        "new endpoint, known list": known_list,
        "policy rule": rule,
        "label": label,
    }


def _line(name: str, found: Sequence[float], bare: Sequence[float]) -> str:
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    middle = statistics.median(bare)
    return f"  {name:28} p50 {statistics.median(found):6.2f} ms  p99 {p99:6.2f} ms  bare {middle:6.2f} ms"


def _at(directory: Path, size: Size, rounds: int) -> list[str]:
    """Latencies, start, restart and idling at one size."""
    bench = Bench(directory, size)
    try:
        lines = [f"{size}, {size.remote} remote: cold start {bench.start()}"]
        for name, stream in _changes(size).items():
            lines.append(_line(name, *bench.latencies(stream(), rounds)))
        lines.append(_line("new endpoint, new list", *_new_lists(bench, rounds)))
        lines.append(f"  idle: {_idle(bench):.2f} % of a core")
        bench.host.kill()
        lines.append(f"  restart with the same state: {bench.start()}")
        return lines
    finally:
        bench.close()


def _new_lists(bench: Bench, rounds: int) -> tuple[list[float], list[float]]:
    """An endpoint whose policy list nobody had: the policy, which selects nobody yet, is written before."""
    found: list[float] = []
    bare: list[float] = []
    for number in range(rounds):
        document = _document(
            "GlobalNetworkPolicy",
            f"own{number}",
            {"selector": f"own == 'o{number}'", "order": 5000, "types": ["Ingress"]},
        )
        stored = _stored(document)
        bench.write([stored])
        bench.host.wait(bench.cluster.revision)
        bench.bare_space.call(bench.bare.change, *stored)
        own = endpoint("h1", bench.size.local + 100 + number, {"group": "g1", "own": f"o{number}"}, "w")
        one, other = bench.latencies(iter([own]), 1)
        found += one
        bare += other
    return found, bare


def _idle(bench: Bench, seconds: float = 10.0) -> float:
    assert bench.host.process is not None
    pid = bench.host.process.pid
    before = _cpu(pid)
    time.sleep(seconds)
    return (_cpu(pid) - before) / seconds * 100


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- the packet path -----------------------------------------------------------------------------------------------

_SINK = """
import socket
with socket.create_server(("", 9000)) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        buffer = bytearray(1 << 20)
        while connection.recv_into(buffer):
            pass
        connection.close()
"""
_SOURCE = """
import resource, socket, sys, time
with socket.create_connection((sys.argv[1], 9000), 10) as connection:
    data, sent, until = bytes(1 << 20), 0, time.monotonic() + float(sys.argv[2])
    start = time.monotonic()
    while time.monotonic() < until:
        connection.sendall(data)
        sent += len(data)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(sent * 8 / 1e9, time.monotonic() - start, usage.ru_utime + usage.ru_stime)
"""
_ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("", 9001))
    print("ready", flush=True)
    while True:
        data, peer = server.recvfrom(64)
        server.sendto(data, peer)
"""
_PING = """
import socket, statistics, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.connect((sys.argv[1], 9001))
    client.settimeout(2)
    found = []
    for _ in range(2000):
        start = time.perf_counter()
        client.send(b"x")
        client.recv(64)
        found.append(time.perf_counter() - start)
    print(statistics.median(found) * 1e6)
"""


# What felix' tables cannot do without: the kernel remembers connections as soon as one rule asks for them.
_CONNTRACK = b"table ip t { chain c { type filter hook prerouting priority -300; ct state established accept; }; }"


def _path(directory: Path, rounds: int) -> list[str]:
    """Between two workloads over VXLAN: without felix' tables, and with some policies."""
    with FelixCluster(directory, ("h1", "h2")) as cluster:
        cluster.ready()
        cluster.vxlan()
        one = cluster.workload("one", "h1", "10.65.1.1", labels={"group": "g0"})
        two = cluster.workload("two", "h2", "10.65.2.1", labels={"group": "g0", "role": "r0"})
        for host in cluster.hosts.values():
            host.start()
        cluster.settle()
        servers = [_serve(two, _SINK), _serve(two, _ECHO)]
        try:
            return [_compare(cluster, one, servers[0].pid, count, rounds) for count in (0, 100, 1000)]
        finally:
            for server in servers:
                server.kill()
                server.wait()


class Flow(NamedTuple):
    """What a path carried: Gbit/s, Gbit for each second of processor time at both ends, microseconds there and back."""

    rate: float
    efficiency: float
    delay: float


def _compare(cluster: FelixCluster, one: Space, sink: int, count: int, rounds: int) -> str:
    """With `count` policies on both ends, the last of which allows; with no tables; with connection tracking alone."""
    for number in range(count):
        last = number == count - 1
        here, there = ({}, {}) if last else ({"nets": [f"10.9.{number % 250}.1/32"]},) * 2
        spec = {
            "selector": "has(group)",
            "order": number,
            "types": ["Ingress", "Egress"],
            "ingress": [{"action": "Allow", "source": here}],
            "egress": [{"action": "Allow", "destination": there}],
        }
        cluster.put(*_stored(_document("GlobalNetworkPolicy", f"path{number:04}", spec)))
    cluster.settle()
    for host in cluster.hosts.values():
        host.kill()
    ours = {host.name: subprocess.check_output(host.space.command("nft", "list", "ruleset")) for host in _both(cluster)}
    found: dict[str, list[Flow]] = {"felix": [], "nothing": [], "tracking": []}
    for _ in range(rounds):  # in turn, so that all meet the same noise
        for name, flows in found.items():
            for host in _both(cluster):
                rules = {"felix": ours[host.name], "nothing": b"", "tracking": _CONNTRACK}[name]
                subprocess.run(host.space.command("nft", "flush", "ruleset"), check=True)
                subprocess.run(host.space.command("nft", "-f", "-"), input=rules, check=True)
            flows.append(_measure(one, sink))
    for host in cluster.hosts.values():
        host.start()
    cluster.settle()
    felix, nothing, tracking = (
        Flow(*(statistics.median(column) for column in zip(*flows, strict=True))) for flows in found.values()
    )
    return (
        f"over VXLAN, {count} policies: {felix.rate:.2f} Gbit/s, {felix.rate / nothing.rate:.2f} of the path without "
        f"tables, {felix.rate / tracking.rate:.2f} of one with connection tracking alone; for the same processor time "
        f"{felix.efficiency / nothing.efficiency:.2f} and {felix.efficiency / tracking.efficiency:.2f}; round trip "
        f"{felix.delay:.0f} us, {felix.delay / nothing.delay:.2f} and {felix.delay / tracking.delay:.2f}"
    )


def _both(cluster: FelixCluster) -> list[Host]:
    return list(cluster.hosts.values())


def _serve(space: Space, program: str) -> "subprocess.Popen[str]":
    command = space.command("setpriv", "--pdeathsig", "KILL", sys.executable, "-c", program)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _measure(space: Space, sink: int) -> Flow:
    before = _cpu(sink)
    sent, seconds, busy = map(float, _run(space, _SOURCE, "10.65.2.1", "1.0").split())
    delay = float(_run(space, _PING, "10.65.2.1"))
    return Flow(sent / seconds, sent / (busy + _cpu(sink) - before), delay)


def _run(space: Space, program: str, *arguments: str) -> str:
    command = space.command(sys.executable, "-c", program, *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


SIZES = (
    Size(100, 1000, 100),
    Size(1000, 1000, 100),
    Size(1000, 1000, 100, 20),
    Size(1000, 1000, 100, 2, 200),
    Size(1000, 1000, 1000),
    Size(1000, 10000, 1000, 20),
)


def bench(rounds: int) -> list[str]:
    """The figures."""
    sweep()
    lines: list[str] = []
    only = os.environ.get("FELIX_BENCH", "")
    for number, size in enumerate(SIZES):
        if not only or str(number) in only:
            with tempfile.TemporaryDirectory() as directory:
                lines += _at(Path(directory), size, max(10, rounds * 5))
    if not only or "path" in only:
        with tempfile.TemporaryDirectory() as directory:
            lines += _path(Path(directory), max(2, rounds // 2))
    return lines
