"""A host with two workloads and a neighbour, in network namespaces, and probes between them.

    one (10.65.0.1, fd65::1) --- cali1 [   host    ] eth0 --- far (192.0.2.2, 2001:db8::2)
    two (10.65.0.2, fd65::2) --- cali2 [ 192.0.2.1 ]

Neighbours are static, so that a packet is where it goes before the call that sent it returns.
"""

import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from calico.netlink.namespaces import netlink_in, open_namespace, run_in
from calico.netlink.socket import NETLINK_NETFILTER, Netlink

_PREFIX = "nftt"
_SOURCES = count(20000)
ARRIVAL, SILENCE = 10.0, 0.15

ADDRESSES = {
    "one": ("10.65.0.1", "fd65::1"),
    "two": ("10.65.0.2", "fd65::2"),
    "far": ("192.0.2.2", "2001:db8::2"),
    "host": ("192.0.2.1", "2001:db8::1"),
}
_MACS = {"one": "02:00:00:00:00:01", "two": "02:00:00:00:00:02", "far": "02:00:00:00:00:03"}
_HOST_MACS = {"one": "02:00:00:00:01:01", "two": "02:00:00:00:01:02", "far": "02:00:00:00:01:03"}
SPOOFED = "10.65.0.77"
"""Workload `one` has this address besides, and nobody knows."""
HOST_SIDE = {"one": "cali1", "two": "cali2", "far": "eth0"}


class Place(NamedTuple):
    """A namespace: its name and a descriptor of it."""

    name: str
    descriptor: int

    def run(self, *words: str) -> str:
        """What a program prints there."""
        command = ["ip", "netns", "exec", self.name, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def socket(self, kind: int, version: int = 4, protocol: int = 0) -> socket.socket:
        """A socket there."""
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        return run_in(self.descriptor, lambda: socket.socket(family, kind, protocol))


class Topology(NamedTuple):
    """The namespaces by name, and a netfilter socket in the host's."""

    places: dict[str, Place]
    netlink: Netlink

    @property
    def host(self) -> Place:
        """The one that felix would run in."""
        return self.places["host"]

    def nft(self, *words: str) -> str:
        """What nft prints on the host."""
        return self.host.run("nft", *words)

    def udp(
        self,
        sender: str,
        receiver: str,
        port: int,
        *,
        version: int = 4,
        source_port: int = 0,
        source: str = "",
        to: str = "",
        payload: bytes = b"probe",
    ) -> bool:
        """Whether a datagram from one place to another arrives. `to`: sent to another address than the receiver's."""
        return (
            self.udp_source(
                sender, receiver, port, version=version, source_port=source_port, source=source, to=to, payload=payload
            )
            != ""
        )

    def udp_source(
        self,
        sender: str,
        receiver: str,
        port: int,
        *,
        version: int = 4,
        source_port: int = 0,
        source: str = "",
        to: str = "",
        payload: bytes = b"probe",
        patience: float = SILENCE,
    ) -> str:
        """The source that a datagram arrives with; empty where it does not arrive."""
        index = 0 if version == 4 else 1
        with (
            self.places[receiver].socket(socket.SOCK_DGRAM, version) as inbox,
            self.places[sender].socket(socket.SOCK_DGRAM, version) as outbox,
        ):
            inbox.bind(("::" if version == 6 else "0.0.0.0", port))
            outbox.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            outbox.bind((source, source_port or next(_SOURCES)))
            try:
                outbox.sendto(payload, (to or ADDRESSES[receiver][index], port))
            except PermissionError:
                return ""
            if not select.select([inbox], [], [], patience)[0]:
                return ""
            return str(inbox.recvfrom(2000)[1][0])

    def tcp(self, sender: str, receiver: str, port: int, *, version: int = 4) -> bool:
        """Whether a connection comes about."""
        index = 0 if version == 4 else 1
        with (
            self.places[receiver].socket(socket.SOCK_STREAM, version) as server,
            self.places[sender].socket(socket.SOCK_STREAM, version) as client,
        ):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("::" if version == 6 else "0.0.0.0", port))
            server.listen()
            client.settimeout(SILENCE)
            try:
                client.connect((ADDRESSES[receiver][index], port))
            except (TimeoutError, OSError):
                return False
            return True

    def icmp(self, sender: str, receiver: str, kind: int = 8, code: int = 0) -> bool:
        """Whether an ICMP message of this type and code arrives (IPv4)."""
        with (
            self.places[receiver].socket(socket.SOCK_RAW, 4, socket.IPPROTO_ICMP) as inbox,
            self.places[sender].socket(socket.SOCK_RAW, 4, socket.IPPROTO_ICMP) as outbox,
        ):
            mark = next(_SOURCES).to_bytes(2, "big")
            body = bytes((kind, code, 0, 0)) + mark + b"\0\1"
            total = sum(int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2))
            checksum = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
            outbox.sendto(body[:2] + checksum + body[4:], (ADDRESSES[receiver][0], 0))
            deadline = time.monotonic() + SILENCE
            while (left := deadline - time.monotonic()) > 0:
                if select.select([inbox], [], [], left)[0]:
                    packet = inbox.recv(2000)
                    if packet[20:22] == bytes((kind, code)) and packet[24:26] == mark:
                        return True
            return False


