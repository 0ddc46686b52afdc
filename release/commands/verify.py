"""`release verify`: a bundle in a directory, or a release where it is kept."""

import argparse
import json
import sys
from pathlib import Path

from pkgpanda.build.cli import Printer
from pkgpanda.errors import PandaError
from release import repository
from release.commands.options import add_format, add_storage, one_storage
from release.fetch import fetched
from release.keys import read_public
from release.verify import Verdict, check_signatures, verify

_EPILOG = """A release is fetched whole and looked at as nodes would get it. Without --key, signatures are not checked.
exit status: 0 all of it fits together, 1 something does not, 3 the storage failed

example:
  release verify dist
  release verify stable --key release-key.pem.pub
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    text = "what release bundle wrote or a copy of it, or else a channel or a release"
    parser.add_argument("what", metavar="DIR|CHANNEL|RELEASE", help=text)
    text = "ed25519:HEX, or a file of public keys: one of them must have signed it; may be repeated"
    parser.add_argument("--key", action="append", default=[], metavar="KEY", help=text)
    add_storage(parser, has_one=True)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Print every problem, or that there is none."""
    if Path(args.what).is_dir():
        return _tell(args, _with_signatures(args, Path(args.what), verify(Path(args.what))))
    if args.what.startswith(("/", ".")):
        raise PandaError.one(args.what, "is not a directory", "name what release bundle wrote, a channel or a release")
    storage = one_storage(args)
    release = repository.resolve(storage, args.what)
    printer = Printer(args.format)
    try:
        with fetched(storage, release, read_public(args.key), printer) as (target, found):
            verdict = _with_signatures(args, target, found)
    finally:
        printer.clear()
    return _tell(args, verdict)


def _with_signatures(args: argparse.Namespace, directory: Path, verdict: Verdict) -> Verdict:
    if not args.key:
        return verdict
    keys = read_public(args.key)
    if not keys:
        raise PandaError.one("--key", "names a file without keys")
    return verdict._replace(problems=(*verdict.problems, *check_signatures(directory, keys)))


def _tell(args: argparse.Namespace, verdict: Verdict) -> int:
    if args.format == "json":
        document = {
            "status": "errors" if verdict.problems else "ok",
            "files": verdict.files,
            "packages": verdict.packages,
            "signatures": "checked" if args.key else "not checked",
            "problems": [problem._asdict() for problem in verdict.problems],
        }
        print(json.dumps(document, indent=2, sort_keys=True))
        return 1 if verdict.problems else 0
    for problem in verdict.problems:
        print(f"release: {problem}", file=sys.stderr)
    if verdict.problems:
        print(f"release: {args.what} has {len(verdict.problems)} problems; build it again", file=sys.stderr)
        return 1
    signed = ", signed" if args.key else ""
    print(f"release: {args.what} is in order: {verdict.files} files, {verdict.packages} packages{signed}")
    return 0
