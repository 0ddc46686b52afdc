"""`lab down`: remove a lab, from its record alone."""

import argparse
import contextlib
import json

from lab.cleanup import destroy
from lab.commands import add_format
from lab.instance import HOME, Instance


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_format(parser)
    parser.epilog = "It may be run at any time: also while `lab up` runs, or after it was killed, or twice."


def run(args: argparse.Namespace) -> int:
    """Remove it; a lab that is not there is down."""
    instance = Instance(HOME / f"dcl-{args.name}")
    was_there = instance.directory.is_dir()
    if was_there:
        destroy(instance)
        with contextlib.suppress(OSError):  # another lab is there
            HOME.rmdir()
    if args.format == "json":
        print(json.dumps({"status": "down", "was_there": was_there}))
    else:
        print(f"{args.name}: down" if was_there else f"{args.name}: there is no such lab")
    return 0
