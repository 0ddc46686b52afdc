"""Packets while the tables change under them: none that is allowed is lost, none that is denied gets through."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from calico.felix.dataplane.nft.tables import Tables
from calico.felix.desired import Changes, IpSet, Policy, PolicyId, SetChange, Side
from calico.netlink.message import NetlinkError
from calico.netlink.nftables.objects import Operation
from calico.netlink.nftables.transactions import Nfnetlink, TransactionError
from tests.integration.nft.test_semantics import SETTINGS, here, state
from tests.integration.nft.topology import ADDRESSES, Topology
from tests.unit.felix_nft.states import EMPTY, between, identity, port, rule, workload

ALLOWED, DENIED = 4000, 4001
ROUNDS = 300 if os.environ.get("DCOS_CALICO_SOAK") else 12
# What is denied is in an interval set: where that is empty for a moment, it gets through.
BASE = state(
    (
        *here(source=Side(not_sets=("s:b",)), to=port(DENIED)),
        *here(source=Side(sets=("s:a",)), to=port(ALLOWED)),
    ),
    sets={"s:a": IpSet("net", frozenset({"192.0.2.2"})), "s:b": IpSet("net", frozenset({"192.0.2.0/24"}))},
)


class Stream:
    """Datagrams, each a new connection, to a port that is allowed and to one that is denied; what arrived of them."""

    def __init__(self, network: Topology) -> None:
        self._network = network
        self.sent = 0
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send)
        self._inboxes = {number: self._inbox(number) for number in (ALLOWED, DENIED)}
        self._arrived = dict.fromkeys(self._inboxes, 0)

    def _inbox(self, number: int) -> socket.socket:
        inbox = self._network.places["two"].socket(socket.SOCK_DGRAM)
        inbox.bind(("0.0.0.0", number))
        inbox.setblocking(False)
        return inbox

    def _send(self) -> None:
        target = ADDRESSES["two"][0]
        while not self._stop.is_set():
            with self._network.places["far"].socket(socket.SOCK_DGRAM) as outbox:
                for number in (ALLOWED, DENIED):
                    outbox.sendto(self.sent.to_bytes(4, "big"), (target, number))
            self.sent += 1
            self._empty_inboxes()

    def start(self) -> None:
        self._sender.start()

    def stop(self) -> tuple[int, int]:
        """How many arrived at the port that is allowed, and at the one that is denied."""
        self._stop.set()
        self._sender.join()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and (self._arrived[ALLOWED] < self.sent or deadline - time.monotonic() > 4.8):
            self._empty_inboxes()
        for inbox in self._inboxes.values():
            inbox.close()
        return self._arrived[ALLOWED], self._arrived[DENIED]

    def _empty_inboxes(self) -> None:
        for number, inbox in self._inboxes.items():
            self._arrived[number] += _drain(inbox)


def _drain(inbox: socket.socket) -> int:
    count = 0
    while True:
        try:
            inbox.recv(100)
        except BlockingIOError:
            return count
        count += 1


@contextmanager
def streaming(network: Topology, losses: int = 0) -> Iterator[Stream]:
    """A stream for the length of the block. All that is allowed has arrived then, but for `losses`, nothing denied."""
    stream = Stream(network)
    stream.start()
    while stream.sent < 20:
        time.sleep(0.001)
    try:
        yield stream
    finally:
        allowed, denied = stream.stop()
    assert denied == 0
    assert allowed >= stream.sent - losses


def churn(tables: Tables, index: int) -> None:
    """Everything that a cluster does to the table, around the rules that decide about the stream."""
    member = f"10.7.{index % 250}.0/24"
    tables.apply(Changes(sets_changed={"s:a": SetChange(frozenset({member}), frozenset())}))
    other = workload(f"cali{100 + index}", f"10.65.1.{index % 250}", ingress=("default.p", f"q{index}"))
    extra = Policy((rule("deny"),), ())
    tables.apply(Changes(policies={PolicyId(f"q{index}"): extra}, workloads={identity(f"w{index}"): other}))
    more = Policy((*BASE.policies[PolicyId("default.p")].inbound, rule("deny", 6, to=port(1 + index))), ())
    tables.apply(Changes(policies={PolicyId("default.p"): more}))
    tables.apply(Changes(policies={PolicyId(f"q{index}"): None}, workloads={identity(f"w{index}"): None}))
    tables.apply(Changes(sets_changed={"s:a": SetChange(frozenset(), frozenset({member}))}))


def test_while_everything_changes(network: Topology) -> None:
    tables = Tables(network.netlink, SETTINGS)
    tables.apply(between(EMPTY, BASE))
    with streaming(network):
        for index in range(ROUNDS):
            churn(tables, index)
    assert tables.metrics()["failures"] == 0


def test_while_a_set_becomes_an_interval_set(network: Topology) -> None:
    with_many = IpSet(
        "net", frozenset({"192.0.2.2", *(f"10.9.{one}.{two}" for one in range(200) for two in range(100))})
    )
    for _ in range(3):
        tables = Tables(network.netlink, SETTINGS)
        network.nft("flush", "ruleset")
        tables.apply(between(EMPTY, BASE._replace(sets={**BASE.sets, "s:a": with_many})))
        with streaming(network) as stream:
            tables.apply(Changes(sets_changed={"s:a": SetChange(frozenset({"10.8.0.0/16"}), frozenset())}))
            until = stream.sent + 40
            while stream.sent < until:
                time.sleep(0.001)


def test_while_felix_starts_again_and_again(network: Topology) -> None:
    Tables(network.netlink, SETTINGS).apply(between(EMPTY, BASE))
    with streaming(network):
        for index in range(ROUNDS):
            settings = SETTINGS._replace(insert=bool(index % 2), log_prefix=f"p{index}")
            Tables(network.netlink, settings).apply(between(EMPTY, BASE))


class Stubborn(Nfnetlink):
    """Refuses what is not a replacement of the whole."""

    def commit(self, operations: Sequence[Operation], generation: int | None = None) -> int:
        if operations and not any(one.what.endswith((" calico", " calico-guard")) for one in operations):
            raise TransactionError(NetlinkError(errno.EINVAL, 0), operations[0])
        return super().commit(operations, generation)


class Deaf(Nfnetlink):
    """Loses the kernel's answer, as a full buffer does; what was asked has happened."""

    def commit(self, operations: Sequence[Operation], generation: int | None = None) -> int:
        super().commit(operations, generation)
        if operations:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return 0


@pytest.mark.parametrize(("kind", "losses"), [(Stubborn, 1 << 30), (Deaf, 0)])
def test_while_the_kernel_refuses(network: Topology, kind: Callable[..., Nfnetlink], losses: int) -> None:
    """The last resort may cost packets, and lets none through."""
    tables = Tables(network.netlink, SETTINGS)
    tables.apply(between(EMPTY, BASE))
    tables._nft = kind(network.netlink)
    with streaming(network, losses):
        for index in range(ROUNDS // 3):
            churn(tables, index)
    assert tables.metrics()["failures"] > 0
    assert tables.check() == []
