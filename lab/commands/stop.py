"""`lab stop`: stop applications."""

import argparse

from lab.commands import changing
from lab.tasks import Tasks


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("app", metavar="APP", nargs="*", help="its id, or one container's")
    parser.add_argument("--all", action="store_true", help="every application")
    parser.epilog = "example:\n  lab stop bookstore-server"


def run(args: argparse.Namespace) -> int:
    """Stop them."""
    with changing(args) as cluster:
        tasks = Tasks(cluster)
        chosen = tasks.all() if args.all else []
        for name in args.app:
            tasks.one(name)
            chosen += [task for task in tasks.of(name) if task not in chosen]
        tasks.stop(chosen)
    print("\n".join(f"stopped {task.id}" for task in chosen) or "nothing runs")
    return 0
