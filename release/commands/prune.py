"""`release prune`: remove what no channel needs."""

import argparse
import json
import time

from pkgpanda.errors import PandaError
from release import prune
from release.commands.options import add_dry_run, add_format, add_storage, one_storage

_EPILOG = """Kept: the releases of channels, those younger than --older-than, and what they share. Of calicoctl,
branches' builds go after seven days. While it is at work no channel moves.
exit status: 0 done, 3 the storage failed

example:
  release prune --older-than 90 --dry-run
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_storage(parser, has_one=True)
    parser.add_argument(
        "--older-than", type=_days, default=30.0, metavar="DAYS", help="keep what is younger (default: 30)"
    )
    add_dry_run(parser)
    add_format(parser)
    parser.epilog = _EPILOG


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days < 36500:
        raise argparse.ArgumentTypeError(f"is not a number of days: {text}")
    return days


def run(args: argparse.Namespace) -> int:
    """Plan, and remove unless that is all."""
    storage = one_storage(args)
    if not storage.writable:
        raise PandaError.one(storage.name, "can only be read", "name another with --in")
    if args.dry_run:
        removals = prune.plan(prune.look(storage, time.time()), args.older_than)
    else:
        removals = prune.run(storage, time.time(), args.older_than)
    size = sum(each.size for each in removals)
    if args.format == "json":
        print(json.dumps({"removed": [each._asdict() for each in removals], "dry_run": args.dry_run}, indent=2))
        return 0
    for each in removals:
        print(each)
    print(f"{storage.name}: {len(removals)} files, {size / 1e6:.1f} MB {'to remove' if args.dry_run else 'removed'}")
    return 0
