"""Packets: TCP, UDP, ICMP and SCTP probes between namespaces, many at a time, by one process.

Every socket is made inside the namespace it speaks from and then used here, so that a hundred probes cost one wait. A
probe is *answered* when its packet arrived and the reply came back; it has *arrived* when only the former is known.
"""

import contextlib
import errno
import itertools
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from tests.integration.felix.spaces import Space

Protocol = Literal["tcp", "udp", "icmp", "sctp"]
_SCTP = 132
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_AGAIN = 0.2
_tokens = itertools.count(1)


class Probe(NamedTuple):
    """A packet to send. `port` is the destination's; `source` an address other than the sender's own, to spoof."""

    sender: str
    receiver: str
    protocol: Protocol = "tcp"
    port: int = 8055
    address: str = ""
    source: str = ""
    version: Literal[4, 6] = 4
    source_port: int = 0


class Result(NamedTuple):
    """What became of a probe. `seen_from` is the source address that the receiver saw, for those that show it."""

    arrived: bool = False
    answered: bool = False
    seen_from: str = ""


class Party(NamedTuple):
    """Who sends and receives: a namespace and its own addresses."""

    space: Space
    address4: str = ""
    address6: str = ""


class Prober:
    """Sends probes between parties. Servers are opened where they are first needed, and stay."""

    def __init__(self) -> None:
        self.parties: dict[str, Party] = {}
        self._servers: dict[tuple[str, int, Protocol, int], _Server] = {}
        self._selector = selectors.DefaultSelector()

    def close(self) -> None:
        """Close every socket."""
        for server in self._servers.values():
            server.close()
        self._selector.close()

    def forget(self, name: str) -> None:
        """A party is gone."""
        self.parties.pop(name, None)
        for key in [key for key in self._servers if key[0] == name]:
            self._servers.pop(key).close()

    def probe(self, probes: Sequence[Probe], patience: float = 0.35, deadline: float = 15.0) -> list[Result]:
        """Send all at once; what became of each once nothing happened for `patience` seconds."""
        clients = [self._client(probe) for probe in probes]
        start = time.monotonic()
        last = time.monotonic()
        try:
            while any(not client.answered for client in clients):
                now = time.monotonic()
                if now - last > patience or now - start > deadline:
                    break
                for client in clients:
                    client.send(now)
                for key, _ in self._selector.select(0.02):
                    if key.data.on_readable():
                        last = time.monotonic()
        finally:
            for client in clients:
                client.close()
        return [self._result(client) for client in clients]

    def _result(self, client: "_Client") -> Result:
        seen = client.server.seen.pop(client.token, None)
        return Result(seen is not None or client.answered, client.answered, seen or "")

    def _client(self, probe: Probe) -> "_Client":
        server = self._server(probe)
        sender, receiver = self.parties[probe.sender], self.parties[probe.receiver]
        target = probe.address or (receiver.address4 if probe.version == 4 else receiver.address6)
        kind = _TCPClient if probe.protocol == "tcp" else _DatagramClient
        return sender.space.call(kind, probe, target, server, self._selector)

    def _server(self, probe: Probe) -> "_Server":
        port = 0 if probe.protocol in ("icmp", "sctp") else probe.port
        key = (probe.receiver, probe.version, probe.protocol, port)
        if key not in self._servers:
            space = self.parties[probe.receiver].space
            self._servers[key] = space.call(_Server, probe.protocol, probe.version, port, self._selector)
        return self._servers[key]


def _socket(protocol: Protocol, version: int) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    icmp = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    kind, number = {
        "tcp": (socket.SOCK_STREAM, 0),
        "udp": (socket.SOCK_DGRAM, 0),
        "icmp": (socket.SOCK_RAW, icmp),
        "sctp": (socket.SOCK_RAW, _SCTP),
    }[protocol]
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK, number)
    if version == 6 and protocol in ("tcp", "udp"):
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return made


