"""`release calicoctl`: calicoctl as one file for any host, stored under a branch or a tag."""

import argparse
import hashlib
import json
from pathlib import Path

from pkgpanda.build.cli import Printer
from pkgpanda.errors import PandaError
from release import calicoctl
from release.commands.options import add_dry_run, add_format, add_storage, storages
from release.layout import Entry
from release.source import clean_commit
from release.storage.base import Storage

_EPILOG = """The file is Python source in a zip archive: any host with Python 3.11 or newer runs it, over TLS as on a
node. The same commit gives the same bytes.
exit status: 0 done, 1 the name or the checkout is wrong, 3 a source or a storage failed

example:
  release calicoctl --tag v3.14-d2iq.1
  release calicoctl --branch release-v3.14-d2iq.1 --output calicoctl
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tag", default="", metavar="NAME", help="vX.Y-d2iq.N: its builds stay")
    text = f"release-vX.Y-d2iq.N: its builds go after {calicoctl.BRANCH_DAYS} days"
    which.add_argument("--branch", default="", metavar="NAME", help=text)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there, and store nothing")
    add_storage(parser)
    parser.add_argument("--packages", type=Path, default=Path("packages"), metavar="DIR", help="the recipes")
    parser.add_argument("--build-dir", type=Path, default=Path("build"), metavar="DIR", help="what may be reused")
    parser.add_argument("--allow-dirty", action="store_true", help="also where files differ from their commit")
    add_dry_run(parser)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Build it; write it to a file, or store it."""
    line = calicoctl.read_line(args.branch, args.tag)
    commit = clean_commit(args.packages, args.allow_dirty)
    printer = Printer(args.format)
    try:
        content = calicoctl.build(args.packages, args.build_dir, commit, printer)
    finally:
        printer.clear()
    entries = calicoctl.entries(content, line, commit)
    if args.output:
        if not args.dry_run:
            args.output.write_bytes(content)
            args.output.chmod(0o755)
        paths = [str(args.output)]
    else:
        paths = _store(args, entries)
    digest = hashlib.sha256(content).hexdigest()
    if args.format == "json":
        print(json.dumps({"sha256": digest, "size": len(content), "paths": paths}, indent=2, sort_keys=True))
    else:
        verb = "would write" if args.dry_run else "wrote"
        print(
            "\n".join([f"calicoctl {line.name}, commit {str(commit)[:12]}: {verb}", *(f"  {path}" for path in paths)])
        )
    return 0


def _store(args: argparse.Namespace, entries: list[Entry]) -> list[str]:
    known = storages(args)
    if not known.writable():
        raise PandaError.one("storage", "none can be written to", "name one of kind local or s3")
    for storage in known.writable():
        for each in entries:
            if not args.dry_run:
                _put(storage, each)
    base = known.preferred.url
    return [f"{base}/{each.path}" if base else each.path for each in entries]


def _put(storage: Storage, each: Entry) -> None:
    """A path names content; where it is there already, nothing is to be done (but a branch's week begins anew)."""
    if not storage.holds(each) or each.path.startswith(calicoctl.BRANCH_BUILDS):
        storage.put(each)
