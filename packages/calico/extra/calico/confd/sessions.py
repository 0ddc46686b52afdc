"""How BIRD's sessions fare: read from its control socket, and said so that an operator knows what to do next."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from calico.confd import control
from calico.confd.peering import KINDS

_NAME = re.compile(r"(Global|Node|Mesh)_[0-9a-fA-F_]+")
_ROUTES = re.compile(r"([0-9]+) (imported|filtered|exported|preferred)")
_ADDRESS = re.compile(r"([0-9a-f.:]+)/[0-9]+ \(")
_FROM = "from "  # how templates/bird.cfg.jinja describes a session
_HEADER = ["name", "proto", "table", "state", "since", "info"]


class SessionState(NamedTuple):
    """One BGP session as BIRD reports it. `state` is the protocol's (`up`, `start`, `down`), `info` BGP's own
    (`Established`, `Active`, `Passive`...), `since` as BIRD writes it, `error` what ended the session last."""

    name: str
    address: str
    as_number: int
    own_as: int
    state: str
    since: str
    info: str
    error: str = ""
    imported: int = 0
    exported: int = 0
    preferred: int = 0

    @property
    def kind(self) -> str:
        """`global`, `node specific` or `node-to-node mesh`, as calicoctl calls it."""
        return KINDS[self.name.partition("_")[0]]

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def is_established(self) -> bool:
        """Whether routes are exchanged."""
        return self.info == "Established"

    @property
    def reason(self) -> str:
        """BGP's state, and what keeps it from being another."""
        return f"{self.info} {self.error}".strip()


class Daemon(NamedTuple):
    """BIRD itself: its version, router id, and when it started and read its configuration last."""

    version: str = ""
    router_id: str = ""
    started: str = ""
    configured: str = ""


class Protocol(NamedTuple):
    """A row of `show protocols all`; `details` are the indented lines below it, by what stands before their colon."""

    name: str
    proto: str
    state: str
    since: str
    info: str
    details: Mapping[str, str]

    @property
    def routes(self) -> dict[str, int]:
        """Numbers of routes `imported`, `exported`, `preferred`."""
        return {what: int(count) for count, what in _ROUTES.findall(self.details.get("Routes", ""))}


class Running(NamedTuple):
    """What a BIRD runs, in the order of its configuration, and the addresses it finds on the host's interfaces."""

    protocols: tuple[Protocol, ...] = ()
    addresses: frozenset[str] = frozenset()

    @property
    def sessions(self) -> list[SessionState]:
        """The BGP sessions."""
        chosen = (one for one in self.protocols if one.proto == "BGP" and _NAME.fullmatch(one.name))
        return [self._session(one) for one in chosen]

    def _session(self, protocol: Protocol) -> SessionState:
        session = _session(protocol)
        source = protocol.details.get("Description", "").removeprefix(_FROM)
        if source and source not in self.addresses and not session.is_established:
            # BIRD says "Connection closed" of it, as of a neighbour that hangs up.
            return session._replace(error=f"{source} is on no interface here")
        return session


def read_running(path: str) -> Running:
    """What the BIRD at `path` runs; raises ControlError."""
    protocols = tuple(parse_protocols(control.ask(path, "show protocols all")))
    lines = control.ask(path, "show interfaces")
    return Running(protocols, frozenset(found[1] for line in lines if (found := _ADDRESS.match(line.text.strip()))))


def read_daemon(path: str) -> Daemon:
    """The BIRD at `path`; raises ControlError."""
    found = {}
    for line in control.ask(path, "show status"):
        for label in ("BIRD", "Router ID is", "Last reboot on", "Last reconfiguration on"):
            if line.text.startswith(f"{label} "):
                found[label] = line.text[len(label) + 1 :]
    return Daemon(
        found.get("BIRD", ""),
        found.get("Router ID is", ""),
        found.get("Last reboot on", ""),
        found.get("Last reconfiguration on", ""),
    )


