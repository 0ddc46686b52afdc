"""`lab status`: the nodes and the applications."""

import argparse
import json

from lab.commands import add_format, opened, table
from lab.commands.run import described, listing
from lab.state import NodeState, read_nodes
from lab.tasks import Tasks


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_format(parser)
    parser.epilog = "example:\n  lab status"


def run(args: argparse.Namespace) -> int:
    """Look and tell; 1 when a node is off or a unit is not as it should be."""
    cluster = opened(args)
    states, tasks = read_nodes(cluster), Tasks(cluster).all()
    is_well = all(state.is_on and not state.units.other for state in states)
    if args.format == "json":
        document = {
            "status": "well" if is_well else "ill",
            "nodes": [_described(state) for state in states],
            "tasks": [described(task) for task in tasks],
        }
        print(json.dumps(document, indent=2))
    else:
        head = ("NODE", "ROLE", "ADDRESS", "UNITS", "TUNNEL ADDRESS", "TUNNEL", "ENDPOINTS")
        print(table([head, *map(_row, states)]))
        if tasks:
            print(f"\n{listing(tasks)}")
    return 0 if is_well else 1


def _row(state: NodeState) -> tuple[str, ...]:
    units = f"{len(state.units.active)} active" if state.is_on else "off"
    return (
        state.node.name,
        state.node.role,
        state.node.address,
        ", ".join([units, *state.units.other]),
        state.tunnel_address or "-",
        state.tunnel or "-",
        str(state.endpoints),
    )


def _described(state: NodeState) -> dict[str, object]:
    return {
        **state.node._asdict(),
        "on": state.is_on,
        "units": {"active": list(state.units.active), "other": list(state.units.other)},
        "tunnel_address": state.tunnel_address,
        "tunnel": state.tunnel,
        "endpoints": state.endpoints,
    }
