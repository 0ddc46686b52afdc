"""`lab cut`: unplug a node."""

import argparse

from lab.commands import changing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("node", metavar="NODE")
    parser.epilog = "example:\n  lab cut agent2; lab heal agent2"


def run(args: argparse.Namespace) -> int:
    """Unplug it."""
    with changing(args) as cluster:
        cluster.network.cut(cluster.node(args.node).name)
    return 0
