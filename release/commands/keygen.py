"""`release keygen`: make a key to sign releases with."""

import argparse
import json
from pathlib import Path

from release.commands.options import add_format
from release.keys import generate

_EPILOG = """The private key stays with whoever releases. The public one goes into release_keys of config.yaml;
FILE.pub.pem is the same for OpenSSL.
exit status: 0 done, 1 the file is there already

example:
  release keygen ~/release-key.pem
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the private key's new file")
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Make it, and print its public part."""
    public = generate(args.file).public
    if args.format == "json":
        print(json.dumps({"id": public.id, "public": str(public), "file": str(args.file)}, indent=2))
    else:
        print(f"key {public.id}, for config.yaml:\nrelease_keys: [{public}]")
    return 0