@contextmanager
def topology() -> Iterator[Topology]:
    """The namespaces, for as long as the block lasts."""
    names = {place: f"{_PREFIX}-{os.getpid()}-{place}" for place in ADDRESSES}
    _sweep()
    places: dict[str, Place] = {}
    try:
        for place, name in names.items():
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=20)
            places[place] = Place(name, open_namespace(f"/run/netns/{name}"))
        _build(names, places["host"].descriptor)
        with netlink_in(places["host"].descriptor, NETLINK_NETFILTER) as netlink:
            yield Topology(places, netlink)
    finally:
        for one in places.values():
            os.close(one.descriptor)
        for name in names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=20)


def _sweep() -> None:
    """Remove what a run left that was killed."""
    for path in Path("/run/netns").glob(f"{_PREFIX}-*"):
        if not Path(f"/proc/{path.name.split('-')[1]}").exists():
            subprocess.run(["ip", "netns", "delete", path.name], check=False, capture_output=True, timeout=20)


def _build(names: dict[str, str], descriptor: int) -> None:
    host = names["host"]
    _ip(host, "link set lo up")
    for place, interface in HOST_SIDE.items():
        _ip(host, f"link add {interface} type veth peer name eth0 netns {names[place]}")
        v4, v6 = ADDRESSES[place]
        gateway4, gateway6 = ("192.0.2.1", "2001:db8::1") if place == "far" else ("169.254.1.1", "fe80::1")
        _ip(
            names[place],
            "link set lo up",
            f"link set eth0 address {_MACS[place]} up",
            f"addr add {v4}/32 dev eth0",
            f"addr add {v6}/128 dev eth0 nodad",
            f"neigh add {gateway4} lladdr {_HOST_MACS[place]} dev eth0",
            f"neigh add {gateway6} lladdr {_HOST_MACS[place]} dev eth0",
            f"route add {gateway4} dev eth0",
            f"route add default via {gateway4} dev eth0 onlink",
            f"-6 route add default via {gateway6} dev eth0 onlink",
        )
        _ip(
            host,
            f"link set {interface} address {_HOST_MACS[place]} up",
            f"neigh add {v4} lladdr {_MACS[place]} dev {interface}",
            f"neigh add {v6} lladdr {_MACS[place]} dev {interface}",
            f"route add {v4}/32 dev {interface} proto static",
            f"-6 route add {v6}/128 dev {interface} proto static",
        )
    _ip(names["one"], f"addr add {SPOOFED}/32 dev eth0")
    _ip(host, "addr add 192.0.2.1/32 dev eth0", "addr add 2001:db8::1/128 dev eth0 nodad")
    run_in(descriptor, _forward)


def _forward() -> None:
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path(f"/proc/sys/net/{setting}").write_text("1")


def _ip(namespace: str, *lines: str) -> None:
    for line in lines:
        family = ["-6"] if line.startswith("-6 ") else []
        words = line.removeprefix("-6 ").split()
        subprocess.run(["ip", *family, "-n", namespace, *words], check=True, timeout=20)
