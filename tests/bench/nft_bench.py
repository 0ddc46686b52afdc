"""felix' packet filter in a namespace of its own: what one change costs, beside what the kernel alone takes for it.

The reference of each figure is the way of the same transactions from send to answer, in the same run. For the packet
path it is the same path without a table, in turns.
"""

import os
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.tables import Tables
from calico.felix.desired import (
    Changes,
    IpSet,
    Policy,
    PolicyId,
    PolicyList,
    PortRange,
    Profile,
    Rule,
    SetChange,
    Side,
    Workload,
    WorkloadId,
)
from calico.netlink.message import Message
from calico.netlink.namespaces import netlink_in, open_namespace
from calico.netlink.socket import NETLINK_NETFILTER, Netlink
from tests.integration.nft.topology import ADDRESSES, Topology, topology

_SETS, _MEMBERS, _RULES = 100, 100, 10
_LISTS, _SECONDS, _PINGS = (0, 100, 1000), 0.3, 500


# As any host with Docker has it.
_TRACKING = """table ip reference {
chain n { type nat hook postrouting priority 100; }
chain f { type filter hook forward priority 0; ct state established accept; }
}"""


class Size(NamedTuple):
    """Local endpoints, policies, policies per endpoint, and distinct lists of policies."""

    endpoints: int
    policies: int
    each: int
    groups: int

    def __str__(self) -> str:
        return f"E={self.endpoints} P={self.policies} {self.each}/endpoint {self.groups} groups"


_SIZES = (
    Size(100, 100, 2, 20),
    Size(1000, 100, 2, 20),
    Size(1000, 100, 20, 20),
    Size(1000, 100, 20, 200),
    Size(1000, 1000, 2, 200),
)


class _Timed:
    """A netlink socket that adds up how long the kernel took for transactions."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._netlink, name)

    def exchange(self, datagram: bytes, first: int, last: int, is_final: Callable[[Message], bool]) -> list[Message]:
        """As the socket's, with a clock."""
        start = time.perf_counter()
        try:
            return self._netlink.exchange(datagram, first, last, is_final)
        finally:
            self.seconds += time.perf_counter() - start


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    lines = []
    for size in _SIZES:
        with _namespace() as netlink:
            lines += _measure(size, netlink, max(rounds, 7) * 5)
    with topology() as network:
        return [*lines, *_packet_path(network, rounds)]


def _packet_path(network: Topology, rounds: int) -> list[str]:
    """A stream and a ping-pong between workloads: without a table, with connection tracking, with felix."""
    ways: dict[str, Callable[[], object]] = {
        "without a table": lambda: None,
        "with connection tracking alone": lambda: network.nft(_TRACKING),
        **{f"with {count} policies": partial(_apply, network, count) for count in _LISTS},
    }
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            network.nft("flush", "ruleset")
            way()
            samples[name].append((_throughput(network), _latency(network)))
    medians = {
        name: [statistics.median(column) for column in zip(*some, strict=True)] for name, some in samples.items()
    }
    speed, delay = medians["without a table"]
    return [
        f"packet path {name}: {one / 1e9:.2f} GB/s ({one / speed:.2f}), {other * 1e6:.1f} us ({other / delay:.2f})"
        for name, (one, other) in medians.items()
    ]


def _apply(network: Topology, count: int) -> None:
    Tables(network.netlink, NftSettings()).apply(_listed(count))


def _listed(count: int) -> Changes:
    names = tuple(PolicyId(_policy(number)) for number in range(count))
    rules = {name: Policy((Rule("allow", protocol=132),), (Rule("allow", protocol=132),)) for name in names[:-1]}
    rules |= {name: Policy((Rule("allow"),), (Rule("allow"),)) for name in names[-1:]}
    lists = PolicyList(names, names)
    workloads = {
        WorkloadId("o", "w", number): Workload(
            f"cali{number}", "", (f"10.65.0.{number}",), (), (), True, ("open",), lists
        )
        for number in ("1", "2")
    }
    return Changes(policies=rules, profiles={"open": Profile((Rule("allow"),), (Rule("allow"),))}, workloads=workloads)


def _throughput(network: Topology) -> float:
    """Bytes a second that one connection carries."""
    with (
        network.places["two"].socket(socket.SOCK_STREAM) as server,
        network.places["one"].socket(socket.SOCK_STREAM) as client,
    ):
        server.bind(("0.0.0.0", 0))
        server.listen()
        client.connect((ADDRESSES["two"][0], server.getsockname()[1]))
        connection, _ = server.accept()
        sender = threading.Thread(target=_send, args=(client,))
        start, received, buffer = time.perf_counter(), 0, bytearray(1 << 20)
        sender.start()
        while count := connection.recv_into(buffer):
            received += count
        connection.close()
        sender.join()
        return received / (time.perf_counter() - start)


def _send(client: socket.socket) -> None:
    block, until = bytes(1 << 20), time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        client.sendall(block)
    client.shutdown(socket.SHUT_WR)