class _Server:
    """Receives and answers. `seen` are the tokens that arrived, and from where."""

    def __init__(self, protocol: Protocol, version: int, port: int, selector: selectors.BaseSelector) -> None:
        self.protocol, self.version = protocol, version
        self.seen: dict[int, str] = {}
        self._selector = selector
        self._connections: list[socket.socket] = []
        self._socket = _socket(protocol, version)
        if port:
            self._socket.bind(("" if version == 4 else "::", port))
        if protocol == "tcp":
            self._socket.listen(256)
        selector.register(self._socket, selectors.EVENT_READ, self)

    def close(self) -> None:
        for one in (self._socket, *self._connections):
            if one.fileno() >= 0:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(one)
                one.close()

    def on_readable(self) -> bool:
        if self.protocol == "tcp":
            return self._accept()
        progress = False
        while True:
            try:
                data, peer = self._socket.recvfrom(4096)
            except (BlockingIOError, ConnectionRefusedError):
                return progress
            progress |= self._take(data, peer)

    def _accept(self) -> bool:
        try:
            connection, peer = self._socket.accept()
        except BlockingIOError:
            return False
        connection.setblocking(False)
        self._connections.append(connection)
        self._selector.register(connection, selectors.EVENT_READ, _Connection(self, connection, peer[0]))
        return True

    def _take(self, data: bytes, peer: tuple[str, int]) -> bool:
        packet = _payload(data, self.protocol, self.version)
        token = _token(packet, self.protocol, self.version, is_request=True)
        if token is None:
            return False
        is_new = token not in self.seen
        self.seen[token] = peer[0]
        try:
            if self.protocol == "udp":
                self._socket.sendto(packet, peer)
            elif self.protocol == "sctp":
                self._socket.sendto(_sctp_answer(packet), (peer[0], 0))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAGAIN):
                raise
        return is_new


class _Connection:
    """A TCP connection on the server's side: the first eight bytes are the token, and go back."""

    def __init__(self, server: _Server, connection: socket.socket, peer: str) -> None:
        self._server, self._connection, self._peer = server, connection, peer

    def on_readable(self) -> bool:
        try:
            data = self._connection.recv(64)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if len(data) >= 8:
            self._server.seen[struct.unpack(">Q", data[:8])[0]] = self._peer
            self._connection.send(data)
            return True
        self._server._selector.unregister(self._connection)
        self._connection.close()
        return False


class _Client:
    """One probe under way."""

    def __init__(self, probe: Probe, target: str, server: _Server, selector: selectors.BaseSelector) -> None:
        self.probe, self.server, self.token = probe, server, next(_tokens) & 0x7FFFFFFF
        self.answered = False
        self._target, self._selector = target, selector
        self._socket = _socket(probe.protocol, probe.version)
        if probe.source:
            level, option = (
                (socket.IPPROTO_IP, _IP_TRANSPARENT) if probe.version == 4 else (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
            )
            self._socket.setsockopt(level, option, 1)
        if probe.source or probe.source_port:
            self._socket.bind((probe.source, probe.source_port))

    def send(self, now: float) -> None:
        """Send, or send again, when it is time."""
        raise NotImplementedError

    def on_readable(self) -> bool:
        """Something came."""
        raise NotImplementedError

    def close(self) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._socket)
        self._socket.close()


class _TCPClient(_Client):
    def __init__(self, probe: Probe, target: str, server: _Server, selector: selectors.BaseSelector) -> None:
        super().__init__(probe, target, server, selector)
        self._is_connected = self._is_refused = False
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            self._socket.connect_ex((target, probe.port))
        except OSError:
            self._is_refused = True
        selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def send(self, now: float) -> None:
        """The kernel repeats what is lost."""

    def on_readable(self) -> bool:
        if self._is_refused:
            return False
        if not self._is_connected:
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._is_refused = True
                self._selector.unregister(self._socket)
                return False
            try:
                self._socket.send(struct.pack(">Q", self.token))
            except OSError:
                return False
            self._is_connected = True
            self._selector.modify(self._socket, selectors.EVENT_READ, self)
            return True
        try:
            data = self._socket.recv(64)
        except OSError:
            data = b""
        if data == struct.pack(">Q", self.token):
            self.answered = True
        else:
            self._selector.unregister(self._socket)
            self._is_refused = True
        return self.answered


