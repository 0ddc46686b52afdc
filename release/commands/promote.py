"""`release promote FROM TO`: let a channel be what another is, without building anything."""

import argparse
import json

from pkgpanda.build.cli import Printer
from pkgpanda.errors import PandaError
from release import repository
from release.commands.options import add_dry_run, add_format, add_storage, storages
from release.repository import Step
from release.storage.settings import Storages

_EPILOG = """FROM is a channel, or a release as release list shows it (which is how one goes back). Each storage's
channel moves by one write, once the release is known to be whole there.
exit status: 0 done, 1 there is no such channel, 3 a storage failed

example:
  release promote testing stable
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("source", metavar="FROM", help="a channel, or the name of a release")
    parser.add_argument("channel", metavar="TO", help="the channel to move, or to make")
    add_storage(parser)
    add_dry_run(parser)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Plan, then do."""
    known = storages(args)
    release, steps = plan(known, args.source, args.channel)
    printer = Printer(args.format)
    try:
        done = 0 if args.dry_run else repository.apply(steps, printer)
    finally:
        printer.clear()
    state = "planned" if args.dry_run else "moved" if done else "unchanged"
    if args.format == "json":
        print(json.dumps({"status": state, "channel": args.channel, "release": release}, indent=2, sort_keys=True))
    elif args.dry_run:
        print("\n".join(map(str, steps)))
    else:
        print(f"{args.channel}: release {release[:12]}{'' if done else ', as before'}")
    return 0


def plan(known: Storages, source: str, channel: str) -> tuple[str, list[Step]]:
    """The release, and the writes that make it the channel's everywhere."""
    repository.check_channel(channel)
    release = repository.resolve(known.preferred, source)
    script = repository.script_of(known.preferred, release)
    places = known.writable()
    if not places:
        raise PandaError.one("storage", "none can be written to", "name one of kind local or s3")
    problems = [each for place in places for each in repository.lacking(place, repository.needed(place, release))]
    if problems:
        raise PandaError(problems)
    return release, repository.point(channel, script, places)
