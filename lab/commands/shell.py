"""`lab shell`: a shell on a node or in a container."""

import argparse

from lab.commands import opened
from lab.commands.exec import become


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("where", metavar="NODE|APP", help="a node, or an application (its first container)")
    parser.epilog = "example:\n  lab shell master1"


def run(args: argparse.Namespace) -> int:
    """Open it."""
    cluster = opened(args)
    shell = ["/bin/bash", "-l"] if args.where in cluster.machines else ["/bin/sh"]
    return become(cluster, args.where, shell)