class _DatagramClient(_Client):
    def __init__(self, probe: Probe, target: str, server: _Server, selector: selectors.BaseSelector) -> None:
        super().__init__(probe, target, server, selector)
        self._next = 0.0
        self._sequence = 0
        selector.register(self._socket, selectors.EVENT_READ, self)

    def send(self, now: float) -> None:
        if self.answered or now < self._next:
            return
        self._next = now + _AGAIN
        self._sequence += 1
        port = self.probe.port if self.probe.protocol == "udp" else 0
        try:
            self._socket.sendto(self._packet(), (self._target, port))
        except OSError:
            return

    def _packet(self) -> bytes:
        token = struct.pack(">Q", self.token)
        if self.probe.protocol == "udp":
            return token
        if self.probe.protocol == "sctp":
            return _sctp_request(self.token, self.probe.port)
        kind = 8 if self.probe.version == 4 else 128
        header = struct.pack(">BBHHH", kind, 0, 0, self.token & 0xFFFF, self._sequence)
        if self.probe.version == 4:
            header = struct.pack(">BBHHH", kind, 0, _sum(header + token), self.token & 0xFFFF, self._sequence)
        return header + token

    def on_readable(self) -> bool:
        while not self.answered:
            try:
                data, _ = self._socket.recvfrom(4096)
            except (BlockingIOError, ConnectionRefusedError):
                return False
            except OSError:
                return False
            packet = _payload(data, self.probe.protocol, self.probe.version)
            if _token(packet, self.probe.protocol, self.probe.version, is_request=False) == self.token:
                self.answered = True
        return True


def _payload(data: bytes, protocol: Protocol, version: int) -> bytes:
    """What follows the IP header: raw sockets of IPv4 show it."""
    return data[(data[0] & 0xF) * 4 :] if version == 4 and protocol in ("icmp", "sctp") else data


def _token(packet: bytes, protocol: Protocol, version: int, *, is_request: bool) -> int | None:
    """The token in a request or a reply; None for any other packet."""
    if protocol == "udp":
        return int(struct.unpack(">Q", packet[:8])[0]) if len(packet) >= 8 else None
    if protocol == "sctp":
        return _sctp_token(packet, 1 if is_request else 2)
    kinds = {4: (8, 0), 6: (128, 129)}[version]
    if len(packet) < 16 or packet[0] != kinds[0 if is_request else 1]:
        return None
    return int(struct.unpack(">Q", packet[8:16])[0])


def _sum(data: bytes) -> int:
    """The Internet checksum."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _crc_table() -> list[int]:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _sctp(source: int, destination: int, tag: int, chunk: int, initiate: int) -> bytes:
    """An SCTP packet with an INIT (1) or INIT ACK (2) chunk. Without SCTP in the kernel, packets are made by hand."""
    body = struct.pack(">BBHIIHHI", chunk, 0, 20, initiate, 65536, 1, 1, initiate)
    packet = struct.pack(">HHII", source, destination, tag, 0) + body
    return packet[:8] + struct.pack("<I", _crc32c(packet)) + packet[12:]


def _sctp_request(token: int, port: int) -> bytes:
    return _sctp(1024 + token % 60000, port, 0, 1, token)


def _sctp_answer(request: bytes) -> bytes:
    source, destination = struct.unpack(">HH", request[:4])
    (token,) = struct.unpack(">I", request[16:20])
    return _sctp(destination, source, token, 2, token)


def _sctp_token(packet: bytes, chunk: int) -> int | None:
    if len(packet) < 32 or packet[12] != chunk:
        return None
    return int(struct.unpack(">I", packet[16:20])[0])


def check(prober: Prober, cells: Iterable[tuple[Probe, bool]], deadline: float = 8.0) -> list[str]:
    """Send the probes of a table; a line for each that did not do what is expected: answered, or not even arrived.

    What should pass and did not is sent again until the deadline: a busy machine is no policy.
    """
    waiting: list[tuple[Probe, bool]] = list(cells)
    until = time.monotonic() + deadline
    wrong: list[str] = []
    while waiting:
        results = prober.probe([probe for probe, _ in waiting])
        late: list[tuple[Probe, bool]] = []
        for (probe, expected), result in zip(waiting, results, strict=True):
            if not expected and result.arrived:
                wrong.append(f"{describe(probe)} arrived and should not")
            elif expected and not result.answered:
                late.append((probe, expected))
        if time.monotonic() > until:
            return wrong + [f"{describe(probe)} did not arrive and should" for probe, _ in late]
        waiting = late
    return wrong


def describe(probe: Probe) -> str:
    """A probe in words."""
    target = probe.address or probe.receiver
    spoofed = f" as {probe.source}" if probe.source else ""
    return f"{probe.sender}{spoofed} -> {target} {probe.protocol}/{probe.port} (IPv{probe.version})"
