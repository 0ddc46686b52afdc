"""`lab heal`: undo cut, slow and loss."""

import argparse

from lab.commands import changing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("node", metavar="NODE", nargs="*", help="default: every node that is on")
    parser.epilog = "example:\n  lab heal"


def run(args: argparse.Namespace) -> int:
    """Heal them."""
    with changing(args) as cluster:
        machines = [cluster.machine(name) for name in args.node] or cluster.running()
        for machine in machines:
            cluster.network.heal(machine.name)
    return 0
