"""The journal of the activation under way: what is going to be done, written before the first of it is.

While the file is there, an activation was interrupted or is at work. Which side of the switch it is on is not written
down: `current` itself says so, and cannot disagree with itself.
"""

from typing import Any, NamedTuple

from pkgpanda.errors import PandaError
from pkgpanda.node.host import Host, read_json, shaped, to_json
from pkgpanda.node.layout import Layout
from pkgpanda.node.plan import Action, from_document, to_document

_VERSION = 1


class Gate(NamedTuple):
    """What was healthy before and must be again: units with their invocation, checks as (package name, program)."""

    units: dict[str, str]
    checks: tuple[tuple[str, str], ...]
    seconds: float


class Record(NamedTuple):
    """An activation. `revert` marks the way back after a failed health gate, which is always carried on."""

    source: int | None
    target: int
    actions: tuple[Action, ...]
    gate: Gate | None = None
    revert: bool = False


def path(layout: Layout) -> str:
    """Where the journal is."""
    return layout.at("journal.json")


def write(host: Host, layout: Layout, record: Record) -> None:
    """Put a record on the disk."""
    document: dict[str, Any] = {
        "version": _VERSION,
        "from": record.source,
        "to": record.target,
        "revert": record.revert,
        "actions": [to_document(action) for action in record.actions],
        "gate": record.gate._asdict() if record.gate else None,
    }
    host.replace(path(layout), to_json(document))


def read(layout: Layout) -> Record | None:
    """The record of an interrupted activation; None when there was none."""
    try:
        document = read_json(path(layout))
    except FileNotFoundError:
        return None
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise PandaError.one(path(layout), "was written by another version", "run that version's pkgpanda setup")
    return shaped(path(layout), lambda: _record(document))


def _record(document: dict[str, Any]) -> Record:
    gate = document["gate"]
    return Record(
        document["from"],
        document["to"],
        tuple(map(from_document, document["actions"])),
        Gate(gate["units"], tuple(map(tuple, gate["checks"])), gate["seconds"]) if gate else None,
        document["revert"],
    )


def remove(host: Host, layout: Layout) -> None:
    """The activation is over."""
    host.unlink(path(layout))
    host.sync_file(layout.root)
