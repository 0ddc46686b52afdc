"""`policy trace SOURCE DESTINATION`: which policy, rule or profile decides, in order, and why.

The calculation and the rules are felix' own, over the datastore as it is at one moment; nothing is sent anywhere.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calico.calicoctl.output.table import render
from calico.calicoctl.session import Failure, Session
from calico.datastore.errors import DatastoreError
from calico.datastore.store import Store, listing
from calico.datastore.syncer import Update
from calico.felix import live
from calico.felix.calc.inputs import DECODERS
from calico.felix.config.sources import Source, from_environment
from calico.felix.configuration import DECODERS as CONFIGURATION
from calico.felix.desired import Icmp
from calico.felix.trace.cluster import Cluster, UnknownEndError, pair
from calico.felix.trace.lists import Step
from calico.felix.trace.matching import NAMES, Packet
from calico.felix.trace.route import Trace

if TYPE_CHECKING:
    from calico.felix.trace.path import Stage

NODE_FILE = Path("/opt/mesosphere/etc/calico/calico-node.env")
"""What the bundle gives felix on every node; read where it is there, since the datastore does not hold it."""
LIVE_SOCKET = Path("/run/calico") / live.SOCKET
_PROTOCOLS = {name: number for number, name in NAMES.items()}
_HEADINGS = ("NODE", "ENDPOINT", "DIRECTION", "ASKED", "RULE", "RESULT", "WHY")


def run(session: Session, options: argparse.Namespace) -> int:
    """Print the trace and the verdict."""
    client = session.client(options.config)
    try:
        cluster, unreadable = read_cluster(client.store)
        found = _trace(cluster, options)
    except DatastoreError as error:
        raise Failure(str(error)) from None
    except UnknownEndError as error:
        raise Failure(str(error)) from None
    for line in unreadable:
        session.complain(f"counts as absent: {line}")
    counters, missing = _counters(found, options.live)
    if options.output == "json":
        session.say(json.dumps(document(found, counters), indent=2))
    else:
        session.stdout.write(_text(found, options.verbose))
        session.stdout.write(_live_text(counters) if counters else "")
    if missing:
        session.complain(missing)
    return 1 if missing else 0


def read_cluster(store: Store) -> tuple[Cluster, list[str]]:
    """The cluster at one revision, and what in it is not valid."""
    updates, unreadable, revision = [], [], 0
    for prefix, decoder in sorted({**DECODERS, **CONFIGURATION}.items()):
        found = listing(store, prefix, revision)
        revision = found.revision
        for item in found.items:
            try:
                updates.append(Update(item.key, decoder(item.key, item.value, item.mod_revision), item.mod_revision))
            except ValueError as error:
                unreadable.append(f"{item.key}: {error}")
    return Cluster([update for update in updates if update.value is not None], _node_sources()), unreadable


def _node_sources() -> tuple[Source, ...]:
    """What the bundle's own file sets on every node, without the names that differ between them."""
    try:
        lines = NODE_FILE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    given = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    return (from_environment({name: value for name, value in given.items() if name != "FELIX_FELIXHOSTNAME"}),)


def _trace(cluster: Cluster, options: argparse.Namespace) -> Trace:
    source, destination = (
        cluster.find(text, options.namespace or "default") for text in (options.source, options.destination)
    )
    here, there = pair(source, destination)
    protocol = _protocol(options.protocol)
    has_ports = NAMES.get(protocol) in ("tcp", "udp", "sctp", "udplite")
    if has_ports and not options.port:
        raise Failure(f"--port is needed with protocol {options.protocol}")
    icmp = Icmp(options.icmp_type, options.icmp_code) if protocol in (1, 58) else None
    packet = Packet(here, there, protocol, icmp=icmp)
    if has_ports:
        packet = packet._replace(source_port=options.source_port, destination_port=options.port)
    return cluster.trace(packet, source, destination, options.interface)


def _protocol(text: str) -> int:
    number = _PROTOCOLS.get(text.lower(), int(text) if text.isdigit() else 0)
    if not 1 <= number <= 255:
        raise Failure(f"{text} is no protocol: give one of {', '.join(_PROTOCOLS)} or a number from 1 to 255")
    return number


# -- output ------------------------------------------------------------------------------------------------------------


def document(found: Trace, counters: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The trace as JSON."""
    packet = {"source": found.packet.source, "destination": found.packet.destination, "protocol": found.packet.protocol}
    if found.packet.destination_port:
        packet |= {"sourcePort": found.packet.source_port, "destinationPort": found.packet.destination_port}
    if found.packet.icmp:
        packet["icmp"] = found.packet.icmp._asdict()
    stages = [{**stage._asdict(), "steps": [step._asdict() for step in stage.steps]} for stage in found.stages]
    result: dict[str, Any] = {"packet": packet, "verdict": found.verdict, "why": found.why, "stages": stages}
    return result if counters is None else {**result, "drops": counters}


def _text(found: Trace, verbose: bool) -> str:
    rows = [row for stage in found.stages for row in _rows(stage, verbose)]
    table = render([_HEADINGS, *rows]) if rows else ""
    return f"{table}{found.packet}: {found.verdict}\n{found.why}\n"


def _rows(stage: "Stage", verbose: bool) -> Iterator[tuple[str, ...]]:
    direction = stage.direction if stage.kind == "normal" else f"{stage.kind} {stage.direction}"
    for step in stage.steps if verbose else _shortened(stage.steps):
        rule = str(step.rule) if step.rule else "-"
        yield stage.node, stage.endpoint, direction, f"{step.what} {step.name}", rule, step.result, step.why
    if not stage.steps or (stage.verdict == "deny" and stage.steps[-1].result != "deny"):
        yield stage.node, stage.endpoint, direction, "-", "-", stage.verdict, stage.why


def _shortened(steps: tuple[Step, ...]) -> Iterator[Step]:
    """One step for each policy or profile: the rule that decides, or that none does."""
    for index, step in enumerate(steps):
        following = steps[index + 1] if index + 1 < len(steps) else None
        if following is not None and (following.what, following.name) == (step.what, step.name):
            continue
        if step.result == "no match" and step.rule > 1:
            step = step._replace(rule=0, why=f"none of its {step.rule} rules matches")  # noqa: PLW2901
        yield step


# -- counters ----------------------------------------------------------------------------------------------------------


def _counters(found: Trace, wanted: bool) -> tuple[list[dict[str, Any]] | None, str]:
    """What the felix of this node has dropped so far, by interface, direction and cause; or why that is not known."""
    if not wanted:
        return None, ""
    names = ("version", "interface", "direction", "cause", "packets", "octets")
    try:
        return [dict(zip(names, drop, strict=True)) for drop in live.ask(LIVE_SOCKET, {"ask": "drops"})], ""
    except (OSError, ValueError) as error:
        return None, f"no counters: the felix of this node does not answer at {LIVE_SOCKET}: {error} (are you root?)"


def _live_text(counters: list[dict[str, Any]]) -> str:
    headings = ("INTERFACE", "DIRECTION", "CAUSE", "IP", "DROPPED", "BYTES")
    rows = [
        (
            one["interface"],
            one["direction"],
            one["cause"],
            f"v{one['version']}",
            str(one["packets"]),
            str(one["octets"]),
        )
        for one in counters
    ]
    return "\nDropped by this node's felix since it counts:\n" + render([headings, *rows])
