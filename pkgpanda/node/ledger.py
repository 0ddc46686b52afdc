"""What this program changed on the host outside its own directories, kept so that it can be undone by `uninstall`."""

from typing import Any, NamedTuple

from pkgpanda.node.host import Host, read_json, shaped, to_json
from pkgpanda.node.layout import Layout


class Ledger(NamedTuple):
    """Users created, state directories ever made, and the values of kernel settings before they were set."""

    users: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}  # noqa: RUF012  a default that nobody changes


def read(layout: Layout) -> Ledger:
    """The ledger; empty on a new node."""
    try:
        document: Any = read_json(layout.at("ledger.json"))
    except FileNotFoundError:
        return Ledger()
    return shaped(
        layout.at("ledger.json"),
        lambda: Ledger(tuple(document["users"]), tuple(document["directories"]), dict(document["sysctls"])),
    )


def write(host: Host, layout: Layout, ledger: Ledger) -> None:
    """Put the ledger on the disk, before what it says is done."""
    if ledger != read(layout):
        host.replace(layout.at("ledger.json"), to_json(ledger._asdict()))
