"""`lab slow`: a cable that carries little."""

import argparse

from lab.commands import changing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("--kbit", type=int, default=256, metavar="N", help="kilobits a second, each way (default: 256)")
    parser.epilog = "example:\n  lab slow agent2 --kbit 64; lab heal agent2"


def run(args: argparse.Namespace) -> int:
    """Throttle it."""
    with changing(args) as cluster:
        cluster.network.slow(cluster.node(args.node).name, max(8, args.kbit))
    return 0