def parse_protocols(lines: Iterable[control.Line]) -> Iterator[Protocol]:
    """The rows of a reply to `show protocols all`; raises ControlError when it is none."""
    row: list[str] = []
    details: dict[str, str] = {}
    for line in lines:
        if line.code == 2002 and line.text.lower().split() != _HEADER:
            raise control.ControlError(f"unknown BIRD table output format: {line.text!r}", "is this BIRD 2.0?")
        if line.code == 1002:
            yield from _protocol(row, details)
            row, details = line.text.split(None, 5), {}
        elif line.code == 1006:
            label, _, value = line.text.partition(":")
            details.setdefault(label.strip(), value.strip())
    yield from _protocol(row, details)


def _protocol(row: list[str], details: Mapping[str, str]) -> Iterator[Protocol]:
    if len(row) >= 5:
        name, proto, _, state, since, *info = row
        yield Protocol(name, proto, state, since, info[0].strip() if info else "", details)


def _session(protocol: Protocol) -> SessionState:
    details, routes = protocol.details, protocol.routes
    info = details.get("BGP state") or protocol.info.partition(" ")[0]
    return SessionState(
        protocol.name,
        details.get("Neighbor address", ""),
        _number(details.get("Neighbor AS", "")),
        _number(details.get("Local AS", "")),
        protocol.state,
        protocol.since,
        info,
        details.get("Last error", "") if info != "Established" else "",
        routes.get("imported", 0),
        routes.get("exported", 0),
        routes.get("preferred", 0),
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


_UNREACHABLE = "{peer} cannot be reached: check its address, the cable and the route (ip route get {peer})"
_FILTERED = (
    "no answer from {peer}: open tcp port 179 both ways (host endpoints, cloud security groups) and check that BIRD "
    "runs there; where a password is set, both ends' must be the same"
)
_HANGS_UP = (
    "{peer} hangs up: it has no peering with this node's address, or takes it for another AS than {own_as}; compare "
    "both ends' addresses and AS numbers"
)
_OTHER_AS = (
    "the AS numbers do not agree: this end is in {own_as} and takes {peer} for {peer_as}; compare its configuration, "
    "BGPPeer asNumber and Node spec.bgp.asNumber"
)
_NEXT_STEPS = (
    ("Connection refused", "nothing listens on {peer} port 179: systemctl status dcos-calico-bird there"),
    ("No route to host", _UNREACHABLE),
    ("Host is unreachable", _UNREACHABLE),
    ("Network is unreachable", _UNREACHABLE),
    ("Network unreachable", _UNREACHABLE),
    ("Connection timed out", _FILTERED),
    (
        "is on no interface here",
        "the node's address is another one: compare `calicoctl get node -o wide` with `ip address`, then run detect_ip",
    ),
    ("Connection closed", _HANGS_UP),
    ("Connection reset", _HANGS_UP),
    ("Bad peer AS", _OTHER_AS),
    ("Bad BGP identifier", "both ends have the same router id: see CALICO_ROUTER_ID and the nodes' IPv4 addresses"),
    ("Hold timer expired", "packets to or from {peer} get lost: check the network between, and the load of both"),
    ("Peer de-configured", "{peer} has no peering with this node: check BGPPeers, or the router's configuration"),
    ("Connection rejected", "{peer} has no peering with this node's address: compare both ends' addresses"),
    ("Administrative shutdown", "the operator of {peer} shut the session down"),
    ("Administrative reset", "{peer} was restarted: wait a minute"),
    ("Invalid next hop", "the peer sends a next hop that no route leads to"),
    ("Unsupported capability", "{peer} does not speak this address family: enable it there"),
    ("Route limit exceeded", "{peer} sends or gets more routes than it is limited to"),
)


def next_step(session: SessionState) -> str:
    """What an operator does about a session; empty where there is nothing to do."""
    if session.is_established:
        return ""
    values = {"peer": session.address, "peer_as": session.as_number, "own_as": session.own_as}
    for sign, advice in _NEXT_STEPS:
        if sign in session.error:
            return advice.format(**values)
    if session.info == "Passive":
        return (
            f"waits for {session.address} to connect: check that BIRD runs there, that it knows this node (calicoctl "
            "node status there), and that tcp port 179 is open here"
        )
    if session.state == "down":
        return f"the session was disabled by hand: /opt/mesosphere/bin/birdcl -s {control.SOCKET} enable {session.name}"
    return _FILTERED.format(**values)
