"""`lab loss`: a cable that loses packets."""

import argparse

from lab.commands import changing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("--percent", type=_percent, default=10, metavar="N", help="of 100, each way (default: 10)")
    parser.epilog = "example:\n  lab loss agent2 --percent 30; lab heal agent2"


def _percent(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 100):
        raise argparse.ArgumentTypeError(f"is not a number from 0 to 100: {text}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Let it lose."""
    with changing(args) as cluster:
        cluster.network.lose(cluster.node(args.node).name, args.percent)
    return 0
