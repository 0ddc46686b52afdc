"""`release create CHANNEL`: build, sign, store, and make it the channel's."""

import argparse
import json
import os
from pathlib import Path

from gen.commands.validate import add_allow_key
from pkgpanda.build.cli import Printer
from pkgpanda.errors import PandaError
from release import repository
from release.bundle import Request
from release.commands.bundle import read_configuration
from release.commands.options import add_dry_run, add_format, add_key, add_storage, storages
from release.create import Created, prepare
from release.keys import load
from release.metadata import Identity
from release.source import clean_commit

_EPILOG = """The same commit, configuration and tag give the same bytes. Nothing that a channel names changes before
all of the release is stored; then the channel moves by one write. Interrupted, it is run again: what is stored is
not sent twice.
exit status: 0 done, 1 configuration, recipes or checkout are wrong, 3 a source or a storage failed

example:
  release create testing --config config/calico.yaml --tag 1.4.0 --key ~/release-key.pem
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("channel", metavar="CHANNEL", help="as testing, or testing/pull-17")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="config.yaml of the cluster")
    add_allow_key(parser)
    add_storage(parser)
    parser.add_argument("--tag", default="", metavar="TEXT", help="what the release is called")
    add_key(parser, "a private key to sign it with; may be repeated, while nodes move from one key to another")
    parser.add_argument("--packages", type=Path, default=Path("packages"), metavar="DIR", help="the recipes")
    parser.add_argument("--tree", type=Path, metavar="FILE", help="which packages; default: buildinfo.json beside DIR")
    parser.add_argument("--build-dir", type=Path, default=Path("build"), metavar="DIR", help="what may be reused")
    parser.add_argument("--allow-dirty", action="store_true", help="also where files differ from their commit")
    add_dry_run(parser)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Do it, and say what came of it."""
    report = read_configuration(args)
    if not report.ok:
        return 1
    known = storages(args)
    tree = args.tree or args.packages.absolute().parent / "buildinfo.json"
    commit = clean_commit(args.packages, args.allow_dirty)
    identity = Identity(
        _checked_tag(args.tag), commit, known.preferred.url or report.values["bootstrap_url"].rstrip("/")
    )
    output = Path(os.path.abspath(args.build_dir / "release-dist"))
    request = Request(args.packages, tree, args.build_dir, output, locked=True)
    signers = [load(path) for path in args.key]
    printer = Printer(args.format)
    try:
        created = prepare(report.values, request, identity, signers, known, args.channel, printer)
        done = 0 if args.dry_run else repository.apply(list(created.steps), printer)
    finally:
        printer.clear()
    _tell(args, created, identity, done)
    return 0


def _checked_tag(tag: str) -> str:
    if len(tag) > 64 or not tag.isprintable():
        raise PandaError.one("--tag", f"{tag!r} is no short text of one line")
    return tag


def _tell(args: argparse.Namespace, created: Created, identity: Identity, done: int) -> None:
    if args.format == "json":
        document = {
            "status": "planned" if args.dry_run else "written" if done else "unchanged",
            "channel": args.channel,
            "release": created.name,
            "tag": identity.tag,
            "commit": str(identity.commit),
            "url": identity.url,
            "steps": [{"stage": each.stage, "path": each.entry.path, "present": each.has} for each in created.steps],
        }
        print(json.dumps(document, indent=2, sort_keys=True))
        return
    if args.dry_run:
        print("\n".join(str(step) for step in created.steps))
    kept = sum(step.has for step in created.steps)
    what = f"would write {len(created.steps) - kept}" if args.dry_run else f"{done} written"
    print(f"{identity.title}: release {created.name[:12]}, {what}, {kept} were there")
    if not args.dry_run:
        print(f"channel {args.channel}: curl -fLO {identity.url}/{repository.channel_path(args.channel)}")