def _latency(network: Topology) -> float:
    """Seconds that a datagram takes there and back."""
    with network.places["two"].socket(socket.SOCK_DGRAM) as one, network.places["one"].socket(socket.SOCK_DGRAM) as two:
        one.bind(("0.0.0.0", 0))
        two.connect((ADDRESSES["two"][0], one.getsockname()[1]))
        times = []
        for _ in range(_PINGS):
            start = time.perf_counter()
            two.send(b"ping")
            _, source = one.recvfrom(10)
            one.sendto(b"pong", source)
            two.recv(10)
            times.append(time.perf_counter() - start)
        return statistics.median(times)


@contextmanager
def _namespace() -> Iterator[Netlink]:
    name = f"nftb-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    descriptor = open_namespace(f"/run/netns/{name}")
    try:
        with netlink_in(descriptor, NETLINK_NETFILTER, 30.0) as netlink:
            yield netlink
    finally:
        os.close(descriptor)
        subprocess.run(["ip", "netns", "delete", name], check=True)


def _measure(size: Size, netlink: Netlink, rounds: int) -> list[str]:
    timed = _Timed(netlink)
    state = _state(size)
    tables = Tables(timed, NftSettings())  # type: ignore[arg-type]
    lines = [f"{size}: cold start {_once(lambda: tables.apply(state))}, the kernel {timed.seconds * 1e3:.0f} ms"]
    again = Tables(timed, NftSettings())  # type: ignore[arg-type]
    lines.append(f"{size}: restart without a change {_once(lambda: again.apply(state))}")
    new = iter(range(10_000, 20_000))
    for name, change in (
        ("set member", lambda: _member(next(new))),
        ("endpoint, known list", lambda: Changes(workloads=dict([_workload(next(new), size, 0)]))),
        ("endpoint, new list", lambda: Changes(workloads=dict([_fresh(next(new), size)]))),
        ("policy rule", lambda: Changes(policies={PolicyId(_policy(0)): _rules(next(new))})),
    ):
        lines.append(f"{size}: {name} {_repeat(tables, timed, change, rounds)}")
    return lines


def _once(work: Callable[[], object]) -> str:
    start = time.perf_counter()
    work()
    return f"{(time.perf_counter() - start) * 1e3:.0f} ms"


def _repeat(tables: Tables, timed: _Timed, change: Callable[[], Changes], rounds: int) -> str:
    whole, kernel = [], []
    for _ in range(rounds):
        changes = change()
        timed.seconds = 0.0
        start = time.perf_counter()
        tables.apply(changes)
        whole.append(time.perf_counter() - start)
        kernel.append(timed.seconds)
    p99 = sorted(whole)[-1 - len(whole) // 100]
    ratio = statistics.median(whole) / statistics.median(kernel)
    return (
        f"p50 {statistics.median(whole) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
        f"the kernel {statistics.median(kernel) * 1e3:.2f} ms, ratio {ratio:.2f}"
    )


def _state(size: Size) -> Changes:
    profile = Profile((Rule("allow"),), (Rule("allow"),))
    return Changes(
        sets_created={f"s:{number}": _addresses(number) for number in range(_SETS)},
        policies={PolicyId(_policy(number)): _rules(number) for number in range(size.policies)},
        profiles={"open": profile},
        workloads=dict(_workload(number, size, number % size.groups) for number in range(size.endpoints)),
    )


def _addresses(number: int) -> IpSet:
    return IpSet("net", frozenset(f"10.{number}.{member}.1" for member in range(_MEMBERS)))


def _policy(number: int) -> str:
    return f"default.policy-{number}"


def _rules(seed: int) -> Policy:
    rules = tuple(
        Rule(
            "allow",
            protocol=6,
            source=Side(sets=(f"s:{(seed + number) % _SETS}",)),
            destination=Side(ports=(PortRange(1000 + number, 1000 + number),)),
        )
        for number in range(_RULES)
    )
    return Policy(rules, rules)


def _workload(number: int, size: Size, group: int) -> tuple[WorkloadId, Workload]:
    names = tuple(PolicyId(_policy((group + step) % size.policies)) for step in range(size.each))
    address = f"10.200.{number // 250}.{number % 250 + 1}"
    workload = Workload(f"cali{number}", "", (address,), (), (), True, ("open",), PolicyList(names, names))
    return WorkloadId("o", "w", str(number)), workload


def _fresh(number: int, size: Size) -> tuple[WorkloadId, Workload]:
    """An endpoint whose list nobody has."""
    identity, workload = _workload(number, size, 0)
    names = (*workload.policies.ingress[:-1], PolicyId(_policy(number % size.policies)))
    order = tuple(reversed(names)) if number % 2 else (*names, PolicyId(_policy((number * 7) % size.policies)))
    return identity, workload._replace(policies=PolicyList(order, order))


def _member(number: int) -> Changes:
    member = f"11.0.{number // 250}.{number % 250}"
    return Changes(sets_changed={"s:0": SetChange(frozenset({member}), frozenset())})
